/** The keys of an open box as its operations see them (host/ports/appliance.ts). */
import { Fault } from '../fault.ts';
import type { KeyService, LockoutService, SlotInfo, SlotOffer } from '../ports/appliance.ts';
import type { CounterStatus } from '../ports/counter.ts';
import type { Offered, SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Ceremonies } from './ceremony.ts';
import type { Added, KeyChanges, KeyHolder } from './keys.ts';
import { findSlot, idOf, type Openers } from './openers.ts';
import type { SlotRow } from './slot-format.ts';
import { proveSlot, weakest } from './slots.ts';

export interface KeyServiceParts {
  readonly keys: KeyChanges;
  readonly ceremonies: Ceremonies;
  readonly holder: () => KeyHolder;
  readonly openers: Openers;
  readonly lockout: LockoutService;
  readonly allowed: readonly SlotKind[];
  readonly counters: () => readonly CounterStatus[];
  /** Resolves when the leaves that ask for something are on disk: they come before a device hears of it. */
  readonly leavesDurable: () => Promise<void>;
}

const HARDWARE: ReadonlySet<SlotKind> = new Set<SlotKind>(['tpm2', 'pkcs11']);
const offeredOf = ({ pin }: SlotOffer): Offered => (pin === undefined ? {} : { pin });

export function keyService(parts: KeyServiceParts): KeyService {
  const { keys, ceremonies, holder, openers, allowed } = parts;
  const infoOf = (slot: SlotRow, slots: readonly SlotRow[]): SlotInfo => {
    const { kind, createdMs, threshold, shares } = slot.header;
    const opens = openers.opens(slot);
    return {
      ...{ id: idOf(slot), kind, createdMs, threshold, shares },
      ...{ automatic: opens === 'itself', asksPin: opens === 'pin' },
      allowed: allowed.includes(kind),
      weakest: weakest(slots) === kind,
      counter: parts.counters().find((one) => one.kind === kind),
    };
  };
  const configured = (kind: SlotKind): SealSlot => {
    const adapter = openers.adapterOf(kind);
    if (adapter !== undefined) return adapter;
    throw new Fault('input.invalid', `slots of kind ${kind} are not configured here: see the settings seal.*`);
  };
  const told = ({ slot, gone, warnings }: Added) => ({
    ...infoOf(slot, holder().slots),
    removed: gone.map(idOf),
    warnings,
  });
  /** The first TPM or HSM takes the key file away: whoever could read it could open the box elsewhere. */
  const retired = (slots: readonly SlotRow[]): readonly SlotRow[] =>
    slots.some(({ header }) => HARDWARE.has(header.kind))
      ? []
      : slots.filter(({ header }) => header.kind === 'keyfile');
  return {
    rotate: () => keys.rotate(holder()),
    erase: () => keys.erase(holder()),
    progress: () => keys.progress,
    slots() {
      const { slots } = holder();
      return slots.map((slot) => infoOf(slot, slots));
    },
    async addSlot(kind, offer = {}) {
      const out = HARDWARE.has(kind) && offer.keepKeyfile !== true ? retired : () => [];
      return told(await keys.add(holder(), configured(kind), { offered: offeredOf(offer), out }));
    },
    async replaceSlot(id, kind, offer = {}) {
      const old = findSlot(holder().slots, id);
      const out = (slots: readonly SlotRow[]): readonly SlotRow[] => [findSlot(slots, idOf(old))];
      const adapter = configured(kind ?? old.header.kind);
      return told(await keys.add(holder(), adapter, { offered: offeredOf(offer), out }));
    },
    async testSlot(id, offer = {}) {
      const slot = findSlot(holder().slots, id);
      const adapter = openers.adapterOf(slot.header.kind);
      if (adapter === undefined)
        throw new Fault('slot.unavailable', `a ${slot.header.kind} slot is tested by its holders`);
      await parts.leavesDurable();
      try {
        await proveSlot(adapter, slot, offeredOf(offer));
        openers.worked(slot);
      } catch (error) {
        openers.failed(slot, error);
        throw error;
      }
    },
    removeSlot: (id, offer = {}) => keys.remove(holder(), idOf(findSlot(holder().slots, id)), offeredOf(offer)),
    lockout: parts.lockout,
    rekeyStatus: () => ceremonies.rekeyStatus(),
    startRekey: (wish) => ceremonies.startRekey(wish),
    cancelRekey: (nonce) => ceremonies.cancelRekey(nonce),
    offerRekey: (share, nonce) => ceremonies.offerRekey(share, nonce),
    verificationStatus: () => ceremonies.verificationStatus(),
    offerVerification: (share, nonce) => ceremonies.offerVerification(share, nonce),
    restartVerification: (nonce) => ceremonies.restartVerification(nonce),
    rootStatus: () => ceremonies.rootStatus(),
    startRoot: (otp) => ceremonies.startRoot(otp),
    cancelRoot: (nonce) => ceremonies.cancelRoot(nonce),
    offerRoot: (share, nonce) => ceremonies.offerRoot(share, nonce),
  };
}
