/** Changes of the box's state, one after the other. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> = Promise.resolve();

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
   * Not awaited by who asks for it: its request is among them.
   */
  close(letOut: () => Promise<void>, work: () => Promise<void>): void {
    this.#closing = letOut().then(() => this.next(work));
  }
}
