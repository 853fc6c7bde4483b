/** The keys of an open box as its operations see them (host/ports/appliance.ts). */
import { Fault } from '../fault.ts';
import type { KeyService, SlotInfo } from '../ports/appliance.ts';
import type { SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Ceremonies } from './ceremony.ts';
import { idOf, type KeyChanges, type KeyHolder } from './keys.ts';
import type { SlotRow } from './slot-format.ts';
import { proveSlot, weakest } from './slots.ts';

export interface KeyServiceParts {
  readonly keys: KeyChanges;
  readonly ceremonies: Ceremonies;
  readonly holder: () => KeyHolder;
  /** Adapters that are configured here, but for the recovery shares'. */
  readonly automatic: readonly SealSlot[];
  readonly allowed: readonly SlotKind[];
}

export function keyService(parts: KeyServiceParts): KeyService {
  const { keys, ceremonies, holder, automatic, allowed } = parts;
  const adapterOf = (kind: SlotKind): SealSlot | undefined => automatic.find((one) => one.kind === kind);
  const infoOf = (slot: SlotRow, slots: readonly SlotRow[]): SlotInfo => {
    const { kind, createdMs, threshold, shares } = slot.header;
    return {
      ...{ id: idOf(slot), kind, createdMs, threshold, shares },
      automatic: adapterOf(kind)?.automatic ?? false,
      allowed: allowed.includes(kind),
      weakest: weakest(slots) === kind,
    };
  };
  const found = (id: string): SlotRow => {
    const slot = holder().slots.find((one) => idOf(one) === id);
    if (slot === undefined) throw new Fault('route.absent', 'there is no slot of this id: see slot list');
    return slot;
  };
  return {
    rotate: () => keys.rotate(holder()),
    progress: () => keys.progress,
    slots() {
      const { slots } = holder();
      return slots.map((slot) => infoOf(slot, slots));
    },
    async addSlot(kind) {
      const adapter = adapterOf(kind);
      if (adapter === undefined) {
        throw new Fault('input.invalid', `slots of kind ${kind} are not configured here: see the settings seal.*`);
      }
      const added = await keys.add(holder(), adapter);
      return infoOf(added, holder().slots);
    },
    async testSlot(id) {
      const slot = found(id);
      const adapter = adapterOf(slot.header.kind);
      if (adapter === undefined)
        throw new Fault('slot.unavailable', `a ${slot.header.kind} slot is tested by its holders`);
      await proveSlot(adapter, slot, {});
    },
    removeSlot: (id) => keys.remove(holder(), id, adapterOf(found(id).header.kind)),
    rekeyStatus: () => ceremonies.rekeyStatus(),
    startRekey: (shares, threshold) => ceremonies.startRekey(shares, threshold),
    cancelRekey: (nonce) => ceremonies.cancelRekey(nonce),
    offerRekey: (share, nonce) => ceremonies.offerRekey(share, nonce),
    rootStatus: () => ceremonies.rootStatus(),
    startRoot: (otp) => ceremonies.startRoot(otp),
    cancelRoot: (nonce) => ceremonies.cancelRoot(nonce),
    offerRoot: (share, nonce) => ceremonies.offerRoot(share, nonce),
  };
}
