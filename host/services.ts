/**
 * The services and engines of a box, put together over what main.ts chose (core, store, log, clock). No adapter is named
 * here, so that tests put together the same box over their own.
 */
import type { Core } from '../core/types.ts';
import type { AuditLog, AuditNote } from './audit/index.ts';
import { tokenMethod } from './auth/token/engine.ts';
import { Barrier } from './barrier/barrier.ts';
import { cubbyhole } from './engines/cubbyhole/engine.ts';
import { versionEnder } from './engines/kv/ender.ts';
import { kvV1 } from './engines/kv/v1.ts';
import { kvV2 } from './engines/kv/v2.ts';
import { systemEngine } from './engines/sys/engine.ts';
import { Expiry } from './leases/expiry.ts';
import { Leases } from './leases/leases.ts';
import { recordEnder } from './leases/record-due.ts';
import type { StepHook } from './leases/steps.ts';
import { Dispatch } from './mounts/dispatch.ts';
import { BUILTIN, type MountableType, Mounts } from './mounts/mounts.ts';
import { Registry } from './mounts/registry.ts';
import { PasswordPolicies } from './policies/password-store.ts';
import { Policies } from './policies/store.ts';
import type { Appliance } from './ports/appliance.ts';
import type { Clock } from './ports/clock.ts';
import type { Counting } from './ports/counter.ts';
import type { Engine, MountInfo, OperationContext } from './ports/engine.ts';
import type { ConfirmedTime } from './ports/lease-time.ts';
import type { Leases as LeasesPort } from './ports/leases.ts';
import type { Random } from './ports/random.ts';
import type { Store } from './ports/store.ts';
import type { ValueMap } from './ports/value.ts';
import { Secret } from './secret.ts';
import { Tokens } from './tokens/tokens.ts';
import { Wrapping } from './tokens/wrapping.ts';

/** An engine beside those that every box has, and how it is mounted. */
export interface MoreEngine {
  readonly engine: Engine;
  readonly mountable: MountableType;
  /** Does what is due of a record (ViewChange.ends, kind `rotation`), and moves its row. @param atMs  of the row */
  readonly due?: (mount: MountInfo, path: string, atMs: number) => Promise<void>;
  /** Sentences for health; figures for metrics, by name. */
  readonly reasons?: () => readonly string[];
  readonly figures?: () => ReadonlyMap<string, number>;
  /** With the box: after what is due can come, and when nothing comes any more. */
  readonly start?: () => void;
  readonly close?: () => Promise<void>;
}

/** What an engine is made with. */
export interface EngineServices extends Pick<ServiceParts, 'clock' | 'lease' | 'random'> {
  readonly barrier: Barrier;
  readonly leases: LeasesPort;
  readonly passwords: PasswordPolicies;
  /** A leaf of what the box did by itself. */
  readonly tell: (note: AuditNote) => void;
  readonly held: () => string | undefined;
}

export interface ServiceParts {
  readonly core: Core;
  readonly store: Store;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly lease: ConfirmedTime;
  readonly random: Random;
  readonly counting: Counting;
  readonly appliance: () => Appliance;
  /** Whether the recovery quorum may rekey and generate a root token here. */
  readonly ceremonies: boolean;
  readonly metrics: (services: Services) => { readonly text: string; readonly json: ValueMap };
  readonly openApi: (services: Services) => ValueMap;
  /** Engines that need what only the composition names (adapters). They announce their lease backends here. */
  readonly engines?: (services: EngineServices) => readonly MoreEngine[];
  /** Why nothing outside the box may be made or ended; undefined: it may. */
  readonly held?: () => string | undefined;
  /** Compositions of tests kill and fail at the steps of a lease's life. */
  readonly leaseHook?: StepHook;
  /** Milliseconds that a backend of leases has for one call; absent: 10,000. */
  readonly leaseTimeoutMs?: number;
  /** Entries that one directory may have; absent: 100,000. */
  readonly directoryEntriesMax?: number;
}

export interface Services {
  readonly barrier: Barrier;
  readonly tokens: Tokens;
  readonly policies: Policies;
  readonly mounts: Mounts;
  readonly expiry: Expiry;
  readonly leases: Leases;
  readonly registry: Registry;
  readonly dispatch: Dispatch;
  readonly engines: readonly MoreEngine[];
  /** What a new box begins with: built-in mounts and policies, a root token. */
  found(options: { readonly secretMount: boolean }): Promise<{ readonly rootToken: Secret }>;
  /** A new token with the root policy. */
  newRootToken(): Promise<Secret>;
  /** Loads what the gate decides with, finishes what a crash interrupted, lets requests in. */
  open(): Promise<void>;
  close(): Promise<void>;
}

/** What can be mounted. */
const KV: MountableType = {
  type: 'kv',
  aliases: { 'kv-v1': { version: '1' }, 'kv-v2': { version: '2' }, generic: {} },
  coreType: (options) => (options['version'] === '2' ? 'kv-v2' : 'kv-v1'),
};

export function buildServices(parts: ServiceParts): Services {
  const { core, store, audit, clock, lease, random } = parts;
  const barrier = new Barrier(core, store, lease, audit, parts.counting, parts.directoryEntriesMax);
  const tokens: Tokens = new Tokens(barrier, (id) => leases.revokeOfToken(id));
  const policies = new Policies(barrier);
  const passwords = new PasswordPolicies(barrier, random, BUILTIN.sys);
  const held = parts.held ?? (() => undefined);
  const tell = (note: AuditNote): void => audit.tell(note);
  const leases: Leases = new Leases({
    ...{ barrier, clock, random, tell, held },
    holder: async (token, known) => ({
      ...(await tokens.holder(token, known)),
      endMs: token.type === 'batch' ? token.expireMs : 0,
    }),
    mount: async (id) => {
      const stored = await mounts.stored(id);
      return stored === undefined ? undefined : { row: stored.row, info: stored.mount, live: !stored.mount.removing };
    },
    mounts: () => mounts.list(),
    ttls: (mount) => mounts.ttls(mount),
    swept: () => mounts.resume(),
    hook: parts.leaseHook,
    timeoutMs: parts.leaseTimeoutMs,
  });
  const more = parts.engines?.({ barrier, clock, lease, random, leases, passwords, tell, held }) ?? [];
  const mountable = [KV, ...more.map((one) => one.mountable)];
  const mounts: Mounts = new Mounts(barrier, random, mountable, (mount, wait) => leases.leave(mount, wait));
  const wrapping = new Wrapping(barrier, tokens);
  const expiry = new Expiry(barrier, clock, ({ kind, count }) =>
    audit.tell({ event: `expiry.${kind}`, data: { count } }),
  );
  expiry.handle('token', (due) => tokens.end(due));
  expiry.handle('revocation', (due) => tokens.end(due));
  expiry.handle(
    'kvVersion',
    versionEnder(barrier, (id) => mounts.byId(id)),
  );
  expiry.handle(
    'rotation',
    recordEnder(
      barrier,
      (id) => mounts.byId(id),
      async (mount, { path }, { atMs }) => {
        await more.find(({ engine }) => engine.type === mount.coreType)?.due?.(mount, path, atMs);
      },
    ),
  );
  expiry.handleGroup('lease', (dues) => leases.due(dues));
  const ttls = (context: OperationContext) => mounts.ttls(context.mount);
  const method = tokenMethod({
    tokens,
    lease,
    policyExists: (name) => policies.exists(name),
    ttls,
    maxTtl: (context) => ttls(context).maxTtl,
  });
  const system = systemEngine({
    ...{ core, barrier, random, log: audit, mounts, policies, passwords, tokens, wrapping, leases, lease },
    appliance: parts.appliance,
    ceremonies: parts.ceremonies,
    metrics: () => parts.metrics(services),
    openApi: () => parts.openApi(services),
  });
  const registry = new Registry(core, [system, cubbyhole, method, kvV1, kvV2, ...more.map(({ engine }) => engine)]);
  const dispatch = new Dispatch({ barrier, audit, registry, mounts, tokens, wrapping, lease });
  const services: Services = {
    ...{ barrier, tokens, policies, mounts, expiry, leases, registry, dispatch, engines: more },
    found: ({ secretMount }) =>
      barrier.job('init', undefined, async (grant) => {
        await mounts.found(grant, secretMount);
        await policies.found(grant);
        const { text } = await tokens.create(grant, ROOT_TOKEN);
        return { rootToken: new Secret(Buffer.from(text)) };
      }),
    newRootToken: () =>
      barrier.job('init', undefined, async (grant) => {
        const { text } = await tokens.create(grant, ROOT_TOKEN);
        return new Secret(Buffer.from(text));
      }),
    async open() {
      await mounts.load();
      await policies.load();
      await leases.open();
      for (const engine of more) engine.start?.();
      expiry.start();
      dispatch.open();
    },
    async close() {
      leases.halt();
      await dispatch.close();
      await expiry.stop();
      await leases.close();
      for (const engine of more) await engine.close?.();
    },
  };
  return services;
}

const ROOT_TOKEN = {
  type: 'service',
  wrapping: false,
  expiresMs: 0,
  uses: 0,
  parentId: undefined,
  mountId: BUILTIN.token,
  policies: ['root'],
  boundCidrs: [],
  displayName: 'root',
  metadata: null,
  path: 'auth/token/root',
  creationTtl: 0,
  explicitMaxTtl: 0,
  period: 0,
  renewable: false,
  role: '',
} as const;
