/** What happened while the box was sealed: no key to write leaves with, so the last ones are held, and all are counted. */
import type { ValueMap } from '../ports/value.ts';
import { timestampNanos } from '../timestamp.ts';
import type { AuditNote } from './types.ts';

const HELD_COUNT_MAX = 64;
/** Of a text in the data of an event: longer ones are cut. */
const TEXT_LENGTH_MAX = 256;
const FIELD_COUNT_MAX = 16;

export interface HeldEvent extends AuditNote {
  readonly timeMs: number;
  readonly timeNanos: number;
}

/** Whoever knocks at a sealed box must not fill its memory. */
function bounded(data: ValueMap): ValueMap {
  const fields = Object.entries(data).slice(0, FIELD_COUNT_MAX);
  return Object.fromEntries(
    fields.map(([key, value]) => [
      key.slice(0, TEXT_LENGTH_MAX),
      typeof value === 'object' ? '' : typeof value === 'string' ? value.slice(0, TEXT_LENGTH_MAX) : value,
    ]),
  );
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
    this.#events.push({ ...event, data: bounded(event.data ?? {}), hashed: bounded(event.hashed ?? {}) });
  }

  /** Notes for the log, oldest first, the count of all in front. */
  peek(): AuditNote[] {
    if (this.#count === 0) return [];
    return [
      { event: 'sealed.held', data: { count: this.#count, kept: this.#events.length } },
      ...this.#events.map(({ timeMs, timeNanos, event, data, hashed }) => ({
        event,
        data: { ...data, while_sealed: true, happened: timestampNanos(timeMs, timeNanos) },
        hashed: hashed ?? {},
      })),
    ];
  }

  /** They are in the log: nothing is held any more. */
  clear(): void {
    this.#events.length = 0;
    this.#count = 0;
  }
}
