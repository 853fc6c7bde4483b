/** What an AEAD promises beside the right bytes. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../reference/random.ts';
import { AD, INPUT, KEY, NONCE, OUT, Primitives } from './load.ts';

/** As in core/assembly/memory.ts. */
const STAGE = 0x4900000;
const core = new Primitives();
const random = new SeededRandom(20);
const [key, nonce, ad] = [random.bytes(32), random.bytes(24), random.bytes(13)];

test('every flipped bit of ciphertext, tag, nonce, key and associated data is refused, and nothing is written', () => {
  for (const length of [0, 1, 16, 63, 64, 65, 300, 460]) {
    const sealed = core.seal(key, nonce, ad, random.bytes(length));
    const parts = [key, nonce, ad, sealed] as const;
    const MARK = Buffer.alloc(length + 64, 0xa5);
    parts.forEach((part, which) => {
      for (let bit = 0; bit < part.length * 8; bit++) {
        const bad = Buffer.from(part);
        bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const [k, n, a, s] = parts.map((one, i) => (i === which ? bad : one)) as [Buffer, Buffer, Buffer, Buffer];
        core.put(OUT, MARK);
        if (core.open(k, n, a, s) !== undefined) throw new Error(`bit ${bit} of part ${which} did not matter`);
        if (!core.get(OUT, MARK.length).equals(MARK)) throw new Error('something was written');
      }
    });
    expect(core.open(key, nonce, ad, sealed)).toBeDefined();
  }
});

test('the refusal of the 12-byte nonce writes nothing either', () => {
  const sealed = core.seal(key, nonce.subarray(0, 12), ad, random.bytes(100));
  sealed[3] = (sealed[3] ?? 0) ^ 1;
  core.put(OUT, Buffer.alloc(100, 0xa5));
  expect(core.open(key, nonce.subarray(0, 12), ad, sealed)).toBeUndefined();
  expect(core.get(OUT, 100)).toEqual(Buffer.alloc(100, 0xa5));
});

test('a refused ciphertext that was to be opened in place stays as it was', () => {
  const sealed = core.seal(key, nonce, ad, random.bytes(500));
  sealed[499] = (sealed[499] ?? 0) ^ 0x80;
  core.put(INPUT, sealed);
  expect(core.call('xchachaOpen', INPUT, KEY, NONCE, AD, ad.length, INPUT, 500)).toBe(0);
  expect(core.get(INPUT, 516)).toEqual(sealed);
});

test('seals and opens in place', () => {
  for (const length of [0, 1, 15, 64, 255, 256, 257, 4000]) {
    const plaintext = random.bytes(length);
    const sealed = core.seal(key, nonce, ad, plaintext);
    core.put(INPUT, plaintext);
    core.call('xchachaSeal', INPUT, KEY, NONCE, AD, ad.length, INPUT, length);
    expect(core.get(INPUT, length + 16)).toEqual(sealed);
    expect(core.call('xchachaOpen', INPUT, KEY, NONCE, AD, ad.length, INPUT, length)).toBe(1);
    expect(core.get(INPUT, length)).toEqual(plaintext);
  }
});

test('writes the sealed bytes and none behind them, the opened bytes and none behind them', () => {
  for (const length of [0, 1, 60, 64, 100, 192, 250, 256, 320, 447, 448, 449, 1000]) {
    core.put(OUT, Buffer.alloc(length + 300, 0x5a));
    const sealed = core.seal(key, nonce, ad, random.bytes(length));
    expect(core.get(OUT + length + 16, 284)).toEqual(Buffer.alloc(284, 0x5a));
    core.put(OUT, Buffer.alloc(length + 300, 0x5a));
    expect(core.open(key, nonce, ad, sealed)).toBeDefined();
    expect(core.get(OUT + length, 300)).toEqual(Buffer.alloc(300, 0x5a));
  }
});

test('leaves neither key, subkey, key stream nor plaintext in its scratch', () => {
  const fresh = new Primitives();
  const plaintext = random.bytes(900);
  const sealed = fresh.seal(key, nonce, ad, plaintext);
  expect(fresh.open(key, nonce, ad, sealed)).toEqual(plaintext);
  const subkey = fresh.hchacha20(key, nonce.subarray(0, 16));
  const zeros = Buffer.alloc(916);
  const stream = fresh.seal(key, nonce, ad, zeros).subarray(0, 900);
  const block0 = fresh.chacha20(subkey, 0, Buffer.concat([Buffer.alloc(4), nonce.subarray(16)]), Buffer.alloc(64));
  const scratch = Buffer.concat([fresh.memory.subarray(0, 0x100000), fresh.memory.subarray(STAGE, STAGE + 2000)]);
  for (const secret of [key, subkey, stream, plaintext, block0]) {
    for (let at = 0; at + 8 <= secret.length; at += 4)
      expect(scratch.includes(secret.subarray(at, at + 8))).toBe(false);
  }
});

test('what is longer than the stage of open seals, opens in place, and is refused untouched', () => {
  for (const length of [1_048_576, 1_048_577, 1_048_576 + 300]) {
    const plaintext = Buffer.alloc(length, random.bytes(1021));
    const sealed = core.seal(key, nonce, ad, plaintext);
    const open = (): number => core.call('xchachaOpen', INPUT, KEY, NONCE, AD, ad.length, INPUT, length);
    core.put(INPUT, sealed);
    expect(open()).toBe(1);
    expect(core.get(INPUT, length).equals(plaintext)).toBe(true);
    sealed[length] = (sealed[length] ?? 0) ^ 1;
    core.put(INPUT, sealed);
    expect(open()).toBe(0);
    expect(core.get(INPUT, length + 16).equals(sealed)).toBe(true);
  }
});

test('hashes leave neither key nor input in their scratch', () => {
  const fresh = new Primitives();
  const [secret, salt, input] = [random.bytes(150), random.bytes(80), random.bytes(500)];
  const made = [fresh.hmac(secret, input), fresh.hkdf(salt, secret, input, 100), fresh.sha256(input)];
  fresh.put(INPUT, input);
  fresh.call('leafHashx4', OUT, INPUT, 500, INPUT, 0, INPUT + 7, 70, INPUT, 119);
  fresh.call('sha256Prefixed', OUT, 0, INPUT, 60);
  const scratch = fresh.memory.subarray(0, 0x100000);
  for (const bytes of [secret, salt, input, ...made]) {
    for (let at = 0; at + 8 <= bytes.length; at++) expect(scratch.includes(bytes.subarray(at, at + 8))).toBe(false);
  }
});

test('bytes are compared whole, and numbers read back as they were stored', () => {
  const a = random.bytes(70);
  core.put(INPUT, a);
  core.put(INPUT + 100, a);
  for (let n = 0; n <= 70; n++) {
    expect(core.call('equalBytes', INPUT, INPUT + 100, n)).toBe(1);
    for (let i = 0; i < n; i++) {
      core.memory[INPUT + 100 + i] = (a[i] ?? 0) ^ (1 << (n & 7));
      expect(core.call('equalBytes', INPUT, INPUT + 100, n)).toBe(0);
      core.memory[INPUT + 100 + i] = a[i] ?? 0;
    }
  }
  for (const [x, y] of [
    ['', ''],
    ['', 'a'],
    ['a', 'b'],
    ['ab', 'a'],
    ['\xff', '\x01'],
    ['abc', 'abd'],
  ] as const) {
    const [left, right] = [Buffer.from(x, 'latin1'), Buffer.from(y, 'latin1')];
    core.put(INPUT, left);
    core.put(INPUT + 100, right);
    expect(Math.sign(core.call('compareBytes', INPUT, left.length, INPUT + 100, right.length))).toBe(
      Buffer.compare(left, right),
    );
    expect(Math.sign(core.call('compareBytes', INPUT + 100, right.length, INPUT, left.length))).toBe(
      Buffer.compare(right, left),
    );
  }
  core.call('storeU16', OUT, 0x1234);
  core.call('storeU32', OUT + 2, 0x89abcdef);
  expect(core.get(OUT, 6).toString('hex')).toBe('123489abcdef');
  expect(core.call('loadU16', OUT)).toBe(0x1234);
  expect(core.call('loadU32', OUT + 2) >>> 0).toBe(0x89abcdef);
  core.call('wipe', OUT, 6);
  expect(core.get(OUT, 6)).toEqual(Buffer.alloc(6));
});

declare const WebAssembly: {
  readonly Module: { new (bytes: Uint8Array): object; imports(module: object): unknown[] };
};

test('the shipped core imports nothing at run time', () => {
  expect(WebAssembly.Module.imports(new WebAssembly.Module(readFileSync('dist/core.wasm')))).toEqual([]);
});
