/** One machine for tests of the seal: a disk in memory, a key file, and programs that run on it one after the other. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Core, loadCore } from '../../../core/index.ts';
import { Fault } from '../../../host/fault.ts';
import type { Clock } from '../../../host/ports/clock.ts';
import type { CounterDevice } from '../../../host/ports/counter.ts';
import type { MachineFact } from '../../../host/ports/machine.ts';
import type { SealSlot } from '../../../host/ports/seal-slot.ts';
import { type Batch, type Expectation, type Put, type Store, TABLES, type Table } from '../../../host/ports/store.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { Box } from '../../../host/seal/appliance.ts';
import { decodeCounters, encodeCounters } from '../../../host/seal/counter-row.ts';
import { Counters } from '../../../host/seal/counters.ts';
import { Freshness } from '../../../host/seal/freshness.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { JobRow } from '../../../host/seal/rows.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { Secret } from '../../../host/secret.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { openMemoryStore } from '../../../host/store/memory/memory.ts';
import { files } from '../../../host/system/files.ts';
import { LeaseClock } from '../../../host/system/lease-time.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { systemRandom } from '../../../host/system/random.ts';

export const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

export class TestClock implements Clock {
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
export const newCore = (): Core => loadCore({ wasm, random: (length) => systemRandom.bytes(length) });

/** A row as the store sees one of the first epoch; what is sealed in it is not its business. */
export const row = (text: string): Buffer => Buffer.concat([Buffer.of(1, 0, 0, 0, 1), Buffer.from(text)]);

let made = 0;
/** One machine: a disk, a key file, and programs that run on it one after the other. */
export class Machine {
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
  /** What opens the box besides the key file, from the next start on: tried first. */
  readonly hardware: SealSlot[] = [];
  /** What keeps counters, from the next start on. */
  readonly devices: CounterDevice[] = [];
  /** Kinds that keep one as if a slot of theirs opened the box. */
  readonly counted: string[] = [];
  /** What the machine is known by. */
  facts: MachineFact[] = [{ name: 'machine-id', digest: '11' }];
  /** The first leaf that the box asked for at its last start. */
  first: unknown;
  /** The appliance whose log was begun last, and the one whose log was put aside for it. */
  logOf = '';
  wasLogOf = '';
  /** The disk has only the room that is kept back: for urgent batches. */
  full = false;
  /** Run around each commit: throw where the power goes. */
  beforeCommit: () => void = () => undefined;
  afterCommit: () => void = () => undefined;
  /** Resolves when the leaves composed so far are on disk. */
  leavesDurable: () => Promise<void> = async () => undefined;
  /** Requests that are in when the box closes: it waits for them. */
  lastRequests: () => Promise<unknown> = async () => undefined;
  freshness: Freshness;
  counters!: Counters;
  box: Box;
  #lease: LeaseClock;
  #store: Store | undefined;

  readonly #rows: 'opaque' | 'sealed';

  /**
   * @param rows   `sealed`: as engines write them; else bytes that no core opens
   * @param store  another disk, whose witness asks this machine's
   */
  constructor(rows: 'opaque' | 'sealed' = 'opaque', store?: Store) {
    this.#rows = rows;
    this.#lease = this.#newLease();
    this.freshness = new Freshness(this.core, this.#lease);
    // The store outlives the programs: it asks whichever witness is the present one.
    this.store =
      store ??
      openMemoryStore({
        fold: (changes) => this.freshness.fold(changes),
        settled: (committed) => this.freshness.settled(committed),
      });
    this.box = this.#newBox();
  }

  /** A machine whose disk is one: LMDB in a folder of its own. */
  static async onDisk(rows: 'opaque' | 'sealed'): Promise<{ readonly machine: Machine; end(): Promise<void> }> {
    const lock = lockFolder(join(scratch, `disk-${made++}`));
    const witness: { machine?: Machine } = {};
    const present = (): Freshness => (witness.machine as Machine).freshness;
    const store = await openLmdbStore({
      ...{ lock, files, ballastBytes: 0, mapBytes: 1024 * 1024 },
      witness: {
        fold: (changes) => present().fold(changes),
        settled: (committed) => present().settled(committed),
      },
    });
    const machine = new Machine(rows, store);
    witness.machine = machine;
    return {
      machine,
      async end() {
        await machine.box.stop();
        await store.close();
        lock.release();
      },
    };
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
    const cutStore = new Proxy(store, {
      get: (target, name: keyof Store) => {
        if (name === 'commit')
          return async (batch: Batch) => {
            this.beforeCommit();
            if (this.full && batch.urgent !== true) throw new Fault('store.full', 'the disk is full');
            await cut(() => target.commit(batch));
            this.afterCommit();
          };
        const member = target[name];
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
    const counters = new Counters({
      ...{ core, freshness, clock, lease: this.#lease, store: cutStore },
      devices: this.devices,
      intervalMs: 900_000,
    });
    const follow = counters.follow.bind(counters);
    counters.follow = (kinds) => follow([...kinds, ...this.counted]);
    this.counters = counters;
    this.#store = cutStore;
    return new Box({
      core,
      freshness,
      counters: this.counters,
      clock,
      lease: this.#lease,
      store: cutStore,
      random: systemRandom,
      log: {
        start: async ({ first, was, applianceId }) => {
          this.first = first;
          this.logOf = Buffer.from(applianceId).toString('hex');
          this.wasLogOf = was === undefined ? '' : Buffer.from(was).toString('hex');
          this.events.push('log.start');
        },
        note: (event) => void this.notes.push(event),
        durable: () => this.leavesDurable(),
        keysChanged: async () => void this.events.push('log.keys'),
        stop: async () => void this.events.push('log.stop'),
        clear: () => void this.events.push('log.clear'),
      },
      residents: {
        found: async () => {
          await cut(() => this.put('default'));
          return { rootToken: new Secret(Buffer.from('hvs.root')) };
        },
        newRootToken: async () => new Secret(Buffer.from(`hvs.${'r'.repeat(24)}`)),
        open: async () => void this.events.push('residents.open'),
        close: async () => {
          await this.lastRequests();
          this.events.push('residents.close');
        },
      },
      allowed: ['shamir', 'keyfile', ...this.hardware.map(({ kind }) => kind)],
      shamir: (threshold, shares) => this.shamir(threshold, shares),
      automatic: [...this.hardware, this.keyfileSlot()],
      machine: () => this.facts,
      heartbeatMs: 60_000,
      settleMs: 0,
      reasons: () => [],
    });
  }

  /** As if the open box had raised its counter so often in the year under way. */
  async wear(raised: number): Promise<void> {
    const jobs = new JobRow(this.core, this.#lease, 'counters');
    const records = decodeCounters(jobs.read(this.store)) ?? [];
    const value = encodeCounters(records.map((one) => ({ ...one, wear: { ...one.wear, raised } })));
    await this.store.commit({ puts: [jobs.put(value)] });
  }

  /** A row that the box keeps of itself. */
  job(name: string): ValueMap | undefined {
    return new JobRow(this.core, this.#lease, name).read(this.store);
  }

  keyfileSlot(): KeyfileSlot {
    return new KeyfileSlot({ path: this.keyfile, random: systemRandom, files });
  }

  shamir(threshold: number, shares: number): ShamirSlot {
    return new ShamirSlot({ core: this.core, random: systemRandom, threshold, shares });
  }

  /** One row and whatever goes with it, in one commit of the box. */
  commit(text: string, more: readonly Put[], expect: readonly Expectation[] = []): Promise<void> {
    const key = Buffer.from(text);
    return (this.#store ?? this.store).commit({ puts: [{ table: 'record', key, value: row(text) }, ...more], expect });
  }

  /** Every row of the disk, as a thief or a backup keeps them. */
  copyOfStore(): readonly Put[] {
    return (Object.keys(TABLES) as Table[]).flatMap((table) =>
      [...this.store.range(table)].map(({ key, value }) => ({ table, key, value })),
    );
  }

  /** The program ends; these rows and no others are on the disk. */
  async putBack(rows: readonly Put[]): Promise<void> {
    await this.box.stop();
    const { freshness } = this;
    await freshness.clearing(async () => {
      const now = this.copyOfStore().map(({ table, key }): Put => ({ table, key }));
      await this.store.commit({ puts: [...now, ...rows] });
    });
  }

  put(text: string): Promise<void> {
    const key = Buffer.from(text);
    if (this.#rows === 'opaque') return this.store.commit({ puts: [{ table: 'record', key, value: row(text) }] });
    const value = this.#granted((grant) => this.core.sealTable(grant, 'token', key, key));
    return this.store.commit({ puts: [{ table: 'token', key, value }] });
  }

  /** Sealed rows, in one commit. */
  putAll(texts: readonly string[]): Promise<void> {
    const puts = texts.map((text): Put => {
      const key = Buffer.from(text);
      return { table: 'token', key, value: this.#granted((grant) => this.core.sealTable(grant, 'token', key, key)) };
    });
    return this.store.commit({ puts });
  }

  /** What a sealed row holds; undefined if there is none. @throws CoreFault `refused` */
  get(text: string): string | undefined {
    const key = Buffer.from(text);
    const found = this.store.get('token', key);
    if (found === undefined) return undefined;
    const value = Uint8Array.from(found);
    return Buffer.from(this.#granted((grant) => this.core.openTable(grant, 'token', key, value))).toString();
  }

  #granted(work: (grant: number) => Uint8Array): Uint8Array {
    const now = this.#lease.nowMs();
    const grant = this.core.systemGrant('boot', undefined, now, now + 1000);
    const result = Uint8Array.from(work(grant));
    this.core.endGrant(grant);
    return result;
  }
}
