/**
 * What was destroyed is to be gone from the medium too: once no row has an old epoch, the store moves into a new file and the one
 * before is overwritten. A sealed row, `erase` in table `job`, says that it was asked for, until it is done: a power cut only
 * means that it is done again.
 */
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { MoveStep, Put, Store } from '../ports/store.ts';
import { JobRow } from './rows.ts';

/** How long it waits after a disk had no room. */
const RETRY_MS = 60_000;

/** `none`: nothing was asked for; `moving`: rows move to the newest epoch first; then the steps of the store. */
export type EraseStep = 'none' | 'moving' | MoveStep;

export interface EraseParts {
  readonly core: Core;
  readonly store: Store;
  readonly clock: Clock;
  readonly lease: LeaseTime;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
  readonly trouble: (name: string, sentence: string | undefined) => void;
}

export class Erase {
  readonly #parts: EraseParts;
  readonly #row: JobRow;
  #asked = false;
  #step: MoveStep | undefined;

  constructor(parts: EraseParts) {
    this.#parts = parts;
    this.#row = new JobRow(parts.core, parts.lease, 'erase');
  }

  get step(): EraseStep {
    return this.#step ?? (this.#asked ? 'moving' : 'none');
  }

  /** @throws Fault `store.full` */
  checkRoom(): void {
    if (this.#parts.store.hasRoomToMove) return;
    throw new Fault(
      'store.full',
      'the disk has no room for a second file of the store: nothing was done; free at least half as much again as the store takes',
    );
  }

  /** Asks for it, in the commit of the new root; `asked` is called when that is durable. */
  mark(): Put {
    return this.#row.put({ askedMs: this.#parts.clock.wallMs() });
  }

  asked(): void {
    this.#asked = true;
  }

  /**
   * Does what was asked for. No row has an old epoch.
   *
   * @returns `again` if it was asked for once more meanwhile: rows move first, then this
   */
  async run(stopped: () => boolean): Promise<'done' | 'again'> {
    const { store, note, trouble } = this.#parts;
    const asked = this.#row.find(store);
    this.#asked = asked !== undefined;
    if (asked === undefined) return 'done';
    try {
      const bytes = await this.#move(stopped);
      if (bytes === undefined || stopped()) return 'done';
      await store.commit({
        puts: [{ table: 'job', key: asked.key }],
        expect: [{ table: 'job', key: asked.key, is: asked.value }],
      });
      this.#asked = false;
      note('keys.erased', { bytes });
      return 'done';
    } catch (error) {
      if (isFault(error, 'store.conflict')) return 'again';
      const why = isFault(error) ? error.message : 'an internal error';
      if (!stopped()) trouble('erase', `what was destroyed may still be on the medium: ${why}`);
      return 'done';
    } finally {
      this.#step = undefined;
    }
  }

  /** @returns bytes that were overwritten; undefined if the box was sealed */
  async #move(stopped: () => boolean): Promise<number | undefined> {
    const { store, clock, trouble } = this.#parts;
    while (!stopped()) {
      try {
        const bytes = await store.move((step) => {
          this.#step = step;
        });
        trouble('erase', undefined);
        return bytes;
      } catch (error) {
        if (!isFault(error, 'store.full')) throw error;
        this.#step = undefined;
        trouble(
          'erase',
          'what was destroyed is still on the medium: the disk has no room for a second file of the store',
        );
        await clock.sleep(RETRY_MS);
      }
    }
    return undefined;
  }
}
