import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { encodePayload } from '../../../host/payload.ts';
import { Secret } from '../../../host/secret.ts';
import { machineFacts } from '../../../host/system/machine.ts';
import { TestDevice } from './device.ts';
import { Machine } from './machine.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-machine-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const SOLO = { shares: 1, threshold: 1, keyfile: true } as const;
const HERE = [
  { name: 'product-uuid', digest: 'aa' },
  { name: 'machine-id', digest: 'bb' },
];

async function box(facts = HERE) {
  const machine = new Machine('sealed');
  machine.facts = facts;
  const { shares } = await machine.box.initialise(SOLO);
  const start = async (now = machine.facts): Promise<boolean> => {
    machine.facts = [...now];
    machine.restart();
    return machine.box.unsealAutomatically();
  };
  const share = (): Secret => new Secret(Buffer.from(shares[0]?.bytes ?? []));
  const settle = () => machine.clock.wake(() => !machine.box.keys.progress.running && !machine.box.status().sealed);
  expect(await start()).toBe(true);
  expect(machine.box.heldBecause()).toBeUndefined();
  return { machine, start, share, settle };
}

describe('the machine', () => {
  let made = 0;
  const root = (files: Readonly<Record<string, string>>): string => {
    const folder = join(scratch, String(made++));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return folder;
  };
  const ID = '4c4c4544-0051-3510-8052-b4c04f4a4d32';

  test('is known by its board, then by its system, and tells neither', () => {
    const facts = machineFacts(
      root({
        'sys/class/dmi/id/product_uuid': `${ID}\n`,
        'sys/class/dmi/id/board_serial': '/7Q5XJM2/CN129665B3004C/\n',
        'sys/class/dmi/id/bios_version': '1.2.3\n',
        'sys/firmware/devicetree/base/serial-number': '10000000abcdef01\0',
        'etc/machine-id': 'b08dfa6083e7567a1921a715000001fb\n',
      }),
    );
    expect(facts.map(({ name }) => name)).toEqual(['product-uuid', 'board-serial', 'device-tree', 'machine-id']);
    for (const { digest } of facts) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(facts)).not.toContain('b08dfa60');
  });

  test('freshness.md: the row of a machine is what the document says', async () => {
    const facts = machineFacts(
      root({
        'sys/class/dmi/id/product_uuid': `${ID.toUpperCase()}\n`,
        'etc/machine-id': 'b08dfa6083e7567a1921a715000001fb\n',
      }),
    );
    const { machine } = await box([...facts]);
    const text = /^ {4}machine (.+)$/m.exec(readFileSync('core/spec/freshness.md', 'utf8'))?.[1];
    expect(Buffer.from(encodePayload(machine.job('machine') ?? {})).toString()).toBe(`J${text}`);
  });

  test.each([
    '',
    'Not Specified',
    'Default string',
    'To be filled by O.E.M.',
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '03000200-0400-0500-0006-000700080009',
    'System Serial Number',
    '123456789',
    'None',
  ])('is not known by %j, which makers write instead of an id', (text) => {
    expect(machineFacts(root({ 'sys/class/dmi/id/product_uuid': `${text}\n` }))).toEqual([]);
  });

  test('of which nothing can be read is known by nothing', () => {
    expect(machineFacts(root({}))).toEqual([]);
  });

  test('is the same in other letters, and another by one digit', () => {
    const of = (text: string) => machineFacts(root({ 'sys/class/dmi/id/product_uuid': text }))[0]?.digest;
    expect(of(ID.toUpperCase())).toBe(of(ID));
    expect(of(ID.replace('4c4c', '4c4d'))).not.toBe(of(ID));
  });
});

describe('a box', () => {
  test('on the machine that it lives on is not held, over updates and with more or less to read', async () => {
    const { machine, start } = await box();
    const facts = [
      [HERE[0] as (typeof HERE)[0], { name: 'machine-id', digest: 'reinstalled' }],
      [{ name: 'machine-id', digest: 'reinstalled' }],
      [...HERE, { name: 'board-serial', digest: 'cc' }],
      [
        { name: 'board-serial', digest: 'cc' },
        { name: 'machine-id', digest: 'again' },
      ],
    ];
    for (const now of facts) {
      expect(await start(now)).toBe(true);
      expect(machine.box.heldBecause()).toBeUndefined();
    }
  });

  test.each([
    ['another board', [{ name: 'product-uuid', digest: 'other' }, HERE[1] as (typeof HERE)[0]], 'product-uuid'],
    ['another system, where no board can be read', [{ name: 'machine-id', digest: 'other' }], 'machine-id'],
    ['nothing to know it by', [], 'nothing that its machine was known by'],
  ])('on %s opens, serves, and is held', async (_, facts, sentence) => {
    const { machine, start } = await box();
    await machine.put('a row');
    expect(await start(facts)).toBe(true);
    expect(machine.get('a row')).toBe('a row');
    await machine.put('another row');
    expect(machine.box.heldBecause()).toContain(sentence);
    expect(machine.box.status().reasons.join()).toContain('holdfast operator lives -this');
    expect(machine.notes).toContain('seal.held');
    // Moved back, it is a copy still: both have answered since.
    expect(await start(HERE)).toBe(true);
    expect(machine.box.heldBecause()).toContain(sentence);
  });

  test('that is closed ends nothing outside', async () => {
    const { machine } = await box();
    await machine.box.stop();
    expect(machine.box.heldBecause()).toBe('the box is sealed');
  });

  test('that the quorum opened against its counter is held, over restarts too', async () => {
    const machine = new Machine('sealed');
    const device = new TestDevice();
    machine.devices.push(device);
    machine.counted.push('tpm2');
    const { shares } = await machine.box.initialise(SOLO);
    machine.restart();
    await machine.box.unsealAutomatically();
    device.only.count += 3n;
    machine.restart();
    await machine.box.offerShare(new Secret(Buffer.from(shares[0]?.bytes ?? [])), 'rolled-back');
    expect(machine.box.heldBecause()).toContain('the tpm2 counter is at');
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    expect(machine.box.heldBecause()).toContain('the tpm2 counter is at');
  });

  test('with an old row opens by the quorum alone, which takes its rows as they are, and is held', async () => {
    const { machine, start, share } = await box();
    await machine.put('a row');
    const old = machine.copyOfStore();
    await machine.put('a row');
    const now = machine.copyOfStore();
    await machine.putBack(
      now.map((row) => {
        const before = old.find(({ table, key }) => table === row.table && Buffer.compare(key, row.key) === 0);
        return row.table === 'token' && before !== undefined ? before : row;
      }),
    );
    expect(await start()).toBe(false);
    await expect(machine.box.offerShare(share())).rejects.toMatchObject({ code: 'appliance.rolled-back' });
    expect(await machine.box.offerShare(share(), 'rolled-back')).toMatchObject({ sealed: false });
    expect(machine.first).toMatchObject({ event: 'seal.overridden', data: { rows: expect.stringContaining('a row') } });
    expect(machine.box.heldBecause()).toContain('a row of the store');
    expect(machine.get('a row')).toBe('a row');
    expect(await start()).toBe(true);
    expect(machine.first).toBeUndefined();
  });
});

describe('this one lives', () => {
  const COPY = [{ name: 'product-uuid', digest: 'copy' }];

  test('makes another appliance of it: id, root, epoch, log; and it is held no more', async () => {
    const { machine, start, settle, share } = await box();
    await machine.put('a row');
    await start(COPY);
    const before = machine.core.keyringInfo();
    const was = machine.logOf;
    machine.events.length = 0;
    await machine.box.lives();
    await machine.clock.wake(() => machine.box.heldBecause() === undefined);
    await settle();
    const after = machine.core.keyringInfo();
    expect(Buffer.from(after.applianceId).toString('hex')).not.toBe(was);
    expect(after.rootGeneration).toBe(before.rootGeneration + 1);
    expect(after.epoch).toBe(before.epoch + 1);
    expect(machine.events).toEqual(['residents.close', 'log.stop', 'log.start', 'residents.open']);
    expect(machine.wasLogOf).toBe(was);
    expect(machine.logOf).toBe(Buffer.from(after.applianceId).toString('hex'));
    expect(machine.box.status().clusterId.replaceAll('-', '')).toBe(machine.logOf);
    expect(machine.box.heldBecause()).toBeUndefined();
    expect(machine.get('a row')).toBe('a row');
    for (const now of [COPY, COPY]) {
      expect(await start(now)).toBe(true);
      expect(machine.box.heldBecause()).toBeUndefined();
      expect(machine.wasLogOf).toBe('');
    }
    await machine.box.stop();
    machine.restart();
    expect(await machine.box.offerShare(share())).toMatchObject({ sealed: false });
    // The machine that it came from is another one now.
    expect(await start(HERE)).toBe(true);
    expect(machine.box.heldBecause()).toContain('another machine');
  });

  test('a power cut at any commit of it is gone on from at the next unseal', async () => {
    const outcomes = new Set<string>();
    for (let cut = 1; ; cut++) {
      const { machine, start, settle } = await box();
      await machine.put('a row');
      await start(COPY);
      const was = machine.logOf;
      machine.cutAt = machine.commits + cut;
      const asked = await machine.box.lives().then(
        () => true,
        () => false,
      );
      const finished = () => machine.commits >= machine.cutAt || machine.box.heldBecause() === undefined;
      if (asked) await machine.clock.wake(finished);
      const whole = machine.commits < machine.cutAt;
      expect(await start(COPY)).toBe(true);
      await settle();
      expect(machine.get('a row')).toBe('a row');
      const another = Buffer.from(machine.core.keyringInfo().applianceId).toString('hex') !== was;
      outcomes.add(`${asked ? 'asked' : 'not asked'}, ${another ? 'another' : 'the same'}`);
      expect(another).toBe(asked);
      expect(machine.box.heldBecause() === undefined).toBe(another);
      if (whole) break;
    }
    expect(outcomes).toEqual(new Set(['not asked, the same', 'asked, another']));
  });
});
