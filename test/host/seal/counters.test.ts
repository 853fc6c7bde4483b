import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodePayload } from '../../../host/payload.ts';
import type { Batch } from '../../../host/ports/store.ts';
import { decodeCounters, encodeCounters } from '../../../host/seal/counter-row.ts';
import { spacingMs, unworn, worn } from '../../../host/seal/wear.ts';
import { Secret } from '../../../host/secret.ts';
import { TestDevice } from './device.ts';
import { Machine } from './machine.ts';

const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));
const THREE_OF_FIVE = { shares: 5, threshold: 3, keyfile: true } as const;
const DAY_MS = 86_400_000;
const CUT = new Error('the power went');

/** The box of a machine that has a counter: its slot opens by the key file, its kind stands for a device's. */
async function counted(kind: 'tpm2' | 'pkcs11' = 'tpm2', machine = new Machine()) {
  const device = new TestDevice(kind, kind === 'pkcs11');
  machine.devices.push(device);
  machine.counted.push(kind);
  const { shares } = await machine.box.initialise(THREE_OF_FIVE);
  machine.restart();
  expect(await machine.box.unsealAutomatically()).toBe(true);
  const give = async (accept: 'rolled-back' | undefined, at: readonly number[] = [0, 1, 2]) => {
    let status = machine.box.status();
    for (const one of at) status = await machine.box.offerShare(copy(shares[one]), accept);
    return status;
  };
  return { machine, device, give };
}

/** Called at every step of a counted change: throws where the power goes. */
function power(machine: Machine, device: TestDevice, step: () => void): void {
  device.step = step;
  machine.beforeCommit = step;
  machine.afterCommit = step;
}

const count = ({ machine }: { machine: Machine }): number => machine.box.counters()[0]?.count ?? -1;
/** Something that counts, as mounts and policies do it. */
const change = (machine: Machine, text: string): Promise<void> =>
  machine.counters.change((more) => machine.commit(text, more));

describe('a counter', () => {
  test('is enrolled with the device at the first unseal, raised at each one, and retired with its last slot', async () => {
    const { machine, device } = await counted();
    expect(device.only.count).toBe(7n);
    expect(machine.box.counters()).toMatchObject([{ kind: 'tpm2', advisory: false, count: 7, away: undefined }]);
    expect(machine.notes).toContain('counter.enrolled');
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(device.only.count).toBe(8n);
    expect(count({ machine })).toBe(8);
    expect(machine.box.status().reasons).toEqual([]);
    machine.counted.length = 0;
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.counters()).toEqual([]);
    expect(device.held.size).toBe(0);
    expect(machine.notes).toContain('counter.retired');
  });

  test('that the device does not make leaves the slot, and health says so until the next unseal makes it', async () => {
    const machine = new Machine();
    const device = new TestDevice();
    machine.devices.push(device);
    machine.counted.push('tpm2');
    await machine.box.initialise(THREE_OF_FIVE);
    machine.restart();
    device.pulled = true;
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.status().reasons.join()).toContain('the device was pulled');
    machine.restart();
    device.pulled = false;
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.status().reasons).toEqual([]);
    expect(machine.box.counters()).toHaveLength(1);
  });

  test('moves with changes that count, and their answer comes after it', async () => {
    const { machine, device } = await counted();
    const before = device.only.count;
    const order: string[] = [];
    device.step = (what) => void order.push(what);
    await machine.counters.change(
      async (more) => {
        await machine.commit('a', more);
        order.push('commit');
      },
      () => order.push('in force'),
    );
    expect(order).toEqual(['read', 'commit', 'in force', 'increment', 'incremented']);
    expect(device.only.count).toBe(before + 1n);
    await machine.box.keys.rotate(machine.box.holder());
    expect(device.only.count).toBeGreaterThanOrEqual(before + 2n);
  });

  test('of changes at the same time counts each', async () => {
    const { machine, device } = await counted();
    const before = device.only.count;
    await Promise.all(['a', 'b', 'c'].map((text) => change(machine, text)));
    expect(device.only.count).toBe(before + 3n);
    expect(count({ machine })).toBe(Number(before) + 3);
  });

  test('is not raised by a change that fails, whatever else is written meanwhile', async () => {
    const { machine, device } = await counted();
    const before = device.only.count;
    const failing = (more: Batch['puts']) =>
      machine.commit('a', more, [{ table: 'record', key: Buffer.from('x'), is: 'present' }]);
    await Promise.all([
      expect(machine.counters.change(failing)).rejects.toMatchObject({ code: 'store.conflict' }),
      machine.put('beside it'),
    ]);
    await change(machine, 'b');
    expect(BigInt(count({ machine }))).toBe(device.only.count);
    expect(device.only.count).toBeLessThanOrEqual(before + 2n);
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
  });
});

describe('under writes', () => {
  test('it is raised once in the interval, and not while nothing is written', async () => {
    const { machine, device } = await counted();
    const beats = async (minutes: number) => {
      for (let n = 0; n < minutes; n++) {
        await machine.clock.pass(60_000);
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const start = device.only.count;
    await beats(40);
    expect(device.only.count).toBe(start);
    for (let n = 0; n < 40; n++) {
      await machine.put(`row ${n}`);
      await beats(1);
    }
    expect(device.only.count - start).toBeGreaterThanOrEqual(2n);
    expect(device.only.count - start).toBeLessThanOrEqual(3n);
    const then = device.only.count;
    await beats(16);
    const last = device.only.count;
    await beats(60);
    expect(last - then).toBeLessThanOrEqual(1n);
    expect(device.only.count).toBe(last);
  });

  test('a log that grew counts as a write', async () => {
    const { machine, device } = await counted();
    const start = device.only.count;
    machine.freshness.noteCheckpoint(1000, Buffer.alloc(32, 1));
    for (let n = 0; n < 16; n++) {
      await machine.clock.pass(60_000);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(device.only.count).toBe(start + 1n);
  });
});

describe('a counter that is away while the box serves', () => {
  test('refuses what counts and says so; everything else goes on, and it is right again when it is back', async () => {
    const { machine, device } = await counted();
    device.pulled = true;
    let committed = 0;
    const refused = machine.counters.change(async (more) => {
      committed++;
      await machine.commit('a', more);
    });
    await expect(refused).rejects.toMatchObject({
      code: 'counter.unavailable',
      message: expect.stringMatching(/device was pulled.*nothing was changed/),
    });
    expect(committed).toBe(0);
    await expect(machine.box.keys.rotate(machine.box.holder())).rejects.toMatchObject({ code: 'counter.unavailable' });
    await machine.put('a row');
    expect(machine.box.status().reasons.join()).toContain('revocation goes on');
    device.pulled = false;
    await change(machine, 'b');
    expect(machine.box.status().reasons).toEqual([]);
    await machine.box.keys.rotate(machine.box.holder());
  });

  test('between commit and raise: the change is in force, its answer says so, and the next one makes it good', async () => {
    const { machine, device } = await counted();
    const before = device.only.count;
    let inForce = false;
    const pulled = machine.counters.change(
      async (more) => {
        await machine.commit('a', more);
        device.pulled = true;
      },
      () => {
        inForce = true;
      },
    );
    await expect(pulled).rejects.toMatchObject({
      code: 'counter.unavailable',
      message: expect.stringContaining('the change is made'),
    });
    expect(inForce).toBe(true);
    device.pulled = false;
    await change(machine, 'b');
    expect(device.only.count).toBe(before + 2n);
  });

  test('new shares reach their holders though it goes away after the commit', async () => {
    const { machine, device } = await counted();
    device.step = (what) => {
      if (what === 'increment') device.pulled = true;
    };
    const { box } = machine;
    const shares = await box.keys.rekey(box.holder(), machine.shamir(2, 3), { threshold: 2, shares: 3 });
    expect(shares).toHaveLength(3);
    expect(box.status().reasons.join()).toContain('cannot be read');
  });

  test('set back by somebody while the box serves is told from one that is only behind by the cut', async () => {
    const { machine, device } = await counted();
    device.only.count += 5n;
    await expect(change(machine, 'a')).rejects.toMatchObject({ code: 'counter.unavailable' });
    expect(machine.box.status().reasons.join()).toContain('the tpm2 counter is at 12 and the store at 7');
  });
});

describe('at an unseal', () => {
  const rolledBack = async ({ machine }: { machine: Machine }, sentence: string) => {
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(false);
    expect(machine.core.sealed).toBe(true);
    expect(machine.box.status().sealed).toBe(true);
    expect(machine.box.status().reasons.join()).toMatch(/rolled back: .*holdfast unseal -accept=rolled-back/);
    expect(machine.box.status().reasons.join()).toContain(sentence);
  };

  test('an old store is refused by every slot', async () => {
    const it = await counted();
    const old = it.machine.copyOfStore();
    await change(it.machine, 'a');
    await it.machine.putBack(old);
    await rolledBack(it, 'the tpm2 counter is at 8 and the store at 7');
    await expect(it.give(undefined)).rejects.toMatchObject({ code: 'appliance.rolled-back' });
  });

  test('a store that is ahead by two is refused', async () => {
    const it = await counted();
    await change(it.machine, 'a');
    it.device.only.count -= 2n;
    await rolledBack(it, 'the tpm2 counter is at 6 and the store at 8');
    expect(it.device.only.count).toBe(6n);
  });

  test.each([
    ['gone', (device: TestDevice) => device.held.clear(), 'the counter is gone'],
    ['away', (device: TestDevice) => device.pull(), 'the device was pulled'],
    ['in another device', (device: TestDevice) => device.replace(), 'the counter is gone'],
  ])('one that is %s is behind, never new', async (_, harm, sentence) => {
    const it = await counted();
    harm(it.device);
    await rolledBack(it, sentence);
  });

  test('one that is away at the start is asked again, and opens the box when it is back', async () => {
    const it = await counted();
    it.device.pulled = true;
    await rolledBack(it, 'the device was pulled');
    it.device.pulled = false;
    await it.machine.clock.pass(60_000);
    for (let turn = 0; it.machine.box.status().sealed && turn < 2000; turn++)
      await new Promise((resolve) => setImmediate(resolve));
    expect(it.machine.box.status()).toMatchObject({ sealed: false, reasons: [] });
    it.device.only.count += 2n;
    await rolledBack(it, 'the tpm2 counter is at');
    it.device.only.count -= 2n;
    await it.machine.clock.pass(60_000);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(it.machine.box.status().sealed).toBe(true);
  });

  test('one whose device is not configured any more is behind', async () => {
    const it = await counted();
    it.machine.devices.length = 0;
    await rolledBack(it, 'no tpm2 device is configured here');
  });

  test('each of several is asked, and the refusal names what disagrees', async () => {
    const it = await counted();
    const hsm = new TestDevice('pkcs11', true);
    it.machine.devices.push(hsm);
    it.machine.counted.push('pkcs11');
    it.machine.restart();
    expect(await it.machine.box.unsealAutomatically()).toBe(true);
    expect(it.machine.box.counters().map(({ kind, advisory }) => [kind, advisory])).toEqual([
      ['tpm2', false],
      ['pkcs11', true],
    ]);
    hsm.only.count = 1n;
    await rolledBack(it, 'the pkcs11 counter is at 1 and the store at 7');
    expect(it.machine.box.status().reasons.join()).not.toContain('tpm2 counter');
  });

  const disks = {
    memory: async () => ({ machine: new Machine(), end: async () => undefined }),
    LMDB: () => Machine.onDisk('opaque'),
  };
  test.each(Object.entries(disks))(
    'a power cut at every step of a counted change on %s is repaired, and nothing acknowledged is lost',
    async (_, disk) => {
      const outcomes = new Set<string>();
      for (let at = 1; ; at++) {
        const made = await disk();
        const { machine, device } = await counted('tpm2', made.machine);
        let steps = 0;
        power(machine, device, () => {
          if (++steps === at) throw CUT;
        });
        const ended = await change(machine, 'a').then(
          () => 'acknowledged',
          () => 'cut',
        );
        const kept = machine.store.get('record', Buffer.from('a')) !== undefined;
        outcomes.add(`${ended}, ${kept ? 'stored' : 'not stored'}`);
        power(machine, device, () => undefined);
        machine.restart();
        expect(await machine.box.unsealAutomatically()).toBe(true);
        expect(BigInt(count({ machine }))).toBe(device.only.count);
        expect(machine.store.get('record', Buffer.from('a')) !== undefined).toBe(kept);
        await made.end();
        if (ended === 'acknowledged') {
          expect(steps).toBe(5);
          break;
        }
      }
      expect(outcomes).toEqual(new Set(['cut, not stored', 'cut, stored', 'acknowledged, stored']));
    },
  );

  test('power cuts one after the other at the unseal itself never leave the store ahead by two', async () => {
    const { machine, device } = await counted();
    for (let round = 0; round < 12; round++) {
      machine.restart();
      let steps = 0;
      device.step =
        machine.beforeCommit =
        machine.afterCommit =
          () => {
            if (++steps > round) throw CUT;
          };
      await machine.box.unsealAutomatically().catch(() => false);
      power(machine, device, () => undefined);
    }
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(BigInt(count({ machine }))).toBe(device.only.count);
  });
});

describe('the quorum takes the box as it is', () => {
  test('the override is the first leaf and names both counts; the counter goes on from its own', async () => {
    const it = await counted();
    const old = it.machine.copyOfStore();
    for (const text of ['a', 'b', 'c']) await change(it.machine, text);
    await it.machine.putBack(old);
    it.machine.restart();
    await expect(it.give(undefined)).rejects.toMatchObject({ code: 'appliance.rolled-back' });
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false, openedBy: 'shamir' });
    const id = it.machine.box.counters()[0]?.id;
    expect(it.machine.first).toEqual({
      event: 'seal.overridden',
      data: { counters: [{ counter: id, kind: 'tpm2', stored: 7, found: '10' }] },
    });
    expect(count(it)).toBe(11);
    expect(it.device.only.count).toBe(11n);
    it.machine.restart();
    expect(await it.machine.box.unsealAutomatically()).toBe(true);
    expect(it.machine.first).toBeUndefined();
  });

  test('what shares were refused for is said until the box opens', async () => {
    const it = await counted();
    it.device.pull();
    it.machine.restart();
    await expect(it.give(undefined)).rejects.toMatchObject({ code: 'appliance.rolled-back' });
    expect(it.machine.box.status().reasons.join()).toMatch(/rolled back: .*unseal -accept=rolled-back/);
    await it.give('rolled-back');
    expect(it.machine.box.status().reasons.join()).not.toContain('rolled back:');
  });

  test('a counter that was given up is awaited no more: health promises no refusals, and changes go on', async () => {
    const it = await counted();
    it.device.pull();
    it.machine.restart();
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    await change(it.machine, 'a');
    expect(it.machine.box.status().reasons.join()).not.toContain('are refused until it is right');
    expect(it.machine.box.status().reasons.join()).toContain('no counter in the tpm2 device');
  });

  test('a counter that is gone is given up, and one in the new device is made', async () => {
    const it = await counted();
    const before = it.machine.box.counters()[0]?.id;
    it.device.held.clear();
    it.machine.restart();
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    expect(it.machine.box.counters()).toMatchObject([{ kind: 'tpm2', count: 7 }]);
    expect(it.machine.box.counters()[0]?.id).not.toBe(before);
    it.machine.restart();
    expect(await it.machine.box.unsealAutomatically()).toBe(true);
  });

  test('too few shares, shares without the word, and the word of some are not it', async () => {
    const it = await counted();
    it.device.only.count += 3n;
    it.machine.restart();
    expect(await it.give('rolled-back', [0, 1])).toMatchObject({ sealed: true, progress: 2 });
    await expect(it.give(undefined, [2])).rejects.toMatchObject({ code: 'input.invalid' });
    expect(it.machine.box.status()).toMatchObject({ sealed: true, progress: 2 });
    it.machine.box.resetShares();
    await it.give(undefined, [0, 1]);
    await expect(it.give('rolled-back', [2])).rejects.toMatchObject({ code: 'input.invalid' });
    await expect(it.give(undefined, [2])).rejects.toMatchObject({ code: 'appliance.rolled-back' });
    expect(await it.machine.box.unsealAutomatically()).toBe(false);
    expect(it.machine.core.sealed).toBe(true);
  });

  test('a cut between the leaf and the new count leaves it refused, and the next word opens it', async () => {
    const it = await counted();
    it.device.only.count += 3n;
    it.machine.restart();
    it.machine.cutAt = it.machine.commits + 1;
    await expect(it.give('rolled-back')).rejects.toThrow('the power went');
    it.machine.restart();
    expect(await it.machine.box.unsealAutomatically()).toBe(false);
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
  });

  test('on a box with nothing to accept it opens as always, without a leaf', async () => {
    const it = await counted();
    it.machine.restart();
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    expect(it.machine.first).toBeUndefined();
  });
});

test('freshness.md: the row that says where the counters lie', () => {
  const text = /```json\n(.+)\n```/.exec(readFileSync('core/spec/freshness.md', 'utf8'))?.[1] ?? '';
  const records = decodeCounters(JSON.parse(text));
  expect(records).toHaveLength(2);
  const payload = Buffer.from(encodePayload(encodeCounters(records ?? [])));
  expect(payload.toString('latin1')).toBe(`J${text}`);
  const serial = Buffer.from('a1b2c3d4'.padEnd(16));
  const hash = createHash('sha256').update('holdfast/v1/pkcs11-counter').update(serial).update(Buffer.alloc(16, 0x1d));
  expect(records?.[1]?.id).toBe(hash.digest('hex').slice(0, 32));
  expect(readFileSync('core/spec/pkcs11.md', 'utf8')).toContain(`counter id      ${records?.[1]?.id}`);
  for (const [name, value] of Object.entries({ version: 2, id: 'A9', kind: 'shamir', place: 1, raised: '3' })) {
    const wrong = text.replace(
      new RegExp(`"${name}":("[^"]*"|\\{[^}]*\\}|\\d+)`),
      `"${name}":${JSON.stringify(value)}`,
    );
    expect(wrong).not.toBe(text);
    expect(decodeCounters(JSON.parse(wrong))).toBeUndefined();
  }
});

describe('wear', () => {
  test('a year holds its budget at the default interval, and beyond it counts are a day apart', () => {
    const MIN_15 = 900_000;
    let wear = unworn(0);
    expect(spacingMs(wear, 0, MIN_15)).toBe(MIN_15);
    let now = 0;
    for (let n = 0; n < 35_000; n++) {
      now += spacingMs(wear, now, MIN_15);
      wear = worn(wear, now);
    }
    expect(spacingMs(wear, now, MIN_15)).toBe(MIN_15);
    expect(now).toBeLessThan(365 * DAY_MS);
    // One a minute would wear it out: they move apart so that the year ends before the budget does.
    wear = unworn(0);
    now = 0;
    while (now < 365 * DAY_MS - 1) {
      now = Math.min(365 * DAY_MS - 1, now + spacingMs(wear, now, 60_000));
      wear = worn(wear, now);
    }
    expect(wear.raised).toBeLessThanOrEqual(40_000);
    expect(spacingMs({ sinceMs: 0, raised: 40_000, lastMs: 0 }, 1, 1000)).toBe(DAY_MS);
    expect(spacingMs({ sinceMs: 0, raised: 40_000, lastMs: 0 }, 366 * DAY_MS, 1000)).toBeLessThan(DAY_MS / 24);
  });

  test('is counted over restarts, shown, and past the budget only keys are counted more than once a day', async () => {
    const { machine, device } = await counted();
    await change(machine, 'a');
    const [before] = machine.box.counters();
    expect(before).toMatchObject({ raised: 2, budget: 40_000 });
    machine.restart();
    await machine.box.unsealAutomatically();
    expect(machine.box.counters()[0]?.raised).toBe(3);
    await machine.wear(40_000);
    machine.restart();
    await machine.box.unsealAutomatically();
    const spared = device.only.count;
    expect(machine.box.status().reasons.join()).toContain('its flash is spared');
    await change(machine, 'b');
    expect(device.only.count).toBe(spared);
    await machine.box.keys.rotate(machine.box.holder());
    expect(device.only.count).toBeGreaterThan(spared);
    const keys = device.only.count;
    machine.clock.now += DAY_MS;
    await change(machine, 'c');
    expect(device.only.count).toBe(keys + 1n);
  });
});
