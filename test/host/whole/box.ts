import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCore } from '../../../core/index.ts';
import type { Verb } from '../../../core/types.ts';
import { AuditLog } from '../../../host/audit/index.ts';
import type { CounterDevice } from '../../../host/ports/counter.ts';
import type { Inbound, Outbound } from '../../../host/ports/dispatch.ts';
import type { Answer } from '../../../host/ports/engine.ts';
import type { LogFiles } from '../../../host/ports/log-files.ts';
import type { Store } from '../../../host/ports/store.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { Box } from '../../../host/seal/appliance.ts';
import { Counters } from '../../../host/seal/counters.ts';
import { Freshness } from '../../../host/seal/freshness.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { boxLog } from '../../../host/seal/log.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { buildServices, type ServiceParts, type Services } from '../../../host/services.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { type SystemClock, systemClock } from '../../../host/system/clock.ts';
import { files } from '../../../host/system/files.ts';
import { LeaseClock } from '../../../host/system/lease-time.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { systemRandom } from '../../../host/system/random.ts';

/** A whole box without its HTTP face, in a folder of its own. */
export interface WholeBox {
  readonly box: Box;
  readonly services: Services;
  readonly store: Store;
  readonly audit: AuditLog;
  readonly root: string;
  readonly data: string;
  /** The recovery share that the box was made with. */
  readonly share: Uint8Array;
  /** Moves lease time on. */
  skip(ms: number): void;
  /** Stops every clock: time moves by `skip` and `jump` alone. Timers go on. */
  still(): void;
  /** Sets the wall clock forward or back, and nothing else. */
  jump(ms: number): void;
  /** Sends a request as the api would. */
  send(verb: Verb, path: string, body?: ValueMap, token?: string | null, more?: Partial<Inbound>): Promise<Outbound>;
  /** The same; @throws Error for an error answer */
  ok(verb: Verb, path: string, body?: ValueMap, token?: string | null, more?: Partial<Inbound>): Promise<Answer>;
  /** Stops it and opens it again over the same folder. @param offMs  the machine itself was off so long */
  restart(offMs?: number): Promise<void>;
  /** Another box over a copy of the folder as it is now: what a power cut would leave. */
  copy(more?: Partial<ServiceParts>): Promise<WholeBox>;
  end(): Promise<void>;
}

/** The parts of a box over a data folder, not opened yet. */
export interface Assembled extends Pick<WholeBox, 'box' | 'services' | 'store' | 'audit'> {
  /** Stops what is open and closes the store. */
  stop(): Promise<void>;
}

/** What the composition adds or replaces; `devices` count as if a slot of each opened the box. */
export type More = Partial<ServiceParts> & { readonly devices?: readonly CounterDevice[] };

export async function assemble(
  data: string,
  keyfile: string,
  clock: SystemClock = systemClock(),
  log: LogFiles = logFiles,
  directoryEntriesMax?: number,
  segmentBytes = 1024 * 1024,
  { devices = [], ...more }: More = {},
): Promise<Assembled> {
  const lock = lockFolder(data);
  const core = loadCore({ wasm: readFileSync('dist/core.wasm'), random: (length) => systemRandom.bytes(length) });
  const lease = new LeaseClock({ clock, trust: 'kernel', builtMs: 0, synchronised: () => true });
  const freshness = new Freshness(core, lease);
  const store = await openLmdbStore({ lock, files, witness: freshness });
  const folder = join(data, 'audit');
  const audit = new AuditLog({ folder, core, files: log, clock, random: systemRandom, segmentBytes });
  const counters = new Counters({ core, store, freshness, clock, lease, devices, intervalMs: 900_000 });
  const follow = counters.follow.bind(counters);
  counters.follow = (kinds) => follow([...kinds, ...devices.map(({ kind }) => kind)]);
  const services = buildServices({
    ...{ core, store, audit, clock, lease, random: systemRandom },
    counting: counters,
    appliance: () => box,
    ceremonies: true,
    metrics: () => ({ text: '', json: {} }),
    openApi: () => ({}),
    ...(directoryEntriesMax === undefined ? {} : { directoryEntriesMax }),
    ...more,
  });
  const box = new Box({
    ...{ core, store, freshness, counters, clock, lease, random: systemRandom },
    log: boxLog({ audit, folder, core, store, lease, trouble: () => {} }),
    residents: services,
    allowed: ['shamir', 'keyfile'],
    shamir: (threshold, shares) => new ShamirSlot({ core, random: systemRandom, threshold, shares }),
    automatic: [new KeyfileSlot({ path: keyfile, random: systemRandom, files })],
    machine: () => [],
    heartbeatMs: 60_000,
    settleMs: 0,
    reasons: () => [...audit.reasons, ...services.leases.reasons()],
  });
  return {
    ...{ box, services, store, audit },
    async stop() {
      await box.stop();
      await store.close();
      lock.release();
    },
  };
}

/** The machine's clock, moved by tests. Timers also go off when time is moved past them. */
export class MovedClock implements SystemClock {
  readonly #real = systemClock();
  readonly #waiting = new Map<() => void, number>();
  #still: { readonly wallMs: number; readonly bootMs: number } | undefined;
  #skipped: number;
  #jumped = 0;
  #bootedAt = 0;
  #boots = 0;

  /** @param skippedMs  how far an earlier process of this test had moved time on */
  constructor(skippedMs = 0) {
    this.#skipped = skippedMs;
  }

  get bootId(): string {
    return this.#boots === 0 ? this.#real.bootId : `${this.#real.bootId}-${this.#boots}`;
  }

  get reasons(): SystemClock['reasons'] {
    return this.#real.reasons;
  }

  synchronised(): boolean {
    return this.#real.synchronised();
  }

  wallMs(): number {
    return (this.#still?.wallMs ?? this.#real.wallMs()) + this.#skipped + this.#jumped;
  }

  wallNanos(): number {
    return this.#real.wallNanos();
  }

  bootMs(): number {
    return (this.#still?.bootMs ?? this.#real.bootMs()) + this.#skipped - this.#bootedAt;
  }

  sleep(delayMs: number): Promise<void> {
    return this.#real.sleep(delayMs);
  }

  after(delayMs: number, job: () => void): { cancel(): void } {
    const once = (): void => {
      timer.cancel();
      if (this.#waiting.delete(once)) job();
    };
    const timer = this.#real.after(delayMs, once);
    this.#waiting.set(once, this.bootMs() + delayMs);
    return {
      cancel: () => {
        timer.cancel();
        this.#waiting.delete(once);
      },
    };
  }

  skip(ms: number): void {
    this.#skipped += ms;
    for (const [once, dueMs] of [...this.#waiting]) if (dueMs <= this.bootMs()) once();
  }

  still(): void {
    this.#still = { wallMs: this.#real.wallMs(), bootMs: this.#real.bootMs() };
  }

  jump(ms: number): void {
    this.#jumped += ms;
  }

  /** The machine was off for `offMs`. */
  reboot(offMs: number): void {
    this.#skipped += offMs;
    this.#bootedAt += this.bootMs();
    this.#boots++;
  }
}

/** Sends a request as the api would. */
export function sender(services: Services, root: () => string): WholeBox['send'] {
  return (verb, path, body = {}, token = root(), more = {}) =>
    services.dispatch.dispatch({
      id: systemRandom.uuid(),
      ...{ verb, path, body, token: token ?? undefined, wrapTtl: 0, peer: { address: '127.0.0.1' } },
      ...{ headers: {}, deadlineMs: 60_000 },
      ...more,
    });
}

/**
 * @param log  what the audit log writes to
 * @param directoryEntriesMax  entries that a directory may have
 * @param more  what the composition adds (engines), or replaces
 */
export async function wholeBox(
  log: LogFiles = logFiles,
  directoryEntriesMax?: number,
  segmentBytes?: number,
  more: More = {},
): Promise<WholeBox> {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-'));
  const data = join(scratch, 'data');
  const clock = new MovedClock();
  const put = (): Promise<Assembled> =>
    assemble(data, join(scratch, 'keyfile'), clock, log, directoryEntriesMax, segmentBytes, more);
  const now = await put();
  const { rootToken, shares } = await now.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  const root = Buffer.from(rootToken.bytes).toString();
  const share = Buffer.from(shares[0]?.bytes ?? []);
  return await opened({ now, put, clock, scratch, root, share });
}

interface Parts {
  readonly now: Assembled;
  readonly put: () => Promise<Assembled>;
  readonly clock: MovedClock;
  readonly scratch: string;
  readonly root: string;
  readonly share: Uint8Array;
}

/** Opens a box by its key file. */
async function opened(parts: Parts): Promise<WholeBox> {
  const { put, clock, scratch, root, share } = parts;
  let { now } = parts;
  const data = join(scratch, 'data');
  const open = async (): Promise<void> => {
    if (await now.box.unsealAutomatically()) return;
    throw new Error(`the box did not open: ${now.box.status().reasons.join('; ')}`);
  };
  await open();
  const send: WholeBox['send'] = (...args) => sender(now.services, () => root)(...args);
  return {
    get box() {
      return now.box;
    },
    get services() {
      return now.services;
    },
    get store() {
      return now.store;
    },
    get audit() {
      return now.audit;
    },
    ...{ root, data, send, share },
    still: () => clock.still(),
    skip: (ms) => clock.skip(ms),
    jump: (ms) => clock.jump(ms),
    ok: async (...args) => {
      const outbound = await send(...args);
      if (outbound.kind === 'error')
        throw new Error(`${args[0]} ${args[1]} was answered ${outbound.status}: ${outbound.errors.join('; ')}`);
      return outbound.answer;
    },
    async restart(offMs) {
      await now.stop();
      if (offMs !== undefined) clock.reboot(offMs);
      now = await put();
      await open();
    },
    async copy(more = {}) {
      const other = mkdtempSync(join(tmpdir(), 'holdfast-copy-'));
      cpSync(scratch, other, { recursive: true });
      const again = (): Promise<Assembled> =>
        assemble(join(other, 'data'), join(other, 'keyfile'), clock, logFiles, undefined, undefined, more);
      return await opened({ now: await again(), put: again, clock, scratch: other, root, share });
    },
    async end() {
      await now.stop();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}
