/** A role's statements with a login's values in them, and what the box must know of them before it runs them. */
import { Fault, isFault } from '../fault.ts';
import type { Secret } from '../secret.ts';
import { timestampSeconds } from '../timestamp.ts';
import {
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
}

/** @throws Fault `database.refused` where a template, or a value in it, cannot be quoted safely */
export function rendered(templates: readonly string[], values: Values, dialect: Dialect, write: Write): Rendered {
  try {
    const statements = readStatements(templates, dialect);
    return {
      texts: statements.map((statement) => render(statement, values, write)),
      isPlain: statements.every(({ bare }) => dialect.stringsAreData(bare)),
      sharesRows: statements.some(sharesRows),
      hasExpiration: statements.some(({ pieces }) => placeholdersOf(pieces).includes('expiration')),
    };
  } catch (error) {
    if (isFault(error, 'input.invalid')) throw new Fault('database.refused', error.message);
    throw error;
  }
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
  if (name.includes('\0') || !name.isWellFormed() || special.test(name)) {
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
