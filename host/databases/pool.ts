/**
 * Connections to one server: made when needed, at most so many, the newest idle one first, dropped when they idled too long
 * or lived too long. A connection that failed is not used again.
 */
import { Fault } from '../fault.ts';
import type { Timer } from '../ports/clock.ts';
import type { ConnectionLimits } from '../ports/database.ts';
import { type Deadline, tooLate } from './deadline.ts';

/** A session at a server. */
export interface Session {
  /** False when the socket is gone, or nobody knows what state the session is in. */
  readonly usable: boolean;
  /** Milliseconds that the server lets it idle. */
  readonly idleMsMax: number;
  /** Says goodbye. */
  end(): void;
  /** Ends the socket at once. */
  destroy(): void;
}

interface Idle<S> {
  readonly session: S;
  readonly bornMs: number;
  readonly sinceMs: number;
  readonly timer: Timer;
}

interface Waiter {
  readonly go: () => void;
  readonly fail: (error: Fault) => void;
}

export class Pool<S extends Session> {
  readonly #limits: ConnectionLimits;
  readonly #open: (deadline: Deadline) => Promise<S>;
  readonly #idle: Idle<S>[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #born = new WeakMap<S, number>();
  #count = 0;
  #closed = false;
  readonly #ended: (() => void)[] = [];

  constructor(limits: ConnectionLimits, open: (deadline: Deadline) => Promise<S>) {
    this.#limits = limits;
    this.#open = open;
  }

  /**
   * Runs `work` with a session of its own.
   *
   * @throws Fault `database.unreachable` no session came free, or none could be made, before the deadline
   */
  async use<T>(deadline: Deadline, work: (session: S) => Promise<T>): Promise<T> {
    if (this.#closed) throw closed();
    await this.#permit(deadline);
    let session: S | undefined;
    try {
      session = this.#takeIdle(deadline) ?? (await this.#make(deadline));
      return await work(session);
    } finally {
      this.#giveBack(session, deadline);
    }
  }

  /** Ends idle sessions now and those in use when they are done. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { session, timer } of this.#idle.splice(0)) {
      timer.cancel();
      session.end();
    }
    for (const waiter of this.#waiting.splice(0)) waiter.fail(closed());
    if (this.#count > 0) {
      await new Promise<void>((resolve) => {
        this.#ended.push(resolve);
      });
    }
  }

  /** One of the `connectionCountMax` that may be at work. */
  async #permit(deadline: Deadline): Promise<void> {
    if (this.#count < this.#limits.connectionCountMax) {
      this.#count++;
      return;
    }
    let waiter: Waiter | undefined;
    const turn = new Promise<void>((go, fail) => {
      waiter = { go, fail };
      this.#waiting.push(waiter);
    });
    const giveUp = (): void => {
      const at = waiter === undefined ? -1 : this.#waiting.indexOf(waiter);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
    await deadline.meet(turn, giveUp, `let the box have one of its ${this.#limits.connectionCountMax} connections`);
  }

  #takeIdle(deadline: Deadline): S | undefined {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle === undefined) return undefined;
      idle.timer.cancel();
      // By the clock too: a busy process hears late that a timer, or the server, has ended it.
      const isFresh = deadline.clock.bootMs() - idle.sinceMs < idle.session.idleMsMax;
      if (isFresh && idle.session.usable && !this.#isOld(idle.bornMs, deadline)) return idle.session;
      idle.session.end();
    }
  }

  async #make(deadline: Deadline): Promise<S> {
    if (deadline.leftMs === 0) throw tooLate('take a connection', deadline.timeoutMs);
    const session = await this.#open(deadline);
    this.#born.set(session, deadline.clock.bootMs());
    return session;
  }

  #giveBack(session: S | undefined, deadline: Deadline): void {
    if (session !== undefined) this.#keepOrEnd(session, deadline);
    const next = this.#waiting.shift();
    // The permit goes from hand to hand.
    if (next !== undefined) next.go();
    else if (--this.#count === 0) for (const ended of this.#ended.splice(0)) ended();
  }

  #keepOrEnd(session: S, deadline: Deadline): void {
    const bornMs = this.#born.get(session) ?? 0;
    if (!session.usable) session.destroy();
    else if (this.#closed || this.#idle.length >= this.#limits.idleCountMax || this.#isOld(bornMs, deadline)) {
      session.end();
    } else {
      const timer = deadline.clock.after(session.idleMsMax, () => this.#expire(session));
      this.#idle.push({ session, bornMs, sinceMs: deadline.clock.bootMs(), timer });
    }
  }

  #expire(session: S): void {
    const at = this.#idle.findIndex((one) => one.session === session);
    if (at >= 0) this.#idle.splice(at, 1);
    session.end();
  }

  #isOld(bornMs: number, deadline: Deadline): boolean {
    return this.#limits.lifetimeMs > 0 && deadline.clock.bootMs() - bornMs >= this.#limits.lifetimeMs;
  }
}

function closed(): Fault {
  return new Fault('database.unreachable', 'the connection to the database server was closed; ask again');
}
