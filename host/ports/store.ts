/**
 * What the barrier needs of durable storage. Contract: test/contract/store.ts, run against every adapter.
 *
 * Rows are opaque bytes (sealed before they come here, but for table `boot`). Nothing above this port may assume that
 * the writer's disk is the only one.
 */

/** The tables of the one environment, each with the byte that core binds into its rows (core/spec/record.md). */
export const TABLES = {
  /** Read and written without keys: format version, slot headers and blobs, seal mark. Outside the fingerprint. */
  boot: 0,
  keyring: 1,
  /** One row, written in every transaction. Outside the fingerprint, which it holds. */
  freshness: 2,
  record: 3,
  name: 4,
  token: 5,
  accessor: 6,
  child: 7,
  /** Ordered by lease time: what ends when. */
  expiry: 8,
  policy: 9,
  mount: 10,
  /** Wrapped responses, by the id of their wrapping token. */
  wrap: 11,
  lease: 12,
  job: 13,
} as const satisfies Record<string, number>;

export type Table = keyof typeof TABLES;

export const KEY_SIZE_MAX = 64;
/** A sealed row: 1 MiB of payload and its frame. */
export const VALUE_SIZE_MAX = 1024 * 1024 + 64;
export const BATCH_ROWS_MAX = 4096;

export interface Put {
  readonly table: Table;
  readonly key: Uint8Array;
  /** Absent deletes the row; deleting an absent row is no error. */
  readonly value?: Uint8Array;
}

/** Checked inside the write transaction, before the batch's first put. */
export type Expectation =
  | { readonly table: Table; readonly key: Uint8Array; readonly is: 'absent' | 'present' }
  /** Exact bytes. Every sealed row has a fresh nonce, so its bytes are its revision. */
  | { readonly table: Table; readonly key: Uint8Array; readonly is: Uint8Array }
  /** No key under `prefix`, but for those that this batch itself deletes. */
  | { readonly table: Table; readonly prefix: Uint8Array; readonly is: 'empty' };

export interface Batch {
  readonly expect?: readonly Expectation[];
  readonly puts: readonly Put[];
  /** Revocation: may use the space kept back for it when the disk is full. */
  readonly urgent?: boolean;
}

/** One row that a transaction changes: `before` and `after` absent where the row is. */
export interface Change {
  readonly table: Table;
  readonly key: Uint8Array;
  readonly before?: Uint8Array;
  readonly after?: Uint8Array;
}

/**
 * Is shown every change of a transaction before it commits, and adds the rows that must go with it (the freshness row).
 * Synchronous, called once a transaction with the net change a row (tables `boot` and `freshness` left out; not called
 * when nothing else changed). If it throws, nothing of the transaction is committed and every batch in it fails.
 */
export interface Witness {
  fold(changes: readonly Change[]): readonly Put[];
  /**
   * Called exactly once after each `fold` that returned, before the next one and before any promise of the transaction
   * settles: true when it is durable, false when nothing of it was written (go back to what was before that `fold`) or
   * when that cannot be told (the store takes no further commits then).
   */
  settled?(committed: boolean): void;
}

export interface RangeOptions {
  /** Only keys that begin so. */
  readonly prefix?: Uint8Array;
  /** First key, included. */
  readonly from?: Uint8Array;
  /** Last key, excluded. */
  readonly to?: Uint8Array;
  readonly limit?: number;
}

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface Reader {
  /**
   * The row's bytes, or undefined. The view is valid until the next call of any reader of this store, and never across
   * an await: copy what you keep.
   */
  get(table: Table, key: Uint8Array): Uint8Array | undefined;
  /**
   * Rows in the order of their keys' bytes. Keys and values are copies; the iterator sees one snapshot, from its first
   * `next` to its end: end it (for…of does), it holds pages back.
   */
  range(table: Table, options?: RangeOptions): IterableIterator<Row>;
}

/** Of a store's move into a new file: rows are copied; readers of the old file end; it is overwritten. */
export type MoveStep = 'copying' | 'waiting' | 'overwriting';

/** A pinned snapshot: sees nothing committed later. Release it: it holds pages back. */
export interface Snapshot extends Reader, Disposable {}

export interface Store extends Reader {
  /**
   * All of the batch or nothing; resolves when it is durable, and from then on (not earlier) reads see it.
   * Batches that share a transaction see their predecessors, in the order of the calls. Everything is copied before the
   * call returns: the caller may use its buffers again at once.
   *
   * @throws Fault `input.too-large` a key, a value or the number of rows is above its limit
   * @throws Fault `store.conflict` an expectation failed: nothing of this batch was written
   * @throws Fault `store.full` no space; nothing of this batch was written
   * @throws Fault `store.unavailable` the medium failed. What was written may or may not be there after a restart; until
   *         then reads go on from the last durable state and further commits fail
   */
  commit(batch: Batch): Promise<void>;
  snapshot(): Snapshot;
  /** Bytes in use, bytes mapped and rows a table, for health and metrics. */
  statistics(): {
    readonly usedBytes: number;
    readonly mapBytes: number;
    readonly rows: Readonly<Record<Table, number>>;
  };
  /**
   * Leaves nothing of changed and deleted rows on the medium, as far as it obeys: writes every row into a new file, takes
   * that, and overwrites and removes the one before. Reads go on; commits wait at most for the last rows. A power cut leaves the
   * one or the other, and what is left to overwrite is overwritten at the next start.
   *
   * @param told  called as it goes from step to step
   * @returns bytes written over
   * @throws Fault `store.full` no room for the copy: nothing changed
   * @throws Fault `store.unavailable` the medium failed, or the store was closed meanwhile: as it was, or as it is to be
   */
  move(told?: (step: MoveStep) => void): Promise<number>;
  /** Whether the disk has room for `move` now. */
  readonly hasRoomToMove: boolean;
  /** Waits for what is under way, then closes. Nothing may be called afterwards. */
  close(): Promise<void>;
}
