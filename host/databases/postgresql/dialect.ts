/** PostgreSQL's quotes and comments, as its lexer reads them with `standard_conforming_strings` on, which the box sets. */

import { Fault } from '../../fault.ts';
import type { Dialect, Place, Placeholder, Quote } from '../template.ts';

const LITERAL: Quote = { open: "'", close: "'", place: 'literal', backslash: false, isBody: false };
const ESCAPED: Quote = { ...LITERAL, backslash: true };
const IDENTIFIER: Quote = { ...LITERAL, open: '"', close: '"', place: 'identifier' };
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const WORD_END = /[A-Za-z0-9_$\u0080-\uffff]$/;
/** What a string literal carries on after blanks with a line end in them: the kind of the first part holds for all. */
const ESCAPED_BEFORE = /(?:^|[^A-Za-z0-9_$\u0080-\uffff])[eE](?:'\s*)*$/;
const UNICODE_BEFORE = /(?:^|[^A-Za-z0-9_$\u0080-\uffff])[uU]&(?:'\s*)*$/;

/** Statements whose strings are passwords, times and settings. */
const DATA =
  /^(?:(?:CREATE|ALTER|DROP) (?:ROLE|USER|GROUP)\b(?! MAPPING)|GRANT\b|REVOKE\b|REASSIGN OWNED\b|DROP OWNED\b|COMMENT ON\b|ALTER DEFAULT PRIVILEGES\b)/;

export const POSTGRESQL: Dialect = {
  forbidden: new Set([
    ...['BEGIN', 'START', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE', 'END', 'ABORT', 'PREPARE TRANSACTION'],
  ]),

  quoteAt(text, at, before) {
    const character = text[at];
    if (character === "'") {
      if (UNICODE_BEFORE.test(before)) return { ...LITERAL, place: undefined };
      return ESCAPED_BEFORE.test(before) ? ESCAPED : LITERAL;
    }
    if (character === '"') return /[uU]&$/.test(before) ? { ...IDENTIFIER, place: undefined } : IDENTIFIER;
    if (character !== '$' || WORD_END.test(before)) return undefined;
    DOLLAR.lastIndex = at;
    const tag = DOLLAR.exec(text)?.[0];
    return tag === undefined ? undefined : { open: tag, close: tag, place: 'executed', backslash: false, isBody: true };
  },

  commentEnd(text, at) {
    if (text.startsWith('--', at)) {
      const end = /[\n\r]/.exec(text.slice(at));
      return end === null ? text.length : at + end.index;
    }
    if (!text.startsWith('/*', at)) return undefined;
    // They nest.
    let depth = 0;
    for (let next = at; next < text.length; next++) {
      if (text.startsWith('/*', next)) {
        depth++;
        next++;
      } else if (text.startsWith('*/', next)) {
        next++;
        if (--depth === 0) return next + 1;
      }
    }
    throw new Fault('input.invalid', 'a statement has a comment that is not closed');
  },

  stringsAreData: (bare) => DATA.test(bare),
  makesOne: (bare) => /^CREATE (ROLE|USER) /.test(bare),
};

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Backslashes mean themselves. */
export function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** A value at its place in a template. Outside quotes a name becomes a quoted name, everything else a string. */
export function write(value: string, placeholder: Placeholder, place: Place, quote: Quote | undefined): string {
  if (place === 'bare') return placeholder === 'name' ? identifier(value) : literal(value);
  if (place === 'identifier') return value.replaceAll('"', '""');
  const doubled = value.replaceAll("'", "''");
  return quote?.backslash === true ? doubled.replaceAll('\\', '\\\\') : doubled;
}
