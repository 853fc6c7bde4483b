/** A box that its HSM opens, over starts, with the PIN mark in its store. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { storedPinMark } from '../../../../host/seal/pin.ts';
import { Secret } from '../../../../host/secret.ts';
import { Machine } from '../machine.ts';
import { childrenAlive, shimmed } from './shim.ts';
import { PIN, removeScratch } from './tokens.ts';

afterAll(() => {
  expect(childrenAlive()).toEqual([]);
  removeScratch();
});

async function boxWithHsm() {
  const machine = new Machine('sealed');
  const hsm = shimmed({ mark: storedPinMark(machine.store) });
  machine.hardware.push(hsm.slot);
  machine.restart();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  const keyfile = machine.box.keyService.slots().find(({ kind }) => kind === 'keyfile');
  const added = await machine.box.keyService.addSlot('pkcs11');
  expect(added).toMatchObject({ kind: 'pkcs11', automatic: true, removed: [keyfile?.id], warnings: [] });
  await machine.box.keyService.testSlot(added.id);
  await machine.clock.wake(() => !machine.box.keys.progress.running);
  await machine.put('a row');
  const share = (): Secret => new Secret(Buffer.from(shares[0]?.bytes ?? []));
  const starts = (): Promise<boolean> => {
    machine.restart();
    return machine.box.unsealAutomatically();
  };
  return { machine, hsm, share, starts };
}

test('a box opens by its HSM alone at every start', async () => {
  const { machine, starts } = await boxWithHsm();
  for (let start = 0; start < 3; start++) {
    expect(await starts()).toBe(true);
    expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'pkcs11' });
    expect(machine.get('a row')).toBe('a row');
  }
});

test('a box whose HSM is pulled serves on, stays shut after a start, opens by its shares, and by the HSM when it is back', async () => {
  const { machine, hsm, share, starts } = await boxWithHsm();
  renameSync(join(hsm.folder, 'tokens'), join(hsm.folder, 'pulled'));
  expect(machine.get('a row')).toBe('a row');
  expect(await starts()).toBe(false);
  await machine.box.offerShare(share());
  expect(machine.get('a row')).toBe('a row');
  renameSync(join(hsm.folder, 'pulled'), join(hsm.folder, 'tokens'));
  expect(await starts()).toBe(true);
  hsm.misbehave({ at: 'C_Decrypt', does: 0x32 });
  expect(await starts()).toBe(false);
  hsm.misbehave({ at: 'C_Decrypt', does: 'abort' });
  expect(await starts()).toBe(false);
  hsm.misbehave(undefined);
  expect(await machine.box.unsealAutomatically()).toBe(true);
});

test('a box with a wrong PIN file tries it once, however often it starts', async () => {
  const { machine, hsm, share, starts } = await boxWithHsm();
  writeFileSync(hsm.pinFile, '111111\n');
  const before = hsm.logins();
  for (let start = 0; start < 5; start++) expect(await starts()).toBe(false);
  expect(hsm.logins() - before).toBe(1);
  // A person corrects the file, opens the box by a share, and adds the slot anew: the token takes the PIN again.
  writeFileSync(hsm.pinFile, PIN);
  expect(await starts()).toBe(false);
  await machine.box.offerShare(share());
  await machine.box.keyService.addSlot('pkcs11');
  expect(await starts()).toBe(true);
});
