/** Core against slow twins written from the documents: every length from 0 to 2,048 bytes. */
import { describe, expect, test } from 'vitest';
import * as aead from '../../reference/aead.ts';
import { chacha20, hchacha20 } from '../../reference/chacha20.ts';
import { poly1305 } from '../../reference/poly1305.ts';
import { SeededRandom } from '../../reference/random.ts';
import * as slow from '../../reference/sha256.ts';
import { INPUT, KEY, OUT, Primitives } from './load.ts';

const core = new Primitives();
const LENGTHS = Array.from({ length: 2049 }, (_, i) => i);
/** Around the bounds of what is done at a time, where all lengths would take too long. */
const SOME = LENGTHS.filter((n) => n < 320 || n % 64 < 2 || n % 64 > 62);

/** The first length at which two functions of it differ. */
function firstDifference(
  lengths: readonly number[],
  ours: (n: number) => Uint8Array | undefined,
  theirs: (n: number) => Uint8Array,
): number | undefined {
  return lengths.find((n) => !Buffer.from(ours(n) ?? []).equals(theirs(n)));
}

test('XChaCha20-Poly1305 seals as its twin and opens what it sealed, at every length', () => {
  const random = new SeededRandom(1);
  const [key, nonce, text, ads] = [random.bytes(32), random.bytes(24), random.bytes(2048), random.bytes(200)];
  const input = (n: number): Buffer => text.subarray(2048 - n);
  const ad = (n: number): Buffer => ads.subarray(0, (n * 7) % 201);
  const seal = (n: number): Buffer => core.seal(key, nonce, ad(n), input(n));
  expect(firstDifference(LENGTHS, seal, (n) => aead.xchachaSeal(key, nonce, ad(n), input(n)))).toBeUndefined();
  expect(firstDifference(LENGTHS, (n) => core.open(key, nonce, ad(n), seal(n)), input)).toBeUndefined();
});

test('ChaCha20-Poly1305 seals as its twin and opens what it sealed', () => {
  const random = new SeededRandom(2);
  const [key, nonce, text] = [random.bytes(32), random.bytes(12), random.bytes(2048)];
  const input = (n: number): Buffer => text.subarray(0, n);
  const seal = (n: number): Buffer => core.seal(key, nonce, input(n % 33), input(n));
  expect(firstDifference(SOME, seal, (n) => aead.chachaSeal(key, nonce, input(n % 33), input(n)))).toBeUndefined();
  expect(firstDifference(SOME, (n) => core.open(key, nonce, input(n % 33), seal(n)), input)).toBeUndefined();
});

test('ChaCha20 counts its blocks as its twin does, past 2^32 too', () => {
  const random = new SeededRandom(3);
  const [key, nonce, text] = [random.bytes(32), random.bytes(12), random.bytes(1100)];
  for (const counter of [0, 1, 0x7fffffff, 0xfffffffc, 0xffffffff]) {
    for (const part of [1100, 700, 512, 200, 64, 0].map((n) => text.subarray(0, n))) {
      expect(core.chacha20(key, counter, nonce, part)).toEqual(Buffer.from(chacha20(key, counter, nonce, part)));
    }
  }
});

test('HChaCha20 gives what its twin gives', () => {
  const random = new SeededRandom(4);
  for (let i = 0; i < 100; i++) {
    const [key, nonce] = [random.bytes(32), random.bytes(16)];
    expect(core.hchacha20(key, nonce)).toEqual(Buffer.from(hchacha20(key, nonce)));
  }
});

describe('Poly1305', () => {
  const run = (key: Uint8Array, message: Uint8Array): Buffer => {
    core.put(KEY, key);
    core.put(INPUT, message);
    core.call('polyStart', KEY);
    core.call('polyPadded', INPUT, message.length);
    core.call('polyFinish', OUT);
    return core.get(OUT, 16);
  };

  test('gives what its twin gives for blocks of all ones, all zeros and random bytes under keys of such limbs', () => {
    const random = new SeededRandom(5);
    const limbs = ['00000000', 'ffffffff', '01000000', 'fcffff0f', 'ffffff0f', 'fbffffff', '00000080'];
    for (let i = 0; i < 4000; i++) {
      const pick = (n: number): Buffer =>
        Buffer.concat(
          Array.from({ length: n }, () => (random.once(4) ? random.bytes(4) : Buffer.from(random.pick(limbs), 'hex'))),
        );
      const [key, message] = [pick(8), pick(4 * random.below(20))];
      expect(run(key, message)).toEqual(Buffer.from(poly1305(key, message)));
    }
  });

  test('forgets a message when it has its tag', () => {
    const random = new SeededRandom(6);
    const [key, message] = [random.bytes(32), random.bytes(64)];
    const first = run(key, message);
    run(random.bytes(32), random.bytes(128));
    expect(run(key, message)).toEqual(first);
  });
});

test('SHA-256 hashes as its twin at every length', () => {
  const random = new SeededRandom(7);
  const text = random.bytes(2048);
  const input = (n: number): Buffer => text.subarray(2048 - n);
  expect(
    firstDifference(
      LENGTHS,
      (n) => core.sha256(input(n)),
      (n) => slow.sha256(input(n)),
    ),
  ).toBeUndefined();
});

test('SHA-256 in pieces is SHA-256 of the whole', () => {
  const random = new SeededRandom(8);
  const CONTEXT = KEY;
  for (let i = 0; i < 300; i++) {
    const text = random.bytes(random.below(600));
    core.put(INPUT, text);
    core.call('sha256Start', CONTEXT);
    for (let at = 0; at < text.length; ) {
      const taken = Math.min(text.length - at, random.below(130));
      core.call('sha256Update', CONTEXT, INPUT + at, taken);
      at += taken;
    }
    core.call('sha256Finish', CONTEXT, OUT);
    expect(core.get(OUT, 32)).toEqual(slow.sha256(text));
    expect(core.get(CONTEXT, 104)).toEqual(Buffer.alloc(104));
  }
});

test('prefixed and paired hashes are those of the joined bytes', () => {
  const random = new SeededRandom(9);
  const text = random.bytes(2048);
  core.put(INPUT, text);
  const prefixed = (n: number): Buffer => {
    core.call('sha256Prefixed', OUT, n & 255, INPUT, n);
    return core.get(OUT, 32);
  };
  const joined = (n: number): Buffer => slow.sha256(Buffer.concat([Buffer.from([n & 255]), text.subarray(0, n)]));
  expect(firstDifference(SOME, prefixed, joined)).toBeUndefined();
  core.call('sha256Pair', OUT, INPUT, INPUT + 32);
  expect(core.get(OUT, 32)).toEqual(slow.sha256(Buffer.concat([Buffer.from([1]), text.subarray(0, 64)])));
});

test('four leaves at a time hash as one at a time, whatever their lengths', () => {
  const random = new SeededRandom(10);
  const leaf = (line: Uint8Array): Buffer => slow.sha256(Buffer.concat([Buffer.from([0]), line]));
  const four = (lines: readonly Uint8Array[]): void => {
    const places = lines.map((line, i) => {
      core.put(INPUT + i * 4096, line);
      return [INPUT + i * 4096, line.length];
    });
    core.call('leafHashx4', OUT, ...places.flat());
    lines.forEach((line, i) => {
      expect(core.get(OUT + i * 32, 32)).toEqual(leaf(line));
    });
  };
  for (const n of LENGTHS.filter((length) => length < 260)) four([0, 1, 2, 3].map((i) => random.bytes(n + i)));
  for (let i = 0; i < 200; i++) four([0, 1, 2, 3].map(() => random.bytes(random.below(1500))));
});

test('HMAC is that of its twin for keys of every length to 200 and in pieces', () => {
  const random = new SeededRandom(11);
  const CONTEXT = KEY + 0x80;
  for (let n = 0; n <= 200; n++) {
    const [key, text] = [random.bytes(n), random.bytes(random.below(300))];
    const expected = slow.hmac(key, text);
    expect(core.hmac(key, text)).toEqual(expected);
    const half = text.length >> 1;
    core.call('hmacStart', CONTEXT, KEY);
    core.call('hmacUpdate', CONTEXT, INPUT, half);
    core.call('hmacUpdate', CONTEXT, INPUT + half, text.length - half);
    core.call('hmacFinish', CONTEXT, KEY, OUT);
    expect(core.get(OUT, 32)).toEqual(expected);
  }
});

test('HKDF is that of its twin for every output to 300 bytes and at its limit', () => {
  const random = new SeededRandom(12);
  for (const n of [...LENGTHS.slice(0, 301), 255 * 32]) {
    const [salt, ikm, info] = [random.bytes(n % 70), random.bytes(32), random.bytes(n % 41)];
    expect(core.hkdf(salt, ikm, info, n)).toEqual(slow.hkdfExpand(slow.hkdfExtract(salt, ikm), info, n));
  }
});
