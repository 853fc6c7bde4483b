/** Static roles: logins that exist, whose secrets the box changes. `static-roles/`, `static-creds/`, `rotate-role/`. */
import { StaleDecision } from '../../barrier/barrier.ts';
import { Fault, isFault } from '../../fault.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { Secret } from '../../secret.ts';
import { timestampNanos } from '../../timestamp.ts';
import type { Connections } from './connections.ts';
import { checkTaken, parseCredential, shownSettings } from './credentials.ts';
import { CALL_MS, type DatabaseParts } from './parts.ts';
import { type ConnectionRecord, readRole, readStatic, type StaticRecord } from './records.ts';
import { requireAllowed } from './roles.ts';
import type { Roots } from './root.ts';
import type { Rotations } from './rotation.ts';
import { statementsField, statementsOf } from './statements.ts';
import { checkTimes, nextDue } from './timing.ts';

const NAME_LENGTH_MAX = 255;

const FIELDS = {
  db_name: { type: 'string', description: 'Name of the connection.' },
  username: { type: 'string', description: 'The login whose secret is rotated; it does not change.' },
  rotation_period: { type: 'duration', description: 'Time between rotations, 5 s at least.' },
  rotation_schedule: { type: 'string', description: 'Points of rotation as cron has them, in UTC: 30 2 * * 6.' },
  rotation_window: {
    type: 'duration',
    description: 'How long behind a point of the schedule it may be rotated, 1 h at least; 0: at any time.',
  },
  rotation_statements: statementsField('change the secret; none: what the server needs'),
  credential_type: { type: 'string', description: 'password or rsa_private_key.' },
  credential_config: { type: 'map', description: 'How the credential is made.' },
  password: {
    type: 'string',
    description:
      'The password that the login has now: for self-managed connections, and where no rotation is done at first.',
    aliases: ['self_managed_password'],
    secret: true,
  },
  skip_import_rotation: { type: 'bool', description: 'Whether the login keeps its secret until it is first due.' },
} as const satisfies Record<string, Field>;

/** Why a role could not be rotated when it was due; undefined: it could, or is not due. */
type TroubleOf = (mount: OperationContext['mount'], name: string) => string | undefined;

export class StaticOperations {
  readonly #parts: DatabaseParts;
  readonly #connections: Connections;
  readonly #roots: Roots;
  readonly #rotations: Rotations;
  readonly #troubleOf: TroubleOf;

  constructor(
    parts: DatabaseParts,
    connections: Connections,
    roots: Roots,
    rotations: Rotations,
    troubleOf: TroubleOf,
  ) {
    this.#parts = parts;
    this.#connections = connections;
    this.#roots = roots;
    this.#rotations = rotations;
    this.#troubleOf = troubleOf;
  }

  async #write(context: OperationContext): Promise<Answer | undefined> {
    const { mount, captures } = context;
    const name = captures['name'] ?? '';
    return await this.#rotations.inLine(mount, name, () => this.#writeInLine(context, name));
  }

  async #writeInLine(context: OperationContext, name: string): Promise<Answer | undefined> {
    const { mount, view, fields, capability } = context;
    const before = readStatic(view, name);
    // The record is written by the box's own grant: whether this is a create or an update stays what it was decided as.
    if ((before === undefined) !== (capability === 'create')) throw new StaleDecision();
    if (readRole(view, name) !== undefined)
      throw new Fault('input.invalid', 'Role and Static Role names must be unique');
    const record = await this.#record(before, fields);
    const connection = this.#roots.require(view, record.database);
    requireAllowed(connection, name);
    const adapter = this.#connections.adapter(connection.plugin);
    checkTaken(adapter, record.credential);
    adapter.check(record.statements, 'change', record.credential.type);
    const password = fields['password'] === undefined ? '' : String(fields['password']);
    if (before === undefined) return await this.#create(context, name, connection, { ...record, secret: password });
    if (password !== '') await this.#requireLogin(connection, record, password);
    const dueMs = await nextDue(this.#parts, record, Math.max(record.rotatedMs, 0));
    const changed = { ...record, dueMs, nextMs: dueMs, ...(password === '' ? {} : { secret: password }) };
    await this.#rotations.change(mount, name, () => changed);
    return undefined;
  }

  /** The role as it is to be, of what it was and what is given. @throws Fault `input.invalid` in Vault's words */
  async #record(before: StaticRecord | undefined, fields: ValueMap): Promise<StaticRecord> {
    const period = fields['rotation_period'] === undefined ? undefined : Number(fields['rotation_period']);
    const schedule = fields['rotation_schedule'] === undefined ? undefined : String(fields['rotation_schedule']);
    const window = fields['rotation_window'] === undefined ? undefined : Number(fields['rotation_window']);
    const refuse = (sentence: string): never => {
      throw new Fault('input.invalid', sentence);
    };
    const database = String(fields['db_name'] ?? before?.database ?? '');
    if (database === '') refuse('database name is required');
    const username = String(fields['username'] ?? before?.username ?? '');
    if (username === '') refuse('username is a required field to create a static account');
    if (before !== undefined && username !== before.username) refuse('cannot update static account username');
    if (Buffer.byteLength(username) > NAME_LENGTH_MAX || /\p{Cc}/u.test(username))
      refuse(`username has at most ${NAME_LENGTH_MAX} bytes and no control characters`);
    if (before === undefined && period === undefined && schedule === undefined)
      refuse('one of rotation_schedule or rotation_period must be provided to create a static account');
    checkTimes({ period, schedule, window });
    if (schedule !== undefined) await this.#parts.schedules.parse(schedule);
    const credential = this.#credential(before, fields);
    const times = { period: before?.period ?? 0, schedule: before?.schedule ?? '', window: before?.window ?? 0 };
    if (period !== undefined) Object.assign(times, { period, schedule: '', window: 0 });
    if (schedule !== undefined) Object.assign(times, { period: 0, schedule });
    if (window !== undefined) {
      if (times.schedule === '') refuse('rotation_window is invalid with use of rotation_period');
      times.window = window;
    }
    const { lease } = this.#parts;
    return {
      ...(before ?? { secret: '', rotatedMs: lease.nowMs(), rotatedNanos: lease.nowNanos(), dueMs: 0, nextMs: 0 }),
      ...{ database, username, credential, ...times },
      statements: statementsOf(fields['rotation_statements'], before?.statements),
      attempts: 0,
    };
  }

  #credential(before: StaticRecord | undefined, fields: ValueMap): StaticRecord['credential'] {
    const type = fields['credential_type'];
    const settings = fields['credential_config'] as ValueMap | undefined;
    const kept = before?.credential ?? parseCredential('password', {});
    if (type === undefined && settings === undefined) return kept;
    const credential = parseCredential(String(type ?? kept.type), settings ?? {});
    if (credential.type === 'client_certificate' || (before !== undefined && credential.type !== kept.type))
      throw new Fault(
        'input.invalid',
        'a static role has credential_type password or rsa_private_key, which does not change',
      );
    return credential;
  }

  async #create(
    { mount, view, fields }: OperationContext,
    name: string,
    connection: ConnectionRecord,
    record: StaticRecord,
  ): Promise<Answer | undefined> {
    const keeps = fields['skip_import_rotation'] ?? connection.skipImportRotation;
    if (connection.selfManaged && record.secret === '')
      throw new Fault('input.invalid', 'a self-managed connection needs the password that the login has now');
    // Asked before anything is written: a server that is away, or a login that is not there, leaves nothing.
    if (record.secret !== '') await this.#requireLogin(connection, record, record.secret);
    else await this.#requireThere(mount, view, record);
    const dueMs = await nextDue(this.#parts, record, record.rotatedMs);
    const made: StaticRecord = { ...record, dueMs, nextMs: dueMs };
    if (keeps === true) {
      await this.#rotations.write(mount, name, () => made);
      return undefined;
    }
    try {
      await this.#rotations.rotate(mount, name, { ...made, creating: true });
    } catch (error) {
      if (!isFault(error, 'database.unreachable')) throw error;
      throw new Fault(error.code, `${error.message}; the role is kept, and the rotation is tried again`, {
        cause: error,
      });
    }
    return undefined;
  }

  async #requireThere(
    mount: OperationContext['mount'],
    view: OperationContext['view'],
    { database: at, username }: StaticRecord,
  ): Promise<void> {
    const { database } = await this.#roots.connect(mount, view, at);
    // A look that a request asks for: `present` by itself waits for no log, since what ends logins looks too.
    await this.#parts.barrier.logged();
    if ((await database.present([username], CALL_MS)).has(username)) return;
    throw new Fault('input.invalid', `the database has no login ${JSON.stringify(username)}: create it first`);
  }

  async #requireLogin(connection: ConnectionRecord, record: StaticRecord, password: string): Promise<void> {
    if (record.credential.type !== 'password')
      throw new Fault('input.invalid', 'password is for credential_type password');
    const settings = connection.selfManaged
      ? { ...connection.settings, username: record.username, password }
      : connection.settings;
    const database = this.#connections.open(record.database, connection, settings);
    try {
      using secret = new Secret(Buffer.from(password));
      if (await database.letsIn(record.username, secret, CALL_MS)) return;
    } finally {
      this.#connections.discard(database);
    }
    throw new Fault('input.invalid', 'the database does not let the login in by the given password');
  }

  #shown(record: StaticRecord): ValueMap {
    const { lease } = this.#parts;
    const times: ValueMap =
      record.schedule === ''
        ? { rotation_period: record.period }
        : { rotation_schedule: record.schedule, rotation_window: record.window };
    return {
      username: record.username,
      ...times,
      last_vault_rotation: timestampNanos(lease.wallOf(record.rotatedMs), record.rotatedNanos),
    };
  }

  #read({ mount, view, captures }: OperationContext): Answer {
    const name = captures['name'] ?? '';
    const record = readStatic(view, name);
    if (record === undefined) return { status: 404 };
    const config = shownSettings(record.credential);
    const trouble = this.#troubleOf(mount, name);
    return {
      ...(trouble === undefined ? {} : { warnings: [trouble] }),
      data: {
        ...this.#shown(record),
        db_name: record.database,
        rotation_statements: [...record.statements],
        credential_type: record.credential.type,
        ...(config === undefined ? {} : { credential_config: config }),
      },
    };
  }

  async #secret({ mount, view, captures }: OperationContext): Promise<Answer> {
    const name = captures['name'] ?? '';
    const found = readStatic(view, name);
    if (found === undefined) throw new Fault('input.invalid', `unknown role: ${name}`);
    requireAllowed(this.#roots.require(view, found.database), name);
    const warnings: string[] = [];
    const record = found.pending === undefined ? found : await this.#settled(mount, name, found, warnings);
    if (record.secret === '') warnings.push('the secret is not known before the first rotation');
    const data =
      record.credential.type === 'password' ? { password: record.secret } : { rsa_private_key: record.secret };
    const ttl = Math.max(0, Math.ceil((record.dueMs - this.#parts.lease.nowMs()) / 1000));
    return { data: { ...this.#shown(record), ...data, ttl }, ...(warnings.length === 0 ? {} : { warnings }) };
  }

  /** A rotation is under way, or was when the box ended: which secret holds is found out. */
  async #settled(
    mount: OperationContext['mount'],
    name: string,
    found: StaticRecord,
    warnings: string[],
  ): Promise<StaticRecord> {
    return await this.#rotations.inLine(mount, name, async () => {
      const record = (await this.#rotations.read(mount, name)) ?? found;
      try {
        return await this.#rotations.settle(mount, name, record);
      } catch (error) {
        if (!isFault(error)) throw error;
        warnings.push(
          'a rotation was interrupted and the database cannot be asked now: this is the secret from before it',
        );
        return record;
      }
    });
  }

  async #rotate({ mount, view, captures }: OperationContext): Promise<undefined> {
    const name = captures['name'] ?? '';
    if (readStatic(view, name) === undefined) throw new Fault('input.invalid', 'no static role found for role name');
    await this.#rotations.inLine(mount, name, () => this.#rotations.rotate(mount, name));
  }

  async #delete({ mount, view, captures }: OperationContext): Promise<undefined> {
    const name = captures['name'] ?? '';
    if (readStatic(view, name) === undefined) return;
    await this.#rotations.inLine(mount, name, () => this.#rotations.remove(mount, name));
  }

  rows(): readonly Operation[] {
    const at = 'static/{name}';
    const own = [{ at, modes: ['read'], extent: 'record' }] as const;
    const connections = { at: 'config', modes: ['read'], extent: 'subtree' } as const;
    return [
      {
        name: 'list-static-roles',
        pattern: 'static-roles',
        verb: 'list',
        summary: 'List the names of static roles.',
        fields: {},
        subtrees: [{ at: 'static', modes: ['names'], extent: 'record' }],
        run: ({ view }) => {
          const keys = view.list('static');
          return keys.length === 0 ? { status: 404 } : { data: { keys } };
        },
      },
      {
        name: 'read-static-role',
        pattern: 'static-roles/+name',
        verb: 'read',
        summary: 'Read a static role, without its secret.',
        fields: {},
        subtrees: own,
        run: (context) => this.#read(context),
      },
      {
        name: 'write-static-role',
        pattern: 'static-roles/+name',
        verb: 'write',
        summary: 'Take over a login: its secret is changed now, and then by period or schedule.',
        fields: FIELDS,
        plainFieldErrors: true,
        existence: at,
        subtrees: [...own, { at: 'role/{name}', modes: ['read'], extent: 'record' }, connections],
        run: (context) => this.#write(context),
      },
      {
        name: 'delete-static-role',
        pattern: 'static-roles/+name',
        verb: 'delete',
        summary: 'Forget a static role; its login stays, with the secret that it has.',
        fields: {},
        subtrees: own,
        run: (context) => this.#delete(context),
      },
      {
        name: 'read-static-login',
        pattern: 'static-creds/+name',
        verb: 'read',
        summary: 'Read the secret of a static role, and how long it holds.',
        fields: {},
        subtrees: [...own, connections],
        run: (context) => this.#secret(context),
      },
      {
        name: 'rotate-static-role',
        pattern: 'rotate-role/+name',
        verb: 'write',
        summary: 'Change the secret of a static role now.',
        fields: {},
        subtrees: own,
        run: (context) => this.#rotate(context),
      },
    ];
  }
}
