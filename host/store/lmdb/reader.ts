/** Reads of one LMDB snapshot. */
import { open, type Transaction as ReadTransaction, type RootDatabase } from 'lmdb';
import { KEY_SIZE_MAX, type RangeOptions, type Row, TABLES, type Table } from '../../ports/store.ts';
import { afterPrefix, type Base, type RowKey, rangeBounds } from '../transaction.ts';

/** Keys are bytes, and so are values: what lmdb-js calls binary. */
export type Environment = Omit<RootDatabase<Buffer, Uint8Array>, 'getBinaryFast'> & {
  /** Its type leaves out the options that it takes. */
  getBinaryFast(key: Uint8Array, options?: { readonly transaction?: ReadTransaction }): Buffer | undefined;
};

/**
 * Opens the file, or makes it.
 *
 * @param mapBytes  first size of the map; lmdb-js enlarges it as the file grows
 */
export function openEnvironment(path: string, mapBytes: number): Environment {
  // lmdb-js takes more options than its types say: safeRestore and permissionsMode among them.
  const options = {
    path,
    noSubdir: true,
    mapSize: mapBytes,
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
    safeRestore: true,
    permissionsMode: 0o600,
  } as const;
  return open<Buffer, Uint8Array>(options);
}

/** One key buffer for each length, reused: lmdb-js copies the key before `get` returns. */
const KEY_BUFFERS = Array.from({ length: KEY_SIZE_MAX + 1 }, (_, length) => Buffer.alloc(length + 1));

/** The open environment: closed when the store is, and no snapshot or iterator is left. */
export class EnvironmentHandle {
  readonly environment: Environment;
  #pins = 0;
  #closing = false;
  #closed: (() => void) | undefined;

  constructor(environment: Environment) {
    this.environment = environment;
  }

  pin(): ReadTransaction {
    // Order matters: without the reset lmdb-js would hand out the transaction it has, whatever was committed since.
    this.environment.resetReadTxn();
    const transaction = this.environment.useReadTransaction();
    this.#pins++;
    return transaction;
  }

  unpin(transaction: ReadTransaction): void {
    transaction.done();
    this.#pins--;
    if (this.#closing && this.#pins === 0) void this.environment.close().then(() => this.#closed?.());
  }

  /**
   * Closing under a reader would take the map from under its feet: it happens when the last one lets go. Returns at once
   * while there is one.
   */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#pins === 0) await this.environment.close();
  }

  /** The same, and waits for the last reader: nothing has the file open or mapped then. */
  closeWhenFree(): Promise<void> {
    if (this.#pins === 0) return this.close();
    this.#closing = true;
    return new Promise((resolve) => {
      this.#closed = resolve;
    });
  }

  sizes(): { readonly usedBytes: number; readonly mapBytes: number } {
    const stats = this.environment.getStats() as {
      mapSize: number;
      lastPageNumber: number;
      root: { pageSize: number };
    };
    return { usedBytes: (stats.lastPageNumber + 1) * stats.root.pageSize, mapBytes: stats.mapSize };
  }
}

/**
 * One snapshot and those who hold it: the store while it is the newest durable state, and every snapshot and iterator
 * taken meanwhile. LMDB keeps its pages until the last one lets go.
 */
export class Pinned {
  readonly #handle: EnvironmentHandle;
  readonly #environment: Environment;
  readonly #transaction: ReadTransaction;
  readonly #options: { readonly transaction: ReadTransaction };
  #holders = 1;

  constructor(handle: EnvironmentHandle) {
    this.#handle = handle;
    this.#environment = handle.environment;
    this.#transaction = handle.pin();
    this.#options = { transaction: this.#transaction };
  }

  hold(): void {
    this.#holders++;
  }

  release(): void {
    this.#holders--;
    if (this.#holders === 0) this.#handle.unpin(this.#transaction);
  }

  /** A view of lmdb-js's own buffer, valid until its next get. */
  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    const buffer = KEY_BUFFERS[key.length];
    if (buffer === undefined) return undefined;
    buffer[0] = TABLES[table];
    buffer.set(key, 1);
    return this.#view(buffer);
  }

  #view(key: Uint8Array): Uint8Array | undefined {
    const bytes = this.#environment.getBinaryFast(key, this.#options);
    // lmdb-js returns its one large buffer under another `length`. A plain Uint8Array: its slice() is a copy, a Buffer's not.
    return bytes === undefined ? undefined : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  *range(table: Table, options: RangeOptions = {}): IterableIterator<Row> {
    const bounds = rangeBounds(table, options);
    if (bounds === undefined) return;
    this.hold();
    try {
      const limit = options.limit === undefined ? {} : { limit: options.limit };
      for (const { key, value } of this.#environment.getRange({ ...bounds, ...limit, ...this.#options })) {
        yield { key: key.subarray(1), value };
      }
    } finally {
      this.release();
    }
  }

  /** Every row there is, the keys with their table's byte. */
  *everything(): IterableIterator<{ readonly key: Buffer; readonly value: Buffer }> {
    this.hold();
    try {
      for (const { key, value } of this.#environment.getRange(this.#options)) {
        yield { key: Buffer.from(key), value: Buffer.from(value) };
      }
    } finally {
      this.release();
    }
  }

  count(table: Table): number {
    const bounds = rangeBounds(table, {});
    return bounds === undefined ? 0 : this.#environment.getKeysCount({ ...bounds, ...this.#options });
  }

  /** The same rows as a transaction sees them. */
  readonly base: Base = {
    get: (key: RowKey) => this.#view(key)?.slice(),
    keys: (prefix: RowKey) => {
      const end = afterPrefix(prefix);
      return this.#environment.getKeys({ start: prefix, ...(end === undefined ? {} : { end }), ...this.#options });
    },
  };
}
