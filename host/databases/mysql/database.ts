/**
 * A MariaDB or MySQL server as the box sees it. Contract: test/contract/database.ts.
 *
 * Statements about logins are no transactions there: each is done when it is answered. A creation that fails halfway is
 * undone by dropping what it made; until its answer leaves nobody knows the password.
 */
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
import type { Secret } from '../../secret.ts';
import { Deadline } from '../deadline.ts';
import { Pool } from '../pool.ts';
import {
  checkName,
  expirationOf,
  LIST_COUNT_MAX,
  PREFIX_LENGTH_MIN,
  PRESENT_COUNT_MAX,
  type Rendered,
  rendered,
  textOf,
  tooMany,
} from '../statements.ts';
import type { Values } from '../template.ts';
import { account, literal, MYSQL, write } from './dialect.ts';
import { MysqlSession } from './driver.ts';
import { errorNumber, faultOf, isShutOut } from './faults.ts';
import { endSessions } from './sessions.ts';
import type { MysqlTarget } from './settings.ts';

export const CREATE = `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`;
export const CREATE_BY_CERTIFICATE = `CREATE USER '{{name}}'@'%' REQUIRE SUBJECT '{{subject}}'`;

/** Blanks at the end are not kept, and what needs four bytes of UTF-8 has no place in the catalogue. */
const SPECIAL = / $|[\u{10000}-\u{10ffff}]/u;
/** What a subject is written with needs to be plain: `/CN=a/O=b` is two parts. */
const COMMON_NAME = /^[A-Za-z0-9_.@ :-]+$/;
const CANNOT_USER = 1396;
/** Of a table, a column or a database that the login has no rights on. */
const MAY_NOT_LOOK = new Set([1044, 1142, 1143]);

interface Account {
  readonly name: string;
  readonly host: string;
  /** The session's own, which has no rights on the catalogue: how it sets its password. */
  readonly setsPassword?: (password: string) => string;
}

export class MysqlDatabase implements Database {
  readonly #target: MysqlTarget;
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  readonly #nameLengthMax: number;
  readonly #pool: Pool<MysqlSession>;

  constructor(target: MysqlTarget, limits: ConnectionLimits, clock: Clock, nameLengthMax: number) {
    this.#target = target;
    this.#limits = limits;
    this.#clock = clock;
    this.#nameLengthMax = nameLengthMax;
    this.#pool = new Pool(limits, (deadline) => MysqlSession.open(target, target, limits.check, deadline));
  }

  async verify(timeoutMs: number): Promise<readonly string[]> {
    const rows = await this.#ask(timeoutMs, [], (session, deadline) => session.query('SHOW GRANTS', deadline));
    const grants = rows.flatMap((row) => Object.values(row).map(String));
    const everywhere = grants.filter((grant) => / ON \*\.\* TO /.test(grant)).join('\n');
    const name = this.#target.username;
    if (/^GRANT ALL PRIVILEGES ON|\bSUPER\b/m.test(everywhere)) {
      return [
        `the login ${name} may do everything: give the box one that may only make logins (CREATE USER, PROCESS, CONNECTION ADMIN, SELECT on mysql.*)`,
      ];
    }
    const lacks = (right: RegExp, sentence: string): string[] => (right.test(everywhere) ? [] : [sentence]);
    return [
      ...lacks(/\bCREATE USER\b/, `the login ${name} may not make logins: GRANT CREATE USER ON *.*`),
      ...lacks(
        /\bPROCESS\b/,
        `the login ${name} does not see sessions of others, which then outlive their logins: GRANT PROCESS ON *.*`,
      ),
      ...lacks(
        /\bCONNECTION[ _]ADMIN\b/,
        `the login ${name} may not end sessions of others: GRANT CONNECTION ADMIN ON *.*`,
      ),
    ];
  }

  async create(login: NewLogin, statements: Statements, timeoutMs: number): Promise<void> {
    const { name, credential } = login;
    this.#checkName(name);
    const byDefault = credential.type === 'client_certificate' ? CREATE_BY_CERTIFICATE : CREATE;
    const { values, secrets } = proofOf(credential);
    const own = rendered(
      statements.length === 0 ? [byDefault] : statements,
      { name, expiration: expirationOf(login.expirationMs), ...values },
      MYSQL,
      write,
    );
    await this.#ask(timeoutMs, secrets, async (session, deadline) => {
      await session.window(deadline);
      // Where the first statement is the creation of this very name, its failure says the same. Names have 80 random bits:
      // an account of this name that may come from other hosts alone is not looked for.
      if (!own.makesName && (await accountsOf(session, [name], deadline)).length > 0) throw exists();
      let done = 0;
      try {
        await run(session, own, deadline, () => {
          done++;
        });
        if (!own.makesName && (await accountsOf(session, [name], deadline)).length === 0) {
          throw new Fault('database.refused', 'the creation statements made no login of the name {{name}}');
        }
      } catch (error) {
        if (own.makesName && done === 0 && errorNumber(error) === CANNOT_USER)
          throw await this.#why(session, name, error, deadline);
        await this.#undo(session, name, deadline);
        throw error;
      }
    });
  }

  /** The server keeps no end of a login; what is asked for is that it is there, and the role's own statements. */
  async renew(name: string, expirationMs: number, statements: Statements, timeoutMs: number): Promise<void> {
    this.#checkName(name);
    const own = rendered(statements, { name, expiration: expirationOf(expirationMs) }, MYSQL, write);
    await this.#alter(name, () => own, timeoutMs, []);
  }

  async change(name: string, credential: LoginCredential, statements: Statements, timeoutMs: number): Promise<void> {
    this.#checkName(name);
    const { values, secrets } = proofOf(credential);
    const own = rendered(statements, { name, ...values }, MYSQL, write);
    const byDefault = (accounts: readonly Account[]): Rendered => ({
      ...own,
      texts: accounts.map(({ host, setsPassword }) => {
        if (values.password === undefined)
          return `ALTER USER ${account(name, host)} REQUIRE SUBJECT ${literal(values.subject ?? '')}`;
        return (
          setsPassword?.(values.password) ??
          `ALTER USER ${account(name, host)} IDENTIFIED BY ${literal(values.password)}`
        );
      }),
    });
    await this.#alter(name, statements.length === 0 ? byDefault : () => own, timeoutMs, secrets);
  }

  async drop(logins: readonly Existing[], timeoutMs: number): Promise<readonly Outcome[]> {
    const outcomes = new Map<string, Outcome>();
    try {
      await this.#ask(timeoutMs, [], (session, deadline) => this.#dropAll(session, logins, outcomes, deadline));
    } catch (error) {
      const { message } = faultOf(error, []);
      for (const { name } of logins) if (!outcomes.has(name)) outcomes.set(name, { done: false, fault: message });
    }
    return logins.map(({ name }) => outcomes.get(name) ?? { done: false, fault: 'the server did not say' });
  }

  async present(names: readonly string[], timeoutMs: number): Promise<ReadonlySet<string>> {
    if (names.length > PRESENT_COUNT_MAX) throw new Error(`at most ${PRESENT_COUNT_MAX} names at once`);
    const accounts = await this.#ask(timeoutMs, [], (session, deadline) => accountsOf(session, names, deadline));
    return new Set(accounts.map(({ name }) => name));
  }

  async list(prefix: string, timeoutMs: number): Promise<readonly string[]> {
    if (prefix.length < PREFIX_LENGTH_MIN) throw new Error(`a prefix has at least ${PREFIX_LENGTH_MIN} characters`);
    const rows = await this.#ask(timeoutMs, [], async (session, deadline) => {
      await session.window(deadline);
      return await session.query(
        `SELECT DISTINCT CAST(User AS BINARY) AS name FROM mysql.user WHERE LEFT(User, ${[...prefix].length}) = ${literal(prefix)}
         AND Host <> '' ORDER BY name LIMIT ${LIST_COUNT_MAX + 1}`,
        deadline,
      );
    });
    if (rows.length > LIST_COUNT_MAX) throw tooMany(prefix);
    return rows.map((row) => String(row['name']));
  }

  async letsIn(name: string, password: Secret, timeoutMs: number): Promise<boolean> {
    this.#checkName(name);
    const deadline = new Deadline(this.#clock, timeoutMs);
    const login = { username: name, password: textOf(password) };
    try {
      const session = await MysqlSession.open(this.#target, login, this.#limits.check, deadline);
      session.end();
      return true;
    } catch (error) {
      if (isShutOut(error)) return false;
      throw faultOf(error, [login.password]);
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  #checkName(name: string): void {
    checkName(name, this.#nameLengthMax, SPECIAL);
  }

  async #alter(
    name: string,
    statements: (accounts: readonly Account[]) => Rendered,
    timeoutMs: number,
    secrets: readonly string[],
  ): Promise<void> {
    await this.#ask(timeoutMs, secrets, async (session, deadline) => {
      await session.window(deadline);
      const accounts = await this.#accountsToAlter(session, name, deadline);
      if (accounts.length === 0) throw new Fault('database.absent', 'the database server has no login of this name');
      await run(session, statements(accounts), deadline);
    });
  }

  /** A login without rights on the catalogue, or to alter users, may set its own password all the same. */
  async #accountsToAlter(session: MysqlSession, name: string, deadline: Deadline): Promise<readonly Account[]> {
    try {
      return await accountsOf(session, [name], deadline);
    } catch (error) {
      if (name !== this.#target.username || !MAY_NOT_LOOK.has(errorNumber(error) ?? 0)) throw error;
      const [row] = await session.query('SELECT CAST(CURRENT_USER() AS BINARY) AS account', deadline);
      const own = String(row?.['account']);
      const at = own.lastIndexOf('@');
      if (own.slice(0, at) !== name) throw error;
      const setsPassword = (password: string): string =>
        session.isMariaDb ? `SET PASSWORD = PASSWORD(${literal(password)})` : `SET PASSWORD = ${literal(password)}`;
      return [{ name, host: own.slice(at + 1), setsPassword }];
    }
  }

  /** The server could not make the login, and nothing was done: because it is there, or for another reason. */
  async #why(session: MysqlSession, name: string, error: unknown, deadline: Deadline): Promise<unknown> {
    return (await accountsOf(session, [name], deadline)).length > 0 ? exists() : error;
  }

  /** After a creation that failed: what it made goes. What then remains, whoever asked for the login undoes by its name. */
  async #undo(session: MysqlSession, name: string, deadline: Deadline): Promise<void> {
    if (!session.isOpen) return;
    const made = await accountsOf(session, [name], deadline).catch(() => []);
    if (made.length > 0) await session.query(dropText(made), deadline).catch(() => undefined);
  }

  async #dropAll(
    session: MysqlSession,
    logins: readonly Existing[],
    outcomes: Map<string, Outcome>,
    deadline: Deadline,
  ): Promise<void> {
    await session.window(deadline);
    const names = logins.map(({ name }) => name);
    const there = await accountsOf(session, names, deadline);
    const faults = new Map<string, Fault>();
    const byDefault = new Set(logins.filter(({ statements }) => statements.length === 0).map(({ name }) => name));
    const doomed = there.filter(({ name }) => byDefault.has(name));
    if (doomed.length > 0) await this.#dropByDefault(session, doomed, faults, deadline);
    for (const { name, statements } of logins) {
      if (statements.length === 0 || !there.some((one) => one.name === name)) continue;
      try {
        await run(session, rendered(statements, { name }, MYSQL, write), deadline);
      } catch (error) {
        faults.set(name, faultOf(error, []));
        if (!session.isOpen) throw error;
      }
    }
    const left = new Set((await accountsOf(session, names, deadline)).map(({ name }) => name));
    const stay = await endSessions(
      session,
      names.filter((name) => !left.has(name)),
      deadline,
    );
    for (const name of names) {
      const fault = faults.get(name)?.message ?? stay.get(name)?.message;
      if (left.has(name)) {
        outcomes.set(name, {
          done: false,
          fault: fault ?? 'the revocation statements left the login in the catalogue',
        });
      } else if (stay.has(name)) outcomes.set(name, { done: false, fault: fault ?? '' });
      else outcomes.set(name, { done: true });
    }
  }

  /** All in one statement; the server drops those it can and names the rest. */
  async #dropByDefault(
    session: MysqlSession,
    doomed: readonly Account[],
    faults: Map<string, Fault>,
    deadline: Deadline,
  ): Promise<void> {
    try {
      await session.change(dropText(doomed), deadline);
    } catch (error) {
      if (!session.isOpen) throw error;
      for (const { name } of doomed) faults.set(name, faultOf(error, []));
    }
  }

  async #ask<T>(
    timeoutMs: number,
    secrets: readonly string[],
    work: (session: MysqlSession, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    const deadline = new Deadline(this.#clock, timeoutMs);
    try {
      return await this.#pool.use(deadline, (session) => work(session, deadline));
    } catch (error) {
      throw faultOf(error, [...secrets, this.#target.password]);
    }
  }
}

async function run(
  session: MysqlSession,
  statements: Rendered,
  deadline: Deadline,
  each: () => void = () => undefined,
): Promise<void> {
  try {
    for (const text of statements.texts) {
      await session.change(text, deadline);
      each();
      // It may have changed how the next one's quotes are read.
      if (!statements.isPlain) {
        session.forgetWindow();
        await session.window(deadline);
      }
    }
  } finally {
    if (!statements.isPlain) session.spoil();
  }
}

/**
 * Every host that a login of these names may come from. Roles have no host. The catalogue's key begins with the host: so
 * its hosts, which are few, are looked up first, and nothing is read through.
 */
async function accountsOf(
  session: MysqlSession,
  names: readonly string[],
  deadline: Deadline,
): Promise<readonly Account[]> {
  if (names.length === 0) return [];
  const table = session.isMariaDb ? 'mysql.global_priv' : 'mysql.user';
  const rows = await session.query(
    `SELECT CAST(u.User AS BINARY) AS name, CAST(u.Host AS BINARY) AS host
     FROM (SELECT DISTINCT Host FROM ${table}) AS h JOIN ${table} AS u ON u.Host = h.Host
     WHERE u.User IN (${names.map(literal).join(', ')}) AND u.Host <> ''`,
    deadline,
  );
  return rows.map((row) => ({ name: String(row['name']), host: String(row['host']) }));
}

function dropText(accounts: readonly Account[]): string {
  return `DROP USER ${accounts.map(({ name, host }) => account(name, host)).join(', ')}`;
}

function proofOf(credential: LoginCredential): { readonly values: Values; readonly secrets: readonly string[] } {
  switch (credential.type) {
    case 'password': {
      const password = textOf(credential.password);
      return { values: { password }, secrets: [password] };
    }
    case 'client_certificate':
      if (!COMMON_NAME.test(credential.commonName)) {
        throw new Fault(
          'database.refused',
          'the common name of a certificate may have letters, digits and _.@ :- here, where the server compares the whole subject as a text',
        );
      }
      return { values: { subject: `/CN=${credential.commonName}` }, secrets: [] };
    case 'rsa_private_key':
      throw new Fault('database.refused', 'the server takes no RSA keys');
  }
}

function exists(): Fault {
  return new Fault('database.exists', 'the database server has a login of this name already; it was not touched');
}
