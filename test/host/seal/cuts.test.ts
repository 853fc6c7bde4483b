/**
 * Killed after every commit of every change of keys, on a disk in memory and on LMDB: what is left opens by the slots that it
 * lists and by no other, whole, and the work behind it ends.
 */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SealSlot } from '../../../host/ports/seal-slot.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { idOf } from '../../../host/seal/openers.ts';
import { epochOf, KEYRING_KEY } from '../../../host/seal/rows.ts';
import type { SlotRow } from '../../../host/seal/slot-format.ts';
import { openSlot, readSlots } from '../../../host/seal/slots.ts';
import { Secret } from '../../../host/secret.ts';
import { files } from '../../../host/system/files.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { Machine, newCore, scratch } from './machine.ts';

/** More than one batch of the rewrap. */
const names = Array.from({ length: 140 }, (_, n) => `row ${n}`);

const keyfileAt = (path: string): KeyfileSlot => new KeyfileSlot({ path, random: systemRandom, files });
const newPath = (): string => join(scratch, `key-${systemRandom.uuid()}`);
const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));

/** Who holds what: a copy of the key file, and shares, from before the change and from after it. */
interface Holders {
  readonly keyfile: string;
  readonly shares: readonly Secret[];
  /** Key file that the change makes. */
  readonly another: string;
  /** Shares that the change made; undefined: nobody was told them. */
  newShares?: readonly Secret[];
}

const CHANGES: Readonly<Record<string, (machine: Machine, holders: Holders) => Promise<unknown>>> = {
  rotate: ({ box }) => box.keys.rotate(box.holder()),
  erase: ({ box }) => box.keys.erase(box.holder()),
  async rekey(machine, holders) {
    const { box } = machine;
    holders.newShares = await box.keys.rekey(box.holder(), machine.shamir(2, 3), { threshold: 2, shares: 3 });
  },
  async 'a rekey that was verified'(machine, holders) {
    const { keys } = machine.box;
    const holder = machine.box.holder();
    const before = machine.commits;
    const made = await keys.prepareShares(holder, machine.shamir(2, 3), { threshold: 2, shares: 3 });
    holders.newShares = made.shares;
    expect(machine.commits).toBe(before);
    await keys.replaceShares(holder, made.key);
  },
  'adding a slot': ({ box }, { another }) => box.keys.add(box.holder(), keyfileAt(another)),
  'removing a slot': ({ box }) => box.keys.remove(box.holder(), idOf(keyfileOf(box.holder().slots))),
  'replacing a slot': ({ box }, { another }) =>
    box.keys.add(box.holder(), keyfileAt(another), { out: (slots) => [keyfileOf(slots)] }),
};

function keyfileOf(slots: readonly SlotRow[]): SlotRow {
  const found = slots.find(({ header }) => header.kind === 'keyfile');
  if (found === undefined) throw new Error('there is a key file');
  return found;
}

const DISKS: Readonly<Record<string, () => Promise<{ readonly machine: Machine; end(): Promise<void> }>>> = {
  'a disk in memory': async () => ({ machine: new Machine('sealed'), end: async () => undefined }),
  LMDB: () => Machine.onDisk('sealed'),
};

async function filled(disk: () => Promise<{ readonly machine: Machine; end(): Promise<void> }>) {
  const { machine, end } = await disk();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  await machine.putAll(names);
  const holders: Holders = { keyfile: newPath(), shares, another: newPath() };
  copyFileSync(machine.keyfile, holders.keyfile);
  return { machine, holders, end, before: readSlots(machine.store) };
}

const settle = (machine: Machine): Promise<void> => machine.clock.wake(() => !machine.box.keys.progress.running);
const whole = (machine: Machine): boolean => names.every((name) => machine.get(name) === name);

/** Whether somebody with this slot's row and its key opens the keyring that is on the disk now. */
async function opens({ store }: Machine, row: SlotRow, adapter: SealSlot, shares: readonly Secret[]): Promise<boolean> {
  const core = newCore();
  const ring = Buffer.from(store.get('keyring', KEYRING_KEY) ?? []);
  try {
    await openSlot(core, adapter, row, { shares: shares.map(copy) });
    core.openKeyring(ring);
    return true;
  } catch {
    return false;
  }
}

/** By whatever anybody has ever held. */
async function opensByAnything(machine: Machine, row: SlotRow, holders: Holders): Promise<boolean> {
  const { kind, threshold, shares } = row.header;
  if (kind === 'keyfile') {
    return (
      (await opens(machine, row, keyfileAt(holders.keyfile), [])) || opens(machine, row, keyfileAt(holders.another), [])
    );
  }
  const adapter = machine.shamir(threshold, shares);
  const sets = [holders.shares, (holders.newShares ?? []).slice(0, 2)];
  return (await opens(machine, row, adapter, sets[0] ?? [])) || opens(machine, row, adapter, sets[1] ?? []);
}

const same = (a: SlotRow, b: SlotRow): boolean =>
  idOf(a) === idOf(b) && Buffer.compare(Buffer.from(a.wrapped), Buffer.from(b.wrapped)) === 0;

describe.each(Object.keys(DISKS))('on %s', (diskName) => {
  const disk = DISKS[diskName] as () => Promise<{ readonly machine: Machine; end(): Promise<void> }>;
  test.each(Object.keys(CHANGES))(
    'killed after any commit of %s',
    async (name) => {
      const change = CHANGES[name] as (machine: Machine, holders: Holders) => Promise<unknown>;
      const uncut = await filled(disk);
      const first = uncut.machine.commits;
      await change(uncut.machine, uncut.holders);
      await settle(uncut.machine);
      const last = uncut.machine.commits;
      await uncut.end();
      expect(last).toBeGreaterThan(first);
      const states = new Set<string>();
      // The commit of this number and all after it fail: it was killed after the one before.
      for (let cutAt = first + 1; cutAt <= last + 1; cutAt++) {
        const { machine, holders, before, end } = await filled(disk);
        machine.cutAt = cutAt;
        await change(machine, holders).catch(() => undefined);
        await settle(machine);
        machine.restart();

        const now = readSlots(machine.store);
        const rings = new Set(now.map(({ rootGeneration }) => rootGeneration));
        expect(rings.size).toBe(1);
        const changed = !before.every((one) => now.some((other) => same(one, other)));
        states.add(
          `${changed} ${now
            .map(({ header }) => header.kind)
            .toSorted((a, b) => (a < b ? -1 : 1))
            .join()}`,
        );
        for (const row of now)
          expect([cutAt, row.header.kind, await opensByAnything(machine, row, holders)]).toEqual([
            cutAt,
            row.header.kind,
            true,
          ]);
        // What is not listed as it was opens an old disk at most, whoever holds it.
        for (const row of before.filter((one) => !now.some((other) => same(one, other)))) {
          expect([cutAt, row.header.kind, await opensByAnything(machine, row, holders)]).toEqual([
            cutAt,
            row.header.kind,
            false,
          ]);
        }

        for (const path of [holders.keyfile, holders.another]) {
          machine.hardware.push(keyfileAt(path));
        }
        machine.restart();
        if (!(await machine.box.unsealAutomatically())) await machine.box.offerShare(copy(holders.shares[0]));
        expect(machine.box.status()).toMatchObject({ sealed: false });
        await settle(machine);
        expect(whole(machine)).toBe(true);
        const { epoch, epochs } = machine.core.keyringInfo();
        expect(epochs.map((one) => one.epoch)).toEqual([epoch]);
        expect(new Set([...machine.store.range('token')].map(({ value }) => epochOf(value)))).toEqual(new Set([epoch]));
        expect(machine.box.keys.progress).toMatchObject({ running: false, epochs: [], erase: 'none' });
        await end();
      }
      expect(states.size).toBe(name === 'rotate' ? 1 : 2);
    },
    120_000,
  );
});
