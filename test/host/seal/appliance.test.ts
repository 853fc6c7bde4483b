import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Core, loadCore } from '../../../core/index.ts';
import type { Clock } from '../../../host/ports/clock.ts';
import type { Store } from '../../../host/ports/store.ts';
import { Box } from '../../../host/seal/appliance.ts';
import { Freshness } from '../../../host/seal/freshness.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { decodeRow } from '../../../host/seal/slot-format.ts';
import { Secret } from '../../../host/secret.ts';
import { openMemoryStore } from '../../../host/store/memory/memory.ts';
import { files } from '../../../host/system/files.ts';
import { LeaseClock } from '../../../host/system/lease-time.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { toyCore } from './toy-core.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

class TestClock implements Clock {
  now = Date.UTC(2026, 10, 24);
  readonly bootId = 'boot';
  readonly timers: { readonly at: number; readonly job: () => void }[] = [];
  wallMs = () => this.now;
  wallNanos = () => 0;
  bootMs = () => this.now - Date.UTC(2026, 10, 1);
  after(delayMs: number, job: () => void) {
    const timer = { at: this.now + delayMs, job };
    this.timers.push(timer);
    return { cancel: () => void this.timers.splice(this.timers.indexOf(timer) >>> 0, 1) };
  }
  readonly #sleeping: (() => void)[] = [];
  sleep = () => new Promise<void>((resolve) => this.#sleeping.push(resolve));
  /** Wakes who sleeps, until nobody does. */
  async wake(done: () => boolean): Promise<void> {
    while (!done()) {
      for (const resolve of this.#sleeping.splice(0)) resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  /** Runs what is due within `ms`, and lets promises settle. */
  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const timer of this.timers.filter(({ at }) => at <= this.now)) {
      this.timers.splice(this.timers.indexOf(timer), 1);
      timer.job();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const wasm = readFileSync('dist/core.wasm');
const CORES: Readonly<Record<string, () => Core>> = {
  'the core': () => loadCore({ wasm, random: (length) => systemRandom.bytes(length) }),
  'the toy core': toyCore,
};
let newCore: () => Core = toyCore;

let made = 0;
/** One machine: a disk, a key file, and programs that run on it one after the other. */
class Machine {
  readonly clock = new TestClock();
  readonly keyfile = join(scratch, String(made++), 'keyfile');
  core: Core = newCore();
  store: Store;
  /** Commits from this number on fail, as if the power went. */
  cutAt = Number.POSITIVE_INFINITY;
  commits = 0;
  /** What the box asked of its neighbours, in order. */
  readonly events: string[] = [];
  readonly notes: string[] = [];
  freshness: Freshness;
  box: Box;
  #lease: LeaseClock;

  constructor() {
    this.#lease = this.#newLease();
    this.freshness = new Freshness(this.core, this.#lease);
    // The store outlives the programs: it asks whichever witness is the present one.
    this.store = openMemoryStore({
      fold: (changes) => this.freshness.fold(changes),
      settled: (committed) => this.freshness.settled(committed),
    });
    this.box = this.#newBox();
  }

  #newLease(): LeaseClock {
    return new LeaseClock({ clock: this.clock, trust: 'kernel', builtMs: 0, synchronised: () => true });
  }

  /** The process ends without a word and starts again. */
  restart(): void {
    this.core = newCore();
    this.clock.timers.length = 0;
    this.cutAt = Number.POSITIVE_INFINITY;
    this.#lease = this.#newLease();
    this.freshness = new Freshness(this.core, this.#lease);
    this.box = this.#newBox();
  }

  #newBox(): Box {
    const { clock, core, freshness, store } = this;
    const cut = <T>(work: () => T): T => {
      if (++this.commits >= this.cutAt) throw new Error('the power went');
      return work();
    };
    return new Box({
      core,
      freshness,
      clock,
      lease: this.#lease,
      store: new Proxy(store, {
        get: (target, name: keyof Store) => {
          if (name === 'commit')
            return async (batch: Parameters<Store['commit']>[0]) => cut(() => target.commit(batch));
          const member = target[name];
          return typeof member === 'function' ? member.bind(target) : member;
        },
      }),
      random: systemRandom,
      log: {
        start: async () => void this.events.push('log.start'),
        note: (event) => void this.notes.push(event),
        stop: async () => void this.events.push('log.stop'),
        clear: () => void this.events.push('log.clear'),
      },
      residents: {
        found: async () => {
          await cut(() =>
            store.commit({ puts: [{ table: 'policy', key: Buffer.from('default'), value: Buffer.from('rules') }] }),
          );
          return { rootToken: new Secret(Buffer.from('hvs.root')) };
        },
        open: async () => void this.events.push('residents.open'),
        close: async () => void this.events.push('residents.close'),
      },
      allowed: ['shamir', 'keyfile'],
      shamir: (threshold, shares) => new ShamirSlot({ core, random: systemRandom, threshold, shares }),
      automatic: [new KeyfileSlot({ path: this.keyfile, random: systemRandom, files })],
      heartbeatMs: 60_000,
      reasons: () => [],
    });
  }

  put(text: string): Promise<void> {
    return this.store.commit({ puts: [{ table: 'record', key: Buffer.from(text), value: Buffer.from(text) }] });
  }
}

const copy = (secret: Secret | undefined): Secret => new Secret(Buffer.from(secret?.bytes ?? []));
const SOLO = { shares: 1, threshold: 1, keyfile: true } as const;
const THREE_OF_FIVE = { shares: 5, threshold: 3, keyfile: false } as const;

describe.each(Object.entries(CORES))('with %s', (_name, make) => {
  beforeAll(() => {
    newCore = make;
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
      expect(machine.events).toEqual(['log.start', 'residents.open']);
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
      expect(machine.events).toEqual(['residents.close', 'log.stop']);
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
      await tamper(machine, Buffer.from('row 1'));
      expect(await machine.box.unsealAutomatically()).toBe(true);
    });

    test('in a large store it serves at once, says that it verifies, and seals itself when it finds it', async () => {
      const machine = await filled(4200);
      machine.restart();
      expect(await machine.box.unsealAutomatically()).toBe(true);
      await machine.clock.wake(() => !machine.box.status().verifying);
      expect(machine.box.status()).toMatchObject({ sealed: false });
      await machine.box.stop();

      await tamper(machine, Buffer.from('older'));
      expect(await machine.box.unsealAutomatically()).toBe(true);
      expect(machine.box.status()).toMatchObject({ sealed: false, verifying: true });
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
});
