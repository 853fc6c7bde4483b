/** Changes of the box's state, one after the other. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<unknown> = Promise.resolve();

  /** For who is let in already: a change of keys. */
  next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** For who changes whether anybody is let in: waits for a closing that is under way. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#closing.then(() => this.next(work));
  }

  /**
   * Closes in two steps: `letOut` waits for those who are in, before the turn of `work`, for some of them wait for theirs.
   *
   * @returns when it is closed: not awaited by who is among those that are in
   */
  close(letOut: () => Promise<void>, work: () => Promise<void>): Promise<void> {
    const closed = letOut().then(() => this.next(work));
    // One that began before may end after this one.
    this.#closing = Promise.allSettled([this.#closing, closed]);
    return closed;
  }
}
