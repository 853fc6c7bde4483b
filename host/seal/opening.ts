/**
 * From a core that has the root key to a box that may be let in: keyring, slots, rows, counters, log, in this order; what
 * disagrees ends it. And what the open box keeps of itself: time and the newest checkpoint.
 */
import { isCoreFault } from '../../core/index.ts';
import type { FreshnessInfo } from '../../core/types.ts';
import type { Put, Snapshot } from '../ports/store.ts';
import { type CounterFinding, refuse } from './counters.ts';
import { rolledBack, verifyStore } from './freshness.ts';
import type { ApplianceOptions, LogLifecycle } from './options.ts';
import { JobRow, KEYRING_KEY, parseTimeRecord } from './rows.ts';
import type { SlotRow } from './slot-format.ts';
import { checkSlots, readSlots } from './slots.ts';

/** Rows up to which the fingerprint is recomputed before the first answer. */
const VERIFY_FIRST_ROWS = 4096;

export interface Opened {
  readonly slots: readonly SlotRow[];
  /** Rows that are still to be verified, if they are many; owned by the caller. */
  readonly unverified: Snapshot | undefined;
}

export class Opening {
  readonly #options: ApplianceOptions;
  readonly #time: JobRow;

  constructor(options: ApplianceOptions) {
    this.#options = options;
    this.#time = new JobRow(options.core, options.lease, 'time');
  }

  /**
   * @param accepts  the whole recovery quorum takes a store that was rolled back as it is
   * @throws Fault `appliance.rolled-back`, `slot.refused`, `audit.corrupt` and what devices and store throw: close it again
   */
  async open(accepts: boolean): Promise<Opened> {
    try {
      return await this.#open(accepts);
    } catch (error) {
      // A slot gave the root key: what does not open with it is of another time, or was changed.
      if (isCoreFault(error) && error.status === 'refused') {
        throw rolledBack('the keyring, or a row under it, is of another time or was changed');
      }
      throw error;
    }
  }

  async #open(accepts: boolean): Promise<Opened> {
    const { core, store, freshness, lease, log, residents, counters, clock } = this.#options;
    const ring = store.get('keyring', KEYRING_KEY);
    if (ring === undefined) throw rolledBack('the store has no keyring');
    core.openKeyring(Buffer.from(ring));
    const slots = readSlots(store);
    checkSlots(core, slots);
    const snapshot = store.snapshot();
    let kept = false;
    try {
      const info = freshness.resume(snapshot);
      lease.resume(parseTimeRecord(this.#time.read(store)), info.timeHighWaterMs);
      if (info.rowCount <= VERIFY_FIRST_ROWS) {
        const agrees = await verifyStore(core, clock, snapshot, VERIFY_FIRST_ROWS, () => false);
        if (agrees !== true) throw rolledBack('a row of the store is not the one that was written last');
      }
      const found = await counters.examine();
      if (found.length > 0 && !accepts) refuse(found);
      await log.start({ ...this.logStart(info), first: found.length === 0 ? undefined : overridden(found) });
      if (found.length > 0) await counters.accept(found, (more) => this.record(more));
      await counters.change((more) => this.record(more));
      await this.#followSlots(slots);
      await residents.open();
      kept = info.rowCount > VERIFY_FIRST_ROWS;
    } finally {
      if (!kept) snapshot[Symbol.dispose]();
    }
    return { slots, unverified: kept ? snapshot : undefined };
  }

  logStart(info: FreshnessInfo | undefined): Parameters<LogLifecycle['start']>[0] {
    return {
      applianceId: Buffer.from(this.#options.core.keyringInfo().applianceId),
      known:
        info === undefined || info.checkpointSize === 0
          ? undefined
          : { size: info.checkpointSize, root: Uint8Array.from(info.checkpointRoot) },
      onCheckpoint: (size, root) => {
        this.#options.freshness.noteCheckpoint(size, root);
        return this.record();
      },
    };
  }

  timePut(): Put {
    return this.#time.put({ ...this.#options.lease.record() });
  }

  /** Keeps the time and the newest checkpoint: any commit renews the freshness row. */
  async record(more: readonly Put[] = []): Promise<void> {
    await this.#options.store.commit({ puts: [this.timePut(), ...more] });
  }

  /** A device that opens the box keeps a counter; one that was lost with its device is made anew. */
  async #followSlots(slots: readonly SlotRow[]): Promise<void> {
    const { counters, log } = this.#options;
    const events = await counters.follow(slots.map(({ header }) => header.kind));
    for (const { event, data } of events) log.note(event, data);
  }
}

/** The leaf of the quorum's override: names both counts, store's and counter's. */
function overridden(findings: readonly CounterFinding[]) {
  return {
    event: 'seal.overridden',
    data: {
      counters: findings.map(({ id, kind, stored, found, why }) => ({
        ...{ counter: id, kind, stored: stored ?? null },
        ...(found === undefined ? { found: null, why } : { found: found.toString() }),
      })),
    },
  };
}
