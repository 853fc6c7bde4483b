/** Intents that no lease came of: they are marked, so that none can any more, and the lanes undo them. */
import { retry } from '../barrier/barrier.ts';
import { isFault } from '../fault.ts';
import type { Lanes } from './lanes.ts';
import type { LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import type { Steps } from './steps.ts';
import type { LeaseTable } from './table.ts';

export class Undoing {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #lanes: Lanes;
  readonly #incarnation: string;

  /** @param incarnation  of this process: what it has under way has until its deadline */
  constructor(parts: LeaseParts, table: LeaseTable, steps: Steps, lanes: Lanes, incarnation: string) {
    this.#parts = parts;
    this.#table = table;
    this.#steps = steps;
    this.#lanes = lanes;
    this.#incarnation = incarnation;
  }

  /** Marks intents of dead processes, and of this one past their deadline, to be undone. */
  async sweep(): Promise<void> {
    const now = this.#parts.barrier.lease.nowMs();
    for await (const { record } of this.#table.intents()) {
      const { undoing, incarnation, deadlineMs, id } = record;
      const dead = incarnation !== this.#incarnation;
      if (undoing || !(dead || deadlineMs <= now)) continue;
      await this.undo(id, dead ? 'the process that made it is gone' : 'its making took too long');
    }
  }

  /** @throws Fault of the store */
  async undo(id: string, reason: string): Promise<void> {
    const { barrier } = this.#parts;
    const key = this.#table.keys.intent(id);
    const lane = await retry(() =>
      this.#table.job(async (grant) => {
        const opened = this.#table.open(grant, key);
        if (opened === undefined) return undefined;
        const intent = rows.decodeIntent(opened.payload);
        const own = this.#table.keys.lane(intent.mount, intent.backend);
        if (intent.undoing) return own;
        const queued = { sinceMs: barrier.lease.nowMs(), reason, attempts: 0, fault: '' };
        const queueKey = rows.intentQueueKey(own, 0, this.#table.keys.entry(id));
        this.#parts.tell({ event: 'lease.undo', data: { lease_id: id, mount: intent.mount, reason }, urgent: true });
        await this.#steps.durable('undo.mark', {
          puts: [
            barrier.seal(grant, 'lease', key, rows.encodeIntent({ ...intent, undoing: true })),
            barrier.seal(grant, 'lease', queueKey, rows.encodeQueued(queued)),
          ],
          expect: [{ table: 'lease', key, is: opened.row }],
          urgent: true,
        });
        return own;
      }),
    );
    if (lane !== undefined) this.#lanes.wake(lane);
  }

  /** What cannot be marked now (a seal, a disk that is gone) the sweep finds, by its deadline or its dead process. */
  async undoUnderWay(id: string, reason: string): Promise<void> {
    try {
      await this.undo(id, reason);
    } catch (thrown) {
      if (!isFault(thrown)) throw thrown;
    }
  }
}
