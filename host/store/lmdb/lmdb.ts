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
import type { Batch, MoveStep, RangeOptions, Row, Snapshot, Store, Table, Witness } from '../../ports/store.ts';
import { type OwnBatch, Transaction, tableCounts, takeBatch, type Write } from '../transaction.ts';
import { causeOf, endProcess, fullFault, hasOverrun, mayGoOn, unavailableFault } from './fault.ts';
import type { FreshOptions } from './fresh.ts';
import { moveStore, WrittenKeys } from './move.ts';
import { type EnvironmentHandle, Pinned } from './reader.ts';
import type { Space } from './space.ts';

/** Rows and bytes that one transaction takes at most, but for a single larger batch. */
const GROUP_ROWS_MAX = 16_384;
const GROUP_BYTES_MAX = 16 * 1024 * 1024;

/** Pages that a transaction may add beside its values' bytes: two a row (its leaf, split) and the tree above. */
const PAGE_SIZE = 4096;
const PAGES_A_ROW = 2;
const PAGES_A_GROUP = 64;
/** Free beside the store, over half as much again as it uses, before it moves: its rows are written anew first. */
const MOVE_ROOM_BYTES = 4 * 1024 * 1024;

interface Waiting {
  readonly batch: OwnBatch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What a transaction came to before LMDB was told. */
interface Group {
  readonly accepted: readonly Waiting[];
  readonly writes: readonly Write[];
  readonly witnessed: boolean;
  /** Why none of it may be written: the witness refused, or the durable state could not be read. */
  readonly refused?: { readonly error: unknown };
}

export interface LmdbParts extends FreshOptions {
  readonly handle: EnvironmentHandle;
  readonly witness: Witness;
  readonly space: (usedBytes: () => number) => Space;
}

export class LmdbStore implements Store {
  readonly #parts: LmdbParts;
  readonly #witness: Witness;
  readonly #space: Space;
  #handle: EnvironmentHandle;
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
  /** Work for which no transaction may be under way. */
  #interlude: (() => Promise<void>) | undefined;
  readonly #written = new WrittenKeys();
  #moving: Promise<number> | undefined;
  #closeSaid: () => void = () => undefined;
  readonly #closing = new Promise<void>((resolve) => {
    this.#closeSaid = resolve;
  });

  constructor(parts: LmdbParts) {
    this.#parts = parts;
    this.#witness = parts.witness;
    this.#handle = parts.handle;
    this.#space = parts.space(() => this.#handle.sizes().usedBytes);
    this.#pinned = new Pinned(this.#handle);
    this.#listen();
  }

  #listen(): void {
    this.#handle.environment.on('beforecommit', () => this.#beforeCommit?.());
  }

  get(table: Table, key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    return this.#pinned.get(table, key);
  }

  range(table: Table, options?: RangeOptions): IterableIterator<Row> {
    this.#checkOpen();
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
    this.#rows ??= tableCounts((table) => this.#pinned.count(table));
    return { ...this.#handle.sizes(), rows: { ...this.#rows } };
  }

  commit(batch: Batch): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#checkOpen();
      if (this.#broken !== undefined) throw this.#broken;
      this.#waiting.push({ batch: takeBatch(batch), resolve, reject });
      this.#wake();
    });
  }

  get hasRoomToMove(): boolean {
    const { usedBytes } = this.#handle.sizes();
    return this.#space.hasBeside(usedBytes + Math.ceil(usedBytes / 2) + MOVE_ROOM_BYTES);
  }

  async move(told: (step: MoveStep) => void = () => undefined): Promise<number> {
    this.#checkOpen();
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#moving !== undefined) throw new Error('the store is moving already');
    this.#moving = moveStore(
      {
        ...this.#parts,
        goOn: () => !this.#closed && this.#broken === undefined,
        closing: this.#closing,
        pinned: () => this.#pinned,
        written: this.#written,
        alone: (work) => this.#alone(work),
        replace: (handle, pinned) => this.#replace(handle, pinned),
        broke: (error) => this.#break(error),
      },
      told,
    );
    try {
      return await this.#moving;
    } finally {
      this.#moving = undefined;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeSaid();
    await this.#moving?.catch(() => undefined);
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#pinned.release();
    this.#space.close();
    await this.#handle.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the store is closed');
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#drain();
  }

  #alone(work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#interlude = () => work().then(resolve, reject);
      this.#wake();
    });
  }

  #replace(handle: EnvironmentHandle, pinned: Pinned): EnvironmentHandle {
    const before = { handle: this.#handle, pinned: this.#pinned };
    this.#handle = handle;
    this.#pinned = pinned;
    this.#listen();
    this.#space.forget();
    before.pinned.release();
    return before.handle;
  }

  async #drain(): Promise<void> {
    for (;;) {
      const interlude = this.#interlude;
      this.#interlude = undefined;
      if (interlude !== undefined) await interlude();
      else if (this.#waiting.length > 0) await this.#runGroup();
      else break;
    }
    this.#running = false;
    for (const resolve of this.#idle) resolve();
  }

  /** One transaction. Never rejects: every batch's own promise tells how it went. */
  async #runGroup(): Promise<void> {
    let group: Group = { accepted: [], writes: [], witnessed: false };
    this.#beforeCommit = () => {
      this.#beforeCommit = undefined;
      group = this.#prepare();
      this.#write(group.writes);
    };
    let failure: { readonly error: unknown } | undefined;
    try {
      // An empty batch makes lmdb-js call back at the end of this turn: what is committed until then comes along.
      await this.#handle.environment.batch(() => undefined);
    } catch (error) {
      failure = { error: await causeOf(error) };
    }
    if (failure !== undefined) this.#fail(group, failure.error);
    else if (group.refused !== undefined) for (const { reject } of group.accepted) reject(group.refused.error);
    else this.#succeed(group);
  }

  /**
   * Hands the puts to lmdb-js. It makes several promises for one transaction, the last when this turn's callback has
   * ended and for nobody to see; each rejects if the transaction fails. That is told by the first one: the others are
   * heard so that they are not "unhandled".
   */
  #write(writes: readonly Write[]): void {
    const ignore = (): void => undefined;
    const { environment } = this.#handle;
    let last: Promise<boolean> | undefined;
    for (const { key, value } of writes) {
      const put = value === undefined ? environment.remove(key) : environment.put(key, value);
      if (put !== last) put.catch(ignore);
      last = put;
    }
    queueMicrotask(() => void environment.committed.then(ignore, ignore));
  }

  /** Takes what waits, as much as one transaction takes, and works out what it writes. Never throws. */
  #prepare(): Group {
    const accepted: Waiting[] = [];
    try {
      const transaction = new Transaction(this.#pinned.base);
      for (const waiting of this.#takeGroup()) {
        const fault = transaction.add(waiting.batch);
        if (fault === undefined) accepted.push(waiting);
        else waiting.reject(fault);
      }
      return { accepted, ...transaction.finish(this.#witness) };
    } catch (error) {
      return { accepted, writes: [], witnessed: false, refused: { error } };
    }
  }

  /** Batches for one transaction, with room on the disk for what they write. */
  #takeGroup(): Waiting[] {
    let rows = 0;
    let bytes = 0;
    let taken = 0;
    for (const { batch } of this.#waiting) {
      rows += batch.puts.length;
      bytes += batch.size;
      if (taken > 0 && (rows > GROUP_ROWS_MAX || bytes > GROUP_BYTES_MAX)) break;
      taken++;
    }
    const group = this.#waiting.slice(0, taken);
    this.#waiting = this.#waiting.slice(taken);
    try {
      this.#space.probe();
      return this.#withRoom(group);
    } catch (error) {
      this.#break(error);
      this.#reject(group, unavailableFault(error));
      return [];
    }
  }

  /** Rejects the batches for which there is no room; urgent ones may use what is kept back. */
  #withRoom(group: readonly Waiting[]): Waiting[] {
    const urgent = group.filter(({ batch }) => batch.urgent);
    const ordinary = group.filter(({ batch }) => !batch.urgent);
    if (ordinary.length > 0) {
      if (this.#space.holdBallast() && this.#space.reserve(roomFor(group))) return [...group];
      this.#reject(ordinary, fullFault(undefined));
    }
    if (urgent.length === 0) return [];
    const room = roomFor(urgent);
    if (this.#space.reserve(room) || (this.#space.releaseBallast() && this.#space.reserve(room))) return urgent;
    this.#reject(urgent, fullFault(undefined));
    return [];
  }

  #succeed({ accepted, writes, witnessed }: Group): void {
    if (writes.length > 0) {
      const before = this.#pinned;
      this.#pinned = new Pinned(this.#handle);
      before.release();
      this.#count(writes);
      this.#written.add(writes);
    }
    if (witnessed) this.#witness.settled?.(true);
    for (const { resolve } of accepted) resolve();
  }

  /** LMDB wrote nothing that counts: reads go on from `#pinned`. */
  #fail({ accepted, witnessed }: Group, error: unknown): void {
    if (hasOverrun(error)) endProcess();
    if (witnessed) this.#witness.settled?.(false);
    if (!mayGoOn(error)) {
      this.#break(error);
      this.#reject(accepted, unavailableFault(error));
      return;
    }
    // Blocks were reserved and yet the disk was full: a file system that reserves nothing.
    const again = this.#space.releaseBallast() ? accepted.filter(({ batch }) => batch.urgent) : [];
    const rejected = accepted.filter((waiting) => !again.includes(waiting));
    this.#waiting = [...again, ...this.#waiting];
    this.#reject(rejected, fullFault(error));
  }

  /** Takes no commits from now on: LMDB may be unable to, or the disk may have lost what it said it had. */
  #break(error: unknown): void {
    this.#broken = unavailableFault(error);
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#reject(waiting, this.#broken);
  }

  #reject(waiting: readonly Waiting[], fault: Fault): void {
    for (const { reject } of waiting) reject(fault);
  }

  #count(writes: readonly Write[]): void {
    if (this.#rows === undefined) return;
    for (const { table, grows } of writes) this.#rows[table] += grows;
  }
}

/** Bytes of pages that the batches may add, generously. */
function roomFor(group: readonly Waiting[]): number {
  let room = PAGES_A_GROUP * PAGE_SIZE;
  for (const { batch } of group) room += 2 * batch.size + batch.puts.length * PAGES_A_ROW * PAGE_SIZE;
  return room;
}
