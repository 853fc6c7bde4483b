/** Connections: `config/<name>`, `reset/<name>`, `rotate-root/<name>`. */
import { StaleDecision } from '../../barrier/barrier.ts';
import { Fault, isFault } from '../../fault.ts';
import type { ConnectionSettings, DatabaseAdapter } from '../../ports/database.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { Value, ValueMap } from '../../ports/value.ts';
import type { Connections } from './connections.ts';
import { checkTemplate, prefixOf } from './naming.ts';
import { CALL_MS, type DatabaseParts } from './parts.ts';
import { type ConnectionRecord, configPath, encodeRecord, readConnection } from './records.ts';
import type { Roots } from './root.ts';
import { statementsOf } from './statements.ts';

const ALLOWED_MAX = 1024;
const CONNECTIONS_DEFAULT = 4;
const CONNECTIONS_MAX = 64;
const PREFIXES_MAX = 16;

const text = (description: string, secret = false): Field => ({
  type: 'string',
  description,
  ...(secret ? { secret } : {}),
});

/** What the engine itself reads; everything else is the server's. */
const OWN = {
  plugin_name: text('The kind of server: postgresql-database-plugin, mysql-database-plugin.'),
  plugin_version: text('Accepted and not used: servers are built in.'),
  verify_connection: { type: 'bool', description: 'Whether to connect now; true if absent.' },
  allowed_roles: { type: 'strings', description: 'Roles that may use it: names, * for all, or names with * in them.' },
  root_rotation_statements: { type: 'any', description: 'Statements that change the password of the box’s own login.' },
  password_policy: text('Of generated passwords (sys/policies/password).'),
  username_template: text('How names of logins are made; it holds {{random 20}}.'),
  max_open_connections: { type: 'int', description: `Connections open at once, 1 to ${CONNECTIONS_MAX}; 4 if absent.` },
  max_idle_connections: { type: 'int', description: 'Connections that are kept; as many as may be open if absent.' },
  max_connection_lifetime: { type: 'duration', description: 'Time after which a connection is made anew; 0 never.' },
  self_managed: {
    type: 'bool',
    description: 'Has no login of its own: static roles change their passwords themselves.',
  },
  skip_static_role_import_rotation: {
    type: 'bool',
    description: 'Whether new static roles keep their password at first.',
  },
} as const satisfies Record<string, Field>;

const SERVER = {
  connection_url: text('Where the server is; {{username}} and {{password}} stand for the two settings.'),
  username: text('The box’s own login.'),
  password: text('Its password; sent by standard input: password=-', true),
  tls_ca: text('Authority of the server’s certificate, PEM.'),
  tls_certificate: text('Client certificate, PEM.'),
  private_key: text('Its key, PEM.', true),
  tls_certificate_key: text('Client certificate and its key, PEM.', true),
  tls_server_name: text('Name that the server’s certificate must have.'),
  tls_skip_verify: { type: 'bool', description: 'Takes any certificate of the server.' },
  disable_escaping: { type: 'bool', description: 'Accepted where a server knows it.' },
  password_authentication: text('How the server keeps passwords: scram-sha-256 or password.'),
  auth_type: text('Accepted where a server knows it.'),
} as const satisfies Record<string, Field>;

const isServers = (name: string): boolean => Object.hasOwn(SERVER, name);

export class ConfigOperations {
  readonly #parts: DatabaseParts;
  readonly #connections: Connections;
  readonly #roots: Roots;

  constructor(parts: DatabaseParts, connections: Connections, roots: Roots) {
    this.#parts = parts;
    this.#connections = connections;
    this.#roots = roots;
  }

  async #write(context: OperationContext): Promise<Answer | undefined> {
    const { mount, captures } = context;
    const name = captures['name'] ?? '';
    return await this.#roots.inLine(mount, name, () => this.#writeInLine(context, name));
  }

  async #writeInLine({ mount, view, fields, capability }: OperationContext, name: string): Promise<Answer | undefined> {
    let before = readConnection(view, name);
    if ((before === undefined) !== (capability === 'create')) throw new StaleDecision();
    const plugin = String(fields['plugin_name'] ?? before?.plugin ?? '');
    if (plugin === '') throw new Fault('input.invalid', 'empty plugin name');
    const adapter = this.#connections.adapter(plugin);
    const givesPassword = fields['password'] !== undefined;
    // Which of two passwords holds is found out before one of them is taken over.
    if (before?.pending !== undefined && !givesPassword) before = await this.#roots.settle(mount, name);
    const settings = this.#settings(adapter, before, fields);
    const record = this.#record(plugin, settings, before, fields);
    checkTemplate(this.#parts, adapter, record.usernameTemplate);
    adapter.check(record.rootStatements, 'change', 'password');
    const verifies = fields['verify_connection'] !== false && !record.selfManaged;
    const moved = before === undefined ? [] : this.#moved(adapter, before, settings);
    const warnings = [...settings.warnings, ...moved, ...(verifies ? await this.#verify(name, record) : [])];
    const { pending, pendingUntilMs: _, ...settled } = record;
    // A password that was to come is kept until the server has let the box in by another one, and nothing can arrive any more.
    const stored = pending !== undefined && (!verifies || this.#roots.mayArrive(record)) ? record : settled;
    const named = { ...stored, prefixes: this.#prefixes(adapter, stored) };
    await view.update(configPath(name), (rows) => {
      rows.get(configPath(name));
      rows.put(configPath(name), encodeRecord(named));
    });
    this.#connections.drop(this.#roots.key(mount, name));
    return warnings.length === 0 ? undefined : { data: null, warnings };
  }

  #settings(adapter: DatabaseAdapter, before: ConnectionRecord | undefined, fields: ValueMap): ConnectionSettings {
    const given = Object.fromEntries(Object.entries(fields).filter(([setting]) => isServers(setting)));
    const same = before !== undefined && this.#connections.adapter(before.plugin) === adapter;
    const kept = { ...(same ? before.settings : {}) };
    const url = given['connection_url'];
    // A URL that brings its own password, or none, has no use for the one that is stored.
    if (url !== undefined && !String(url).includes('{{password}}')) Reflect.deleteProperty(kept, 'password');
    const settings = { ...kept, ...given };
    const selfManaged = (fields['self_managed'] ?? before?.selfManaged ?? false) === true;
    try {
      if (String(settings['connection_url'] ?? '') === '')
        throw new Fault('input.invalid', 'connection_url cannot be empty');
      if (!selfManaged) return adapter.parse(settings);
      if (given['username'] !== undefined || given['password'] !== undefined)
        throw new Fault('input.invalid', 'self_managed and username or password are mutually exclusive');
      return withoutLogin(adapter.parse({ ...settings, ...NOBODY }));
    } catch (error) {
      throw prefixed('error creating database object: ', error);
    }
  }

  /** A server where logins are not found is believed: what the former one still has, nobody ends. */
  #moved(adapter: DatabaseAdapter, before: ConnectionRecord, { server }: ConnectionSettings): readonly string[] {
    const former = this.#connections.adapter(before.plugin);
    const was = former.parse({ ...before.settings, ...(before.selfManaged ? NOBODY : {}) }).server;
    if (former === adapter && was === server) return [];
    return [
      `the connection led to ${was} before: logins that it made there are looked for at ${server} now, and count as gone where they are not; if it is another server, write the former one back, revoke their leases, and then move on`,
    ];
  }

  #record(
    plugin: string,
    settings: ConnectionSettings,
    before: ConnectionRecord | undefined,
    fields: ValueMap,
  ): ConnectionRecord {
    const has = <T>(field: string, kept: T | undefined, absent: T): T =>
      (fields[field] as T | undefined) ?? kept ?? absent;
    const allowedRoles = has<readonly string[]>('allowed_roles', before?.allowedRoles, []);
    if (allowedRoles.length > ALLOWED_MAX) throw new Fault('input.invalid', `at most ${ALLOWED_MAX} allowed_roles`);
    const connectionCountMax =
      has('max_open_connections', before?.connectionCountMax, CONNECTIONS_DEFAULT) || CONNECTIONS_DEFAULT;
    if (connectionCountMax < 0 || connectionCountMax > CONNECTIONS_MAX)
      throw new Fault('input.invalid', `max_open_connections is from 1 to ${CONNECTIONS_MAX}`);
    const idle = has('max_idle_connections', before?.idleCountMax, 0) || connectionCountMax;
    return {
      plugin,
      settings: settings.stored,
      shown: settings.shown,
      username: settings.username,
      allowedRoles,
      rootStatements: statementsOf(fields['root_rotation_statements'], before?.rootStatements),
      passwordPolicy: has('password_policy', before?.passwordPolicy, ''),
      usernameTemplate: has('username_template', before?.usernameTemplate, ''),
      selfManaged: has('self_managed', before?.selfManaged, false),
      skipImportRotation: has('skip_static_role_import_rotation', before?.skipImportRotation, false),
      connectionCountMax,
      idleCountMax: Math.min(Math.max(0, idle), connectionCountMax),
      lifetimeMs:
        fields['max_connection_lifetime'] === undefined
          ? (before?.lifetimeMs ?? 0)
          : Number(fields['max_connection_lifetime']) * 1000,
      prefixes: before?.prefixes ?? [],
      revision: this.#roots.newRevision(),
      ...(before?.pending === undefined ? {} : { pending: before.pending }),
      ...(before?.pendingUntilMs === undefined ? {} : { pendingUntilMs: before.pendingUntilMs }),
      rotatedMs: before?.rotatedMs ?? 0,
    };
  }

  /** @returns what to warn of @throws Fault as the server has it, with where it came from */
  async #verify(name: string, record: ConnectionRecord): Promise<readonly string[]> {
    try {
      const database = this.#connections.open(name, record);
      try {
        return await database.verify(CALL_MS);
      } finally {
        this.#connections.discard(database);
      }
    } catch (error) {
      throw prefixed('error creating database object: error verifying connection: ', error);
    }
  }

  #prefixes(adapter: DatabaseAdapter, record: ConnectionRecord): readonly string[] {
    const now = prefixOf(this.#parts, adapter, record);
    return [now, ...record.prefixes.filter((one) => one !== now)].slice(0, PREFIXES_MAX);
  }

  #read({ view, captures }: OperationContext): Answer {
    const record = readConnection(view, captures['name'] ?? '');
    if (record === undefined) return { status: 404 };
    const { usernameTemplate, connectionCountMax, idleCountMax, lifetimeMs } = record;
    const details: [string, Value][] = [
      ...Object.entries(record.shown),
      ...(usernameTemplate === '' ? [] : [['username_template', usernameTemplate] satisfies [string, Value]]),
      ['max_open_connections', connectionCountMax],
      ['max_idle_connections', idleCountMax],
      ['max_connection_lifetime', `${lifetimeMs / 1000}s`],
      ...(record.selfManaged ? [['self_managed', true] satisfies [string, Value]] : []),
    ];
    return {
      data: {
        plugin_name: record.plugin,
        plugin_version: '',
        connection_details: Object.fromEntries(details),
        allowed_roles: [...record.allowedRoles],
        root_credentials_rotate_statements: [...record.rootStatements],
        password_policy: record.passwordPolicy,
        skip_static_role_import_rotation: record.skipImportRotation,
      },
    };
  }

  async #delete({ mount, view, captures }: OperationContext): Promise<undefined> {
    const name = captures['name'] ?? '';
    await this.#roots.inLine(mount, name, () =>
      view.update(configPath(name), (rows) => {
        if (rows.get(configPath(name)) !== undefined) rows.delete(configPath(name));
      }),
    );
    this.#connections.drop(this.#roots.key(mount, name));
  }

  #reset({ mount, view, captures }: OperationContext): undefined {
    const name = captures['name'] ?? '';
    this.#roots.require(view, name);
    this.#connections.drop(this.#roots.key(mount, name));
  }

  rows(): readonly Operation[] {
    const at = 'config/{name}';
    return [
      {
        name: 'list-connections',
        pattern: 'config',
        verb: 'list',
        summary: 'List the names of connections.',
        fields: {},
        subtrees: [{ at: 'config', modes: ['names'], extent: 'record' }],
        run: ({ view }) => {
          const keys = view.list('config');
          return keys.length === 0 ? { status: 404 } : { data: { keys } };
        },
      },
      {
        name: 'read-connection',
        pattern: 'config/+name',
        verb: 'read',
        summary: 'Read a connection, without its secrets.',
        fields: {},
        subtrees: [{ at, modes: ['read'], extent: 'record' }],
        run: (context) => this.#read(context),
      },
      {
        name: 'write-connection',
        pattern: 'config/+name',
        verb: 'write',
        summary: 'Configure a connection to a database server; what is not named stays.',
        description:
          'The box connects at once unless verify_connection is false, and warns of a login that may too much.',
        fields: { ...OWN, ...SERVER },
        plainFieldErrors: true,
        existence: at,
        subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }],
        run: (context) => this.#write(context),
      },
      {
        name: 'delete-connection',
        pattern: 'config/+name',
        verb: 'delete',
        summary: 'Forget a connection; leases of it wait until it is configured again.',
        fields: {},
        subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }],
        run: (context) => this.#delete(context),
      },
      {
        name: 'reset-connection',
        pattern: 'reset/+name',
        verb: 'write',
        summary: 'Close a connection; it is made anew when it is used.',
        fields: {},
        subtrees: [{ at, modes: ['read'], extent: 'record' }],
        run: (context) => this.#reset(context),
      },
      {
        name: 'rotate-root',
        pattern: 'rotate-root/+name',
        verb: 'write',
        summary: 'Give the box’s own login another password, which nobody else knows.',
        fields: {},
        subtrees: [{ at, modes: ['read'], extent: 'record' }],
        run: async ({ mount, view, captures }) => {
          const name = captures['name'] ?? '';
          this.#roots.require(view, name);
          await this.#roots.rotate(mount, name);
          return undefined;
        },
      },
    ];
  }
}

/** In the place of a login that each static role brings. */
const NOBODY = { username: 'self-managed', password: 'self-managed' };

function withoutLogin({ stored, shown, server, warnings }: ConnectionSettings): ConnectionSettings {
  const without = (settings: ValueMap): ValueMap =>
    Object.fromEntries(Object.entries(settings).filter(([setting]) => !Object.hasOwn(NOBODY, setting)));
  return { stored: without(stored), shown: without(shown), username: '', server, warnings };
}

function prefixed(before: string, error: unknown): unknown {
  return isFault(error) ? new Fault(error.code, `${before}${error.message}`, { cause: error }) : error;
}
