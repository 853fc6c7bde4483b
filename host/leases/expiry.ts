/**
 * What ends when: rows of table `expiry`, ordered by lease time. One runner takes what is due, however long ago; a row goes
 * in the transaction that ends what it names, so nothing is ended twice or forgotten.
 */
import type { Barrier } from '../barrier/barrier.ts';
import { type ExpiryKind, KINDS } from '../barrier/expiry-row.ts';
import { isFault } from '../fault.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Row } from '../ports/store.ts';

/** Due rows that one run takes before others have their turn. The next run goes on behind them: what does not end keeps nobody. */
const RUN_ROWS = 256;
/** Between two runs, at most and at least: what comes due one after the other makes no burst of a second's. */
const TICK_MS = 1000;
const SOON_MS = 100;
const RETRY_MS = 5000;

export interface Due {
  readonly key: Uint8Array;
  readonly row: Uint8Array;
  readonly atMs: number;
  readonly id: Uint8Array;
}

/** Ends one thing, and deletes the due row in its commit. A fault leaves the row: it is tried again. */
export type Ender = (due: Due) => Promise<void>;

/** The same for all of a kind that one run finds due: it deletes their rows and waits for nothing outside. */
export type GroupEnder = (dues: readonly Due[]) => Promise<void>;

export interface ExpiryReport {
  readonly kind: ExpiryKind;
  readonly count: number;
}

export class Expiry {
  readonly #barrier: Barrier;
  readonly #clock: Clock;
  readonly #enders = new Map<number, { readonly kind: ExpiryKind; readonly end: Ender }>();
  readonly #groupEnders = new Map<number, GroupEnder>();
  readonly #report: (report: ExpiryReport) => void;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #open = false;
  /** Key behind which the next run goes on; undefined: a new pass over what is due begins. */
  #from: Uint8Array | undefined;
  /** Of the pass under way. */
  #failed = 0;
  /** What could not be ended in the last whole pass, for metrics: it is tried again. */
  #stuck = 0;

  constructor(barrier: Barrier, clock: Clock, report: (report: ExpiryReport) => void) {
    this.#barrier = barrier;
    this.#clock = clock;
    this.#report = report;
  }

  handle(kind: ExpiryKind, end: Ender): void {
    this.#enders.set(KINDS[kind], { kind, end });
  }

  /** The ender leaves its own leaves. */
  handleGroup(kind: ExpiryKind, end: GroupEnder): void {
    this.#groupEnders.set(KINDS[kind], end);
  }

  get stuck(): number {
    return this.#stuck;
  }

  start(): void {
    this.#open = true;
    this.#from = undefined;
    this.#again(0);
  }

  async stop(): Promise<void> {
    this.#open = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#running;
  }

  #again(delayMs: number): void {
    if (!this.#open) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delayMs, () => {
      this.#running = this.run().then(
        (more) => this.#again(more ? 0 : this.#stuck > 0 ? RETRY_MS : this.#nextMs()),
        () => this.#again(RETRY_MS),
      );
    });
  }

  /** Milliseconds until the next row comes due, within bounds. What is due already and stays is left for the longest. */
  #nextMs(): number {
    const { store, lease } = this.#barrier;
    const [next] = store.range('expiry', { limit: 1 });
    const waitMs = next === undefined ? TICK_MS : dueOf(next.key, next.value).atMs - lease.nowMs();
    return waitMs <= 0 ? TICK_MS : Math.min(Math.max(waitMs, SOON_MS), TICK_MS);
  }

  /** Ends what is due, at most one run of it. @returns true if the pass over what is due goes on */
  async run(): Promise<boolean> {
    const { store, lease } = this.#barrier;
    const to = Buffer.alloc(8);
    to.writeBigUInt64BE(BigInt(lease.nowMs() + 1));
    if (this.#from === undefined) this.#failed = 0;
    const due = [
      ...store.range('expiry', { ...(this.#from === undefined ? {} : { from: this.#from }), to, limit: RUN_ROWS }),
    ];
    const counts = new Map<ExpiryKind, number>();
    this.#failed += await this.#endGroups(due);
    for (const { key, value } of due) {
      if (!this.#open) return false;
      const ender = this.#enders.get(key[8] ?? 0);
      if (ender === undefined) continue;
      try {
        await ender.end(dueOf(key, value));
        counts.set(ender.kind, (counts.get(ender.kind) ?? 0) + 1);
      } catch (error) {
        // Somebody else ended it, the medium is in trouble, or it is a bug: the row is still there and is tried again.
        if (!isFault(error, 'store.conflict')) this.#failed++;
      }
    }
    for (const [kind, count] of counts) this.#report({ kind, count });
    const last = due.length === RUN_ROWS ? due.at(-1) : undefined;
    this.#from = last === undefined ? undefined : Buffer.concat([last.key, Buffer.of(0)]);
    if (last === undefined) this.#stuck = this.#failed;
    return last !== undefined;
  }

  /** @returns how many could not be ended */
  async #endGroups(due: readonly Row[]): Promise<number> {
    let stuck = 0;
    for (const [kind, end] of this.#groupEnders) {
      const own = due.filter(({ key }) => key[8] === kind).map(({ key, value }) => dueOf(key, value));
      if (own.length === 0 || !this.#open) continue;
      try {
        await end(own);
      } catch {
        // As below: all of it is tried again.
        stuck += own.length;
      }
    }
    return stuck;
  }
}

function dueOf(key: Uint8Array, row: Uint8Array): Due {
  const at = Buffer.from(key);
  return { key, row, atMs: Number(at.readBigUInt64BE()), id: at.subarray(9) };
}
