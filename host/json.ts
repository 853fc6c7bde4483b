/**
 * JSON as the API takes and gives it (RFC 8259), strictly: one value and nothing after it, no name twice, well-formed
 * strings, integers kept exactly, bounds on depth and size. Pure; everyone in host may import it. An own reader, because
 * JSON.parse takes duplicate names, loses digits and recurses without bound, and the packages that are strict are slow
 * revivers around it.
 */
import { Fault } from './fault.ts';
import type { Value } from './ports/value.ts';

const DEPTH_MAX = 64;
const NAMES_MAX = 100_000;
const INTEGER_LIMIT = 1n << 64n;
// RFC 8259 section 7: what needs no escape.
const STRING = /(?:[^"\\\p{Cc}]|[\x7f-\x9f])*/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const SPACE = /[ \t\r\n]*/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Reader {
  readonly #text: string;
  #at = 0;
  #names = 0;

  constructor(text: string) {
    this.#text = text;
  }

  fail(why: string): never {
    // The place, never what stands there: it may be a secret.
    throw new Fault('input.invalid', `failed to parse JSON input: ${why} at offset ${this.#at}`);
  }

  whole(): Value {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.fail('something follows the value');
    return value;
  }

  #space(): void {
    const code = this.#text.charCodeAt(this.#at);
    if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
    SPACE.lastIndex = this.#at;
    SPACE.test(this.#text);
    this.#at = SPACE.lastIndex;
  }

  #value(depth: number): Value {
    if (depth > DEPTH_MAX) this.fail(`values are nested deeper than ${DEPTH_MAX}`);
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#list(depth);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #word(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#at)) this.fail('a value is expected');
    this.#at += word.length;
    return value;
  }

  #number(): number | bigint {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) return this.fail('a value is expected');
    this.#at = NUMBER.lastIndex;
    const [text, fraction, exponent] = match;
    const value = Number(text);
    if (!Number.isFinite(value)) return this.fail('a number is too large');
    if (fraction !== undefined || exponent !== undefined || Number.isSafeInteger(value)) return value;
    // What CBOR, which such values are kept in, has as an integer (RFC 8949 section 3.1); 20 digits are 2^64 at most.
    const exact = text.length > 21 ? INTEGER_LIMIT : BigInt(text);
    if (exact >= INTEGER_LIMIT || exact < -INTEGER_LIMIT) return this.fail('an integer has more than 64 bits');
    return exact;
  }

  #string(): string {
    this.#at++;
    let out = '';
    for (;;) {
      STRING.lastIndex = this.#at;
      STRING.test(this.#text);
      out += this.#text.slice(this.#at, STRING.lastIndex);
      this.#at = STRING.lastIndex;
      const next = this.#text[this.#at];
      if (next === '"') break;
      if (next !== '\\') return this.fail('a string is not closed or holds a control character');
      out += this.#escape();
    }
    this.#at++;
    if (!out.isWellFormed()) this.fail('a string is not well-formed Unicode');
    return out;
  }

  #escape(): string {
    const letter = this.#text[this.#at + 1] ?? '';
    const plain = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    if (plain !== undefined) {
      this.#at += 2;
      return plain;
    }
    const digits = this.#text.slice(this.#at + 2, this.#at + 6);
    if (letter !== 'u' || !/^[0-9a-fA-F]{4}$/.test(digits)) return this.fail('an escape is unknown');
    this.#at += 6;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  #list(depth: number): Value[] {
    this.#at++;
    const items: Value[] = [];
    this.#space();
    if (this.#text[this.#at] === ']') {
      this.#at++;
      return items;
    }
    for (;;) {
      items.push(this.#value(depth + 1));
      this.#space();
      const next = this.#text[this.#at++];
      if (next === ']') return items;
      if (next !== ',') return this.fail('a list needs a comma or its end');
    }
  }

  #object(depth: number): Value {
    this.#at++;
    const out: Record<string, Value> = {};
    this.#space();
    if (this.#text[this.#at] === '}') {
      this.#at++;
      return out;
    }
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"') return this.fail('a name in quotes is expected');
      const name = this.#string();
      if (Object.hasOwn(out, name)) return this.fail('a name stands twice in an object');
      if (++this.#names > NAMES_MAX) return this.fail(`there are more than ${NAMES_MAX} names`);
      this.#space();
      if (this.#text[this.#at++] !== ':') return this.fail('a colon is expected');
      const value = this.#value(depth + 1);
      // Defined, not assigned: `__proto__` is a name like any other.
      if (name === '__proto__')
        Object.defineProperty(out, name, { value, enumerable: true, configurable: true, writable: true });
      else out[name] = value;
      this.#space();
      const next = this.#text[this.#at++];
      if (next === '}') return out;
      if (next !== ',') return this.fail('an object needs a comma or its end');
    }
  }
}

/** @throws Fault `input.invalid` with the place and the reason, never the content */
export function parseJson(text: string): Value {
  return new Reader(text).whole();
}

/** True if JSON.stringify says all of it: no big integer and no bytes inside. Cheaper than a replacer, which is called for each member. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object') return typeof value !== 'bigint';
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(isPlain);
  if (value instanceof Uint8Array) return false;
  for (const key in value) if (!isPlain((value as Readonly<Record<string, unknown>>)[key])) return false;
  return true;
}

/** Compact JSON; big integers keep their digits, bytes become base64. Undefined members are left out. */
export function stringifyJson(value: unknown): string {
  return isPlain(value) ? JSON.stringify(value) : slowly(value);
}

function slowly(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString('base64'));
  if (Array.isArray(value)) return `[${value.map((item) => slowly(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{${members.map(([name, item]) => `${JSON.stringify(name)}:${slowly(item)}`).join(',')}}`;
}
