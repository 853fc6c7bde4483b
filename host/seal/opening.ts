/**
 * From a core that has the root key to a box that may be let in: keyring, slots, rows, counters, log, in this order; what
 * disagrees ends it. And what the open box keeps of itself: time and the newest checkpoint.
 */
import { isCoreFault } from '../../core/index.ts';
import type { FreshnessInfo } from '../../core/types.ts';
import type { Put, Snapshot } from '../ports/store.ts';
import type { ValueMap } from '../ports/value.ts';
import { type CounterFinding, disagreement, refuse } from './counters.ts';
import { rolledBack, verifyStore } from './freshness.ts';
import type { KeyChanges } from './keys.ts';
import type { ApplianceOptions, LogLifecycle } from './options.ts';
import { BoxResidence } from './residence.ts';
import { JobRow, KEYRING_KEY, parseTimeRecord } from './rows.ts';
import { ID_SIZE, type SlotRow } from './slot-format.ts';
import { checkSlots, readSlots } from './slots.ts';

/** Rows up to which the fingerprint is recomputed before the first answer. */
const VERIFY_FIRST_ROWS = 4096;
const OLD_ROW = 'a row of the store is not the one that was written last';

export interface Opened {
  readonly slots: readonly SlotRow[];
  /** Rows that are still to be verified, if they are many; owned by the caller. */
  readonly unverified: Snapshot | undefined;
}

type Log = Parameters<LogLifecycle['start']>[0];

export class Opening {
  readonly residence: BoxResidence;
  /** The last try failed for counters that did not answer, and may later. */
  mayComeBack = false;
  readonly #options: ApplianceOptions;
  readonly #keys: Pick<KeyChanges, 'becomeAnother' | 'renewAuditKeys'>;
  readonly #time: JobRow;

  constructor(options: ApplianceOptions, keys: Pick<KeyChanges, 'becomeAnother' | 'renewAuditKeys'>) {
    this.#options = options;
    this.#keys = keys;
    const { core, lease, machine } = options;
    this.#time = new JobRow(core, lease, 'time');
    this.residence = new BoxResidence(new JobRow(core, lease, 'machine'), machine);
  }

  /**
   * @param accepts  the whole recovery quorum takes a store that was rolled back as it is
   * @throws Fault `appliance.rolled-back`, `slot.refused`, `audit.corrupt` and what devices and store throw: close it again
   */
  async open(accepts: boolean): Promise<Opened> {
    this.mayComeBack = false;
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
    const { core, store, freshness, lease, log, residents, counters } = this.#options;
    const ring = store.get('keyring', KEYRING_KEY);
    if (ring === undefined) throw rolledBack('the store has no keyring');
    core.openKeyring(Buffer.from(ring));
    let slots: readonly SlotRow[] = readSlots(store);
    checkSlots(core, slots);
    const snapshot = store.snapshot();
    let kept = false;
    try {
      const info = freshness.resume(snapshot);
      lease.resume(parseTimeRecord(this.#time.read(store)), info.timeHighWaterMs);
      this.residence.resume(store);
      // What was accepted, and what a new root is counted from, must be the whole store.
      const whole = accepts || this.residence.lives !== undefined || info.rowCount <= VERIFY_FIRST_ROWS;
      const rows = whole ? await this.#verify(snapshot, accepts) : 'as they were written';
      const found = await counters.examine();
      this.mayComeBack = found.length > 0 && found.every(({ away }) => away);
      if (found.length > 0 && !accepts) refuse(found);
      const override = found.length > 0 || rows === 'accepted' ? overridden(found, rows === 'accepted') : undefined;
      const { puts, news } = this.residence.examine(override === undefined ? undefined : override.because);
      await this.#startLog(info, override?.leaf);
      if (news !== '') log.note('seal.held', { why: news });
      if (found.length > 0) await counters.accept(found, (more) => this.record([...puts, ...more], true));
      await counters.change((more) => this.record([...puts, ...more], true));
      if (this.residence.lives !== undefined) slots = await this.becomeAnother(slots);
      else await this.#keys.renewAuditKeys();
      await this.#followSlots(slots);
      counters.verifying = !whole;
      await residents.open();
      kept = !whole;
    } finally {
      if (!kept) snapshot[Symbol.dispose]();
    }
    return { slots, unverified: kept ? snapshot : undefined };
  }

  async #verify(snapshot: Snapshot, accepts: boolean): Promise<'as they were written' | 'accepted'> {
    const { core, clock } = this.#options;
    if ((await verifyStore(core, clock, snapshot, VERIFY_FIRST_ROWS, () => false)) === true)
      return 'as they were written';
    if (!accepts) throw rolledBack(OLD_ROW);
    core.acceptRows();
    return 'accepted';
  }

  /** Not where the box is another appliance already and its log is not: then the new log is begun instead. */
  async #startLog(info: FreshnessInfo, first: Log['first']): Promise<void> {
    if (this.#isAnother()) this.#first = first;
    else await this.#options.log.start({ ...this.logStart(info), first });
  }

  #first: Log['first'];

  #isAnother(): boolean {
    const { lives } = this.residence;
    return lives !== undefined && lives !== this.applianceId();
  }

  /** Of the open box, in hex. */
  applianceId(): string {
    return Buffer.from(this.#options.core.keyringInfo().applianceId).toString('hex');
  }

  /**
   * A person said that this one lives: a new appliance id, root key, epoch and audit keys, then a new log under a new origin.
   * Until the last row it is done again at the next start. Nobody is let in meanwhile.
   *
   * @returns the slots, which wrap the new root
   */
  async becomeAnother(slots: readonly SlotRow[]): Promise<readonly SlotRow[]> {
    const { log, random, freshness, core } = this.#options;
    const was = Buffer.from(this.residence.lives ?? '', 'hex');
    if (!this.#isAnother()) {
      log.note('seal.lives', {});
      await log.durable();
      await log.stop();
    }
    const wrapped = await this.#keys.becomeAnother(slots, random.bytes(ID_SIZE));
    const { size, root } = freshness.checkpoint;
    await log.start({
      ...this.logStart(undefined),
      known: size === 0 ? undefined : { size, root },
      first: this.#first,
      was,
    });
    const { put, done } = this.residence.settled();
    await this.record([put]);
    done();
    log.note('seal.another', {
      was: was.toString('hex'),
      is: Buffer.from(core.keyringInfo().applianceId).toString('hex'),
    });
    return wrapped;
  }

  logStart(info: FreshnessInfo | undefined): Log {
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

  /** Rows that were too many to wait for. @returns undefined if `stopped` came first */
  async verifyRest(snapshot: Snapshot, stopped: () => boolean): Promise<boolean | undefined> {
    const { core, clock } = this.#options;
    try {
      using pinned = snapshot;
      return await verifyStore(core, clock, pinned, 0, stopped);
    } catch {
      // A trap or a store that cannot be read any more: the box says so by itself.
      return stopped() ? undefined : false;
    }
  }

  timePut(): Put {
    return this.#time.put({ ...this.#options.lease.record() });
  }

  /**
   * Keeps the time and the newest checkpoint: any commit renews the freshness row.
   *
   * @param urgent  may use the room that is kept back: a box on a full disk opens, so that it can revoke
   */
  async record(more: readonly Put[] = [], urgent = false): Promise<void> {
    await this.#options.store.commit({ puts: [this.timePut(), ...more], urgent });
  }

  /** A device that opens the box keeps a counter; one that was lost with its device is made anew. */
  async #followSlots(slots: readonly SlotRow[]): Promise<void> {
    const { counters, log } = this.#options;
    const events = await counters.follow(slots.map(({ header }) => header.kind));
    for (const { event, data } of events) log.note(event, data);
  }
}

/** The leaf of the quorum's override, which names both counts, store's and counter's; and why the box is held then. */
function overridden(
  findings: readonly CounterFinding[],
  rows: boolean,
): { readonly leaf: { readonly event: string; readonly data: ValueMap }; readonly because: string } {
  const counters = findings.map(({ id, kind, stored, found, why }) => ({
    ...{ counter: id, kind, stored: stored ?? null },
    ...(found === undefined ? { found: null, why } : { found: found.toString() }),
  }));
  const sentences = [...(rows ? [OLD_ROW] : []), ...findings.map(disagreement)];
  return {
    leaf: { event: 'seal.overridden', data: { counters, ...(rows ? { rows: OLD_ROW } : {}) } },
    because: `opened by the quorum although ${sentences.join('; ')}`,
  };
}

/** What verification says of a store with an old row in it. */
export const oldRow = (): string => rolledBack(OLD_ROW).message;
