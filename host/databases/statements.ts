/** A role's statements with a login's values in them, and what the box must know of them before it runs them. */
import { Fault, isFault } from '../fault.ts';
import type { CredentialType, StatementsUse } from '../ports/database.ts';
import { Remembered } from '../remembered.ts';
import type { Secret } from '../secret.ts';
import { timestampSeconds } from '../timestamp.ts';
import {
  available,
  checkPlaceholders,
  type Dialect,
  placeholdersOf,
  readStatements,
  render,
  type Statement,
  type Values,
  type Write,
} from './template.ts';

export interface Rendered {
  readonly texts: readonly string[];
  /** Statements that make logins and grants, and leave the session as it was. */
  readonly isPlain: boolean;
  /** Some of them changes rows of the catalogue that other logins' statements change too: grants on tables and schemas. */
  readonly sharesRows: boolean;
  readonly hasExpiration: boolean;
  /** The first is `CREATE USER` or `CREATE ROLE` of the name as a whole: when it succeeded the login is there, and new. */
  readonly makesName: boolean;
}

/** @throws Fault `database.refused` where a template, or a value in it, cannot be quoted safely */
export function rendered(templates: readonly string[], values: Values, dialect: Dialect, write: Write): Rendered {
  try {
    const { statements, accepted: _, ...known } = read(templates, dialect);
    return { ...known, texts: statements.map((statement) => render(statement, values, write)) };
  } catch (error) {
    if (isFault(error, 'input.invalid')) throw new Fault('database.refused', error.message);
    throw error;
  }
}

/** Of DatabaseAdapter. @throws Fault `input.invalid` */
export function check(
  templates: readonly string[],
  use: StatementsUse,
  credential: CredentialType,
  dialect: Dialect,
): void {
  if (templates.length === 0) return;
  const { statements, accepted } = read(templates, dialect);
  const kind = `${use} ${credential}`;
  if (accepted.has(kind)) return;
  checkPlaceholders(statements, available(use, credential));
  accepted.add(kind);
}

/** Statements before values are in them. */
interface Read extends Omit<Rendered, 'texts'> {
  readonly statements: readonly Statement[];
  /** Uses and kinds of credentials for which each placeholder has a value, of those that were asked for. */
  readonly accepted: Set<string>;
}

/** A role's statements are read once, not at each of its logins. */
const KEPT_COUNT_MAX = 64;
const kept = new Map<Dialect, Remembered<Read>>();

function read(templates: readonly string[], dialect: Dialect): Read {
  const known = kept.get(dialect) ?? new Remembered(KEPT_COUNT_MAX);
  kept.set(dialect, known);
  // No statement that was read has a NUL in it: with their count before them, no other ones have this key.
  return known.get(`${templates.length}\0${templates.join('\0')}`, () => {
    const statements = readStatements(templates, dialect);
    return {
      statements,
      accepted: new Set(),
      isPlain: statements.every(({ bare }) => dialect.stringsAreData(bare)),
      sharesRows: statements.some(sharesRows),
      makesName: makesName(statements[0], dialect),
      hasExpiration: statements.some(({ pieces }) => placeholdersOf(pieces).includes('expiration')),
    };
  });
}

const CREATES = /^\s*CREATE\s+(?:USER|ROLE)\s+(["'`]?)$/i;

function makesName(statement: Statement | undefined, dialect: Dialect): boolean {
  if (statement === undefined || !dialect.makesOne(statement.bare)) return false;
  const [head, name, tail] = statement.pieces;
  const quote = typeof head === 'string' ? CREATES.exec(head)?.[1] : undefined;
  if (quote === undefined || typeof name !== 'object' || !('placeholder' in name)) return false;
  if (name.placeholder !== 'name') return false;
  return quote === '' || (typeof tail === 'string' && tail.startsWith(quote) && !tail.startsWith(quote + quote));
}

function sharesRows({ bare }: Statement): boolean {
  return !/^(CREATE|ALTER|DROP) (ROLE|USER|GROUP)\b/.test(bare) && !/^(GRANT|REVOKE) (?:(?! ON ).)*$/.test(bare);
}

export function textOf(secret: Secret): string {
  return Buffer.from(secret.bytes).toString('utf8');
}

/** `2026-11-27 13:00:00+0000`, as Vault writes it: to the second, never later than asked. */
export function expirationOf(ms: number): string {
  return timestampSeconds(ms).replace('T', ' ').replace('Z', '+0000');
}

/** A name that holds what no text may is on no server. */
export function isText(name: string): boolean {
  return !name.includes('\0') && name.isWellFormed();
}

/**
 * @param lengthMax  bytes
 * @throws Fault `database.refused` a name that the server would cut, fold, or take for something else
 */
export function checkName(name: string, lengthMax: number, special: RegExp): void {
  const length = Buffer.byteLength(name);
  if (length === 0 || length > lengthMax) {
    throw new Fault(
      'database.refused',
      `the name of a login must have 1 to ${lengthMax} bytes; this one has ${length}`,
    );
  }
  if (!isText(name) || special.test(name)) {
    throw new Fault('database.refused', 'the name of a login is one that the server takes for something else');
  }
}

export const PRESENT_COUNT_MAX = 1000;
export const LIST_COUNT_MAX = 100_000;
export const PREFIX_LENGTH_MIN = 2;

/** @throws Fault `database.refused` */
export function tooMany(prefix: string): Fault {
  return new Fault(
    'database.refused',
    `more than ${LIST_COUNT_MAX} logins begin with ${JSON.stringify(prefix)}; ask for a longer beginning`,
  );
}
