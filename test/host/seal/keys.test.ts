/** Rotation, slots and shares of an open box. A power cut at any of their commits: cuts.test.ts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { idOf } from '../../../host/seal/openers.ts';
import { epochOf } from '../../../host/seal/rows.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { readSlots } from '../../../host/seal/slots.ts';
import { Secret } from '../../../host/secret.ts';
import { files } from '../../../host/system/files.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { Machine, scratch } from './machine.ts';

const ROWS = 300;
const names = Array.from({ length: ROWS }, (_, n) => `row ${n}`);
const SOLO = { shares: 1, threshold: 1, keyfile: true } as const;

const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));

async function filled(): Promise<{ readonly machine: Machine; readonly shares: readonly Secret[] }> {
  const machine = new Machine('sealed');
  const { shares } = await machine.box.initialise(SOLO);
  expect(await machine.box.unsealAutomatically()).toBe(true);
  for (const name of names) await machine.put(name);
  return { machine, shares };
}

/** Every row is there and opens. */
function whole(machine: Machine): boolean {
  return names.every((name) => machine.get(name) === name);
}

function epochs(machine: Machine): readonly number[] {
  const found = new Set<number>();
  for (const { value } of machine.store.range('token')) found.add(epochOf(value));
  return [...found];
}

/** Runs the work behind a rotation to its end. */
async function settle(machine: Machine): Promise<void> {
  await machine.clock.wake(() => !machine.box.keys.progress.running);
}

const shamir = (machine: Machine, threshold: number, shares: number): ShamirSlot =>
  new ShamirSlot({ core: machine.core, random: systemRandom, threshold, shares });

function addKeyfile(machine: Machine): Promise<unknown> {
  const path = join(scratch, `second-${systemRandom.uuid()}`);
  return machine.box.keys.add(machine.box.holder(), new KeyfileSlot({ path, random: systemRandom, files }));
}

function removeKeyfile(machine: Machine): Promise<unknown> {
  const holder = machine.box.holder();
  const keyfile = holder.slots.find(({ header }) => header.kind === 'keyfile');
  if (keyfile === undefined) throw new Error('there is a key file');
  return machine.box.keys.remove(holder, idOf(keyfile));
}

describe('a rotation', () => {
  test('moves every row to a new epoch while the box serves, and forgets the old one', async () => {
    const { machine } = await filled();
    await machine.box.keys.rotate(machine.box.holder());
    expect(machine.core.keyringInfo()).toMatchObject({ epoch: 2 });
    expect(machine.box.keys.progress).toMatchObject({ epochs: [1], running: true });
    await machine.put('written meanwhile');
    await settle(machine);
    expect(epochs(machine)).toEqual([2]);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([2]);
    expect(machine.box.keys.progress).toMatchObject({ epochs: [], running: false });
    expect(whole(machine)).toBe(true);
    expect(machine.notes.slice(-3)).toEqual(['keys.rotated', 'keys.retired', 'keys.rewrapped']);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(whole(machine)).toBe(true);
    expect(machine.get('written meanwhile')).toBe('written meanwhile');
  });

  test('goes on after a restart', async () => {
    const { machine } = await filled();
    await machine.box.keys.rotate(machine.box.holder());
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await settle(machine);
    expect(epochs(machine)).toEqual([2]);
    expect(machine.core.keyringInfo().epochs).toHaveLength(1);
    expect(whole(machine)).toBe(true);
  });

  test('twice in a row ends in one epoch too', async () => {
    const { machine } = await filled();
    await machine.box.keys.rotate(machine.box.holder());
    await machine.box.keys.rotate(machine.box.holder());
    await settle(machine);
    expect(epochs(machine)).toEqual([3]);
    expect(machine.core.keyringInfo().epochs).toHaveLength(1);
  });

  test('a row that does not open keeps its epoch, and health says so', async () => {
    const { machine } = await filled();
    const bad = Buffer.concat([Buffer.of(1, 0, 0, 0, 1), Buffer.alloc(60, 7)]);
    await machine.store.commit({ puts: [{ table: 'token', key: Buffer.from('bad'), value: bad }] });
    await machine.box.keys.rotate(machine.box.holder());
    await settle(machine);
    expect(machine.core.keyringInfo().epochs).toHaveLength(2);
    expect(machine.box.status().reasons.join()).toContain('could not be moved to the newest epoch');
    expect(whole(machine)).toBe(true);
  });

  test('a sealed box has no keys to change', async () => {
    const { machine } = await filled();
    const holder = machine.box.holder();
    await machine.box.seal();
    await expect(machine.box.keys.rotate(holder)).rejects.toMatchObject({ code: 'appliance.sealed' });
    await expect(machine.box.keys.rotate(machine.box.holder())).rejects.toMatchObject({ code: 'appliance.sealed' });
  });
});

describe('new shares', () => {
  test('open the box, the old ones do not, and the key file goes on', async () => {
    const { machine, shares } = await filled();
    machine.events.length = 0;
    const made = await machine.box.keys.rekey(machine.box.holder(), shamir(machine, 2, 3), { threshold: 2, shares: 3 });
    expect(made).toHaveLength(3);
    expect(machine.core.keyringInfo()).toMatchObject({ rootGeneration: 2, epoch: 2 });
    expect(machine.events).toContain('log.keys');
    await settle(machine);
    machine.restart();
    expect(machine.box.status()).toMatchObject({ t: 2, n: 3 });
    const before = copy(shares[0]);
    await machine.box.offerShare(before);
    await expect(machine.box.offerShare(copy(made[0]))).rejects.toMatchObject({ code: 'slot.refused' });
    await machine.box.offerShare(copy(made[2]));
    expect(await machine.box.offerShare(copy(made[1]))).toMatchObject({ sealed: false });
    expect(whole(machine)).toBe(true);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(whole(machine)).toBe(true);
  });
});

describe('new shares that are verified', () => {
  async function shown() {
    const { machine, shares } = await filled();
    const { keyService } = machine.box;
    keyService.startRekey({ shares: 1, threshold: 1, verify: true });
    const made = await keyService.offerRekey(copy(shares[0]), keyService.rekeyStatus().nonce);
    return { machine, keyService, old: shares[0], made: made?.shares[0], nonce: made?.verificationNonce ?? '' };
  }

  test('are taken again where the disk refused the change, and the old ones go on until then', async () => {
    const { machine, keyService, old, made, nonce } = await shown();
    const before = readSlots(machine.store);
    machine.full = true;
    await expect(keyService.offerVerification(copy(made), nonce)).rejects.toMatchObject({ code: 'store.full' });
    machine.full = false;
    expect(readSlots(machine.store)).toEqual(before);
    expect(keyService.verificationStatus()).toMatchObject({ started: true, progress: 0 });
    expect(await keyService.offerVerification(copy(made), nonce)).toBe(true);
    expect(() => keyService.verificationStatus()).toThrow('no rekey configuration');
    await settle(machine);
    await machine.box.seal();
    await expect(machine.box.offerShare(copy(old))).rejects.toMatchObject({ code: 'slot.refused' });
    expect(await machine.box.offerShare(copy(made))).toMatchObject({ sealed: false });
    expect(whole(machine)).toBe(true);
  });

  test('are kept in no row: a restart forgets them', async () => {
    const { machine, keyService, old, made, nonce } = await shown();
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await expect(keyService.offerVerification(copy(made), nonce)).rejects.toThrow();
    await machine.box.seal();
    await expect(machine.box.offerShare(copy(made))).rejects.toMatchObject({ code: 'slot.refused' });
    expect(await machine.box.offerShare(copy(old))).toMatchObject({ sealed: false });
    expect(whole(machine)).toBe(true);
  });
});

describe('slots', () => {
  test('one that is added opens the box, and it lists both', async () => {
    const { machine } = await filled();
    await addKeyfile(machine);
    expect(
      machine.box
        .holder()
        .slots.map(({ header }) => header.kind)
        .sort(),
    ).toEqual(['keyfile', 'keyfile', 'shamir']);
    expect(machine.core.keyringInfo()).toMatchObject({ rootGeneration: 1 });
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
  });

  test('one that is removed leaves an old disk at most: new root, key file gone', async () => {
    const { machine, shares } = await filled();
    await removeKeyfile(machine);
    await settle(machine);
    expect(existsSync(machine.keyfile)).toBe(false);
    machine.restart();
    expect(machine.box.status()).toMatchObject({ type: 'shamir' });
    expect(await machine.box.unsealAutomatically()).toBe(false);
    expect(await machine.box.offerShare(copy(shares[0]))).toMatchObject({ sealed: false });
    expect(machine.core.keyringInfo()).toMatchObject({ rootGeneration: 2 });
    expect(whole(machine)).toBe(true);
  });

  test('the shares stay, unknown slots are told, and kinds that are not allowed are refused', async () => {
    const { machine } = await filled();
    const holder = machine.box.holder();
    const { keys } = machine.box;
    const recovery = holder.slots.find(({ header }) => header.kind === 'shamir');
    await expect(keys.remove(holder, recovery === undefined ? '' : idOf(recovery))).rejects.toThrow('never removed');
    await expect(keys.remove(holder, '00')).rejects.toMatchObject({ code: 'route.absent' });
    await expect(keys.add(holder, shamir(machine, 1, 1))).rejects.toThrow('rekey');
    const foreign = { ...machine.keyfileSlot(), kind: 'tpm2' as const };
    await expect(keys.add(holder, foreign as never)).rejects.toThrow('seal.allowed');
    expect(machine.core.keyringInfo()).toMatchObject({ generation: 2 });
  });
});
