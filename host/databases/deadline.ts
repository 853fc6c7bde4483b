/** A point in time that a call to a server must end by, on the clock that never goes back. */
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';

export class Deadline {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly #endMs: number;

  constructor(clock: Clock, timeoutMs: number) {
    this.clock = clock;
    this.timeoutMs = timeoutMs;
    this.#endMs = clock.bootMs() + timeoutMs;
  }

  /** 0 when it has passed. */
  get leftMs(): number {
    return Math.max(0, this.#endMs - this.clock.bootMs());
  }

  /** A part of the whole: where work must stop so that what is under way ends in time. */
  share(part: number): number {
    return Math.max(1, Math.floor(this.timeoutMs * part));
  }

  /** True while less than this part of the whole is used up. */
  within(part: number): boolean {
    return this.leftMs > this.timeoutMs * (1 - part);
  }

  /**
   * What `promise` gives, unless the deadline passes first: then `giveUp` ends what it waits for.
   *
   * @throws Fault `database.unreachable` when the deadline passed
   */
  meet<T>(promise: Promise<T>, giveUp: () => void, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.after(this.leftMs, () => {
        giveUp();
        reject(tooLate(what, this.timeoutMs));
      });
      // What comes too late, a failure too, is for nobody.
      promise.then(
        (value) => {
          timer.cancel();
          resolve(value);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }
}

export function tooLate(what: string, timeoutMs: number): Fault {
  return new Fault('database.unreachable', `the database server did not ${what} within ${timeoutMs} ms`);
}
