/**
 * Ending credentials: a queue a backend, durable, each worked off by itself, so that one dead server delays nobody. What is
 * queued stays until the backend has said that it is gone.
 */
import type { Timer } from '../ports/clock.ts';
import type { LeaseBackend } from '../ports/leases.ts';
import { backoffMs, sentenceOf } from './calls.ts';
import { BATCH_MAX, type Ending } from './ending.ts';
import type { LeaseParts } from './parts.ts';
import * as rows from './row.ts';

/** Calls of one backend under way at once. */
const CALLS_MAX = 2;
/** Longest sleep of a lane that waits: lease time and timers may part. */
const NAP_MAX_MS = 30_000;
const HELD_MS = 5000;
/** An empty lane is kept so long: how many credentials its backend takes a call is known of what ends next. */
const KEPT_MS = 60_000;
/** Failures that are remembered for those who wait; the queue's rows keep them for the list. */
const FAULTS_MAX = 1024;

interface Lane {
  readonly id: Buffer;
  /** Of what is queued: known when the first row of it was read. */
  server: LeaseBackend | undefined;
  failures: number;
  fault: string;
  /** Lease time in ms. */
  pausedUntilMs: number;
  running: number;
  readonly taken: Set<string>;
  timer: Timer | undefined;
  /** Somebody asked not to wait for the time of the next attempt: what was tried since then. */
  hurry: Set<string> | undefined;
}

const name = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

export class Lanes {
  readonly #parts: LeaseParts;
  readonly #ending: Ending;
  readonly #lanes = new Map<string, Lane>();
  readonly #faults = new Map<string, string>();
  #open = false;
  #progress: (() => void)[] = [];
  #under = new Set<Promise<void>>();

  constructor(parts: LeaseParts, ending: Ending) {
    this.#parts = parts;
    this.#ending = ending;
  }

  /** Goes on with every queue that is there, whatever its timers say. Their number is that of backends, not of leases. */
  start(): void {
    this.#open = true;
    this.look();
  }

  look(): void {
    if (!this.#open) return;
    const { store } = this.#parts.barrier;
    for (let from = rows.QUEUED; ; ) {
      const [row] = store.range('lease', { from, to: rows.behind(rows.QUEUED), limit: 1 });
      if (row === undefined) return;
      const { lane } = rows.parseQueueKey(row.key);
      this.wake(lane);
      from = rows.behind(rows.lanePrefix(lane));
    }
  }

  /** Begins no further call, and lets nobody wait for one. */
  halt(): void {
    this.#open = false;
    for (const lane of this.#lanes.values()) lane.timer?.cancel();
    this.#wakeWaiting();
  }

  async stop(): Promise<void> {
    this.halt();
    await Promise.all(this.#under);
    this.#lanes.clear();
    this.#faults.clear();
    this.#wakeWaiting();
  }

  /**
   * Something is due in a lane.
   *
   * @param how  `now`: a backend that did not answer is tried at once; `all`: what waits for its next attempt too
   */
  wake(id: Uint8Array, how: 'due' | 'now' | 'all' = 'due'): void {
    if (!this.#open) return;
    let lane = this.#lanes.get(name(id));
    if (lane === undefined) {
      lane = {
        ...{ id: Buffer.from(id), server: undefined, failures: 0, fault: '', pausedUntilMs: 0, running: 0 },
        ...{ taken: new Set(), timer: undefined, hurry: undefined },
      };
      this.#lanes.set(name(id), lane);
    }
    if (how !== 'due') {
      if (how === 'all') lane.hurry ??= new Set();
      lane.pausedUntilMs = 0;
    }
    this.#pump(lane);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Backends that do not answer now, counted. */
  get troubles(): number {
    return [...this.#lanes.values()].filter(({ server, failures }) => failures > 0 && server !== undefined).length;
  }

  /** What was refused one by one, in this life of the box, counted up to a limit. */
  get refused(): number {
    return this.#faults.size;
  }

  /** Why ending it failed last, in this life of the box; a whole backend's failure is one of everything in its lane. */
  faultOf(lane: Uint8Array, entry: Uint8Array): string | undefined {
    const own = this.#faults.get(name(entry));
    if (own !== undefined) return own;
    const found = this.#lanes.get(name(lane));
    return found === undefined || found.failures === 0 ? undefined : found.fault;
  }

  /** A wait begins: what failed before it does not count. */
  forget(lane: Uint8Array, entry: Uint8Array): void {
    this.#faults.delete(name(entry));
    const found = this.#lanes.get(name(lane));
    if (found !== undefined && found.running === 0) found.failures = 0;
  }

  /** Resolves when something was ended or failed, and after `ms` at the latest. */
  async progress(ms: number): Promise<void> {
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#progress.push(resolve);
      timer = this.#parts.clock.after(ms, resolve);
    });
    timer?.cancel();
  }

  #wakeWaiting(): void {
    const waiting = this.#progress;
    this.#progress = [];
    for (const resolve of waiting) resolve();
  }

  get #now(): number {
    return this.#parts.barrier.lease.nowMs();
  }

  #pump(lane: Lane): void {
    lane.timer?.cancel();
    lane.timer = undefined;
    if (!this.#open || this.#parts.barrier.core.sealed) return;
    if (this.#parts.held() !== undefined) {
      this.#later(lane, HELD_MS);
      return;
    }
    // One call finds out whether a backend that failed is back.
    while (lane.running < (lane.failures > 0 ? 1 : CALLS_MAX)) {
      const wait = lane.pausedUntilMs - this.#now;
      if (wait > 0) {
        this.#later(lane, wait);
        return;
      }
      const keys = this.#due(lane);
      if (keys.length === 0) break;
      for (const key of keys) {
        lane.taken.add(name(key));
        lane.hurry?.add(name(rows.parseQueueKey(key).entry));
      }
      lane.running++;
      const work: Promise<void> = this.#batch(lane, keys).then(
        () => this.#finished(lane, keys, work),
        (thrown: unknown) => {
          this.#failed(lane, sentenceOf(thrown));
          this.#finished(lane, keys, work);
        },
      );
      this.#under.add(work);
    }
    if (lane.running === 0) this.#rest(lane);
  }

  #finished(lane: Lane, keys: readonly Uint8Array[], work: Promise<void>): void {
    this.#under.delete(work);
    for (const key of keys) lane.taken.delete(name(key));
    lane.running--;
    this.#wakeWaiting();
    this.#pump(lane);
  }

  /** Nothing is due now: sleeps until something is. An empty lane has no failures, and is forgotten if it stays empty. */
  #rest(lane: Lane): void {
    lane.hurry = undefined;
    const prefix = rows.lanePrefix(lane.id);
    const [first] = this.#parts.barrier.store.range('lease', { prefix, limit: 1 });
    if (first !== undefined) {
      this.#later(lane, rows.parseQueueKey(first.key).nextMs - this.#now);
      return;
    }
    lane.failures = 0;
    lane.fault = '';
    lane.timer = this.#parts.clock.after(KEPT_MS, () => void this.#lanes.delete(name(lane.id)));
  }

  #later(lane: Lane, ms: number): void {
    lane.timer = this.#parts.clock.after(Math.min(Math.max(ms, 1), NAP_MAX_MS), () => this.#pump(lane));
  }

  /** Keys of what is due and not under way: leases alone or intents alone. */
  #due(lane: Lane): Uint8Array[] {
    const from = rows.lanePrefix(lane.id);
    const { hurry, taken } = lane;
    const to = hurry === undefined ? rows.lanePrefix(lane.id, this.#now + 1) : rows.behind(from);
    const full = Math.max(1, Math.min(lane.server?.batchMax ?? 1, BATCH_MAX));
    // Fewer after each failure: one that fails its whole call is found, and does not keep the others.
    const most = Math.max(1, Math.floor(full / 2 ** lane.failures));
    const limit = most + taken.size + (hurry?.size ?? 0) + 1;
    const keys: Uint8Array[] = [];
    let intents: boolean | undefined;
    for (const { key } of this.#parts.barrier.store.range('lease', { from, to, limit })) {
      const parsed = rows.parseQueueKey(key);
      if (taken.has(name(key)) || hurry?.has(name(parsed.entry)) === true) continue;
      const isIntent = rows.isIntent(parsed);
      intents ??= isIntent;
      if (isIntent !== intents) break;
      keys.push(key);
      if (keys.length === most) break;
    }
    return keys;
  }

  /** @throws what the backend as a whole throws: all of it is tried again */
  async #batch(lane: Lane, keys: readonly Uint8Array[]): Promise<void> {
    const batch = await this.#ending.prepare(keys);
    if (batch === undefined) return;
    lane.server = batch.server ?? lane.server;
    const failed = await batch.run();
    if (batch.server !== undefined) lane.failures = 0;
    for (const key of keys) this.#faults.delete(name(rows.parseQueueKey(key).entry));
    for (const { entry, fault } of failed) this.#remember(entry, fault);
  }

  #remember(entry: Uint8Array, fault: string): void {
    this.#faults.delete(name(entry));
    this.#faults.set(name(entry), fault);
    if (this.#faults.size > FAULTS_MAX) for (const [oldest] of this.#faults) return void this.#faults.delete(oldest);
  }

  /** The backend as a whole does not answer: it is left alone for a while. */
  #failed(lane: Lane, fault: string): void {
    lane.failures++;
    lane.fault = fault;
    lane.hurry = undefined;
    lane.pausedUntilMs = this.#now + backoffMs(this.#parts.random, lane.failures);
  }
}
