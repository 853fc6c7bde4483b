/** The next try to open the box by itself, each later than the one before. */
import type { Clock, Timer } from '../ports/clock.ts';

const BACKOFF_MS = [1000, 2000, 5000, 15_000, 60_000] as const;
const LONGEST_MS = 60_000;

export class Retry {
  readonly #clock: Pick<Clock, 'after'>;
  #timer: Timer | undefined;
  #attempts = 0;

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  /** In place of a try that was to come. */
  later(job: () => void): void {
    this.cancel();
    this.#timer = this.#clock.after(BACKOFF_MS[this.#attempts++] ?? LONGEST_MS, job);
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  /** The box is open: pauses begin anew. */
  opened(): void {
    this.cancel();
    this.#attempts = 0;
  }
}
