import type { TpmSlot } from '../../../../host/seal/tpm2/slot.ts';
import { type SlotBench, sealSlotContract } from '../../../contract/seal-slot.ts';
import { Machine, pin } from '../../../tpm/machine.ts';

function bench(machine: Machine, slot: TpmSlot, rest: Pick<SlotBench, 'offer' | 'wrongOffers'>): SlotBench {
  return { slot, ...rest, remove: () => machine.chip.kill(), blobOnly: true, close: () => machine.close() };
}

sealSlotContract({ kind: 'tpm2', automatic: true, bindsContext: true }, () => {
  const machine = new Machine();
  return bench(machine, machine.slot(), { offer: () => ({}), wrongOffers: () => [] });
});

sealSlotContract({ kind: 'tpm2', automatic: false, bindsContext: true }, () => {
  const machine = new Machine();
  const slot = machine.slot({ pin: pin('4711') });
  // Not awaited: what is asked of the TPM afterwards waits for it, and fails if this did.
  slot.setLockoutAuth(pin('lock-out password')).catch(() => undefined);
  return bench(machine, slot, {
    offer: () => ({ pin: pin('4711') }),
    wrongOffers: () => [{ pin: pin('4712') }, { pin: pin('') }, {}],
  });
});
