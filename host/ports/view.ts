/** A mount's storage as its engine sees it, under one request's grant. Implemented by host/barrier. */

export interface View {
  /** Payload of a record's row, opened; a copy, or undefined. `suffix` (0 to 8 bytes) numbers the rows of one record. */
  get(path: string, suffix?: Uint8Array): Uint8Array | undefined;
  /**
   * What `decode` makes of a record's row, without a copy of it.
   *
   * @param decode  gets the payload itself, which is gone when it returns: it keeps nothing of it and calls no view
   */
  read<T>(path: string, decode: (payload: Uint8Array) => T, suffix?: Uint8Array): T | undefined;
  /** Names in directory `path` ('' the top) in byte order; directories end in `/`. */
  list(path: string): string[];
  /** Suffixes of the rows that a record has, in order. */
  suffixes(path: string): Uint8Array[];
  /**
   * Reads and writes that belong together. `work` collects reads and writes in a change, which then commits at once:
   * every row read through the change must be unchanged by then, else `work` runs again (at most 16 times; updates of one
   * `path` queue behind each other, so this is rare). Resolves when durable.
   *
   * @param path what the update is about: its queue
   * @throws Fault `store.conflict` after the last attempt
   */
  update<T>(path: string, work: (change: ViewChange) => T | Promise<T>): Promise<T>;
}

export interface ViewChange {
  /** As View.get, but sees the change's own writes, and remembers what it saw as an expectation. */
  get(path: string, suffix?: Uint8Array): Uint8Array | undefined;
  /** As View.read, with what `get` says. */
  read<T>(path: string, decode: (payload: Uint8Array) => T, suffix?: Uint8Array): T | undefined;
  suffixes(path: string): Uint8Array[];
  put(path: string, payload: Uint8Array, suffix?: Uint8Array): void;
  /** Deletes one row, or with `suffix` absent the whole record with its name, and directories that become empty. */
  delete(path: string, suffix?: Uint8Array): void;
  /**
   * A row of a record is due at a time of its own: the expiry queue comes for it then, and the mount's engine does what the
   * kind says. In the same commit. The operation's tables name `expiry`.
   *
   * @param before  ms of lease time at which it was due until now; undefined: never
   * @param after   at which it is due from now on; undefined: never
   */
  ends(
    path: string,
    suffix: Uint8Array,
    before: number | undefined,
    after: number | undefined,
    kind?: RecordKind,
  ): void;
}

/** What is due: the end of a version (the default), or a rotation. */
export type RecordKind = 'kvVersion' | 'rotation';
