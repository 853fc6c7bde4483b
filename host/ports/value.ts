/**
 * What travels in bodies and answers. Integers beyond 2^53 are bigint (kept exactly); bytes are byte strings in CBOR and
 * base64 in JSON. Objects are plain, without duplicate keys; `__proto__` is an ordinary key, so build them with
 * `Object.create(null)` or from entries, never by assignment of unknown keys to a literal.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array | readonly Value[] | ValueMap;

export interface ValueMap {
  readonly [key: string]: Value;
}
