/**
 * Makes a new box. The row `complete` is written last: a power cut before it leaves an uninitialised box, whose leftovers
 * the next initialisation removes.
 */
import type { Core } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { InitResult } from '../ports/appliance.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTimeKeeper } from '../ports/lease-time.ts';
import type { Random } from '../ports/random.ts';
import type { SealSlot, SlotKind } from '../ports/seal-slot.ts';
import { BATCH_ROWS_MAX, type Put, type Store, TABLES, type Table } from '../ports/store.ts';
import type { Secret } from '../secret.ts';
import { checkQuorum } from './ceremony.ts';
import { type Freshness, rolledBack } from './freshness.ts';
import { completePut, holdsMore, KEYRING_KEY } from './rows.ts';
import { encodeSlotList, ID_SIZE } from './slot-format.ts';
import { createSlot, type NewSlot, slotPut, wrapTo } from './slots.ts';

/** Of a folder that no initialisation may be started over. */
export const MORE =
  'the data folder holds a box, and the row that says that it is whole was changed or lost. Put the newest disk back, or a copy of it; to make another box, name an empty folder in HOLDFAST_DATA';

export interface InitOptions {
  readonly shares: number;
  readonly threshold: number;
  /** By `server --init`: with a key file where `seal.initial` has one. */
  readonly keyfile: boolean;
}

export interface FoundingParts {
  readonly core: Core;
  readonly store: Store;
  readonly freshness: Freshness;
  readonly clock: Clock;
  readonly lease: LeaseTimeKeeper;
  readonly random: Random;
  readonly allowed: readonly SlotKind[];
  readonly shamir: (threshold: number, shares: number) => SealSlot;
  readonly automatic: readonly SealSlot[];
  readonly initial?: readonly SlotKind[];
}

/**
 * @param found    fills the box: mounts, policies, root token; the audit log runs from then on
 * @param deliver  hands out what is shown once, before the box is complete
 * @param time     the row that keeps lease time
 */
export async function foundBox(
  parts: FoundingParts,
  options: InitOptions,
  found: () => Promise<{ readonly rootToken: Secret }>,
  deliver: ((result: InitResult) => Promise<void>) | undefined,
  time: () => Put,
): Promise<InitResult> {
  checkQuorum(options.shares, options.threshold);
  const { core, store, freshness, clock, lease, random } = parts;
  const createdMs = clock.wallMs();
  const applianceId = random.bytes(ID_SIZE);
  core.createKeyring(applianceId, createdMs);
  const { slots, shares, discard } = await makeSlots(parts, options, createdMs);
  const ring = Buffer.from(core.stageKeyring({ slots: encodeSlotList(slots), nowMs: createdMs }));
  core.adoptStaged();
  lease.resume(undefined, 0);
  freshness.begin();
  try {
    await store.commit({ puts: [{ table: 'keyring', key: KEYRING_KEY, value: ring }, ...slots.map(slotPut)] });
    const { rootToken } = await found();
    const result = { shares, rootToken };
    await deliver?.(result);
    await store.commit({ puts: [completePut(applianceId, createdMs), time()] });
    return result;
  } catch (error) {
    await discard();
    throw error;
  }
}

async function makeSlots(parts: FoundingParts, options: InitOptions, createdMs: number) {
  const { core, random, allowed, automatic, initial = ['keyfile'] } = parts;
  const { threshold, shares } = options;
  const made: NewSlot[] = [
    await createSlot(core, random, parts.shamir(threshold, shares), { threshold, shares }, createdMs),
  ];
  const adapters = new Map<NewSlot, SealSlot>();
  /** What lies on devices of a box that was never finished; a key file stays, another box may be opened by it. */
  const discard = async (): Promise<void> => {
    for (const [{ key }, adapter] of adapters) {
      if (adapter.kind !== 'keyfile') await adapter.discard(key.blob).catch(() => undefined);
    }
  };
  try {
    for (const kind of initial) {
      const adapter = automatic.find((one) => one.kind === kind);
      if (kind === 'keyfile' && !options.keyfile) continue;
      if (adapter === undefined || !allowed.includes(kind)) {
        // A box without the slot that its profile counts on would be found out at the first power cut.
        if (kind !== 'keyfile') throw new Fault('slot.unavailable', `slots of kind ${kind} are not configured here`);
        continue;
      }
      const slot = await createSlot(core, random, adapter, { threshold: 0, shares: 0 }, createdMs);
      adapters.set(slot, adapter);
      made.push(slot);
    }
  } catch (error) {
    await discard();
    throw error;
  }
  const { rootGeneration } = core.keyringInfo();
  const slots = made.map(({ key }) => wrapTo(core, key, rootGeneration));
  return { slots, shares: made.flatMap((one) => one.shares), discard };
}

/**
 * Removes what an initialisation that was cut left in the store and the log. Never called on a complete box.
 *
 * @throws Fault `appliance.rolled-back` if it is more than that: nothing was removed
 */
export async function clearLeftovers(store: Store, freshness: Freshness, log: { clear(): void }): Promise<void> {
  if (holdsMore(store)) throw rolledBack(MORE);
  log.clear();
  await freshness.clearing(async () => {
    for (const table of Object.keys(TABLES) as Table[]) {
      const prefix = table === 'boot' ? Buffer.from('slot/', 'ascii') : undefined;
      for (;;) {
        const rows = [...store.range(table, { ...(prefix === undefined ? {} : { prefix }), limit: BATCH_ROWS_MAX })];
        if (rows.length === 0) break;
        await store.commit({ puts: rows.map(({ key }) => ({ table, key })) });
      }
    }
  });
}
