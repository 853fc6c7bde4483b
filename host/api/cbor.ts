/** CBOR as the API takes it (RFC 8949), held to what JSON is held to: well-formed texts, no name twice, bounds. */
import { type DecodeOptions, decode, encode, Tokenizer, Type } from 'cborg';
import { Fault } from '../fault.ts';
import type { Value } from '../ports/value.ts';

const DEPTH_MAX = 64;
const NAMES_MAX = 100_000;
const OPTIONS = {
  useMaps: true,
  strict: true,
  rejectDuplicateMapKeys: true,
  allowUndefined: false,
  // JSON has none of them: stored, they would come back as null.
  allowNaN: false,
  allowInfinity: false,
  retainStringBytes: true,
} as const satisfies DecodeOptions;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const refuse = (why: string): never => {
  throw new Fault('input.invalid', `failed to parse CBOR input: ${why}`);
};

/** The library puts U+FFFD for what is no UTF-8: two names would become one, and a value another. */
class StrictTokenizer extends Tokenizer {
  override next(): ReturnType<Tokenizer['next']> {
    const token = super.next();
    // Indefinite texts come without bytes: the library refuses them as strict decoders do.
    if (Type.equals(token.type, Type.string) && token.byteValue !== undefined) utf8.decode(token.byteValue);
    return token;
  }
}

/** @throws Fault `input.invalid`, never with what was sent */
export function parseCbor(bytes: Uint8Array): Value {
  let value: unknown;
  try {
    value = decode(bytes, { ...OPTIONS, tokenizer: new StrictTokenizer(bytes, OPTIONS) });
  } catch {
    // The library's text repeats names; a stack that overflows on a million brackets ends here too.
    return refuse('it is not well-formed');
  }
  return new Objects().of(value, 0);
}

/**
 * An answer in deterministic CBOR (RFC 8949 section 4.2): what is bytes here stays bytes, integers keep all their digits.
 * Undefined members are left out, as JSON leaves them out.
 */
export function encodeCbor(value: unknown): Uint8Array {
  return encode(present(value));
}

function present(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value ?? null;
  if (Array.isArray(value)) return value.map(present);
  // A map: assigning keys to an object would let `__proto__` change its prototype.
  return new Map(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([name, item]) => [name, present(item)]),
  );
}

/** Maps to objects. */
class Objects {
  #names = 0;

  of(value: unknown, depth: number): Value {
    if (depth > DEPTH_MAX) return refuse(`values are nested deeper than ${DEPTH_MAX}`);
    if (Array.isArray(value)) return value.map((item) => this.of(item, depth + 1));
    if (!(value instanceof Map)) return value as Value;
    this.#names += value.size;
    if (this.#names > NAMES_MAX) return refuse(`there are more than ${NAMES_MAX} names`);
    const entries = [...value].map(([key, item]): [string, Value] => [
      typeof key === 'string' ? key : refuse('a name is no text'),
      this.of(item, depth + 1),
    ]);
    return Object.fromEntries(entries);
  }
}
