/**
 * Values as they stand in a leaf: in clear, or with every value hashed. Nothing here ever writes a byte that could end the
 * line or move a terminal's cursor.
 */
import { LEAF_SIZE_MAX } from '../../core/types.ts';
import type { Value, ValueMap } from '../ports/value.ts';

/** What JSON.stringify leaves as it is though a terminal or a line reader acts on it: C1, line separators, bidi marks. */
const ACTIVE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;
const ACTIVE_ALL = new RegExp(ACTIVE, 'g');
/** Core takes what lies between these two as the bytes to hash (core/spec/audit.md). */
const RAW_START = '\u0001';
const RAW_END = '\u0002';
const HAS_DELIMITER = new RegExp(`[${RAW_START}${RAW_END}]`);
/** Longer values, and all once so many characters were handed over raw, are hashed at once: core's input stays small. */
const RAW_LENGTH_MAX = 4096;
const RAW_TOTAL_MAX = 32_768;
/** `hmac-sha256:` and 64 hex digits. */
const HMAC_LENGTH = 76;

/** Plain ASCII that JSON writes as it stands: most names. */
const PLAIN = /^[ !#-[\]-~]*$/;

export function quote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  const json = JSON.stringify(text);
  if (!ACTIVE.test(json)) return json;
  return json.replace(ACTIVE_ALL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Names of fields come again and again. */
const KEYS_MAX = 1024;
const KEY_LENGTH_MAX = 64;
const keys = new Map<string, string>();

function quotedKey(key: string): string {
  const kept = keys.get(key);
  if (kept !== undefined) return kept;
  const text = `${quote(key)}:`;
  // Names of secrets come from callers: the table is small and is emptied when it is full.
  if (keys.size >= KEYS_MAX) keys.clear();
  if (key.length <= KEY_LENGTH_MAX) keys.set(key, text);
  return text;
}

export const quoteAll = (texts: readonly string[]): string => `[${texts.map(quote).join(',')}]`;

const scalar = (value: null | boolean | number | bigint): string =>
  typeof value === 'bigint' ? value.toString() : JSON.stringify(value);

const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** In clear. Byte strings are base64, as in every JSON answer. */
export function clearJson(value: Value): string {
  if (value === null || typeof value !== 'object') return typeof value === 'string' ? quote(value) : scalar(value);
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString('base64')}"`;
  if (isList(value)) return `[${value.map(clearJson).join(',')}]`;
  return `{${Object.keys(value)
    .map((key) => `${quotedKey(key)}${clearJson((value as ValueMap)[key] ?? null)}`)
    .join(',')}}`;
}

/** Numbers whose hashes are kept: versions, counts. */
const COMMON: ReadonlySet<number> = new Set(Array.from({ length: 64 }, (_, n) => n));

/** Writes values with every one hashed but null; counts what the line will have. */
export class HashedJson {
  readonly #hmac: (value: string) => string;
  readonly #common: Map<string, string>;
  #raw = 0;
  /** Values handed over raw, and values in all. */
  #hashes = 0;
  #values = 0;

  /**
   * @param hmac    hashes a value at once, as `hmac-sha256:` + hex
   * @param common  hashes of values that stand in most answers (true, false, small numbers, the empty text): kept there, and
   *                emptied by its owner when the key changes
   */
  constructor(hmac: (value: string) => string, common: Map<string, string> = new Map()) {
    this.#hmac = hmac;
    this.#common = common;
  }

  #known(value: string): string {
    const kept = this.#common.get(value);
    if (kept !== undefined) return kept;
    const text = `"${this.#hmac(value)}"`;
    this.#common.set(value, text);
    return text;
  }

  /** What a text written with it gains when core replaces the raw values; infinite when it cannot fit into a leaf. */
  get growth(): number {
    if (this.#full) return Number.POSITIVE_INFINITY;
    return this.#hashes * (HMAC_LENGTH - RAW_START.length - RAW_END.length) - this.#raw;
  }

  /** A leaf that cannot fit is not worth the hashes of its rest: a long list has a hundred thousand. */
  get #full(): boolean {
    return this.#values * HMAC_LENGTH > LEAF_SIZE_MAX;
  }

  text(value: string): string {
    this.#values += 1;
    if (this.#full) return '""';
    if (value === '') return this.#known(value);
    if (value.length > RAW_LENGTH_MAX || this.#raw > RAW_TOTAL_MAX || HAS_DELIMITER.test(value)) {
      return `"${this.#hmac(value)}"`;
    }
    this.#raw += value.length;
    this.#hashes += 1;
    return `"${RAW_START}${value}${RAW_END}"`;
  }

  value(value: Value): string {
    if (value === null) return 'null';
    if (typeof value === 'string') return this.text(value);
    if (typeof value === 'boolean' || (typeof value === 'number' && COMMON.has(value))) {
      this.#values += 1;
      return this.#full ? '""' : this.#known(scalar(value));
    }
    if (typeof value !== 'object') return this.text(scalar(value));
    if (value instanceof Uint8Array) return this.text(Buffer.from(value).toString('base64'));
    if (isList(value)) return `[${value.map((item) => this.value(item)).join(',')}]`;
    return this.map(value as ValueMap);
  }

  /** @param clear names of the map's own keys whose values are written in clear */
  map(map: ValueMap, clear?: readonly string[]): string {
    let out = '';
    for (const key of Object.keys(map)) {
      const value = map[key] ?? null;
      const text = clear?.includes(key) === true ? clearJson(value) : this.value(value);
      out += out === '' ? quotedKey(key) + text : `,${quotedKey(key)}${text}`;
    }
    return `{${out}}`;
  }
}
