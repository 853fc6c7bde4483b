/** A store without a disk: the reference adapter, for tests. Nothing is durable; all else is the port's contract. */
import type { Batch, RangeOptions, Reader, Row, Snapshot, Store, Table, Witness } from '../../ports/store.ts';
import {
  type Base,
  type OwnBatch,
  rangeBounds,
  rowKey,
  Transaction,
  tableCounts,
  takeBatch,
  type Write,
} from '../transaction.ts';

interface Entry {
  readonly key: Buffer;
  readonly value: Uint8Array;
}

interface Waiting {
  readonly batch: OwnBatch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Rows in the order of their keys' bytes; never changed once made, so a snapshot is a reference. */
class State implements Reader {
  readonly entries: Entry[];

  constructor(entries: Entry[]) {
    this.entries = entries;
  }

  /** What these rows become by a transaction's writes. */
  with(writes: readonly Write[]): State {
    if (writes.length === 0) return this;
    const next = new State([...this.entries]);
    for (const { key, value } of writes) next.#write(key, value);
    return next;
  }

  #write(key: Buffer, value: Uint8Array | undefined): void {
    const at = this.lowerBound(key);
    const present = this.entries[at]?.key.equals(key) ? 1 : 0;
    if (value === undefined) this.entries.splice(at, present);
    else this.entries.splice(at, present, { key, value });
  }

  /** Index of the first entry whose key is not below `key`. */
  lowerBound(key: Uint8Array): number {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.entries[middle];
      if (entry !== undefined && Buffer.compare(entry.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #at(key: Uint8Array): Uint8Array | undefined {
    const entry = this.entries[this.lowerBound(key)];
    return entry?.key.equals(key) ? entry.value.slice() : undefined;
  }

  /** The same rows as a transaction sees them. */
  readonly base: Base = { get: (key) => this.#at(key), keys: (prefix) => this.keys(prefix) };

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    return this.#at(rowKey(table, key));
  }

  *keys(prefix: Buffer): IterableIterator<Uint8Array> {
    for (let at = this.lowerBound(prefix); ; at++) {
      const entry = this.entries[at];
      if (entry === undefined || !entry.key.subarray(0, prefix.length).equals(prefix)) return;
      yield entry.key;
    }
  }

  *range(table: Table, options: RangeOptions = {}): IterableIterator<Row> {
    const bounds = rangeBounds(table, options);
    if (bounds === undefined) return;
    const first = this.lowerBound(bounds.start);
    const end = Math.min(this.lowerBound(bounds.end), first + (options.limit ?? Number.POSITIVE_INFINITY));
    for (const { key, value } of this.entries.slice(first, end)) {
      yield { key: Uint8Array.from(key.subarray(1)), value: value.slice() };
    }
  }
}

class MemoryStore implements Store {
  readonly #witness: Witness;
  #state = new State([]);
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(witness: Witness) {
    this.#witness = witness;
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    return this.#open().get(table, key);
  }

  range(table: Table, options?: RangeOptions): IterableIterator<Row> {
    return this.#open().range(table, options);
  }

  commit(batch: Batch): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#open();
      this.#waiting.push({ batch: takeBatch(batch), resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  snapshot(): Snapshot {
    const state = this.#open();
    return {
      get: (table, key) => state.get(table, key),
      range: (table, options) => state.range(table, options),
      [Symbol.dispose]() {},
    };
  }

  statistics() {
    const { entries } = this.#open();
    const usedBytes = entries.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    const rows = tableCounts((table) => [...this.#state.keys(rowKey(table, new Uint8Array(0)))].length);
    return { usedBytes, mapBytes: usedBytes, rows };
  }

  /** What is not referred to is gone. */
  readonly hasRoomToMove = true;

  async move(): Promise<number> {
    this.#open();
    await this.#running;
    return 0;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#running;
  }

  #open(): State {
    if (this.#closed) throw new Error('the store is closed');
    return this.#state;
  }

  /** Takes together what was queued by the time the turn ends; later calls see it one turn later, as on a disk. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      await Promise.resolve();
      const group = this.#waiting;
      this.#waiting = [];
      this.#run(group);
    }
    this.#running = undefined;
  }

  #run(group: readonly Waiting[]): void {
    const transaction = new Transaction(this.#state.base);
    const accepted: Waiting[] = [];
    for (const waiting of group) {
      const fault = transaction.add(waiting.batch);
      if (fault === undefined) accepted.push(waiting);
      else waiting.reject(fault);
    }
    try {
      const { writes, witnessed } = transaction.finish(this.#witness);
      this.#state = this.#state.with(writes);
      if (witnessed) this.#witness.settled?.(true);
      for (const waiting of accepted) waiting.resolve();
    } catch (error) {
      for (const waiting of accepted) waiting.reject(error);
    }
  }
}

/** @param witness  absent in tests that need none */
export function openMemoryStore(witness: Witness = { fold: () => [] }): Store {
  return new MemoryStore(witness);
}
