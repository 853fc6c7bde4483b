/**
 * MariaDB's and MySQL's quotes and comments, as they are read with the `sql_mode` that the box sets: double quotes are
 * strings (no ANSI_QUOTES), and a backslash escapes (no NO_BACKSLASH_ESCAPES).
 */

import { Fault } from '../../fault.ts';
import type { Dialect, Place, Placeholder, Quote } from '../template.ts';

const SINGLE: Quote = { open: "'", close: "'", place: 'literal', backslash: true, isBody: false };
const DOUBLE: Quote = { ...SINGLE, open: '"', close: '"' };
const NAME: Quote = { open: '`', close: '`', place: 'identifier', backslash: false, isBody: false };

/** Statements whose strings are names, passwords and hosts. */
const DATA =
  /^(?:(?:CREATE(?: OR REPLACE)?|ALTER|DROP|RENAME) (?:USER|ROLE)\b|GRANT\b|REVOKE\b|SET PASSWORD\b|SET DEFAULT ROLE\b)/;

export const MYSQL: Dialect = {
  forbidden: new Set([
    ...['BEGIN', 'START', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE', 'END', 'XA', 'LOCK', 'UNLOCK'],
    ...['DELIMITER', 'SOURCE', 'LOAD', 'USE'],
  ]),

  quoteAt(text, at) {
    if (text[at] === "'") return SINGLE;
    if (text[at] === '"') return DOUBLE;
    return text[at] === '`' ? NAME : undefined;
  },

  commentEnd(text, at) {
    if (text[at] === '#' || /^--(?:[\s\p{Cc}]|$)/u.test(text.slice(at, at + 3))) {
      const end = text.indexOf('\n', at);
      return end < 0 ? text.length : end;
    }
    if (!text.startsWith('/*', at)) return undefined;
    if (/^\/\*M?!/.test(text.slice(at, at + 4))) {
      throw new Fault('input.invalid', 'a statement has a comment that the server would run (/*!); write it without');
    }
    const end = text.indexOf('*/', at + 2);
    if (end < 0) throw new Fault('input.invalid', 'a statement has a comment that is not closed');
    return end + 2;
  },

  stringsAreData: (bare) => DATA.test(bare),
  // Of several one may be there and the others made.
  makesOne: (bare) => /^CREATE USER [^,]*$/.test(bare),
};

/** A string, for names of accounts too, which may be strings. */
export function literal(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

export function account(name: string, host: string): string {
  return `${literal(name)}@${literal(host)}`;
}

/** A value at its place in a template. Outside quotes it becomes a string. */
export function write(value: string, _placeholder: Placeholder, place: Place, quote: Quote | undefined): string {
  if (place === 'bare' || quote === undefined) return literal(value);
  const doubled = value.replaceAll(quote.close, quote.close + quote.close);
  return quote.backslash ? doubled.replaceAll('\\', '\\\\') : doubled;
}
