/** What happened while the box was sealed: no key to write leaves with, so the last ones are held, and all are counted. */
import { timestampNanos } from '../timestamp.ts';
import type { AuditNote } from './types.ts';

const HELD_COUNT_MAX = 64;
const TEXT_LENGTH_MAX = 256;

export interface HeldEvent {
  readonly timeMs: number;
  readonly timeNanos: number;
  /** e.g. `unseal.share.refused`: 1 to 64 of a-z 0-9 . - */
  readonly event: string;
  /** Where it came from; absent for a unix socket or the box itself. */
  readonly peer?: string;
  /** A sentence, never a secret; longer than 256 characters is cut. */
  readonly detail?: string;
}

export class HeldEvents {
  readonly #events: HeldEvent[] = [];
  #count = 0;

  /** Events since the last `clear`, those included that are no longer held. */
  get count(): number {
    return this.#count;
  }

  add(event: HeldEvent): void {
    this.#count += 1;
    if (this.#events.length === HELD_COUNT_MAX) this.#events.shift();
    const detail = event.detail?.slice(0, TEXT_LENGTH_MAX);
    this.#events.push({ ...event, ...(detail === undefined ? {} : { detail }) });
  }

  /** Notes for the log, oldest first, the count of all in front. */
  peek(): AuditNote[] {
    if (this.#count === 0) return [];
    return [
      { event: 'sealed.held', data: { count: this.#count, kept: this.#events.length } },
      ...this.#events.map(({ timeMs, timeNanos, event, peer, detail }) => ({
        event,
        data: {
          while_sealed: true,
          happened: timestampNanos(timeMs, timeNanos),
          ...(peer === undefined ? {} : { remote_address: peer }),
          ...(detail === undefined ? {} : { detail }),
        },
      })),
    ];
  }

  /** They are in the log: nothing is held any more. */
  clear(): void {
    this.#events.length = 0;
    this.#count = 0;
  }
}
