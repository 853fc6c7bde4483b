/** A PostgreSQL server as the box sees it. Contract: test/contract/database.ts. */
import { Fault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import type {
  ConnectionLimits,
  Database,
  Existing,
  LoginCredential,
  NewLogin,
  Outcome,
  Statements,
} from '../../ports/database.ts';
import type { Random } from '../../ports/random.ts';
import type { Secret } from '../../secret.ts';
import { Deadline } from '../deadline.ts';
import { Pool } from '../pool.ts';
import {
  checkName,
  expirationOf,
  isText,
  LIST_COUNT_MAX,
  PREFIX_LENGTH_MIN,
  PRESENT_COUNT_MAX,
  type Rendered,
  rendered,
  textOf,
  tooMany,
} from '../statements.ts';
import type { Values } from '../template.ts';
import { Turns } from '../turns.ts';
import { POSTGRESQL, write } from './dialect.ts';
import { PostgresqlSession } from './driver.ts';
import {
  type Doomed,
  dropElsewhere,
  dropHere,
  type Ending,
  endSessions,
  find,
  namesIn,
  presentQuery,
  terminate,
} from './drop.ts';
import { faultOf, isState } from './faults.ts';
import { isPreparedAlready, SALT_SIZE, scramVerifier } from './scram.ts';
import type { PostgresqlTarget } from './settings.ts';
import { transaction } from './transaction.ts';

export const NAME_LENGTH_MAX = 63;
/** Names that mean somebody else even where they are quoted. */
const SPECIAL = /^(public|none|current_user|session_user|current_role|user)$|^pg_/i;

export const CREATE = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`;
/** A login by certificate has no password. */
export const CREATE_BY_CERTIFICATE = `CREATE ROLE "{{name}}" WITH LOGIN VALID UNTIL '{{expiration}}'`;
export const UNTIL = `ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}'`;
export const CHANGE = `ALTER ROLE "{{name}}" WITH PASSWORD '{{password}}'`;

const DUPLICATE = '42710';
/** Logins in one transaction: what they lock stays small. */
const DROP_COUNT_MAX = 200;

export class PostgresqlDatabase implements Database {
  readonly #target: PostgresqlTarget;
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #pool: Pool<PostgresqlSession>;
  /** Grants change rows of the catalogue that others' grants change too: the server would fail all but one. */
  readonly #turns = new Turns();
  readonly #verifiers = new WeakMap<Secret, Promise<string>>();

  constructor(target: PostgresqlTarget, limits: ConnectionLimits, clock: Clock, random: Random) {
    this.#target = target;
    this.#limits = limits;
    this.#clock = clock;
    this.#random = random;
    this.#pool = new Pool(limits, (deadline) => PostgresqlSession.open(target, target, limits.check, deadline));
  }

  async verify(timeoutMs: number): Promise<readonly string[]> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    const [row] = await this.#ask(deadline, [], (session) =>
      session.query(
        `SELECT rolsuper AS super, rolcreaterole AS creates,
           pg_catalog.pg_has_role('pg_signal_backend', 'USAGE') AS signals
         FROM pg_catalog.pg_roles WHERE rolname = current_user`,
        deadline,
      ),
    );
    const name = this.#target.username;
    if (row?.['super'] === true) {
      return [
        `the login ${name} is a superuser: give the box one that may only make logins (CREATEROLE, pg_signal_backend)`,
      ];
    }
    return [
      ...(row?.['creates'] === true ? [] : [`the login ${name} may not make logins: ALTER ROLE "${name}" CREATEROLE`]),
      ...(row?.['signals'] === true
        ? []
        : [`the login ${name} may not end sessions of others: GRANT pg_signal_backend TO "${name}"`]),
    ];
  }

  prepare(credential: LoginCredential): void {
    if (credential.type !== 'password' || !this.#target.scram) return;
    const password = textOf(credential.password);
    if (!isPreparedAlready(password)) return;
    const verifier = this.#verifier(credential.password, password);
    this.#verifiers.set(credential.password, verifier);
    // Who waits for it later hears of its failure.
    verifier.catch(() => undefined);
  }

  async create(login: NewLogin, statements: Statements, timeoutMs: number): Promise<void> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    const { name, credential } = login;
    checkName(name, NAME_LENGTH_MAX, SPECIAL);
    const byDefault = credential.type === 'client_certificate' ? CREATE_BY_CERTIFICATE : CREATE;
    const secrets = new Secrets(this.#target);
    const values = {
      name,
      expiration: expirationOf(login.expirationMs),
      ...(await this.#proof(name, credential, secrets)),
    };
    const own = withUntil(statements.length === 0 ? [byDefault] : statements, values);
    await this.#change(own, deadline, secrets, name, async (session) => {
      // Where the first statement is the creation of this very name, its failure says that it is there already.
      if (own.makesName) return await transaction(session, deadline, own.texts.join(';\n'), async () => undefined);
      return await transaction(session, deadline, presentQuery([name]), async (work, rows) => {
        if (rows.length > 0) throw exists();
        const after = await work.query([...own.texts, presentQuery([name])].join(';\n'));
        if (after.length === 0) throw madeNone();
      });
    });
  }

  async renew(name: string, expirationMs: number, statements: Statements, timeoutMs: number): Promise<void> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    checkName(name, NAME_LENGTH_MAX, SPECIAL);
    const own = withUntil(statements, { name, expiration: expirationOf(expirationMs) });
    await this.#alter(name, own, deadline, new Secrets(this.#target));
  }

  async change(name: string, credential: LoginCredential, statements: Statements, timeoutMs: number): Promise<void> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    checkName(name, NAME_LENGTH_MAX, SPECIAL);
    if (credential.type !== 'password' && statements.length === 0) {
      throw new Fault(
        'database.refused',
        'PostgreSQL keeps nothing of a certificate that could be changed; give statements',
      );
    }
    const secrets = new Secrets(this.#target);
    const values = { name, ...(await this.#proof(name, credential, secrets)) };
    const own = rendered(statements.length === 0 ? [CHANGE] : statements, values, POSTGRESQL, write);
    await this.#alter(name, own, deadline, secrets);
  }

  async drop(logins: readonly Existing[], timeoutMs: number): Promise<readonly Outcome[]> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    const outcomes = new Map<string, Outcome>();
    for (let at = 0; at < logins.length; at += DROP_COUNT_MAX) {
      const some = logins.slice(at, at + DROP_COUNT_MAX);
      try {
        await this.#turns.take(deadline, () =>
          this.#ask(deadline, [], (session) => this.#dropSome(session, some, outcomes, deadline)),
        );
      } catch (error) {
        const { message } = faultOf(error, []);
        for (const { name } of some) if (!outcomes.has(name)) outcomes.set(name, { done: false, fault: message });
      }
    }
    return logins.map(({ name }) => outcomes.get(name) ?? { done: false, fault: 'the server did not say' });
  }

  async present(names: readonly string[], timeoutMs: number): Promise<ReadonlySet<string>> {
    if (names.length > PRESENT_COUNT_MAX) throw new Error(`at most ${PRESENT_COUNT_MAX} names at once`);
    const deadline = new Deadline(this.#clock, timeoutMs);
    const rows = await this.#ask(deadline, [], (session) =>
      session.query('SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[])', deadline, [
        names.filter(isText),
      ]),
    );
    return namesIn(rows);
  }

  async list(prefix: string, timeoutMs: number): Promise<readonly string[]> {
    if (prefix.length < PREFIX_LENGTH_MIN) throw new Error(`a prefix has at least ${PREFIX_LENGTH_MIN} characters`);
    const deadline = new Deadline(this.#clock, timeoutMs);
    const rows = await this.#ask(deadline, [], (session) =>
      session.query(
        `SELECT rolname FROM pg_catalog.pg_roles WHERE left(rolname::text, length($1)) = $1
         ORDER BY rolname::text COLLATE "C" LIMIT ${LIST_COUNT_MAX + 1}`,
        deadline,
        [prefix],
      ),
    );
    if (rows.length > LIST_COUNT_MAX) throw tooMany(prefix);
    return [...namesIn(rows)];
  }

  async letsIn(name: string, password: Secret, timeoutMs: number): Promise<boolean> {
    checkName(name, NAME_LENGTH_MAX, SPECIAL);
    const deadline = new Deadline(this.#clock, timeoutMs);
    const login = { username: name, password: textOf(password) };
    try {
      const session = await PostgresqlSession.open(this.#target, login, this.#limits.check, deadline);
      session.end();
      return true;
    } catch (error) {
      if (isState(error, '28P01', '28000')) return false;
      throw faultOf(error, [login.password]);
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /** Statements about a login that must be there. */
  async #alter(name: string, own: Rendered, deadline: Deadline, secrets: Secrets): Promise<void> {
    await this.#change(own, deadline, secrets, name, async (session) => {
      await transaction(session, deadline, presentQuery([name]), async (work, rows) => {
        if (rows.length === 0) throw new Fault('database.absent', 'the database server has no login of this name');
        await work.query(own.texts.join(';\n'));
      });
    });
  }

  async #change(
    own: Rendered,
    deadline: Deadline,
    secrets: Secrets,
    name: string,
    work: (session: PostgresqlSession) => Promise<void>,
  ): Promise<void> {
    const use = (): Promise<void> =>
      this.#ask(deadline, secrets.all, async (session) => {
        try {
          await work(session);
        } catch (error) {
          // The role of this name, or another one that the statements make too.
          const isThere = isState(error, DUPLICATE) && (await session.query(presentQuery([name]), deadline)).length > 0;
          throw isThere ? exists() : error;
        } finally {
          if (!own.isPlain) session.spoil();
        }
      });
    await (own.sharesRows ? this.#turns.take(deadline, use) : use());
  }

  async #dropSome(
    session: PostgresqlSession,
    logins: readonly Existing[],
    outcomes: Map<string, Outcome>,
    deadline: Deadline,
  ): Promise<void> {
    const found = new Map(
      (
        await find(
          session,
          logins.map(({ name }) => name),
          deadline,
        )
      ).map((one) => [one.name, one]),
    );
    const endings: Ending[] = [];
    let leavesTraces = false;
    for (const { name, statements } of logins) {
      const login = found.get(name);
      if (login === undefined) outcomes.set(name, { done: true });
      else {
        try {
          const own = statements.length === 0 ? undefined : rendered(statements, { name }, POSTGRESQL, write);
          leavesTraces ||= own?.isPlain === false;
          endings.push({ login, texts: own?.texts });
        } catch (error) {
          outcomes.set(name, failed(error));
        }
      }
    }
    if (endings.length === 0) return;
    try {
      await this.#endFound(session, endings, outcomes, deadline);
    } finally {
      if (leavesTraces) session.spoil();
    }
  }

  async #endFound(
    session: PostgresqlSession,
    found: readonly Ending[],
    outcomes: Map<string, Outcome>,
    deadline: Deadline,
  ): Promise<void> {
    let endings = found;
    const open = endings.map(({ login }) => login).filter(({ hasSessions }) => hasSessions);
    if (open.length > 0) await endSessions(session, open, deadline);
    const withoutRest = await this.#dropElsewhere(endings, deadline);
    for (const [name, fault] of withoutRest) outcomes.set(name, failed(fault));
    endings = endings.filter(({ login }) => !withoutRest.has(login.name));
    const faults = await dropHere(session, endings, this.#target.database, deadline);
    const names = endings.map(({ login }) => login.name);
    const left = names.length === 0 ? new Set() : namesIn(await session.query(presentQuery(names), deadline));
    for (const name of names) {
      const fault = faults.get(name);
      if (fault !== undefined) outcomes.set(name, failed(fault));
      else if (left.has(name)) {
        outcomes.set(
          name,
          failed(new Fault('database.refused', 'the revocation statements left the login in the catalogue')),
        );
      } else outcomes.set(name, { done: true });
    }
    // Who logged in between the look and the drop.
    await terminate(
      session,
      endings.map(({ login }) => login),
      deadline,
    );
  }

  /** In the databases where something hangs on logins that are dropped by default. */
  async #dropElsewhere(endings: readonly Ending[], deadline: Deadline): Promise<ReadonlyMap<string, Fault>> {
    const there = new Map<string, Doomed[]>();
    for (const { login, texts } of endings) {
      if (texts !== undefined) continue;
      for (const database of login.databases) {
        if (database !== this.#target.database) there.set(database, [...(there.get(database) ?? []), login]);
      }
    }
    const failed = new Map<string, Fault>();
    for (const [database, logins] of there) {
      try {
        const session = await PostgresqlSession.open(
          this.#target,
          this.#target,
          this.#limits.check,
          deadline,
          database,
        );
        try {
          for (const [name, fault] of await dropElsewhere(session, logins, database, deadline)) failed.set(name, fault);
        } finally {
          session.end();
        }
      } catch (error) {
        const fault = faultOf(error, [this.#target.password]);
        for (const { name } of logins) failed.set(name, fault);
      }
    }
    return failed;
  }

  /** A session for `work`, and faults instead of what the driver throws. */
  async #ask<T>(
    deadline: Deadline,
    secrets: readonly string[],
    work: (session: PostgresqlSession) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#pool.use(deadline, work);
    } catch (error) {
      throw faultOf(error, [...secrets, this.#target.password]);
    }
  }

  #verifier(secret: Secret, password: string): Promise<string> {
    return this.#verifiers.get(secret) ?? scramVerifier(password, this.#random.bytes(SALT_SIZE));
  }

  async #proof(name: string, credential: LoginCredential, secrets: Secrets): Promise<Values> {
    if (credential.type === 'client_certificate') {
      if (credential.commonName !== name) {
        throw new Fault(
          'database.refused',
          'PostgreSQL finds a login by its certificate: the common name must be the name of the login',
        );
      }
      return { subject: `CN=${name}` };
    }
    if (credential.type === 'rsa_private_key') throw new Fault('database.refused', 'PostgreSQL takes no RSA keys');
    const password = textOf(credential.password);
    secrets.add(password);
    if (!this.#target.scram || !isPreparedAlready(password)) return { password };
    const verifier = await this.#verifier(credential.password, password);
    secrets.add(verifier);
    return { password: verifier };
  }
}

/** What must not come back in a message. */
class Secrets {
  readonly all: string[];

  constructor(target: PostgresqlTarget) {
    this.all = [target.password];
  }

  add(secret: string): void {
    this.all.push(secret);
  }
}

const failed = (error: unknown): Outcome => ({ done: false, fault: faultOf(error, []).message });

function exists(): Fault {
  return new Fault('database.exists', 'the database server has a login of this name already; it was not touched');
}

function madeNone(): Fault {
  return new Fault(
    'database.refused',
    'the creation statements made no login of the name {{name}}; nothing was kept of them',
  );
}

/** The server's own end of the login is set in any case: it is the second line. */
function withUntil(statements: Statements, values: Values): Rendered {
  const own = rendered(statements, values, POSTGRESQL, write);
  if (own.hasExpiration) return own;
  const until = rendered([UNTIL], values, POSTGRESQL, write);
  return { ...own, texts: [...own.texts, ...until.texts] };
}
