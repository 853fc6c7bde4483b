/**
 * What every adapter does the same way: checks a batch's limits, copies it, and works out what one transaction writes.
 *
 * Batches that share a transaction are added in the order of their calls. Each is checked against the durable state and
 * an overlay of what its predecessors put; one that fails contributes nothing. Then the witness is shown the net change.
 * Only when all of that is done does an adapter write: a store may commit what was put before an exception.
 */
import { Fault } from '../fault.ts';
import {
  BATCH_ROWS_MAX,
  type Batch,
  type Change,
  type Expectation,
  KEY_SIZE_MAX,
  type Put,
  TABLES,
  type Table,
  VALUE_SIZE_MAX,
  type Witness,
} from '../ports/store.ts';

/** Table byte and key: the order of these bytes is the order of all rows. */
export type RowKey = Buffer;

const EMPTY = Buffer.alloc(0);
const TABLE_NAMES = Object.keys(TABLES) as Table[];

export function rowKey(table: Table, key: Uint8Array): RowKey {
  const row = Buffer.allocUnsafe(key.length + 1);
  row[0] = TABLES[table];
  row.set(key, 1);
  return row;
}

/** The state that a transaction starts from. */
export interface Base {
  /** A copy, or undefined. */
  get(key: RowKey): Uint8Array | undefined;
  /** Keys (with their table byte) that begin with `prefix`, in order. */
  keys(prefix: RowKey): Iterable<Uint8Array>;
}

/** A put, copied, with its table byte in the key. */
interface OwnPut {
  readonly table: Table;
  readonly key: RowKey;
  readonly value: Buffer | undefined;
}

type OwnExpectation =
  | { readonly key: RowKey; readonly is: 'absent' | 'present' | Buffer }
  | { readonly prefix: RowKey; readonly is: 'empty' };

/** A batch that its caller no longer has a hand in. */
export interface OwnBatch {
  readonly expect: readonly OwnExpectation[];
  readonly puts: readonly OwnPut[];
  readonly urgent: boolean;
  /** Bytes of keys and values, for the bound on a group. */
  readonly size: number;
}

function refuse(what: string): never {
  throw new Fault('input.too-large', what);
}

function checkKey(key: Uint8Array): void {
  if (key.length > KEY_SIZE_MAX) refuse(`a row's key is above ${KEY_SIZE_MAX} bytes`);
}

function ownExpectation(expectation: Expectation): OwnExpectation {
  if (expectation.is === 'empty') {
    checkKey(expectation.prefix);
    return { prefix: rowKey(expectation.table, expectation.prefix), is: 'empty' };
  }
  checkKey(expectation.key);
  const is = typeof expectation.is === 'string' ? expectation.is : Buffer.from(expectation.is);
  return { key: rowKey(expectation.table, expectation.key), is };
}

function ownPut(put: Put): OwnPut {
  checkKey(put.key);
  const { value } = put;
  if (value !== undefined && value.length > VALUE_SIZE_MAX) refuse(`a row is above ${VALUE_SIZE_MAX} bytes`);
  return {
    table: put.table,
    key: rowKey(put.table, put.key),
    value: value === undefined ? undefined : value.length === 0 ? EMPTY : Buffer.from(value),
  };
}

/** @throws Fault `input.too-large` a key, a value or the number of rows is above its limit */
export function takeBatch(batch: Batch): OwnBatch {
  const rows = batch.puts.length + (batch.expect?.length ?? 0);
  if (rows > BATCH_ROWS_MAX) refuse(`a batch names more than ${BATCH_ROWS_MAX} rows`);
  const puts = batch.puts.map(ownPut);
  let size = 0;
  for (const put of puts) size += put.key.length + (put.value?.length ?? 0);
  return { expect: (batch.expect ?? []).map(ownExpectation), puts, urgent: batch.urgent ?? false, size };
}

/** One row that the transaction touches; `name` is its key as a string, one character a byte. */
interface Touched {
  readonly table: Table;
  readonly key: RowKey;
  readonly before: Uint8Array | undefined;
  after: Buffer | undefined;
}

/** A row to write, or with `value` absent to delete. */
export interface Write {
  readonly table: Table;
  readonly key: RowKey;
  readonly value: Buffer | undefined;
  /** How the table's number of rows changes. */
  readonly grows: -1 | 0 | 1;
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

function nameOf(key: Uint8Array): string {
  return Buffer.prototype.latin1Slice.call(key);
}

export class Transaction {
  readonly #base: Base;
  readonly #touched = new Map<string, Touched>();

  constructor(base: Base) {
    this.#base = base;
  }

  /** @returns undefined if the batch is part of the transaction now, else why it is not */
  add(batch: OwnBatch): Fault | undefined {
    for (const expectation of batch.expect) {
      if (!this.#holds(expectation, batch)) {
        return new Fault('store.conflict', 'the row was changed in the meantime');
      }
    }
    for (const put of batch.puts) this.#put(put);
    return undefined;
  }

  /**
   * Shows the witness what changes and takes in what it adds.
   *
   * @returns what to write, and whether `fold` was called; no writes if the transaction changes nothing
   * @throws what the witness throws
   */
  finish(witness: Witness): { readonly writes: Write[]; readonly witnessed: boolean } {
    const changes: Change[] = [];
    for (const { table, key, before, after } of this.#touched.values()) {
      if (table === 'boot' || table === 'freshness' || sameBytes(before, after)) continue;
      changes.push({
        table,
        key: key.subarray(1),
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
      });
    }
    if (changes.length > 0) {
      for (const put of witness.fold(changes)) this.#put(ownPut(put));
    }
    const writes: Write[] = [];
    for (const { table, key, before, after } of this.#touched.values()) {
      if (sameBytes(before, after)) continue;
      writes.push({ table, key, value: after, grows: before === undefined ? 1 : after === undefined ? -1 : 0 });
    }
    return { writes, witnessed: changes.length > 0 };
  }

  #get(key: RowKey): Uint8Array | undefined {
    const touched = this.#touched.get(nameOf(key));
    return touched === undefined ? this.#base.get(key) : touched.after;
  }

  #put(put: OwnPut): void {
    const name = nameOf(put.key);
    const touched = this.#touched.get(name);
    if (touched !== undefined) {
      touched.after = put.value;
      return;
    }
    this.#touched.set(name, { table: put.table, key: put.key, before: this.#base.get(put.key), after: put.value });
  }

  #holds(expectation: OwnExpectation, batch: OwnBatch): boolean {
    if (expectation.is === 'empty') return this.#isEmpty(expectation.prefix, batch);
    const now = this.#get(expectation.key);
    if (expectation.is === 'absent') return now === undefined;
    if (expectation.is === 'present') return now !== undefined;
    return sameBytes(now, expectation.is);
  }

  #isEmpty(prefix: RowKey, batch: OwnBatch): boolean {
    const deleted = new Set<string>();
    // The last put of a key is what the batch does with it.
    for (const put of batch.puts) {
      const name = nameOf(put.key);
      if (put.value === undefined) deleted.add(name);
      else deleted.delete(name);
    }
    const start = nameOf(prefix);
    for (const [name, touched] of this.#touched) {
      if (touched.after !== undefined && name.startsWith(start) && !deleted.has(name)) return false;
    }
    for (const key of this.#base.keys(prefix)) {
      const name = nameOf(key);
      if (!this.#touched.has(name) && !deleted.has(name)) return false;
    }
    return true;
  }
}

/** First key after every key that begins with `prefix`; undefined if there is none. */
export function afterPrefix(prefix: Uint8Array): Buffer | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const last = prefix[length - 1] ?? 0;
    if (last === 255) continue;
    const end = Buffer.from(prefix.subarray(0, length));
    end[length - 1] = last + 1;
    return end;
  }
  return undefined;
}

/** Turns a table's range options into bounds over all rows; undefined if nothing can lie between them. */
export function rangeBounds(
  table: Table,
  options: { readonly prefix?: Uint8Array; readonly from?: Uint8Array; readonly to?: Uint8Array },
): { readonly start: Buffer; readonly end: Buffer } | undefined {
  const prefix = rowKey(table, options.prefix ?? EMPTY);
  let start: Buffer = prefix;
  // A table byte is below 255, so there is always a key after its rows.
  let end: Buffer = afterPrefix(prefix) ?? Buffer.of(255);
  if (options.from !== undefined) {
    const from = rowKey(table, options.from);
    if (Buffer.compare(from, start) > 0) start = from;
  }
  if (options.to !== undefined) {
    const to = rowKey(table, options.to);
    if (Buffer.compare(to, end) < 0) end = to;
  }
  return Buffer.compare(start, end) < 0 ? { start, end } : undefined;
}

/** A number for every table, zero at first. */
export function tableCounts(count: (table: Table) => number): Record<Table, number> {
  return Object.fromEntries(TABLE_NAMES.map((table) => [table, count(table)])) as Record<Table, number>;
}
