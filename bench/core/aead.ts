/**
 * How long does one sealed or opened value take, bytes in JavaScript to bytes in JavaScript?
 *
 * Expected: below 4 KiB everything but the cipher decides (node:crypto builds an object a call), above it only the cipher.
 * All see the same plaintexts and 30 bytes of associated data. Ours copies nonce and plaintext into core and the result out
 * to a reused buffer; key and associated data lie in core, as they do in the product. node:crypto has no XChaCha20: it runs
 * ChaCha20-Poly1305, one HChaCha20 less, with a fresh output as its interface gives it. libsodium-wrappers is its WASM build,
 * sodium-native the C one into given buffers. WebCrypto has AES-GCM only and only as a promise, so it is no rival here.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import type Sodium from 'libsodium-wrappers';
import { AD, INPUT, KEY, NONCE, OUT, Primitives } from '../../test/core/primitives/load.ts';
import { SeededRandom } from '../../test/reference/random.ts';
import { FULL, measure, SMALL } from '../measure.ts';
import type { BenchOptions, BenchRow } from '../result.ts';

type Rival = 'node:crypto' | 'libsodium-wrappers' | 'sodium-native' | '@noble/ciphers';
type Name = 'ours' | Rival;

interface Aead {
  /** Ciphertext and tag, valid until the next call. */
  readonly seal: (plaintext: Buffer) => Uint8Array;
  readonly open: (sealed: Buffer) => Uint8Array;
}

interface Given {
  readonly key: Buffer;
  readonly nonce: Buffer;
  readonly ad: Buffer;
}

interface SodiumNative {
  crypto_aead_xchacha20poly1305_ietf_encrypt(
    c: Buffer,
    m: Buffer,
    ad: Buffer,
    nsec: null,
    nonce: Buffer,
    key: Buffer,
  ): number;
  crypto_aead_xchacha20poly1305_ietf_decrypt(
    m: Buffer,
    nsec: null,
    c: Buffer,
    ad: Buffer,
    nonce: Buffer,
    key: Buffer,
  ): number;
}

const SIZES = [32, 256, 1024, 4096, 65_536, 1_048_576] as const;
/** Times node:crypto, by size (perf.md); libsodium-wrappers at every size. */
const REACH: Readonly<Record<number, number>> = { 32: 10, 256: 5, 1024: 3.5, 4096: 1.5, 65536: 0.85, 1048576: 0.85 };
const REACH_LIBSODIUM = 2.5;

function ours({ key, nonce, ad }: Given, size: number): Aead {
  const core = new Primitives();
  const { memory } = core;
  const sealed = Buffer.alloc(size + 16);
  const opened = Buffer.alloc(size);
  const [seal, open] = [core.exports['xchachaSeal'], core.exports['xchachaOpen']];
  if (typeof seal !== 'function' || typeof open !== 'function') throw new TypeError('the primitives are not there');
  const ciphertext = memory.subarray(OUT, OUT + size + 16);
  const plaintext = memory.subarray(OUT, OUT + size);
  core.put(KEY, key);
  core.put(AD, ad);
  return {
    seal(value) {
      memory.set(nonce, NONCE);
      memory.set(value, INPUT);
      seal(OUT, KEY, NONCE, AD, ad.length, INPUT, size);
      sealed.set(ciphertext);
      return sealed;
    },
    open(value) {
      memory.set(nonce, NONCE);
      memory.set(value, INPUT);
      if (open(OUT, KEY, NONCE, AD, ad.length, INPUT, size) !== 1) throw new Error('refused');
      opened.set(plaintext);
      return opened;
    },
  };
}

function node({ key, nonce, ad }: Given, size: number): Aead {
  const short = nonce.subarray(0, 12);
  const options = { authTagLength: 16 };
  return {
    seal(plaintext) {
      const cipher = createCipheriv('chacha20-poly1305', key, short, options);
      cipher.setAAD(ad, { plaintextLength: size });
      const ciphertext = cipher.update(plaintext);
      cipher.final();
      cipher.getAuthTag();
      return ciphertext;
    },
    open(sealed) {
      const decipher = createDecipheriv('chacha20-poly1305', key, short, options);
      decipher.setAAD(ad, { plaintextLength: size });
      decipher.setAuthTag(sealed.subarray(size));
      const plaintext = decipher.update(sealed.subarray(0, size));
      decipher.final();
      return plaintext;
    },
  };
}

/** What node:crypto seals, with its tag, for it to open. */
function nodeSealed({ key, nonce, ad }: Given, plaintext: Buffer): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce.subarray(0, 12), { authTagLength: 16 });
  cipher.setAAD(ad, { plaintextLength: plaintext.length });
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function wrappers(sodium: typeof Sodium, { key, nonce, ad }: Given): Aead {
  return {
    seal: (plaintext) => sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, ad, null, nonce, key),
    open: (sealed) => sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, ad, nonce, key),
  };
}

function native(sodium: SodiumNative, { key, nonce, ad }: Given, size: number): Aead {
  const sealed = Buffer.alloc(size + 16);
  const opened = Buffer.alloc(size);
  return {
    seal(plaintext) {
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, plaintext, ad, null, nonce, key);
      return sealed;
    },
    open(value) {
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(opened, null, value, ad, nonce, key);
      return opened;
    },
  };
}

function noble({ key, nonce, ad }: Given): Aead {
  return {
    seal: (plaintext) => xchacha20poly1305(key, nonce, ad).encrypt(plaintext),
    open: (sealed) => xchacha20poly1305(key, nonce, ad).decrypt(sealed),
  };
}

const sizeName = (size: number): string =>
  size < 1024 ? `${size} B` : size < 1_048_576 ? `${size / 1024} KiB` : `${size / 1_048_576} MiB`;

function rowsOf(what: string, size: number, { ours: own, ...rivals }: Record<Name, number>): BenchRow[] {
  const toNode = rivals['node:crypto'] / own;
  const toSodium = rivals['libsodium-wrappers'] / own;
  const reach = REACH[size] ?? 1;
  return [
    { what, unit: 'ns', ours: own, rivals, ratio: toNode, reach: `>= ${reach}x node:crypto`, met: toNode >= reach },
    {
      what: `${what}, to libsodium-wrappers`,
      unit: 'ns',
      ours: own,
      rivals: { 'libsodium-wrappers': rivals['libsodium-wrappers'] },
      ratio: toSodium,
      reach: `>= ${REACH_LIBSODIUM}x libsodium-wrappers`,
      met: toSodium >= REACH_LIBSODIUM,
    },
  ];
}

/** @returns the rows, and what goes into the digest: all rivals sealed to the same bytes */
export async function aead({ small }: BenchOptions): Promise<{ readonly rows: BenchRow[]; readonly digest: Buffer }> {
  const { default: wrapped } = await import('libsodium-wrappers');
  await wrapped.ready;
  const sodium = createRequire(import.meta.url)('sodium-native') as SodiumNative;
  const random = new SeededRandom(2026);
  const given: Given = { key: random.bytes(32), nonce: random.bytes(24), ad: random.bytes(30) };
  const hash = createHash('sha256');
  const rows: BenchRow[] = [];
  for (const size of small ? SIZES.slice(0, 4) : SIZES) {
    const plaintext = random.bytes(size);
    const contenders: Readonly<Record<Name, Aead>> = {
      ours: ours(given, size),
      'node:crypto': node(given, size),
      'libsodium-wrappers': wrappers(wrapped, given),
      'sodium-native': native(sodium, given, size),
      '@noble/ciphers': noble(given),
    };
    const names = Object.keys(contenders) as Name[];
    const sealed = Buffer.from(contenders.ours.seal(plaintext));
    const theirs = nodeSealed(given, plaintext);
    const input = (name: Name): Buffer => (name === 'node:crypto' ? theirs : sealed);
    for (const name of names) {
      const same = name === 'node:crypto' || sealed.equals(contenders[name].seal(plaintext));
      if (!same || !plaintext.equals(contenders[name].open(input(name)))) throw new Error(`${name} computed otherwise`);
    }
    hash.update(sealed);
    const options = small ? SMALL : FULL;
    const each = (work: (name: Name) => void): Record<Name, () => void> =>
      Object.fromEntries(names.map((name) => [name, () => work(name)])) as Record<Name, () => void>;
    const seals = measure(
      each((name) => contenders[name].seal(plaintext)),
      options,
    );
    const opens = measure(
      each((name) => contenders[name].open(input(name))),
      options,
    );
    rows.push(...rowsOf(`seal ${sizeName(size)}`, size, seals), ...rowsOf(`open ${sizeName(size)}`, size, opens));
  }
  return { rows, digest: hash.digest() };
}
