/** Keeps the newest checkpoint and the time in the store while the box is open: what can be cut off unnoticed stays short. */
import { isFault } from '../fault.ts';
import type { Clock, Timer } from '../ports/clock.ts';

export interface HeartbeatParts {
  readonly clock: Clock;
  readonly everyMs: number;
  readonly open: () => boolean;
  readonly record: () => Promise<void>;
  /** What else is looked after, when the record is durable. */
  readonly recorded: () => void;
  readonly trouble: (sentence: string | undefined) => void;
}

export class Heartbeat {
  readonly #parts: HeartbeatParts;
  #next: Timer | undefined;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
  }

  /** Records now, and again while the box is open. */
  async beat(): Promise<void> {
    const { clock, everyMs, open, record, recorded, trouble } = this.#parts;
    this.stop();
    try {
      await record();
      trouble(undefined);
      recorded();
    } catch (error) {
      // Whatever it is, the box goes on, and what can be cut off unnoticed grows: health has to say so.
      const why = isFault(error) ? error.message : 'an internal error';
      trouble(`the newest checkpoint and the time could not be recorded: ${why}`);
    }
    if (!open()) return;
    this.#next = clock.after(everyMs, () => {
      if (open()) void this.beat();
    });
  }

  stop(): void {
    this.#next?.cancel();
  }
}
