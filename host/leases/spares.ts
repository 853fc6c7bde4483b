/**
 * Intents in reserve. Where credentials of one kind are asked for one after the other, the commit of a lease writes the
 * intent of the next one too: whoever asks next finds it durable, and a credential costs one commit instead of two. With it
 * waits, in memory alone, what the engine could prepare of the credential: a password whose hash is made.
 *
 * On disk it is an intent like any other: a process that dies with it leaves it to the next one, which asks the backend and
 * finds nothing. In this process nothing was asked of a backend under it, so one that nobody came for is just deleted.
 */
import { isFault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Intent } from './issue.ts';
import type { Steps } from './steps.ts';

/** So long one waits: the time in its name, where a template has it, is at most so old. */
export const KEPT_MS = 30_000;
/** Only what was asked for so shortly before is expected again. */
export const AGAIN_MS = 10_000;
/** Of all kinds together. */
const COUNT_MAX = 64;
/** Kinds whose last issue is remembered. */
const KINDS_MAX = 256;

/** An intent, and what the engine has prepared for its credential. */
export interface Spare {
  readonly intent: Intent;
  readonly prepared: Disposable | undefined;
}

interface Kept extends Spare {
  readonly kind: string;
  /** Boot time, ms. */
  readonly sinceMs: number;
}

export class Spares {
  readonly #clock: Clock;
  readonly #steps: Steps;
  #spares: Kept[] = [];
  /** Boot time in ms at which one of the kind was last asked for; the oldest first. */
  readonly #asked = new Map<string, number>();
  #open = false;
  #dropping: Promise<void> = Promise.resolve();

  constructor(clock: Clock, steps: Steps) {
    this.#clock = clock;
    this.#steps = steps;
  }

  start(): void {
    this.#open = true;
  }

  /**
   * One for the caller alone, the newest. What was prepared is the caller's to dispose of.
   *
   * @param leastMs  lease time before which its deadline must not lie
   */
  take(kind: string, leastMs: number): Spare | undefined {
    const at = this.#spares.findLastIndex((spare) => spare.kind === kind && spare.intent.record.deadlineMs >= leastMs);
    return at < 0 ? undefined : this.#spares.splice(at, 1)[0];
  }

  /** Notes that one of the kind is asked for. @returns whether another one is likely to be, and is to be put by */
  expects(kind: string): boolean {
    const nowMs = this.#clock.bootMs();
    const beforeMs = this.#asked.get(kind);
    this.#asked.delete(kind);
    this.#asked.set(kind, nowMs);
    const [oldest] = this.#asked.keys();
    if (this.#asked.size > KINDS_MAX && oldest !== undefined) this.#asked.delete(oldest);
    const isSoon = beforeMs !== undefined && nowMs - beforeMs <= AGAIN_MS;
    return this.#open && isSoon && this.#spares.length < COUNT_MAX;
  }

  /** @param spare  its intent durable, and nothing asked of a backend under it */
  keep(kind: string, { intent, prepared }: Spare): void {
    if (this.#open) this.#spares.push({ kind, intent, prepared, sinceMs: this.#clock.bootMs() });
    // Closed meanwhile: the intent is left to its deadline.
    else prepared?.[Symbol.dispose]();
  }

  /** Deletes those that nobody came for in time. */
  sweep(): Promise<void> {
    const beforeMs = this.#clock.bootMs() - KEPT_MS;
    return this.#drop(({ sinceMs }) => sinceMs <= beforeMs);
  }

  /** @param mount  id in hex: it is being removed, and waits for the intents in it */
  leave(mount: string): Promise<void> {
    return this.#drop(({ intent }) => intent.record.mount === mount);
  }

  /** The box closes. None is put by any more; what cannot be deleted now is undone as any other intent. */
  async close(): Promise<void> {
    this.#open = false;
    await this.#drop(() => true);
  }

  /** One after the other: whoever returns from here finds none that is still being deleted. */
  #drop(which: (spare: Kept) => boolean): Promise<void> {
    const own = this.#dropping.catch(() => undefined).then(() => this.#delete(which));
    this.#dropping = own;
    return own;
  }

  /** What the store or the log does not take now is left to its deadline. */
  async #delete(which: (spare: Kept) => boolean): Promise<void> {
    const deleted = this.#spares.filter(which);
    if (deleted.length === 0) return;
    // Out of reach first: what is being deleted is given to nobody.
    this.#spares = this.#spares.filter((spare) => !which(spare));
    for (const { prepared } of deleted) prepared?.[Symbol.dispose]();
    try {
      await this.#steps.durable('issue.unused', {
        puts: deleted.map(({ intent }) => ({ table: 'lease', key: intent.key })),
      });
    } catch (thrown) {
      if (!isFault(thrown)) throw thrown;
    }
  }
}
