/** Roles: what a login that the box makes may do, and for how long. `roles/<name>` and `creds/<name>`. */
import { Fault, isFault } from '../../fault.ts';
import type { Statements, StatementsUse } from '../../ports/database.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { nameOf, undoOf } from './backend.ts';
import type { Connections } from './connections.ts';
import {
  checkTaken,
  makeCredential,
  PreparedPassword,
  parseCredential,
  passwordsOf,
  shownSettings,
} from './credentials.ts';
import { type NameSources, newName } from './naming.ts';
import { boxIdOf, type DatabaseParts, GRACE_MS } from './parts.ts';
import {
  allows,
  type ConnectionRecord,
  encodeRecord,
  type RoleRecord,
  readConnection,
  readRole,
  readStatic,
  rolePath,
} from './records.ts';
import type { Roots } from './root.ts';
import { statementsField, statementsOf } from './statements.ts';

const FIELDS = {
  db_name: { type: 'string', description: 'Name of the connection.' },
  creation_statements: statementsField('make a login, over {{name}}, {{password}}, {{expiration}}'),
  revocation_statements: statementsField('drop it; none: what the server needs'),
  rollback_statements: statementsField('take back what a creation that failed may have left'),
  renew_statements: statementsField('move its own end; none: what the server needs'),
  default_ttl: { type: 'duration', description: 'How long a login lives; 0: the mount’s.' },
  max_ttl: { type: 'duration', description: 'How long renewals may keep it; 0: the mount’s.' },
  credential_type: { type: 'string', description: 'password, rsa_private_key or client_certificate.' },
  credential_config: { type: 'map', description: 'How the credential is made.' },
} as const satisfies Record<string, Field>;

export class RoleOperations {
  readonly #parts: DatabaseParts;
  readonly #connections: Connections;
  readonly #roots: Roots;

  constructor(parts: DatabaseParts, connections: Connections, roots: Roots) {
    this.#parts = parts;
    this.#connections = connections;
    this.#roots = roots;
  }

  async #write({ view, fields, captures }: OperationContext): Promise<undefined> {
    const name = captures['name'] ?? '';
    await view.update(rolePath(name), (rows) => {
      if (readStatic(rows, name) !== undefined)
        throw new Fault('input.invalid', 'Role and Static Role names must be unique');
      const record = this.#record(readRole(rows, name), fields);
      // A connection may be configured after its roles: what can be checked is checked.
      const connection = readConnection(view, record.database);
      if (connection !== undefined) this.#check(connection, record);
      rows.put(rolePath(name), encodeRecord(record));
    });
  }

  #record(before: RoleRecord | undefined, fields: ValueMap): RoleRecord {
    const database = String(fields['db_name'] ?? before?.database ?? '');
    if (database === '') throw new Fault('input.invalid', 'database name is required');
    const type = fields['credential_type'];
    const settings = fields['credential_config'] as ValueMap | undefined;
    const kept = before?.credential ?? parseCredential('password', {});
    return {
      database,
      creation: statementsOf(fields['creation_statements'], before?.creation),
      revocation: statementsOf(fields['revocation_statements'], before?.revocation),
      rollback: statementsOf(fields['rollback_statements'], before?.rollback),
      renewal: statementsOf(fields['renew_statements'], before?.renewal),
      defaultTtl: Number(fields['default_ttl'] ?? before?.defaultTtl ?? 0),
      maxTtl: Number(fields['max_ttl'] ?? before?.maxTtl ?? 0),
      credential:
        type === undefined && settings === undefined
          ? kept
          : parseCredential(String(type ?? kept.type), settings ?? {}),
    };
  }

  #check({ plugin }: ConnectionRecord, { credential, creation, revocation, rollback, renewal }: RoleRecord): void {
    const adapter = this.#connections.adapter(plugin);
    checkTaken(adapter, credential);
    const all: readonly (readonly [Statements, StatementsUse])[] = [
      [creation, 'create'],
      [revocation, 'drop'],
      [rollback, 'drop'],
      [renewal, 'renew'],
    ];
    for (const [statements, use] of all) adapter.check(statements, use, credential.type);
  }

  #read({ view, captures }: OperationContext): Answer {
    const role = readRole(view, captures['name'] ?? '');
    if (role === undefined) return { status: 404 };
    const config = shownSettings(role.credential);
    return {
      data: {
        db_name: role.database,
        creation_statements: [...role.creation],
        revocation_statements: [...role.revocation],
        rollback_statements: [...role.rollback],
        renew_statements: [...role.renewal],
        default_ttl: role.defaultTtl,
        max_ttl: role.maxTtl,
        credential_type: role.credential.type,
        ...(config === undefined ? {} : { credential_config: config }),
      },
    };
  }

  async #issue(context: OperationContext): Promise<Answer> {
    const { mount, view, captures, token } = context;
    const name = captures['name'] ?? '';
    const role = readRole(view, name);
    if (role === undefined) throw new Fault('input.invalid', `unknown role: ${name}`);
    const configured = this.#roots.require(view, role.database);
    requireAllowed(configured, name);
    if (configured.selfManaged)
      throw new Fault('input.invalid', 'a self-managed connection has no login that could make others');
    const { record, database } = await this.#roots.connect(mount, view, role.database, configured);
    const adapter = this.#connections.adapter(record.plugin);
    this.#check(record, role);
    const sources: NameSources = {
      ...{ plugin: record.plugin, template: record.usernameTemplate, boxId: boxIdOf(this.#parts.barrier) },
      ...{ displayName: token?.displayName ?? '', roleName: name },
    };
    const wish = { config: role.credential, passwordPolicy: record.passwordPolicy };
    // A password is made before the server is asked; a certificate waits to hear how long it is good.
    const passwords = role.credential.type === 'password' ? await passwordsOf(this.#parts, wish) : undefined;
    const { lease, made } = await this.#parts.leases.issue({
      context,
      ttl: role.defaultTtl,
      maxTtl: role.maxTtl,
      renewable: true,
      backend: role.database,
      like: JSON.stringify([sources, role.revocation, role.renewal, role.credential.type, passwords?.text]),
      undo: () =>
        undoOf({
          name: newName(this.#parts, adapter, sources),
          revocation: role.revocation,
          renewal: role.renewal,
        }),
      ...(passwords === undefined ? {} : { prepare: () => new PreparedPassword(passwords.draw(), database) }),
      create: async ({ undo, prepared, expireWallMs, leftMs }) => {
        const username = nameOf(undo);
        const expirationMs = expireWallMs + GRACE_MS;
        const credential =
          prepared?.credential ??
          (await makeCredential(this.#parts, { ...wish, username, expireWallMs: expirationMs }));
        const login = { name: username, credential: credential.login, expirationMs };
        try {
          await database.create(login, role.creation, leftMs());
        } catch (error) {
          if (role.rollback.length > 0 && isFault(error) && error.code !== 'database.exists')
            await rollBack(async () => database.drop([{ name: username, statements: role.rollback }], leftMs()));
          throw error;
        }
        return { username, ...credential.data };
      },
    });
    return { lease, data: made };
  }

  rows(): readonly Operation[] {
    const at = 'role/{name}';
    const other = { at: 'static/{name}', modes: ['read'], extent: 'record' } as const;
    const connections = { at: 'config', modes: ['read'], extent: 'subtree' } as const;
    return [
      {
        name: 'list-roles',
        pattern: 'roles',
        verb: 'list',
        summary: 'List the names of roles.',
        fields: {},
        subtrees: [{ at: 'role', modes: ['names'], extent: 'record' }],
        run: ({ view }) => {
          const keys = view.list('role');
          return keys.length === 0 ? { status: 404 } : { data: { keys } };
        },
      },
      {
        name: 'read-role',
        pattern: 'roles/+name',
        verb: 'read',
        summary: 'Read a role.',
        fields: {},
        subtrees: [{ at, modes: ['read'], extent: 'record' }],
        run: (context) => this.#read(context),
      },
      {
        name: 'write-role',
        pattern: 'roles/+name',
        verb: 'write',
        summary: 'Write a role: which statements make a login, and how long it lives.',
        fields: FIELDS,
        plainFieldErrors: true,
        existence: at,
        subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }, other, connections],
        run: (context) => this.#write(context),
      },
      {
        name: 'delete-role',
        pattern: 'roles/+name',
        verb: 'delete',
        summary: 'Delete a role; logins that it made live until their leases end.',
        fields: {},
        subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }],
        run: async ({ view, captures }) => {
          const path = rolePath(captures['name'] ?? '');
          await view.update(path, (rows) => {
            if (rows.get(path) !== undefined) rows.delete(path);
          });
          return undefined;
        },
      },
      {
        name: 'issue-login',
        pattern: 'creds/+name',
        verb: 'read',
        summary: 'Make a login of one’s own, which is dropped when its lease ends.',
        fields: {},
        subtrees: [{ at, modes: ['read'], extent: 'record' }, connections],
        tables: LEASE_TABLES,
        run: (context) => this.#issue(context),
      },
    ];
  }
}

/** What an operation that issues leases names (host/ports/leases.ts). */
const LEASE_TABLES = [
  { table: 'lease', modes: ['read', 'write'] },
  { table: 'expiry', modes: ['read', 'write'] },
  { table: 'token', modes: ['read'] },
] as const;

/** @throws Fault `engine.failed` in Vault's words */
export function requireAllowed({ allowedRoles }: ConnectionRecord, role: string): void {
  if (!allows(allowedRoles, role)) throw new Fault('engine.failed', `${JSON.stringify(role)} is not an allowed role`);
}

/** What rolls back is the intent of the lease too: whether this helped is of no account. */
async function rollBack(drop: () => Promise<unknown>): Promise<void> {
  try {
    await drop();
  } catch (error) {
    if (!isFault(error)) throw error;
  }
}
