import { rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeRow } from '../../../host/seal/slot-format.ts';
import { Secret } from '../../../host/secret.ts';

import { Machine, row } from './machine.ts';

const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));
const SOLO = { shares: 1, threshold: 1, keyfile: true } as const;
const THREE_OF_FIVE = { shares: 5, threshold: 3, keyfile: false } as const;

describe('the box', () => {
  test('opens, seals and opens by shares on a full disk: what revokes is an open box', async () => {
    const machine = new Machine();
    const { shares } = await machine.box.initialise(SOLO);
    machine.full = true;
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    await machine.box.seal();
    expect(machine.box.status()).toMatchObject({ sealed: true, marked: true });
    expect(await machine.box.unsealAutomatically()).toBe(false);
    expect(await machine.box.offerShare(copy(shares[0]))).toMatchObject({ sealed: false });
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
  });

  describe('a new box', () => {
    test('is uninitialised, and nothing opens it', async () => {
      const { box } = new Machine();
      expect(box.status()).toMatchObject({ initialized: false, sealed: true, type: 'shamir', t: 0, n: 0 });
      expect(await box.unsealAutomatically()).toBe(false);
      await expect(box.offerShare(new Secret(Buffer.alloc(33)))).rejects.toMatchObject({
        code: 'appliance.uninitialised',
      });
      await expect(box.seal()).rejects.toMatchObject({ code: 'appliance.sealed' });
    });

    test('is sealed after its initialisation, with the shares and the token handed out once', async () => {
      const { box, core } = new Machine();
      const { shares, rootToken } = await box.initialise(THREE_OF_FIVE);
      expect(shares).toHaveLength(5);
      expect(Buffer.from(rootToken.bytes).toString()).toBe('hvs.root');
      expect(core.sealed).toBe(true);
      expect(box.status()).toMatchObject({ initialized: true, sealed: true, t: 3, n: 5, progress: 0, nonce: '' });
      await expect(box.initialise(THREE_OF_FIVE)).rejects.toMatchObject({ message: 'Vault is already initialized' });
    });

    test.each([
      [{ shares: 0, threshold: 0 }, 'at least one'],
      [{ shares: 256, threshold: 3 }, 'less than 256'],
      [{ shares: 3, threshold: 4 }, 'cannot be larger'],
      [{ shares: 3, threshold: 1 }, 'greater than one'],
      [{ shares: 3, threshold: 1.5 }, ''],
    ])('refuses %j', async (numbers, sentence) => {
      const { box } = new Machine();
      const refused = box.initialise({ ...numbers, keyfile: false });
      await (sentence === '' ? expect(refused).rejects.toThrow() : expect(refused).rejects.toThrow(sentence));
      expect(box.status().initialized).toBe(false);
      expect((await box.initialise(SOLO)).shares).toHaveLength(1);
    });

    test.each([
      ['lost', undefined],
      ['changed', Buffer.alloc(25, 7)],
    ])('is not made over one that was used and whose last row was %s', async (_word, value) => {
      const machine = new Machine();
      const { shares } = await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      await machine.store.commit({ puts: [{ table: 'name', key: Buffer.from('a'), value: row('a') }] });
      await machine.box.stop();
      const key = Buffer.from('complete');
      const whole = machine.store.get('boot', key);
      const right = whole === undefined ? undefined : Buffer.from(whole);
      await machine.store.commit({ puts: [{ table: 'boot', key, ...(value === undefined ? {} : { value }) }] });
      machine.restart();
      await expect(machine.box.initialise(SOLO)).rejects.toThrow(/holds a box.*Put the newest disk back/);
      expect(machine.box.status().sealed).toBe(true);
      await machine.store.commit({ puts: [{ table: 'boot', key, ...(right === undefined ? {} : { value: right }) }] });
      machine.restart();
      await machine.box.offerShare(copy(shares[0]));
      expect(machine.box.status().sealed).toBe(false);
      expect(machine.store.get('name', Buffer.from('a'))).toBeDefined();
    });

    test('a power cut at any commit leaves an uninitialised box or a complete one', async () => {
      const whole = new Machine();
      await whole.box.initialise(SOLO);
      expect(whole.commits).toBeGreaterThanOrEqual(3);
      const outcomes = new Set<boolean>();
      for (let cutAt = 1; cutAt <= whole.commits; cutAt++) {
        const machine = new Machine();
        machine.cutAt = cutAt;
        const finished = await machine.box.initialise(SOLO).then(
          () => true,
          () => false,
        );
        machine.restart();
        const { initialized } = machine.box.status();
        outcomes.add(initialized);
        expect(initialized).toBe(finished);
        if (!initialized) await machine.box.initialise(SOLO);
        expect(await machine.box.unsealAutomatically()).toBe(true);
        await machine.put('a');
      }
      expect(outcomes).toEqual(new Set([false, true]));
    });

    test('what is to be handed out is handed out before the box is complete', async () => {
      const machine = new Machine();
      await expect(
        machine.box.initialise(SOLO, async ({ rootToken }) => {
          expect(rootToken.length).toBeGreaterThan(0);
          throw new Error('the file cannot be written');
        }),
      ).rejects.toThrow('the file cannot be written');
      machine.restart();
      expect(machine.box.status().initialized).toBe(false);
    });
  });

  describe('opening by a key file', () => {
    test('needs no person, names its slot, and starts what lives on the box in order', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      machine.restart();
      machine.events.length = 0;
      expect(await machine.box.unsealAutomatically()).toBe(true);
      expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'keyfile', type: 'keyfile', reasons: [] });
      expect(machine.box.weakestWayIn).toBe('keyfile');
      expect(machine.events).toEqual(['log.start', 'log.keys', 'residents.open']);
      expect(machine.notes).toContain('seal.opened');
    });

    test('without the file the box stays sealed and says why', async () => {
      const machine = new Machine();
      const { shares } = await machine.box.initialise(SOLO);
      rmSync(machine.keyfile);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(false);
      expect(machine.box.status().reasons.join()).toContain('key file');
      expect(await machine.box.offerShare(copy(shares[0]))).toMatchObject({ sealed: false, openedBy: 'shamir' });
    });
  });

  describe('opening by shares', () => {
    async function sealedBox() {
      const machine = new Machine();
      const { shares } = await machine.box.initialise(THREE_OF_FIVE);
      return { machine, box: machine.box, share: (at: number) => copy(shares[at]) };
    }

    test('counts different shares, and any three open it', async () => {
      const { box, share } = await sealedBox();
      const first = await box.offerShare(share(4));
      expect(first).toMatchObject({ sealed: true, progress: 1 });
      expect(first.nonce).toMatch(/^[0-9a-f-]{36}$/);
      expect(await box.offerShare(share(4))).toMatchObject({ progress: 1, nonce: first.nonce });
      expect(await box.offerShare(share(0))).toMatchObject({ progress: 2, nonce: first.nonce });
      expect(await box.offerShare(share(2))).toMatchObject({
        sealed: false,
        progress: 0,
        nonce: '',
        openedBy: 'shamir',
      });
    });

    test('shares that are given at once are counted one by one', async () => {
      const { box, share } = await sealedBox();
      const answers = await Promise.all([0, 1, 2].map((at) => box.offerShare(share(at))));
      expect(answers.map(({ progress, sealed }) => [progress, sealed])).toEqual([
        [1, true],
        [2, true],
        [0, false],
      ]);
    });

    test('wrong shares are refused, and progress is cleared', async () => {
      const { box, share } = await sealedBox();
      const wrong = share(1);
      wrong.bytes[0] = (wrong.bytes[0] ?? 0) ^ 1;
      await box.offerShare(share(0));
      await box.offerShare(wrong);
      await expect(box.offerShare(share(2))).rejects.toMatchObject({ code: 'slot.refused' });
      expect(box.status()).toMatchObject({ sealed: true, progress: 0, nonce: '' });
      for (const at of [0, 1]) await box.offerShare(share(at));
      expect(await box.offerShare(share(2))).toMatchObject({ sealed: false });
    });

    test('what cannot be a share is told at once and does not count', async () => {
      const { box } = await sealedBox();
      for (const size of [0, 15, 34]) {
        await expect(box.offerShare(new Secret(Buffer.alloc(size)))).rejects.toMatchObject({ code: 'input.invalid' });
      }
      expect(box.status().progress).toBe(0);
    });

    test('a reset forgets shares; an open box answers and does not forget', async () => {
      const { box, share } = await sealedBox();
      await box.offerShare(share(0));
      expect(box.resetShares()).toMatchObject({ progress: 0, nonce: '' });
      for (const at of [0, 1, 2]) await box.offerShare(share(at));
      expect(await box.offerShare(share(0))).toMatchObject({ sealed: false });
      expect(() => box.resetShares()).toThrow('vault is unsealed');
    });
  });

  describe('sealing', () => {
    test('leaves a mark: the key file does not open it again until a person has', async () => {
      const machine = new Machine();
      const { shares } = await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      await machine.box.seal();
      expect(machine.box.status()).toMatchObject({ sealed: true });
      expect(await machine.box.unsealAutomatically()).toBe(false);
      expect(machine.core.sealed).toBe(true);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(false);
      await machine.box.offerShare(copy(shares[0]));
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
    });

    test('an orderly stop leaves none', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      machine.events.length = 0;
      await machine.box.stop();
      expect([...new Set(machine.events)]).toEqual(['residents.close', 'log.stop']);
      expect(machine.core.sealed).toBe(true);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
    });

    test('nothing is written to a sealed box', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await expect(machine.put('a')).rejects.toMatchObject({ code: 'appliance.sealed' });
    });
  });

  describe('what was put back is noticed', () => {
    async function filled(rows: number) {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      await Promise.all(Array.from({ length: rows }, (_, number) => machine.put(`row ${number}`)));
      await machine.box.stop();
      return machine;
    }
    /** Changes a row behind the back of the witness. */
    async function tamper(machine: Machine, value: Buffer | undefined): Promise<void> {
      machine.restart();
      await machine.freshness.clearing(() =>
        machine.store.commit({
          puts: [{ table: 'record', key: Buffer.from('row 1'), ...(value === undefined ? {} : { value }) }],
        }),
      );
    }

    test.each([
      ['changed', Buffer.from('older')],
      ['removed', undefined],
    ])('a row that was %s', async (_word, value) => {
      const machine = await filled(3);
      await tamper(machine, value);
      expect(await machine.box.unsealAutomatically()).toBe(false);
      expect(machine.core.sealed).toBe(true);
      expect(machine.box.status()).toMatchObject({ sealed: true, reasons: [expect.stringContaining('rolled back')] });
    });

    test('the right rows open it', async () => {
      const machine = await filled(3);
      await tamper(machine, row('row 1'));
      expect(await machine.box.unsealAutomatically()).toBe(true);
    });

    test('in a large store it serves at once, says that it verifies, and seals itself when it finds it', async () => {
      const machine = await filled(4200);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
      await machine.clock.wake(() => !machine.box.status().verifying);
      expect(machine.box.status()).toMatchObject({ sealed: false });
      await machine.counters.change((more) => machine.commit('counted', more));
      await machine.box.stop();

      await tamper(machine, Buffer.from('older'));
      expect(await machine.box.unsealAutomatically()).toBe(true);
      expect(machine.box.status()).toMatchObject({ sealed: false, verifying: true });
      // Whoever may change what decides may be so by an old row.
      const counted = machine.counters.change((more) => machine.commit('counted', more));
      await expect(counted).rejects.toMatchObject({ code: 'appliance.busy' });
      await machine.clock.wake(() => !machine.box.status().verifying);
      await machine.box.stop();
      expect(machine.core.sealed).toBe(true);
      expect(machine.box.status().reasons.join()).toContain('rolled back');
      expect(machine.notes).toContain('seal.rolled-back');
    });

    test.each([
      ['removed', (): undefined => undefined],
      ['changed', (row: Buffer): Buffer => Buffer.concat([row.subarray(0, 10), Buffer.of(1), row.subarray(11)])],
    ])('a slot beside the one that opens was %s', async (_word, change) => {
      const machine = await filled(1);
      const rows = [...machine.store.range('boot', { prefix: Buffer.from('slot/') })];
      const beside = rows.find(({ value }) => decodeRow(value)?.header.kind === 'shamir');
      expect(beside).toBeDefined();
      if (beside === undefined) return;
      const value = change(Buffer.from(beside.value));
      await machine.store.commit({
        puts: [{ table: 'boot', key: beside.key, ...(value === undefined ? {} : { value }) }],
      });
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(false);
      expect(machine.core.sealed).toBe(true);
      expect(machine.box.status().reasons.join()).toContain('slots in the store are not those');
    });
  });

  describe('time and checkpoints', () => {
    test('are recorded at least every 60 s, and lease time goes on after a restart', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      const before = machine.commits;
      await machine.clock.pass(60_000);
      expect(machine.commits).toBe(before + 1);
      await machine.clock.pass(60_000);
      expect(machine.commits).toBe(before + 2);
      machine.restart();
      await machine.box.unsealAutomatically();
      expect(machine.box.status().reasons).toEqual([]);
    });

    test('a beat that fails is told by health and tried again', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      machine.cutAt = machine.commits + 1;
      await machine.clock.pass(60_000);
      expect(machine.box.status()).toMatchObject({
        sealed: false,
        reasons: [expect.stringContaining('could not be recorded')],
      });
      machine.cutAt = Number.POSITIVE_INFINITY;
      await machine.clock.pass(60_000);
      expect(machine.box.status().reasons).toEqual([]);
    });
  });

  describe('a trap of core', () => {
    test('seals the box, and the key file opens it again after a moment', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      machine.core.seal();
      expect(machine.box.status()).toMatchObject({ sealed: true });
      await machine.clock.pass(0);
      expect(machine.box.status().sealed).toBe(true);
      for (let round = 0; round < 5; round++) await machine.clock.pass(1000);
      expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'keyfile' });
    });
  });

  describe('a change of keys that is in when the box closes, and waits for its turn', () => {
    const closings: readonly (readonly [string, (machine: Machine) => Promise<unknown>])[] = [
      ['a seal', ({ box }) => box.seal()],
      ['an orderly stop', ({ box }) => box.stop()],
      ['a trap of core', async ({ box, core }) => core.seal() ?? box.status()],
      ['an old row that verification finds', ({ box, clock }) => clock.wake(() => !box.status().verifying)],
    ];

    test.each(closings)('is refused, and %s ends; a person opens the box again', async (what, close) => {
      const machine = new Machine();
      const { shares } = await machine.box.initialise({ ...SOLO, keyfile: what !== 'a trap of core' });
      await machine.box.offerShare(copy(shares[0]));
      if (what.startsWith('an old row')) {
        await Promise.all(Array.from({ length: 4200 }, (_, number) => machine.put(`row ${number}`)));
        await machine.box.stop();
        const puts = [{ table: 'record' as const, key: Buffer.from('row 1'), value: row('older') }];
        await machine.freshness.clearing(() => machine.store.commit({ puts }));
        machine.restart();
        await machine.box.offerShare(copy(shares[0]));
        expect(machine.box.status()).toMatchObject({ sealed: false, verifying: true });
      }
      const codes: string[] = [];
      machine.lastRequests = async () => {
        machine.lastRequests = async () => undefined;
        await machine.box.keys.rotate(machine.box.holder()).catch(({ code }) => codes.push(code));
      };
      machine.events.length = 0;
      await close(machine);
      for (let turns = 0; !machine.core.sealed || !machine.events.includes('log.stop'); turns++) {
        if (turns > 500) throw new Error('it never closed');
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(codes).toEqual(['appliance.sealed']);
      if (what.startsWith('an old row')) {
        expect(machine.box.status().reasons.join()).toContain('rolled back');
        await machine.box.offerShare(copy(shares[0]), 'rolled-back');
      } else await machine.box.offerShare(copy(shares[0]));
      expect(machine.box.status()).toMatchObject({ sealed: false, openedBy: 'shamir' });
    });

    test('a stop ends what a trap would have opened again', async () => {
      const machine = new Machine();
      await machine.box.initialise(SOLO);
      await machine.box.unsealAutomatically();
      machine.core.seal();
      expect(machine.box.status().sealed).toBe(true);
      await machine.box.stop();
      for (let round = 0; round < 5; round++) await machine.clock.pass(60_000);
      expect(machine.box.status().sealed).toBe(true);
      expect(machine.clock.timers).toEqual([]);
    });
  });
});
