/** A log over a temporary folder, with time, randomness and files in the test's hand. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Opener } from '../../../host/audit/check.ts';
import { AuditLog } from '../../../host/audit/log.ts';
import type { AuditContext, AuditOptions, AuditRecord, AuditStart, AuditStarted } from '../../../host/audit/types.ts';
import type { Clock, Timer } from '../../../host/ports/clock.ts';
import type { MountInfo, TokenInfo } from '../../../host/ports/engine.ts';
import type { LogFiles } from '../../../host/ports/log-files.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { FakeCore, type FakeKeys, fakeKeys } from './fake-core.ts';

export class ManualClock implements Clock {
  readonly bootId = 'boot';
  #ms = 1_795_500_000_000;
  #timers: { readonly at: number; readonly job: () => void }[] = [];

  wallMs(): number {
    return this.#ms;
  }

  wallNanos(): number {
    return 123_456;
  }

  bootMs(): number {
    return this.#ms - 1_795_400_000_000;
  }

  after(delayMs: number, job: () => void): Timer {
    const timer = { at: this.#ms + delayMs, job };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  sleep(): Promise<void> {
    return Promise.reject(new Error('no test sleeps'));
  }

  advance(ms: number): void {
    this.#ms += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#ms);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { job } of due) job();
  }
}

/** What lies in the store: the sealed record and the newest checkpoint of the freshness row. */
export class FakeStore implements AuditRecord {
  value: ValueMap | undefined;
  known: { size: number; root: Uint8Array } | undefined;

  load(): Promise<ValueMap | undefined> {
    return Promise.resolve(this.value);
  }

  save(value: ValueMap): Promise<void> {
    this.value = structuredClone(value);
    return Promise.resolve();
  }

  copy(): FakeStore {
    const other = new FakeStore();
    other.value = structuredClone(this.value);
    other.known = this.known;
    return other;
  }
}

export interface RigOptions extends Partial<AuditOptions> {
  readonly seed?: string;
  readonly groupBytes?: number;
  readonly base?: string;
  readonly store?: FakeStore;
}

const MOUNT: MountInfo = {
  id: '00'.repeat(16),
  path: 'secret/',
  type: 'kv',
  accessor: 'kv_0badcafe',
  description: '',
  options: { version: '2' },
  defaultLeaseTtl: 0,
  maxLeaseTtl: 0,
  builtin: false,
  config: {},
};

export const TOKEN: TokenInfo = {
  id: '11'.repeat(16),
  type: 'service',
  accessor: 'CanaryAccessor0123456789',
  displayName: 'token',
  policies: ['app', 'default'],
  identityPolicies: [],
  metadata: { team: 'edge' },
  path: 'auth/token/create',
  creationMs: 1_795_400_000_000,
  creationTtl: 2_764_800,
  expireMs: 0,
  explicitMaxTtl: 0,
  period: 0,
  renewable: true,
  orphan: false,
  parentId: undefined,
  numUses: 0,
  entityId: '',
  role: '',
  boundCidrs: [],
  issueMs: 1_795_400_000_000,
  lastRenewalMs: 0,
  wrapping: false,
};

export const TOKEN_TEXT = 'hvs.CanaryTokenText0123456789';

export class Rig implements Disposable {
  readonly base: string;
  readonly folder: string;
  readonly clock = new ManualClock();
  readonly store: FakeStore;
  readonly keys: FakeKeys;
  core: FakeCore;
  readonly log: AuditLog;
  readonly troubles: string[] = [];
  readonly checkpoints: number[] = [];
  /** Of the root key: each has a signing key of its own. */
  rootGeneration = 1;
  #ids = 0;
  readonly #random: () => string;

  constructor(options: RigOptions = {}) {
    const { seed = 'box', groupBytes, base, store, ...rest } = options;
    this.base = base ?? mkdtempSync(join(tmpdir(), 'holdfast-audit-'));
    this.folder = join(this.base, 'audit');
    this.store = store ?? new FakeStore();
    this.keys = fakeKeys(seed);
    this.core = new FakeCore(this.keys, groupBytes);
    this.#random = () => {
      this.#ids += 1;
      return `00000000-0000-4000-8000-${this.#ids.toString(16).padStart(12, '0')}`;
    };
    this.log = new AuditLog({
      folder: this.folder,
      core: this.core,
      files: logFiles,
      clock: this.clock,
      random: { bytes: (length) => new Uint8Array(length), uuid: this.#random },
      segmentBytes: 64 * 1024,
      ...rest,
    });
  }

  starting(): AuditStart {
    return {
      applianceId: this.keys.applianceId,
      record: this.store,
      nowMs: () => this.clock.wallMs(),
      rootGeneration: () => this.rootGeneration,
      known: this.store.known,
      onCheckpoint: (size, root) => {
        this.checkpoints.push(size);
        this.store.known = { size, root: Uint8Array.from(root) };
        return Promise.resolve();
      },
      onTrouble: (sentence) => this.troubles.push(sentence),
    };
  }

  start(): Promise<AuditStarted> {
    return this.log.start(this.starting());
  }

  context(more: Partial<AuditContext> = {}): AuditContext {
    return {
      id: this.#random(),
      timeMs: this.clock.wallMs(),
      timeNanos: 42,
      verb: 'read',
      decision: { verdict: 'allowed', capability: 'read', granting: [0] },
      path: 'secret/data/app/one',
      mount: MOUNT,
      tokenText: TOKEN_TEXT,
      token: TOKEN,
      body: {},
      peer: { address: '192.0.2.7', port: 4711 },
      wrapTtl: 0,
      ...more,
    };
  }

  /** One request with its answer, not yet durable. */
  pair(more: Partial<AuditContext> = {}, data: ValueMap = { value: 'x' }): void {
    const context = this.context(more);
    this.log.request(1, context);
    this.log.response(1, context, { timeMs: context.timeMs, timeNanos: 43, answer: { data } });
  }

  /** So many groups of `pairs` requests each. */
  async groups(count: number, pairs = 1): Promise<void> {
    for (let group = 0; group < count; group++) {
      for (let at = 0; at < pairs; at++) this.pair();
      await this.log.durable();
    }
  }

  /** Another box's process on a copy of this folder and store, as after a power cut. */
  reopened(options: RigOptions = {}): Rig {
    const base = mkdtempSync(join(tmpdir(), 'holdfast-audit-'));
    cpSync(this.base, base, { recursive: true });
    return new Rig({ ...options, base, store: options.store ?? this.store.copy() });
  }

  get opener(): Opener {
    const core = new FakeCore(this.keys);
    return { frame: (bytes) => core.auditOpenFrame(0, bytes), mark: (bytes) => core.auditMark(bytes) };
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** Files without waiting for the medium: for runs whose power is never cut. */
export const quickFiles: LogFiles = {
  ...logFiles,
  syncFolder: () => undefined,
  syncPath: () => Promise.resolve(),
  open: (path) => ({ ...logFiles.open(path), sync: () => Promise.resolve() }),
};

/** Files that fail when told to. */
export class FailingFiles implements LogFiles {
  /** Called before each operation; throws to fail it. */
  before: (operation: string, path: string) => void = () => undefined;
  readonly syncFolder = (path: string): void => this.#run('syncFolder', path, () => logFiles.syncFolder(path));
  readonly makeFolder = (path: string): void => logFiles.makeFolder(path);
  readonly remove = (path: string): void => this.#run('remove', path, () => logFiles.remove(path));

  #run<T>(operation: string, path: string, work: () => T): T {
    this.before(operation, path);
    return work();
  }

  reserve(path: string, bytes: number): void {
    this.#run('reserve', path, () => logFiles.reserve(path, bytes));
  }

  put(path: string, bytes: Uint8Array): void {
    this.#run('put', path, () => logFiles.put(path, bytes));
  }

  rename(from: string, to: string): void {
    this.#run('rename', from, () => logFiles.rename(from, to));
  }

  async syncPath(path: string): Promise<void> {
    this.before('syncPath', path);
    await logFiles.syncPath(path);
  }

  open(path: string): ReturnType<LogFiles['open']> {
    this.before('open', path);
    const file = logFiles.open(path);
    return {
      write: (bytes, offset) => this.#run('write', path, () => file.write(bytes, offset)),
      sync: async () => {
        this.before('sync', path);
        await file.sync();
      },
      truncate: (bytes) => this.#run('truncate', path, () => file.truncate(bytes)),
      close: () => file.close(),
    };
  }
}

export const systemError = (code: string): Error => Object.assign(new Error(code), { code });
