import { afterEach, expect, test } from 'vitest';
import { Secret } from '../../../../host/secret.ts';
import { Machine as Chip } from '../../../tpm/machine.ts';
import { Machine } from '../machine.ts';

const open: Chip[] = [];
afterEach(() => {
  for (const chip of open.splice(0)) chip.close();
});

/** A box that its TPM alone opens, but for the recovery share. */
async function boxWithTpm() {
  const chip = new Chip();
  open.push(chip);
  const machine = new Machine('sealed');
  machine.hardware.push(chip.slot());
  machine.restart();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  const keyfile = machine.box.keyService.slots().find(({ kind }) => kind === 'keyfile');
  const added = await machine.box.keyService.addSlot('tpm2');
  expect(added).toMatchObject({ kind: 'tpm2', automatic: true, removed: [keyfile?.id], warnings: [] });
  await machine.box.keyService.testSlot(added.id);
  await settle(machine);
  await machine.put('a row');
  return { chip, machine, added, share: new Secret(Buffer.from(shares[0]?.bytes ?? [])) };
}

const settle = (machine: Machine): Promise<void> => machine.clock.wake(() => !machine.box.keys.progress.running);

test('a box opens by its TPM alone at every start, and not after a start that measured something else', async () => {
  const { chip, machine } = await boxWithTpm();
  for (let start = 0; start < 3; start++) {
    machine.restart();
    await chip.powerCut();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'tpm2' });
    expect(machine.get('a row')).toBe('a row');
  }
  machine.restart();
  await chip.powerCut('firmware 2');
  expect(await machine.box.unsealAutomatically()).toBe(false);
  const { sealed, reasons } = machine.box.status();
  expect(sealed).toBe(true);
  expect(reasons.join()).toContain('PCRs moved');
});

test('the recovery share opens a box whose chip died, and enrols the new one', async () => {
  const { chip, machine, added, share } = await boxWithTpm();
  machine.restart();
  await chip.replaceChip();
  expect(await machine.box.unsealAutomatically()).toBe(false);
  expect(machine.box.status().reasons.join()).toContain('another TPM');
  await machine.box.offerShare(share);
  expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'shamir' });
  await machine.box.keyService.addSlot('tpm2');
  await machine.box.keyService.removeSlot(added.id);
  await settle(machine);
  machine.restart();
  await chip.powerCut();
  expect(await machine.box.unsealAutomatically()).toBe(true);
  expect(machine.box.status()).toMatchObject({ openedBy: 'tpm2' });
  expect(machine.get('a row')).toBe('a row');
});
