/** sys/mounts, sys/auth, sys/remount, and what clients ask of a mount before they use it. */

import type { Core } from '../../../core/types.ts';
import { parseDurationMs } from '../../duration.ts';
import { Fault } from '../../fault.ts';
import { type MountRecord, type Mounts, mountPath } from '../../mounts/mounts.ts';
import type { Answer, Field, MountInfo, Operation, OperationContext, TableDeclarations } from '../../ports/engine.ts';
import type { Value, ValueMap } from '../../ports/value.ts';

const TABLES: TableDeclarations = [{ table: 'mount', modes: ['read', 'write'] }];
const AUTH = 'auth/';
const TUNE = '/tune';
const MIGRATION_ID = '00000000-0000-0000-0000-000000000000';
/** Tuning that is kept and shown as it was set. */
const KEPT = [
  'audit_non_hmac_request_keys',
  'audit_non_hmac_response_keys',
  'listing_visibility',
  'passthrough_request_headers',
  'allowed_response_headers',
] as const;

const TUNING = {
  default_lease_ttl: { type: 'string', description: 'How long leases live unless asked; system: the system’s.' },
  max_lease_ttl: { type: 'string', description: 'How long leases live at most; system: the system’s.' },
  description: { type: 'string', description: 'A note for people.' },
  audit_non_hmac_request_keys: { type: 'strings', description: 'Keys of requests that the log shows in clear.' },
  audit_non_hmac_response_keys: { type: 'strings', description: 'Keys of answers that the log shows in clear.' },
  listing_visibility: {
    type: 'string',
    description: 'unauth: listed in sys/internal/ui/mounts for callers without a token too; hidden or empty: not.',
  },
  passthrough_request_headers: { type: 'strings', description: 'Kept for clients that set it.' },
  allowed_response_headers: { type: 'strings', description: 'Kept for clients that set it.' },
  token_type: { type: 'string', description: 'For auth methods: kind of their tokens.' },
  options: { type: 'string-map', description: 'Of the engine: version "2" turns a kv engine into one with versions.' },
  user_lockout_config: { type: 'map', description: 'Kept for clients that set it.' },
  plugin_version: { type: 'string', description: 'Accepted and not used: engines are built in.' },
} as const satisfies Record<string, Field>;

const NEW = {
  type: { type: 'any', description: 'kv, kv-v1, kv-v2, database.' },
  description: { type: 'string', description: 'A note for people.' },
  config: { type: 'map', description: 'default_lease_ttl, max_lease_ttl and other tuning.' },
  options: { type: 'string-map', description: 'Of the engine: version.' },
  local: { type: 'bool', description: 'Accepted: there is one box.' },
  seal_wrap: { type: 'bool', description: 'Accepted: everything is sealed.' },
  external_entropy_access: { type: 'bool', description: 'Accepted and not used.' },
  plugin_name: { type: 'string', description: 'Accepted and not used.' },
  plugin_version: { type: 'string', description: 'Accepted and not used.' },
} as const satisfies Record<string, Field>;

/** Seconds; '' and absent keep, `system` is 0. */
function ttl(value: Value | undefined, before: number): number {
  if (value === undefined || value === null || value === '') return before;
  if (value === 'system') return 0;
  const ms = typeof value === 'number' ? value * 1000 : typeof value === 'string' ? parseDurationMs(value) : undefined;
  if (ms === undefined) throw new Fault('input.invalid', 'a lease TTL is a duration such as 1h, or system');
  if (ms < 0) throw new Fault('input.invalid', `cannot provide negative value '${String(value).slice(0, 32)}'`);
  return Math.floor(ms / 1000);
}

function keptOf(fields: ValueMap): ValueMap {
  const visibility = fields['listing_visibility'];
  if (visibility !== undefined && !['', 'unauth', 'hidden'].includes(String(visibility))) {
    throw new Fault('input.invalid', 'invalid listing_visibility: it is unauth or hidden');
  }
  return Object.fromEntries(
    KEPT.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name] as Value]])),
  );
}

const isAuth = (mount: MountInfo): boolean => mount.path.startsWith(AUTH);

/** A mount as lists show it: TTLs as they were configured. */
function describe(mount: MountRecord): ValueMap {
  return {
    type: mount.type,
    description: mount.description,
    accessor: isAuth(mount) ? `auth_${mount.accessor}` : mount.accessor,
    local: mount.type === 'cubbyhole',
    seal_wrap: mount.type === 'system',
    external_entropy_access: false,
    options: mount.options,
    uuid: mount.uuid,
    plugin_version: '',
    running_plugin_version: '',
    running_sha256: '',
    deprecation_status: 'supported',
    config: {
      default_lease_ttl: mount.defaultLeaseTtl,
      max_lease_ttl: mount.maxLeaseTtl,
      force_no_cache: false,
      ...(isAuth(mount) ? { token_type: 'default-service' } : {}),
      ...mount.config,
    },
  };
}

/** Its tuning shows it to whoever reaches the box. */
const isListed = ({ config }: MountRecord): boolean => config['listing_visibility'] === 'unauth';

/** All that is told of a listed mount to a caller who may nothing in it. */
const teaser = ({ type, description, options }: MountRecord): ValueMap => ({ type, description, options });

export class MountOperations {
  readonly #mounts: Mounts;
  readonly #core: Core;

  constructor(mounts: Mounts, core: Core) {
    this.#mounts = mounts;
    this.#core = core;
  }

  #list(auth: boolean): ValueMap {
    const chosen = this.#mounts.list().filter((mount) => isAuth(mount) === auth);
    return Object.fromEntries(
      chosen.map((mount) => [auth ? mount.path.slice(AUTH.length) : mount.path, describe(mount)]),
    );
  }

  #tuning(path: string): ValueMap {
    const mount = this.#mounts.at(path);
    if (mount === undefined) throw new Fault('input.invalid', `cannot fetch sysview for path ${JSON.stringify(path)}`);
    const { defaultTtl, maxTtl } = this.#mounts.ttls(mount);
    return {
      default_lease_ttl: defaultTtl,
      max_lease_ttl: maxTtl,
      description: mount.description,
      force_no_cache: false,
      ...(isAuth(mount) ? { token_type: 'default-service' } : {}),
      ...(mount.options === null || Object.keys(mount.options).length === 0 ? {} : { options: mount.options }),
      ...mount.config,
    };
  }

  #read(path: string, auth: boolean): Answer {
    const whole = mountPath(path);
    if (whole.endsWith(`${TUNE}/`)) return { data: this.#tuning(`${auth ? AUTH : ''}${whole.slice(0, -TUNE.length)}`) };
    const mount = this.#mounts.at(auth ? `${AUTH}${whole}` : whole);
    if (mount === undefined) {
      throw new Fault('input.invalid', `No ${auth ? 'auth' : 'secret'} engine${auth ? '' : ' mount'} at ${whole}`);
    }
    return { data: describe(mount) };
  }

  async #write(context: OperationContext, auth: boolean): Promise<Answer | undefined> {
    const whole = mountPath(context.captures['at'] ?? '');
    if (whole.endsWith(`${TUNE}/`))
      return await this.#tune(context, `${auth ? AUTH : ''}${whole.slice(0, -TUNE.length)}`);
    const { fields } = context;
    if (typeof fields['type'] !== 'string' || fields['type'] === '') {
      throw new Fault('input.invalid', 'backend type must be specified as a string');
    }
    const type = fields['type'];
    if (auth) {
      if (this.#mounts.at(`${AUTH}${whole}`) !== undefined)
        throw new Fault('input.invalid', `path is already in use at ${whole}`);
      throw new Fault('input.invalid', `plugin not found in the catalog: ${JSON.stringify(type.slice(0, 64))}`);
    }
    const config = (fields['config'] ?? {}) as ValueMap;
    await this.#mounts.enable(context.grant, {
      path: whole,
      type,
      description: String(fields['description'] ?? ''),
      options: (fields['options'] ?? {}) as Record<string, string>,
      defaultLeaseTtl: ttl(config['default_lease_ttl'], 0),
      maxLeaseTtl: ttl(config['max_lease_ttl'], 0),
      config: keptOf(config),
    });
    return undefined;
  }

  async #tune(context: OperationContext, path: string): Promise<Answer | undefined> {
    const mount = this.#mounts.at(path);
    if (mount === undefined) throw new Fault('input.invalid', `cannot fetch sysview for path ${JSON.stringify(path)}`);
    const { fields } = context;
    const options = fields['options'] as Readonly<Record<string, string>> | undefined;
    const before = mount.options?.['version'] ?? '1';
    const after = options?.['version'] ?? before;
    if (mount.type === 'kv' && before === '2' && after === '1') {
      throw new Fault('input.invalid', `cannot downgrade mount from version ${before}`);
    }
    if (mount.type === 'kv' && !['1', '2'].includes(after)) {
      throw new Fault('input.invalid', 'the version of a kv engine is "1" or "2"');
    }
    const upgrades = mount.type === 'kv' && after !== before;
    await this.#mounts.change(context.grant, mount.id, (current) => ({
      ...current,
      description: fields['description'] === undefined ? current.description : String(fields['description']),
      defaultLeaseTtl: ttl(fields['default_lease_ttl'], current.defaultLeaseTtl),
      maxLeaseTtl: ttl(fields['max_lease_ttl'], current.maxLeaseTtl),
      config: { ...current.config, ...keptOf(fields) },
      options: options === undefined ? current.options : { ...current.options, ...options },
      // One row says it all: what was stored before is read as the first version of its secret (engines/kv/metadata.ts).
      ...(upgrades
        ? {
            coreType: this.#mounts.coreType(mount.type, { ...current.options, ...options }),
            upgradedMs: context.nowMs,
          }
        : {}),
    }));
    return upgrades
      ? { data: null, warnings: [`Upgraded mount from version ${before} to version ${after}.`] }
      : undefined;
  }

  /** What a client asks before it reads: only whoever may do something below the mount is told that it is there. */
  #preflight(context: OperationContext): Answer {
    const asked = context.captures['at'] ?? '';
    const mount = this.#mounts.above(asked);
    const payload = this.#core.tokenPayload(context.grant);
    const may =
      mount !== undefined && payload !== undefined && this.#mayEnter(context.grant, payload, mount.path, asked);
    if (!may || mount === undefined) {
      throw new Fault(
        'policy.preflight',
        `preflight capability check returned 403, please ensure client's policies grant access to path ${JSON.stringify(`${asked.replace(/\/+$/, '')}/`)}`,
      );
    }
    return { data: { ...describe(mount), path: mount.path } };
  }

  #mayEnter(grant: number, payload: Uint8Array, mount: string, asked: string): boolean {
    const relative = asked.slice(mount.length);
    const paths = [
      mount,
      asked,
      `${asked}/`,
      ...['data/', 'metadata/'].map((kind) => `${mount}${kind}${relative.replace(/^(data|metadata)\//, '')}`),
    ];
    return paths.some((path) => path !== '' && !this.#core.capabilities(grant, payload, path).includes('deny'));
  }

  rows(): readonly Operation[] {
    const both = (auth: boolean): Operation[] => {
      const at = auth ? 'auth' : 'mounts';
      const common = { tables: TABLES, slash: true, sudo: auth } as const;
      return [
        {
          name: `list-${at}`,
          pattern: at,
          verb: 'read',
          flat: true,
          summary: auth ? 'List the auth methods.' : 'List the mounted engines.',
          fields: {},
          run: () => ({ data: this.#list(auth) }),
        },
        {
          ...common,
          name: `read-${at}`,
          pattern: `${at}/*at`,
          verb: 'read',
          flat: true,
          summary: 'Read a mount, or with /tune at the end its settings.',
          fields: {},
          run: (context) => this.#read(context.captures['at'] ?? '', auth),
        },
        {
          ...common,
          name: `write-${at}`,
          pattern: `${at}/*at`,
          verb: 'write',
          summary: 'Mount an engine, or with /tune at the end change its settings.',
          fields: { ...TUNING, ...NEW },
          run: (context) => this.#write(context, auth),
        },
        {
          ...common,
          name: `delete-${at}`,
          pattern: `${at}/*at`,
          verb: 'delete',
          summary: 'Remove a mount with everything in it.',
          fields: {},
          run: async (context) => {
            const whole = mountPath(context.captures['at'] ?? '');
            if (auth && whole === 'token/')
              throw new Fault('input.invalid', 'token credential backend cannot be disabled');
            if (!auth) await this.#mounts.disable(context.grant, whole);
            return undefined;
          },
        },
      ];
    };
    return [
      ...both(false),
      ...both(true),
      {
        name: 'remount',
        pattern: 'remount',
        verb: 'write',
        sudo: true,
        flat: true,
        summary: 'Give a mount another path.',
        fields: {
          from: { type: 'string', description: 'The path now.' },
          to: { type: 'string', description: 'The path then.' },
        },
        tables: TABLES,
        run: async ({ grant, fields }) => {
          await this.#mounts.move(grant, String(fields['from'] ?? ''), String(fields['to'] ?? ''));
          return { data: { migration_id: MIGRATION_ID } };
        },
      },
      {
        name: 'remount-status',
        pattern: 'remount/status/+id',
        verb: 'read',
        flat: true,
        summary: 'Moving a mount is done when it is answered.',
        fields: {},
        run: ({ captures }) => {
          if (captures['id'] !== MIGRATION_ID) return { status: 404 };
          return { data: { migration_id: MIGRATION_ID, migration_info: { status: 'success' } } };
        },
      },
      {
        name: 'ui-mounts',
        pattern: 'internal/ui/mounts',
        verb: 'read',
        open: true,
        summary:
          'The mounts that a person may see; without a token those whose listing_visibility is unauth, by type, note and options.',
        fields: {},
        run: () => this.#shown(isListed, teaser),
      },
      {
        name: 'ui-mounts-by-token',
        pattern: 'internal/ui/mounts',
        verb: 'help',
        answers: 'read',
        insteadOfOpen: {},
        summary: 'The mounts that a person may see.',
        fields: {},
        run: (context) => this.#visible(context),
      },
      {
        name: 'ui-mount',
        pattern: 'internal/ui/mounts/*at',
        verb: 'help',
        answers: 'read',
        slash: true,
        summary: 'The mount that a path belongs to.',
        fields: {},
        run: (context) => this.#preflight(context),
      },
    ];
  }

  #visible({ grant }: OperationContext): Answer {
    const payload = this.#core.tokenPayload(grant);
    const may = ({ path }: MountRecord): boolean => payload !== undefined && this.#mayEnter(grant, payload, path, path);
    return this.#shown(
      (mount) => isListed(mount) || may(mount),
      (mount) => (may(mount) ? describe(mount) : teaser(mount)),
    );
  }

  #shown(sees: (mount: MountRecord) => boolean, told: (mount: MountRecord) => ValueMap): Answer {
    const seen = this.#mounts.list().filter(sees);
    const part = (auth: boolean): ValueMap =>
      Object.fromEntries(
        seen
          .filter((mount) => isAuth(mount) === auth)
          .map((mount) => [auth ? mount.path.slice(AUTH.length) : mount.path, told(mount)]),
      );
    return { data: { auth: part(true), secret: part(false) } };
  }
}
