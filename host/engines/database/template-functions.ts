/** The functions of Vault's username templates (its documentation, "Username Templating"), over tracked text. */
import { createHash } from 'node:crypto';
import { timestampNanos } from '../../timestamp.ts';
import { countOf, type Drawn, derived, joined, lengthOf, plain, sliced, type Tracked, tracked } from './tracked.ts';

const RANDOM_LENGTH_MAX = 100;
const LENGTH_MAX = 1024;
const SHA_SUFFIX = 8;
const BASE62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const BASE62_BITS = Math.log2(BASE62.length);
/** Of a UUID's 36 characters 32 are hex digits, of whose 128 bits 122 are random. */
const UUID_BITS = 122 / 32;

type Given = Tracked | number;
type Refuse = (sentence: string) => never;

interface Call {
  readonly name: string;
  readonly drawn: Drawn;
  readonly refuse: Refuse;
}

/** `count` characters of an alphabet of at most 256, without bias. */
export function drawText(alphabet: string, count: number, bytes: (length: number) => Uint8Array): string {
  const fair = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < count) {
    const drawn = bytes(Math.min(65_536, (count - text.length) * 2));
    for (let at = 0; at < drawn.length && text.length < count; at++) {
      const byte = drawn[at] ?? fair;
      if (byte < fair) text += alphabet.charAt(byte % alphabet.length);
    }
  }
  return text;
}

function textArgument({ name, refuse }: Call, value: Given | undefined): Tracked {
  if (value === undefined) return refuse(`${name} lacks a text`);
  return typeof value === 'number' ? tracked(String(value), 'fixed') : value;
}

function numberArgument({ name, refuse }: Call, value: Given | undefined, least: number, most: number): number {
  if (typeof value !== 'number' || value < least || value > most)
    return refuse(`${name} takes a number from ${least} to ${most}`);
  return value;
}

/** A character less to tell apart: an upper and a lower one become the same. */
const recased = (text: Tracked, change: (character: string) => string): Tracked =>
  text.flatMap((run) => tracked([...run.text].map(change).join(''), run.kind, Math.max(0, run.bits - 1)));

function replace(text: Tracked, from: string, to: Tracked): Tracked {
  if (from === '') return text;
  const whole = plain(text);
  const parts: Tracked[] = [];
  let at = 0;
  // Texts are searched in UTF-16 units, and cut at characters.
  const position = (unit: number): number => countOf(whole.slice(0, unit));
  for (;;) {
    const found = whole.indexOf(from, at);
    if (found < 0) break;
    parts.push(sliced(text, position(at), position(found)), to);
    at = found + from.length;
  }
  parts.push(sliced(text, position(at)));
  return joined(parts);
}

/** Go's layout of a time, in UTC: the numbers of 2006-01-02T15:04:05 stand for the time's. */
function layout(pattern: string, nowMs: number, refuse: Refuse): string {
  const text = timestampNanos(nowMs, 0);
  const parts: Readonly<Record<string, string>> = {
    '2006': text.slice(0, 4),
    '06': text.slice(2, 4),
    '01': text.slice(5, 7),
    '02': text.slice(8, 10),
    '15': text.slice(11, 13),
    '04': text.slice(14, 16),
    '05': text.slice(17, 19),
    '.000': text.slice(19, 23),
    'Z07:00': 'Z',
    MST: 'UTC',
  };
  const TOKENS = /2006|06|01|02|15|04|05|\.000(?!0)|Z07:00|MST/g;
  if (/[A-SU-Ya-z0-9]/.test(pattern.replace(TOKENS, '')))
    return refuse('timestamp takes a layout of 2006 06 01 02 15 04 05 .000 Z07:00 MST');
  return pattern.replace(TOKENS, (token) => parts[token] ?? token);
}

function printf(call: Call, [format, ...values]: readonly Given[]): Tracked {
  const pattern = plain(textArgument(call, format));
  const parts: Tracked[] = [];
  let at = 0;
  let next = 0;
  for (const match of pattern.matchAll(/%(?:\.(\d{1,3}))?(.?)/g)) {
    parts.push(tracked(pattern.slice(at, match.index), 'fixed'));
    at = match.index + match[0].length;
    const [, precision, verb] = match;
    if (verb === '%' && precision === undefined) {
      parts.push(tracked('%', 'fixed'));
      continue;
    }
    if (verb !== 's' && verb !== 'v' && verb !== 'd') return call.refuse('printf takes %s, %v, %d, %.Ns and %%');
    const value = values[next++];
    if (value === undefined) return call.refuse('printf has fewer values than its format');
    if (verb === 'd' && typeof value !== 'number') return call.refuse('printf gives %d a number');
    parts.push(sliced(textArgument(call, value), 0, precision === undefined ? undefined : Number(precision)));
  }
  if (next < values.length) return call.refuse('printf has more values than its format');
  return joined([...parts, tracked(pattern.slice(at), 'fixed')]);
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const TABLE: Readonly<
  Record<string, { readonly count: number; readonly run: (call: Call, values: readonly Given[]) => Tracked }>
> = {
  random: {
    count: 1,
    run: (call, [length]) => {
      const count = numberArgument(call, length, 1, RANDOM_LENGTH_MAX);
      return tracked(drawText(BASE62, count, call.drawn.bytes), 'varies', BASE62_BITS);
    },
  },
  uuid: {
    count: 0,
    run: ({ drawn }) => {
      const bytes = Buffer.from(drawn.bytes(16));
      bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
      bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
      const text = bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
      return [...text].flatMap((character) => tracked(character, 'varies', character === '-' ? 0 : UUID_BITS));
    },
  },
  truncate: {
    count: 2,
    run: (call, [length, text]) => sliced(textArgument(call, text), 0, numberArgument(call, length, 1, LENGTH_MAX)),
  },
  truncate_sha256: {
    count: 2,
    run: (call, [length, value]) => {
      const most = numberArgument(call, length, SHA_SUFFIX + 1, LENGTH_MAX);
      const text = textArgument(call, value);
      if (lengthOf(text) <= most) return text;
      const rest = sliced(text, most - SHA_SUFFIX);
      const suffix = sliced(derived(sha256(plain(rest)), rest, 4), 0, SHA_SUFFIX);
      return joined([sliced(text, 0, most - SHA_SUFFIX), suffix]);
    },
  },
  uppercase: { count: 1, run: (call, [text]) => recased(textArgument(call, text), (one) => one.toUpperCase()) },
  lowercase: { count: 1, run: (call, [text]) => recased(textArgument(call, text), (one) => one.toLowerCase()) },
  replace: {
    count: 3,
    run: (call, [from, to, text]) =>
      replace(textArgument(call, text), plain(textArgument(call, from)), textArgument(call, to)),
  },
  sha256: {
    count: 1,
    run: (call, [value]) => {
      const text = textArgument(call, value);
      return derived(sha256(plain(text)), text, 4);
    },
  },
  base64: {
    count: 1,
    run: (call, [value]) => {
      const text = textArgument(call, value);
      return derived(Buffer.from(plain(text)).toString('base64'), text, 6);
    },
  },
  unix_time: { count: 0, run: ({ drawn }) => tracked(String(Math.floor(drawn.nowMs / 1000)), 'varies') },
  unix_time_millis: { count: 0, run: ({ drawn }) => tracked(String(Math.floor(drawn.nowMs)), 'varies') },
  timestamp: {
    count: 1,
    run: (call, [pattern]) =>
      tracked(layout(plain(textArgument(call, pattern)), call.drawn.nowMs, call.refuse), 'varies'),
  },
};

/** Their names, in the order of the documentation. */
export const FUNCTIONS: ReadonlySet<string> = new Set([...Object.keys(TABLE), 'printf']);

/** @param values  of a pipeline: what came before stands last */
export function callFunction(name: string, values: readonly Given[], drawn: Drawn, refuse: Refuse): Tracked {
  const call = { name, drawn, refuse };
  const row = Object.hasOwn(TABLE, name) ? TABLE[name] : undefined;
  const made = row === undefined ? printf(call, values) : runRow(call, row, values);
  return lengthOf(made) > LENGTH_MAX ? refuse(`${name} gives more than ${LENGTH_MAX} characters`) : made;
}

function runRow(call: Call, row: NonNullable<(typeof TABLE)[string]>, values: readonly Given[]): Tracked {
  if (values.length !== row.count)
    return call.refuse(
      `${call.name} takes ${row.count} ${row.count === 1 ? 'value' : 'values'}, what is piped into it included`,
    );
  return row.run(call, values);
}
