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

/**
 * One snapshot and those who hold it: the store while it is the newest durable state, and every snapshot and iterator
 * taken meanwhile. LMDB keeps its pages until the last one lets go.
 */
export class Pinned {
  readonly #environment: Environment;
  readonly #options: { readonly transaction: ReadTransaction };
  #holders = 1;

  constructor(environment: Environment) {
    this.#environment = environment;
    environment.resetReadTxn();
    this.#options = { transaction: environment.useReadTransaction() };
  }

  hold(): void {
    this.#holders++;
  }

  release(): void {
    this.#holders--;
    if (this.#holders === 0) this.#options.transaction.done();
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
    // lmdb-js returns its whole buffer with an own `length`: subarray honours the buffer's real one.
    return bytes === undefined ? undefined : bytes.subarray(0, bytes.length);
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

  count(table: Table): number {
    const bounds = rangeBounds(table, {});
    return bounds === undefined ? 0 : this.#environment.getKeysCount({ ...bounds, ...this.#options });
  }

  /** The same rows as a transaction sees them. */
  readonly base: Base = {
    get: (key: RowKey) => {
      const view = this.#view(key);
      return view === undefined ? undefined : Uint8Array.prototype.slice.call(view);
    },
    keys: (prefix: RowKey) => {
      const end = afterPrefix(prefix);
      return this.#environment.getKeys({ start: prefix, ...(end === undefined ? {} : { end }), ...this.#options });
    },
  };
}
