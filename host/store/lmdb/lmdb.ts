/**
 * The store on LMDB: one file, one tree, keys led by their table's byte.
 *
 * One tree and not one a table: a commit then rewrites one path from root to leaf for rows that lie together, and no
 * directory of trees. The figures are in ARCHITECTURE.md, Store.
 *
 * This process is the only writer (the folder's lock), and one transaction is under way at a time. So the newest durable
 * state *is* the state that the next transaction starts from: expectations, the net change and the witness are worked
 * out on it before LMDB is told anything, and LMDB then gets a list of puts that cannot fail half way. Its worker thread
 * writes the pages, waits for the disk, writes the root and waits again; the event loop stays free. What is committed
 * meanwhile goes together into the next transaction.
 *
 * `overlappingSync` is off: with it a transaction shows before it is durable, and closing after a failed sync would sync
 * again and believe it.
 */
import type { Fault } from '../../fault.ts';
import type { Batch, RangeOptions, Row, Snapshot, Store, Table, Witness } from '../../ports/store.ts';
import { type OwnBatch, Transaction, tableCounts, takeBatch, type Write } from '../transaction.ts';
import { causeOf, fullFault, meansFull, unavailableFault } from './fault.ts';
import { type Environment, Pinned } from './reader.ts';

/** Rows and bytes that one transaction takes at most, but for a single larger batch. */
const GROUP_ROWS_MAX = 16_384;
const GROUP_BYTES_MAX = 16 * 1024 * 1024;

interface Waiting {
  readonly batch: OwnBatch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class LmdbStore implements Store {
  readonly #environment: Environment;
  readonly #witness: Witness;
  /** The newest durable state: what every read sees. */
  #pinned: Pinned;
  #waiting: Waiting[] = [];
  /** True from the first batch that waits until none is under way. */
  #running = false;
  #idle: (() => void)[] = [];
  #broken: Fault | undefined;
  #closed = false;
  #rows: Record<Table, number> | undefined;
  /** What lmdb-js runs just before it hands the turn's writes to its worker. */
  #beforeCommit: (() => void) | undefined;

  constructor(environment: Environment, witness: Witness) {
    this.#environment = environment;
    this.#witness = witness;
    this.#pinned = new Pinned(environment);
    environment.on('beforecommit', () => this.#beforeCommit?.());
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    return this.#pinned.get(table, key);
  }

  range(table: Table, options?: RangeOptions): IterableIterator<Row> {
    return this.#pinned.range(table, options);
  }

  snapshot(): Snapshot {
    this.#checkOpen();
    const pinned = this.#pinned;
    pinned.hold();
    let held = true;
    return {
      get: (table, key) => pinned.get(table, key),
      range: (table, options) => pinned.range(table, options),
      [Symbol.dispose]: () => {
        if (held) pinned.release();
        held = false;
      },
    };
  }

  statistics() {
    this.#checkOpen();
    const stats = this.#environment.getStats() as { mapSize: number; lastPageNumber: number; pageSize: number };
    this.#rows ??= tableCounts((table) => this.#pinned.count(table));
    return {
      usedBytes: (stats.lastPageNumber + 1) * stats.pageSize,
      mapBytes: stats.mapSize,
      rows: { ...this.#rows },
    };
  }

  async commit(batch: Batch): Promise<void> {
    this.#checkOpen();
    if (this.#broken !== undefined) throw this.#broken;
    const own = takeBatch(batch);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch: own, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      void this.#drain();
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#pinned.release();
    await this.#environment.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the store is closed');
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) await this.#runGroup();
    this.#running = false;
    for (const resolve of this.#idle) resolve();
  }

  /** One transaction. Never rejects: every batch's own promise tells how it went. */
  async #runGroup(): Promise<void> {
    let accepted: Waiting[] = [];
    let writes: Write[] = [];
    let witnessed = false;
    this.#beforeCommit = () => {
      this.#beforeCommit = undefined;
      const transaction = new Transaction(this.#pinned.base);
      accepted = this.#takeGroup(transaction);
      try {
        ({ writes, witnessed } = transaction.finish(this.#witness));
      } catch (error) {
        for (const { reject } of accepted) reject(error);
        accepted = [];
        return;
      }
      for (const { key, value } of writes) {
        if (value === undefined) void this.#environment.remove(key);
        else void this.#environment.put(key, value);
      }
    };
    let failure: { readonly error: unknown } | undefined;
    try {
      // An empty batch makes lmdb-js call back at the end of this turn: what is committed until then comes along.
      await this.#environment.batch(() => undefined);
    } catch (error) {
      failure = { error: await causeOf(error) };
    }
    this.#settle(accepted, writes, witnessed, failure);
  }

  #takeGroup(transaction: Transaction): Waiting[] {
    const accepted: Waiting[] = [];
    let rows = 0;
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#waiting) {
      const { batch } = waiting;
      rows += batch.puts.length;
      bytes += batch.size;
      if (taken > 0 && (rows > GROUP_ROWS_MAX || bytes > GROUP_BYTES_MAX)) break;
      taken++;
      const fault = transaction.add(batch);
      if (fault === undefined) accepted.push(waiting);
      else waiting.reject(fault);
    }
    this.#waiting = this.#waiting.slice(taken);
    return accepted;
  }

  #settle(
    accepted: readonly Waiting[],
    writes: readonly Write[],
    witnessed: boolean,
    failure: { readonly error: unknown } | undefined,
  ): void {
    if (failure === undefined) {
      if (writes.length > 0) {
        const before = this.#pinned;
        this.#pinned = new Pinned(this.#environment);
        before.release();
        this.#count(writes);
      }
      if (witnessed) this.#witness.settled?.(true);
      for (const { resolve } of accepted) resolve();
      return;
    }
    const full = meansFull(failure.error);
    const fault = full ? fullFault(failure.error) : unavailableFault(failure.error);
    if (!full) this.#broken = fault;
    if (witnessed) this.#witness.settled?.(false);
    for (const { reject } of accepted) reject(fault);
    if (full) return;
    for (const { reject } of this.#waiting) reject(fault);
    this.#waiting = [];
  }

  #count(writes: readonly Write[]): void {
    if (this.#rows === undefined) return;
    for (const { table, grows } of writes) this.#rows[table] += grows;
  }
}
