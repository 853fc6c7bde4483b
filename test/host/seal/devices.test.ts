/** A device beside the key file: it takes its place in one change, is replaced and removed, and a power cut is met at any commit. */
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import type { CreatedSlot, Offered, SealSlot } from '../../../host/ports/seal-slot.ts';
import { findSlot, idOf } from '../../../host/seal/openers.ts';
import { Secret } from '../../../host/secret.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { Machine } from './machine.ts';

/** A token that keeps its keys in memory, over restarts of the box. */
class Device implements SealSlot {
  readonly kind = 'pkcs11';
  readonly bindsContext = false;
  readonly automatic = true;
  readonly keys = new Map<string, Buffer>();
  away = false;
  asks = false;
  pins: (string | undefined)[] = [];

  asksPin(): boolean {
    return this.asks;
  }

  async create(_context: Uint8Array, offered?: Offered): Promise<CreatedSlot> {
    this.#meet(offered);
    const blob = systemRandom.bytes(16);
    const key = systemRandom.bytes(32);
    this.keys.set(Buffer.from(blob).toString('hex'), Buffer.from(key));
    return { key: new Secret(key), blob };
  }

  async recover(blob: Uint8Array, _context: Uint8Array, offered: Offered): Promise<Secret> {
    this.#meet(offered);
    const key = this.keys.get(Buffer.from(blob).toString('hex'));
    if (key === undefined) throw new Fault('slot.refused', 'the device does not know this slot');
    return new Secret(Buffer.from(key));
  }

  async discard(blob: Uint8Array, _kept?: readonly Uint8Array[], offered?: Offered): Promise<void> {
    this.#meet(offered);
    this.keys.delete(Buffer.from(blob).toString('hex'));
  }

  #meet(offered: Offered | undefined): void {
    if (this.away) throw new Fault('slot.unavailable', 'the device is away');
    this.pins.push(offered?.pin === undefined ? undefined : Buffer.from(offered.pin.bytes).toString());
  }
}

const pin = (text: string): Secret => new Secret(Buffer.from(text));
const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));

async function withDevice() {
  const machine = new Machine('sealed');
  const device = new Device();
  machine.hardware.push(device);
  machine.restart();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  await machine.put('a row');
  const kinds = (): readonly string[] =>
    machine.box.keyService
      .slots()
      .map(({ kind }) => kind)
      .sort((a, b) => a.localeCompare(b));
  const settle = (): Promise<void> => machine.clock.wake(() => !machine.box.keys.progress.running);
  return { machine, device, shares, kinds, settle };
}

describe('the first device', () => {
  test('takes the key file away in one change with a new root, or leaves it where it is told to', async () => {
    const { machine, device, kinds, settle } = await withDevice();
    await machine.box.keyService.addSlot('pkcs11', { keepKeyfile: true });
    expect(kinds()).toEqual(['keyfile', 'pkcs11', 'shamir']);
    expect(machine.core.keyringInfo()).toMatchObject({ rootGeneration: 1 });
    // A second one is no reason to take it away any more.
    expect((await machine.box.keyService.addSlot('pkcs11')).removed).toEqual([]);
    const [first] = machine.box.holder().slots.filter(({ header }) => header.kind === 'pkcs11');
    const keyfile = machine.box.holder().slots.find(({ header }) => header.kind === 'keyfile');
    if (first === undefined || keyfile === undefined) throw new Error('both are there');
    await machine.box.keyService.removeSlot(idOf(first).slice(0, 8));
    expect(device.keys.size).toBe(1);
    await machine.box.keyService.replaceSlot(idOf(keyfile), 'pkcs11');
    await settle();
    expect(kinds()).toEqual(['pkcs11', 'pkcs11', 'shamir']);
    expect(existsSync(machine.keyfile)).toBe(false);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.status()).toMatchObject({ openedBy: 'pkcs11' });
    expect(machine.get('a row')).toBe('a row');
  });

  test('met by a power cut at any commit leaves a box that opens by one of the two, never by none', async () => {
    const uncut = await withDevice();
    const first = uncut.machine.commits;
    await uncut.machine.box.keyService.addSlot('pkcs11');
    await uncut.settle();
    const seen = new Set<string>();
    for (let cutAt = first + 1; cutAt <= uncut.machine.commits + 1; cutAt++) {
      const { machine, kinds, settle } = await withDevice();
      machine.cutAt = cutAt;
      await machine.box.keyService.addSlot('pkcs11').catch(() => undefined);
      await settle();
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
      await settle();
      expect(machine.get('a row')).toBe('a row');
      seen.add(kinds().join());
    }
    expect([...seen].sort((a, b) => a.localeCompare(b))).toEqual(['keyfile,shamir', 'pkcs11,shamir']);
  }, 60_000);
});

describe('a change that fails', () => {
  test('leaves no key on the device, and the slot that it was to replace', async () => {
    const { machine, device, kinds } = await withDevice();
    const { id } = await machine.box.keyService.addSlot('pkcs11');
    const before = [...device.keys.keys()];
    machine.cutAt = machine.commits + 2;
    await expect(machine.box.keyService.replaceSlot(id)).rejects.toThrow();
    machine.cutAt = Number.POSITIVE_INFINITY;
    expect([...device.keys.keys()]).toEqual(before);
    expect(kinds()).toEqual(['pkcs11', 'shamir']);
  });

  test('at forgetting the old key is a warning: the slot is gone', async () => {
    const { machine, device, kinds, shares } = await withDevice();
    const { id } = await machine.box.keyService.addSlot('pkcs11');
    device.away = true;
    const warnings = await machine.box.keyService.removeSlot(id);
    expect(warnings).toEqual([expect.stringContaining('its key on the device stays until it is deleted there')]);
    expect(kinds()).toEqual(['shamir']);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(false);
    await machine.box.offerShare(copy(shares[0]));
    expect(machine.box.status()).toMatchObject({ sealed: false });
  });
});

describe('a PIN', () => {
  test('goes to the device with each change, and nowhere else', async () => {
    const { machine, device } = await withDevice();
    device.asks = true;
    const { id, asksPin, automatic } = await machine.box.keyService.addSlot('pkcs11', { pin: pin('one') });
    expect({ asksPin, automatic }).toEqual({ asksPin: true, automatic: false });
    await machine.box.keyService.testSlot(id, { pin: pin('two') });
    const { id: next } = await machine.box.keyService.replaceSlot(id, undefined, { pin: pin('three') });
    await machine.box.keyService.removeSlot(next, { pin: pin('four') });
    expect(device.pins).toEqual(['one', 'two', 'three', 'three', 'four']);
    expect(machine.notes.join()).not.toMatch(/one|two|three|four/);
  });

  test('opens the box where a person brings it, and takes the seal mark away; by itself the slot is not tried', async () => {
    const { machine, device } = await withDevice();
    device.asks = true;
    const { id } = await machine.box.keyService.addSlot('pkcs11');
    await machine.box.seal();
    machine.restart();
    const asked = device.pins.length;
    expect(await machine.box.unsealAutomatically()).toBe(false);
    expect(device.pins.length).toBe(asked);
    expect(machine.box.status()).toMatchObject({ sealed: true, marked: true });
    expect(machine.box.ways()).toContainEqual(expect.objectContaining({ id, kind: 'pkcs11', opens: 'pin' }));
    await expect(machine.box.unsealBy('0'.repeat(8), undefined)).rejects.toMatchObject({ code: 'route.absent' });
    await machine.box.unsealBy(id.slice(0, 8), pin('right'));
    expect(device.pins.at(-1)).toBe('right');
    expect(machine.box.status()).toMatchObject({ sealed: false, marked: false, openedBy: 'pkcs11' });
    device.asks = false;
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
  });
});

describe('a device that is away', () => {
  test('is tried again with growing pauses, what it refuses is not, and a stop ends it', async () => {
    const { machine, device } = await withDevice();
    await machine.box.keyService.addSlot('pkcs11');
    machine.restart();
    device.away = true;
    expect(await machine.box.unsealAutomatically()).toBe(false);
    expect(machine.box.status().reasons.join()).toMatch(/slot pkcs11 [0-9a-f]{8}: the device is away/);
    for (const pause of [1000, 2000, 5000]) {
      const tried = machine.notes.filter((note) => note === 'seal.refused').length;
      await machine.clock.pass(pause - 1);
      expect(machine.notes.filter((note) => note === 'seal.refused').length).toBe(tried);
      await machine.clock.pass(1);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(machine.notes.filter((note) => note === 'seal.refused').length).toBe(tried + 1);
    }
    device.away = false;
    await machine.clock.pass(15_000);
    for (let turn = 0; turn < 200 && machine.box.status().sealed; turn++)
      await new Promise((resolve) => setImmediate(resolve));
    expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'pkcs11' });
    expect(machine.box.status().reasons.join()).not.toContain('the device is away');

    machine.restart();
    device.keys.clear();
    expect(await machine.box.unsealAutomatically()).toBe(false);
    const timers = machine.clock.timers.length;
    expect(timers).toBe(0);
  });
});

describe('a slot by its id', () => {
  const slots = ['aaaaaaaa11', 'aaaaaaaa22', 'bbbbbbbb33'].map((id) => ({
    header: { slotId: Buffer.from(id.padEnd(32, '0'), 'hex') },
  }));
  const find = (id: string) => findSlot(slots as never, id);

  test('is found by 8 digits or more that name one', () => {
    expect(find('bbbbbbbb')).toBe(slots[2]);
    expect(find('aaaaaaaa1')).toBe(slots[0]);
    expect(() => find('aaaaaaaa')).toThrow('several slots begin with these digits');
    for (const id of ['bbbbbbb', '', 'cccccccc', 'BBBBBBBB', '../bbbbbbbb', `${'b'.repeat(33)}`])
      expect(() => find(id)).toThrow(expect.objectContaining({ code: 'route.absent' }));
  });
});
