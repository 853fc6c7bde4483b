import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCore } from '../../../core/index.ts';
import type { Verb } from '../../../core/types.ts';
import { AuditLog } from '../../../host/audit/index.ts';
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
  /** Sends a request as the api would. */
  send(verb: Verb, path: string, body?: ValueMap, token?: string | null, more?: Partial<Inbound>): Promise<Outbound>;
  /** The same; @throws Error for an error answer */
  ok(verb: Verb, path: string, body?: ValueMap, token?: string | null, more?: Partial<Inbound>): Promise<Answer>;
  /** Stops it and opens it again over the same folder. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

/** The parts of a box over a data folder, not opened yet. */
export interface Assembled extends Pick<WholeBox, 'box' | 'services' | 'store' | 'audit'> {
  /** Stops what is open and closes the store. */
  stop(): Promise<void>;
}

export async function assemble(
  data: string,
  keyfile: string,
  clock: SystemClock = systemClock(),
  log: LogFiles = logFiles,
  directoryEntriesMax?: number,
  segmentBytes = 1024 * 1024,
  more: Partial<ServiceParts> = {},
): Promise<Assembled> {
  const lock = lockFolder(data);
  const core = loadCore({ wasm: readFileSync('dist/core.wasm'), random: (length) => systemRandom.bytes(length) });
  const lease = new LeaseClock({ clock, trust: 'kernel', builtMs: 0, synchronised: () => true });
  const freshness = new Freshness(core, lease);
  const store = await openLmdbStore({ lock, files, witness: freshness });
  const folder = join(data, 'audit');
  const audit = new AuditLog({ folder, core, files: log, clock, random: systemRandom, segmentBytes });
  const counters = new Counters({ core, store, freshness, clock, lease, devices: [], intervalMs: 900_000 });
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
    heartbeatMs: 60_000,
    settleMs: 0,
    reasons: () => audit.reasons,
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

/** Timers that also go off when time is moved past them. */
class SkippedTimers {
  readonly #real: SystemClock;
  readonly #nowMs: () => number;
  readonly #waiting = new Map<() => void, number>();

  constructor(real: SystemClock, nowMs: () => number) {
    this.#real = real;
    this.#nowMs = nowMs;
  }

  after(delayMs: number, job: () => void): { cancel(): void } {
    const once = (): void => {
      timer.cancel();
      if (this.#waiting.delete(once)) job();
    };
    const timer = this.#real.after(delayMs, once);
    this.#waiting.set(once, this.#nowMs() + delayMs);
    return {
      cancel: () => {
        timer.cancel();
        this.#waiting.delete(once);
      },
    };
  }

  look(): void {
    for (const [once, dueMs] of [...this.#waiting]) if (dueMs <= this.#nowMs()) once();
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
  more: Partial<ServiceParts> = {},
): Promise<WholeBox> {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-'));
  const data = join(scratch, 'data');
  let skipped = 0;
  const real = systemClock();
  const timers = new SkippedTimers(real, () => real.bootMs() + skipped);
  const clock: SystemClock = {
    bootId: real.bootId,
    reasons: real.reasons,
    synchronised: () => real.synchronised(),
    wallMs: () => real.wallMs() + skipped,
    bootMs: () => real.bootMs() + skipped,
    wallNanos: () => real.wallNanos(),
    after: (delayMs, job) => timers.after(delayMs, job),
    sleep: (delayMs) => real.sleep(delayMs),
  };
  const put = (): Promise<Assembled> =>
    assemble(data, join(scratch, 'keyfile'), clock, log, directoryEntriesMax, segmentBytes, more);
  let now = await put();
  const { rootToken, shares } = await now.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  const root = Buffer.from(rootToken.bytes).toString();
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
    ...{ root, data, send },
    share: Buffer.from(shares[0]?.bytes ?? []),
    skip: (ms) => {
      skipped += ms;
      timers.look();
    },
    ok: async (...args) => {
      const outbound = await send(...args);
      if (outbound.kind === 'error')
        throw new Error(`${args[0]} ${args[1]} was answered ${outbound.status}: ${outbound.errors.join('; ')}`);
      return outbound.answer;
    },
    async restart() {
      await now.stop();
      now = await put();
      await open();
    },
    async end() {
      await now.stop();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}
