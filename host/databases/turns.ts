/** One at a time, in the order of asking, each with its own deadline. */
import type { Deadline } from './deadline.ts';

export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** @throws Fault `database.unreachable` the turn did not come before the deadline */
  async take<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    let done = (): void => undefined;
    const mine = new Promise<void>((resolve) => {
      done = resolve;
    });
    // Whoever comes behind waits for this turn's end, and for those before it should this one give up.
    this.#last = Promise.all([before, mine]).then(() => undefined);
    try {
      await deadline.meet(before, () => undefined, 'end what others had asked of it');
      return await work();
    } finally {
      done();
    }
  }
}
