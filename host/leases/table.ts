/** Leases where they lie: finding, walking, entering and leaving the tree of their ids. */
import type { Barrier, OpenedRow } from '../barrier/barrier.ts';
import { expiryKey } from '../barrier/expiry-row.ts';
import { throughCore } from '../barrier/fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Undo } from '../ports/leases.ts';
import type { Expectation, Put } from '../ports/store.ts';
import * as rows from './row.ts';

/** Rows that are read before others have their turn, and committed together. */
export const WALK_ROWS = 256;
/** Leases that are committed together where much ends by itself. */
export const TURN_ROWS = 48;
/** Of these, so many are worked on before others have their turn: a few tenths of a millisecond. */
export const PART_ROWS = 6;
/** Names that one LIST shows. */
export const LIST_NAMES_MAX = 100_000;

export interface FoundLease {
  readonly key: Buffer;
  readonly directory: Buffer;
  readonly entry: Buffer;
  readonly record: rows.LeaseRecord;
  readonly row: Uint8Array;
}

export interface OpenRow {
  readonly key: Uint8Array;
  readonly payload: Uint8Array;
  readonly row: Uint8Array;
}

export interface Listed {
  readonly names: readonly string[];
  /** More are there than one list shows. */
  readonly cut: boolean;
}

/** In parts of `TURN_ROWS`. */
export function* turns<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += TURN_ROWS) yield all.slice(at, at + TURN_ROWS);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

export class LeaseTable {
  readonly keys: rows.LeaseKeys;
  readonly #barrier: Barrier;
  readonly #clock: Clock;
  /** Counted in `each`. */
  #worked = 0;

  constructor(barrier: Barrier, clock: Clock) {
    this.#barrier = barrier;
    this.#clock = clock;
    this.keys = new rows.LeaseKeys(barrier.core);
  }

  job<T>(work: (grant: number) => T | Promise<T>): Promise<T> {
    return this.#barrier.job('lease', undefined, work);
  }

  /** Runs `work` for each of much that ends; others have their turn after every few, whatever the work. */
  async each<T>(all: readonly T[], work: (one: T) => void): Promise<void> {
    for (const one of all) {
      if (this.#worked++ % PART_ROWS === PART_ROWS - 1) await this.#clock.sleep(0);
      work(one);
    }
  }

  open(grant: number, key: Uint8Array): OpenedRow | undefined {
    return this.#barrier.open(grant, 'lease', key);
  }

  byId(grant: number, id: string): FoundLease | undefined {
    const { keys } = this;
    return this.at(grant, keys.directory(rows.parentOf(id)), keys.entry(id));
  }

  at(grant: number, directory: Buffer, entry: Buffer): FoundLease | undefined {
    const key = rows.leaseKey(directory, entry);
    const opened = this.open(grant, key);
    if (opened === undefined) return undefined;
    return { key, directory, entry, record: rows.decodeLease(opened.payload), row: opened.row };
  }

  /** Queued to be ended: its row of table `expiry` went in the commit that queued it. */
  isQueued({ entry, record }: FoundLease): boolean {
    return this.#barrier.store.get('expiry', expiryKey(record.expireMs, 'lease', entry)) === undefined;
  }

  // ------------------------------------------------------------------------------------------ the tree

  /** Rows of the directories of a new lease that are not there yet. Those that are must still be there at the commit. */
  entering(grant: number, id: string): { readonly puts: Put[]; readonly expect: Expectation[] } {
    const puts: Put[] = [];
    const expect: Expectation[] = [];
    for (let path = rows.parentOf(id); path !== ''; path = rows.parentOf(path)) {
      const key = this.keys.directoryRow(path);
      if (this.#barrier.store.get('lease', key) !== undefined) {
        // Whoever deletes the last lease of a directory deletes its row: then this commit is made again.
        expect.push({ table: 'lease', key, is: 'present' });
        break;
      }
      expect.push({ table: 'lease', key, is: 'absent' });
      puts.push(this.#barrier.seal(grant, 'lease', key, rows.encodeName(path)));
    }
    return { puts, expect };
  }

  /** Deletes leases, and the directories that are empty then. Callers follow each other: two at once see each other's rows. */
  leaving(leases: readonly FoundLease[]): { readonly puts: Put[]; readonly expect: Expectation[] } {
    const puts: Put[] = leases.map(({ key }) => ({ table: 'lease', key }));
    const expect: Expectation[] = [];
    const gone = new Set(leases.map(({ key }) => hex(key)));
    const looked = new Set<string>();
    // Deepest first: a directory goes when all that it held goes with it.
    const paths = [...new Set(leases.map(({ record }) => rows.parentOf(record.id)))].sort(
      (a, b) => b.split('/').length - a.split('/').length,
    );
    for (const one of paths) {
      for (let path = one; path !== '' && !looked.has(path); path = rows.parentOf(path)) {
        looked.add(path);
        const prefix = rows.treePrefix(this.keys.directory(path));
        if (this.#holdsOthers(prefix, gone)) {
          // What is deleted below it later in this loop may be its last.
          looked.delete(path);
          break;
        }
        const key = this.keys.directoryRow(path);
        expect.push({ table: 'lease', prefix, is: 'empty' });
        puts.push({ table: 'lease', key });
        gone.add(hex(key));
      }
    }
    return { puts, expect };
  }

  #holdsOthers(prefix: Buffer, gone: ReadonlySet<string>): boolean {
    for (const { key } of this.#barrier.store.range('lease', { prefix, limit: gone.size + 1 })) {
      if (!gone.has(hex(key))) return true;
    }
    return false;
  }

  /** Names in a directory, one level, in the order of their bytes; directories end in `/`. */
  async list(path: string): Promise<Listed> {
    const names: string[] = [];
    let cut = false;
    for await (const { key, payload } of this.rows(rows.treePrefix(this.keys.directory(path)))) {
      if (names.length === LIST_NAMES_MAX) {
        cut = true;
        break;
      }
      if (!rows.isLease(key)) names.push(`${Buffer.from(payload).toString('utf8')}/`);
      else names.push(rows.decodeLease(payload).id.slice(path === '' ? 0 : path.length + 1));
    }
    return { names: names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))), cut };
  }

  /** What explains names on servers: all of the box, since two backends may lead to one server. */
  async *known(): AsyncGenerator<Undo> {
    for await (const { record } of this.intents()) yield { id: record.id, undo: record.undo };
    for await (const some of this.below('')) {
      for (const { record } of some) yield { id: record.id, undo: record.undo };
    }
  }

  /** What is being made or undone. */
  async *intents(): AsyncGenerator<{ readonly record: rows.IntentRecord }> {
    for await (const { payload } of this.rows(rows.INTENTS)) yield { record: rows.decodeIntent(payload) };
  }

  /** Rows whose keys begin so, opened, some at a time: others have their turn in between. */
  async *rows(prefix: Buffer): AsyncGenerator<OpenRow> {
    for (let from: Buffer = prefix; ; ) {
      const found = [...this.#barrier.store.range('lease', { from, to: rows.behind(prefix), limit: WALK_ROWS })];
      const opened = await this.job((grant) =>
        found.map(({ key, value }) => ({
          key,
          row: value,
          payload: Uint8Array.from(throughCore(() => this.#barrier.core.openTable(grant, 'lease', key, value))),
        })),
      );
      yield* opened;
      const last = found.at(-1);
      if (last === undefined || found.length < WALK_ROWS) return;
      from = Buffer.concat([last.key, Buffer.of(0)]);
      await this.#clock.sleep(0);
    }
  }

  /**
   * Every lease below a directory, some at a time. What is deleted meanwhile may be seen or not; what is there all the
   * time is seen once.
   *
   * @param path  '' all
   */
  async *below(path: string): AsyncGenerator<FoundLease[]> {
    const open: Buffer[] = [this.keys.directory(path)];
    for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
      let some: FoundLease[] = [];
      for await (const { key, payload, row } of this.rows(rows.treePrefix(directory))) {
        if (!rows.isLease(key)) {
          open.push(rows.childOf(key));
          continue;
        }
        const own = Buffer.from(key);
        some.push({
          ...{ key: own, directory, entry: rows.childOf(key), record: rows.decodeLease(payload) },
          row: Uint8Array.from(row),
        });
        if (some.length < WALK_ROWS) continue;
        yield some;
        some = [];
      }
      if (some.length > 0) yield some;
    }
  }
}
