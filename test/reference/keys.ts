/** Slow twins of the keyring, sealed rows, names, fingerprint and freshness: written from core/spec, over node:crypto. */
import { createHmac, hkdfSync } from 'node:crypto';
import { xchachaSeal } from './aead.ts';
import { sha256 } from './sha256.ts';

export const u16 = (n: number): Buffer => Buffer.of(n >>> 8, n & 255);
export const u32 = (n: number): Buffer => Buffer.concat([u16(Math.floor(n / 65_536)), u16(n % 65_536)]);
export const u64 = (n: number): Buffer => Buffer.concat([u32(Math.floor(n / 2 ** 32)), u32(n % 2 ** 32)]);

export function hkdf(key: Uint8Array, info: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), info, 32));
}

export function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  return createHmac('sha256', key).update(Buffer.concat(parts)).digest();
}

const NO_MOUNT = new Uint8Array(16);

export interface RowParts {
  readonly epoch: number;
  readonly epochKey: Uint8Array;
  readonly table: number;
  readonly mountId?: Uint8Array;
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly payload: Uint8Array;
}

/** core/spec/record.md */
export function sealRow({ epoch, epochKey, table, mountId = NO_MOUNT, key, nonce, payload }: RowParts): Buffer {
  const head = Buffer.concat([Buffer.of(1), u32(epoch)]);
  const subkey = hkdf(epochKey, Buffer.concat([Buffer.from('holdfast/v1/seal'), Buffer.of(table), mountId]));
  const ad = Buffer.concat([head, Buffer.of(table), mountId, key]);
  return Buffer.concat([head, nonce, xchachaSeal(subkey, nonce, ad, payload)]);
}

/** What a new box is made of, in the order in which it is drawn. */
export interface Drawn {
  readonly root: Buffer;
  readonly nameKey: Buffer;
  readonly tokenKey: Buffer;
  readonly fingerprintKey: Buffer;
  readonly epochKey: Buffer;
  readonly batchKey: Buffer;
  readonly auditHmacKey: Buffer;
  readonly auditDataKey: Buffer;
  readonly nonce: Buffer;
}

export function drawn(pool: Uint8Array): Drawn {
  const bytes = Buffer.from(pool);
  const part = (i: number): Buffer => bytes.subarray(i * 32, i * 32 + 32);
  const [root, nameKey, tokenKey, fingerprintKey, epochKey, batchKey, auditHmacKey, auditDataKey] = [
    0, 1, 2, 3, 4, 5, 6, 7,
  ].map(part) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
  return {
    ...{ root, nameKey, tokenKey, fingerprintKey, epochKey, batchKey, auditHmacKey, auditDataKey },
    nonce: bytes.subarray(256, 280),
  };
}

/** The payload of a new box's keyring: core/spec/keyring.md */
export function newRing(keys: Drawn, applianceId: Uint8Array, nowMs: number): Buffer {
  const numbered = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat([u32(1), u64(nowMs), ...parts]);
  return Buffer.concat([
    Buffer.of(1),
    u32(1),
    u32(1),
    applianceId,
    u32(1),
    keys.nameKey,
    keys.tokenKey,
    keys.fingerprintKey,
    u16(1),
    u16(1),
    u16(1),
    u32(0),
    numbered(keys.epochKey),
    numbered(keys.batchKey),
    numbered(keys.auditHmacKey, keys.auditDataKey),
  ]);
}

/** The keyring's row: sealed by a key of the root, and not of an epoch. */
export function sealRing(root: Uint8Array, rootGeneration: number, nonce: Uint8Array, ring: Uint8Array): Buffer {
  const head = Buffer.concat([Buffer.of(1), u32(rootGeneration)]);
  const ad = Buffer.concat([head, Buffer.of(1), NO_MOUNT, Buffer.from('keyring')]);
  return Buffer.concat([head, nonce, xchachaSeal(hkdf(root, Buffer.from('holdfast/v1/keyring')), nonce, ad, ring)]);
}

/** core/spec/names.md */
export class Names {
  readonly #key: Buffer;

  constructor(nameKey: Uint8Array, mountId: Uint8Array) {
    this.#key = hkdf(nameKey, mountId);
  }

  #blind(word: string, ...parts: readonly Uint8Array[]): Buffer {
    return hmac(this.#key, Buffer.from(word), ...parts).subarray(0, 16);
  }

  directory(path: string): Buffer {
    if (path === '') return this.#blind('top');
    const at = path.lastIndexOf('/');
    return this.#blind('dir', this.directory(path.slice(0, Math.max(0, at))), Buffer.from(path.slice(at + 1)));
  }

  #below(word: string, path: string): Buffer {
    const at = path.lastIndexOf('/');
    const parent = this.directory(path.slice(0, Math.max(0, at)));
    return Buffer.concat([parent, this.#blind(word, parent, Buffer.from(path.slice(at + 1)))]);
  }

  record(path: string): Buffer {
    return this.#below('entry', path);
  }

  directoryName(path: string): Buffer {
    return this.#below('entrydir', path);
  }
}

/** The sealed segment of a name row, padded. */
export function namePayload(segment: string): Buffer {
  const bytes = Buffer.from(segment);
  const size = [32, 64, 128, 256].find((one) => one >= bytes.length + 1) ?? 0;
  return Buffer.concat([Buffer.of(bytes.length), bytes, Buffer.alloc(size - bytes.length - 1)]);
}

export interface CoveredRow {
  readonly table: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** core/spec/freshness.md: the multiset hash, in any order. */
export function fingerprint(key: Uint8Array, rows: readonly CoveredRow[]): Buffer {
  let sum = 0n;
  for (const row of rows) {
    const term = hmac(key, Buffer.of(row.table), u16(row.key.length), row.key, sha256(row.value));
    sum = (sum + BigInt(`0x${term.toString('hex')}`)) % (1n << 256n);
  }
  return Buffer.from(sum.toString(16).padStart(64, '0'), 'hex');
}

export interface FreshnessParts {
  readonly generation: number;
  readonly rows: number;
  readonly fingerprint: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  readonly timeMs: number;
  readonly counters: readonly (readonly [Uint8Array, number])[];
}

export function freshnessPayload(parts: FreshnessParts): Buffer {
  return Buffer.concat([
    Buffer.of(1),
    u32(parts.generation),
    u64(parts.rows),
    parts.fingerprint,
    u64(parts.size),
    parts.root,
    u64(parts.timeMs),
    Buffer.of(parts.counters.length),
    ...parts.counters.flatMap(([id, count]) => [id, u64(count)]),
  ]);
}

/** DHKEM(X25519, HKDF-SHA256) of RFC 9180 section 4.1, from the Diffie-Hellman result on. */
export function dhkem(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array): Buffer {
  const suite = Buffer.concat([Buffer.from('HPKE-v1KEM'), u16(0x20)]);
  const extracted = hmac(Buffer.alloc(32), suite, Buffer.from('eae_prk'), dh);
  return hmac(extracted, u16(32), suite, Buffer.from('shared_secret'), enc, recipient, Buffer.of(1));
}

export interface WrapParts {
  readonly dh: Uint8Array;
  readonly enc: Uint8Array;
  readonly recipient: Uint8Array;
  readonly context: Uint8Array;
  readonly nonce: Uint8Array;
}

/** core/spec/keyring.md: the root key, wrapped to a slot. */
export function wrapRoot(root: Uint8Array, { dh, enc, recipient, context, nonce }: WrapParts): Buffer {
  const key = hkdf(dhkem(dh, enc, recipient), Buffer.from('holdfast/v1/wrap'));
  return Buffer.concat([Buffer.of(1), nonce, xchachaSeal(key, nonce, context, root)]);
}
