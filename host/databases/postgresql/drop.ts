/**
 * Ends logins, and what PostgreSQL makes hard to drop with them: sessions, objects they own, grants and default privileges
 * in this database and in every other, databases and tablespaces. Logins of one call share a transaction; if one of them
 * fails, each gets a savepoint of its own.
 *
 * What others' objects depend on is not dropped with a login: it becomes the box's own, so that the login goes and nobody
 * else loses anything.
 */
import { Fault } from '../../fault.ts';
import type { Deadline } from '../deadline.ts';
import { isText } from '../statements.ts';
import { identifier, literal } from './dialect.ts';
import type { PostgresqlSession, Row } from './driver.ts';
import { faultOf, isState } from './faults.ts';
import { type Transaction, transaction } from './transaction.ts';

/** A login that is there, with what hangs on it. */
export interface Doomed {
  readonly name: string;
  readonly oid: string;
  /** The box may act for it already. */
  readonly isMember: boolean;
  readonly hasSessions: boolean;
  /** Databases where it owns something or something is granted to it. */
  readonly databases: readonly string[];
  /** Grants on, or ownership of, what belongs to no database. */
  readonly hasShared: boolean;
  readonly ownsShared: boolean;
}

/** How one login is ended in the database that the box is connected to. */
export interface Ending {
  readonly login: Doomed;
  /** Undefined: the default. */
  readonly texts: readonly string[] | undefined;
}

const SESSION_POLL_MS = 20;
const DEPENDENT_OBJECTS = '2BP01';

/** Looks up logins. Those that are not there are missing in the answer. */
export async function find(
  session: PostgresqlSession,
  names: readonly string[],
  deadline: Deadline,
): Promise<readonly Doomed[]> {
  const rows = await session.query(
    `SELECT r.rolname AS name, r.oid::text AS oid, pg_catalog.pg_has_role(r.oid, 'USAGE') AS member,
       EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = r.oid) AS sessions,
       ARRAY(SELECT DISTINCT b.datname::text FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database b ON b.oid = s.dbid
             WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid) AS databases,
       EXISTS (SELECT 1 FROM pg_catalog.pg_shdepend s
               WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = r.oid AND s.dbid = 0) AS shared,
       EXISTS (SELECT 1 FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass
               AND s.refobjid = r.oid AND s.dbid = 0 AND s.deptype = 'o') AS owns
     FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1::text[])`,
    deadline,
    [names.filter(isText)],
  );
  return rows.map((row) => ({
    name: String(row['name']),
    oid: String(row['oid']),
    isMember: row['member'] === true,
    hasSessions: row['sessions'] === true,
    databases: row['databases'] as readonly string[],
    hasShared: row['shared'] === true,
    ownsShared: row['owns'] === true,
  }));
}

/** No new session of theirs, and none that goes on. @throws Fault `database.refused` one cannot be ended */
export async function endSessions(
  session: PostgresqlSession,
  logins: readonly Doomed[],
  deadline: Deadline,
): Promise<void> {
  const strangers = logins.filter(({ isMember }) => !isMember);
  await transaction(session, deadline, 'SELECT 1', async (own) => {
    for (const { name } of logins) await own.query(`ALTER ROLE ${identifier(name)} NOLOGIN`);
    if (strangers.length > 0) await own.query(membership(strangers));
  });
  await terminate(session, logins, deadline);
}

/** By oid: a session outlives the name of its login. */
export async function terminate(
  session: PostgresqlSession,
  logins: readonly Doomed[],
  deadline: Deadline,
): Promise<void> {
  const oids = [logins.map(({ oid }) => oid)];
  while (deadline.leftMs > 0) {
    const rows = await session.query(
      `SELECT pg_catalog.pg_terminate_backend(a.pid) AS told FROM pg_catalog.pg_stat_activity a
       WHERE a.usesysid = ANY ($1::oid[])`,
      deadline,
      oids,
    );
    if (rows.length === 0) return;
    await deadline.clock.sleep(SESSION_POLL_MS);
  }
  throw new Fault('database.unreachable', 'sessions of a login did not end');
}

function membership(logins: readonly Doomed[]): string {
  return `GRANT ${logins.map(({ name }) => identifier(name)).join(', ')} TO CURRENT_USER`;
}

/** The statements of one login's end by default, in the database `here`; in others its grants and objects alone. */
function defaultTexts(
  { name, databases, hasShared, ownsShared, isMember }: Doomed,
  here: string,
  isHome: boolean,
): readonly string[] {
  const role = identifier(name);
  const hangs = databases.includes(here) || (isHome && hasShared);
  return [
    ...(hangs && !isMember ? [`GRANT ${role} TO CURRENT_USER`] : []),
    ...(hangs ? [`DROP OWNED BY ${role}`] : []),
    // Databases and tablespaces are not dropped with their owner.
    ...(isHome && ownsShared ? [`REASSIGN OWNED BY ${role} TO CURRENT_USER`] : []),
    ...(isHome ? [`DROP ROLE ${role}`] : []),
  ];
}

/**
 * Drops what hangs on logins in another database than the box's own.
 *
 * @returns names that failed, with the reason
 */
export async function dropElsewhere(
  session: PostgresqlSession,
  logins: readonly Doomed[],
  database: string,
  deadline: Deadline,
): Promise<ReadonlyMap<string, Fault>> {
  return await endAll(
    session,
    logins.map((login) => ({ login, texts: undefined })),
    (login) => defaultTexts(login, database, false),
    deadline,
  );
}

/** @returns names that failed, with the reason */
export async function dropHere(
  session: PostgresqlSession,
  endings: readonly Ending[],
  database: string,
  deadline: Deadline,
): Promise<ReadonlyMap<string, Fault>> {
  return await endAll(session, endings, (login) => defaultTexts(login, database, true), deadline);
}

async function endAll(
  session: PostgresqlSession,
  endings: readonly Ending[],
  byDefault: (login: Doomed) => readonly string[],
  deadline: Deadline,
): Promise<ReadonlyMap<string, Fault>> {
  const textsOf = ({ login, texts }: Ending): readonly string[] => texts ?? byDefault(login);
  try {
    const texts = endings.flatMap(textsOf);
    if (texts.length > 0) await transaction(session, deadline, texts.join(';\n'), async () => undefined);
    return new Map();
  } catch (error) {
    const fault = faultOf(error, []);
    if (endings.length > 1 || isState(error, DEPENDENT_OBJECTS)) {
      if (session.usable) return await oneByOne(session, endings, textsOf, deadline);
    }
    return new Map(endings.map(({ login }) => [login.name, fault]));
  }
}

async function oneByOne(
  session: PostgresqlSession,
  endings: readonly Ending[],
  textsOf: (ending: Ending) => readonly string[],
  deadline: Deadline,
): Promise<ReadonlyMap<string, Fault>> {
  const failed = new Map<string, Fault>();
  try {
    await transaction(session, deadline, 'SELECT 1', async (own) => {
      for (const ending of endings) {
        try {
          await withinSavepoint(own, textsOf(ending));
        } catch (error) {
          if (!session.usable) throw error;
          const kept = ending.texts === undefined && isState(error, DEPENDENT_OBJECTS);
          const fault = kept ? await keepObjects(own, ending, textsOf) : faultOf(error, []);
          if (fault !== undefined) failed.set(ending.login.name, fault);
        }
      }
    });
    return failed;
  } catch (error) {
    const fault = faultOf(error, []);
    return new Map(endings.map(({ login }) => [login.name, fault]));
  }
}

/** What others depend on becomes the box's own. */
async function keepObjects(
  own: Transaction,
  ending: Ending,
  textsOf: (ending: Ending) => readonly string[],
): Promise<Fault | undefined> {
  const role = identifier(ending.login.name);
  const texts = textsOf(ending).flatMap((text) =>
    text === `DROP OWNED BY ${role}` ? [`REASSIGN OWNED BY ${role} TO CURRENT_USER`, text] : [text],
  );
  try {
    await withinSavepoint(own, texts);
    return undefined;
  } catch (error) {
    return faultOf(error, []);
  }
}

async function withinSavepoint(own: Transaction, texts: readonly string[]): Promise<void> {
  await own.query('SAVEPOINT one');
  try {
    if (texts.length > 0) await own.query(texts.join(';\n'));
    // A statement may have changed how the next ones are read.
    await own.query('RELEASE SAVEPOINT one; SET LOCAL standard_conforming_strings = on');
  } catch (error) {
    await own.query('ROLLBACK TO SAVEPOINT one');
    throw error;
  }
}

export function namesIn(rows: readonly Row[]): ReadonlySet<string> {
  return new Set(rows.map((row) => String(row['rolname'])));
}

/** A query for which of some names are roles. For few: a look into the catalogue's cache, without a plan. */
export function presentQuery(names: readonly string[]): string {
  const [name, ...more] = names;
  if (name !== undefined && more.length === 0) {
    const role = literal(name);
    return `SELECT ${role} AS rolname WHERE pg_catalog.to_regrole(pg_catalog.quote_ident(${role})) IS NOT NULL`;
  }
  return `SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN (${names.map(literal).join(', ')})`;
}
