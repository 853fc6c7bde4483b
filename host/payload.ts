/**
 * How values lie inside sealed rows: one tag byte, then JSON (0x4a, what JSON can say exactly: most of all) or CBOR (0x43,
 * values with byte strings or integers beyond 2^53). Pure; everyone in host may import it.
 */
import { decode, encode } from 'cborg';
import type { Value, ValueMap } from './ports/value.ts';

const JSON_TAG = 0x4a;
const CBOR_TAG = 0x43;

/** True if JSON.stringify and JSON.parse give the same value back. */
function isPlain(value: Value): boolean {
  if (value === null || typeof value !== 'object') return typeof value !== 'bigint';
  if (value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.every(isPlain);
  return Object.values(value as ValueMap).every(isPlain);
}

export function encodePayload(value: ValueMap): Uint8Array {
  if (isPlain(value)) {
    const text = JSON.stringify(value);
    const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text) + 1);
    bytes[0] = JSON_TAG;
    bytes.write(text, 1, 'utf8');
    return bytes;
  }
  const body = encode(value);
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = CBOR_TAG;
  bytes.set(body, 1);
  return bytes;
}

/** @throws Error for bytes that this module did not write: a sealed row of a later version, or a bug */
export function decodePayload(payload: Uint8Array): ValueMap {
  const body = payload.subarray(1);
  if (payload[0] === JSON_TAG) {
    return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')) as ValueMap;
  }
  // Maps first: assigning keys to an object would let `__proto__` change its prototype.
  if (payload[0] === CBOR_TAG) return objects(decode(body, { useMaps: true })) as ValueMap;
  throw new Error('a stored payload has an unknown form');
}

function objects(value: unknown): Value {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), objects(item)]));
  if (Array.isArray(value)) return value.map(objects);
  return value as Value;
}
