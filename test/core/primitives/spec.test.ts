/** The worked example of core/spec/primitives.md, by core and by the slow twins. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { xchachaSeal } from '../../reference/aead.ts';
import { hchacha20 } from '../../reference/chacha20.ts';
import * as slow from '../../reference/sha256.ts';
import * as sharing from '../../reference/shamir.ts';
import { INPUT, OUT, Primitives } from './load.ts';

const text = readFileSync('core/spec/primitives.md', 'utf8');
const example = new Map([...text.matchAll(/^([\w ]+): ([0-9a-f]+)$/gm)].map(([, name = '', hex = '']) => [name, hex]));
const core = new Primitives();
const range = (from: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => from + i));
const [key, nonce, ad, message] = [range(0, 32), range(0x20, 24), Buffer.from('ad'), Buffer.from('holdfast')];
const [info, none, coefficients] = [Buffer.from('holdfast/v1/example'), Buffer.alloc(0), range(0xa0, 8)];

function hashed(name: string, ...args: number[]): Buffer {
  core.call(name, OUT, ...args);
  return core.get(OUT, 32);
}

test.each<[string, () => Uint8Array, () => Uint8Array]>([
  ['hchacha20', () => core.hchacha20(key, nonce.subarray(0, 16)), () => hchacha20(key, nonce.subarray(0, 16))],
  ['sealed', () => core.seal(key, nonce, ad, message), () => xchachaSeal(key, nonce, ad, message)],
  ['sha256', () => core.sha256(message), () => slow.sha256(message)],
  [
    'leaf',
    () => {
      core.put(INPUT, message);
      return hashed('sha256Prefixed', 0, INPUT, message.length);
    },
    () => slow.sha256(Buffer.concat([Buffer.from([0]), message])),
  ],
  [
    'node',
    () => {
      core.put(INPUT, Buffer.from(example.get('leaf') ?? '', 'hex'));
      return hashed('sha256Pair', INPUT, INPUT);
    },
    () => slow.sha256(Buffer.from(`01${example.get('leaf')}${example.get('leaf')}`, 'hex')),
  ],
  ['hmac', () => core.hmac(key, message), () => slow.hmac(key, message)],
  ['hkdf', () => core.hkdf(none, key, info, 32), () => slow.hkdfExpand(slow.hkdfExtract(none, key), info, 32)],
])('%s', (name, ours, twin) => {
  expect(Buffer.from(ours()).toString('hex')).toBe(example.get(name));
  expect(Buffer.from(twin()).toString('hex')).toBe(example.get(name));
});

test('the shares', () => {
  const shares = [1, 2, 3].map((x) => example.get(`share ${x}`));
  const hex = (made: readonly Buffer[] | undefined): string[] | undefined => made?.map((one) => one.toString('hex'));
  expect(hex(core.split(message, 3, 2, coefficients))).toEqual(shares);
  expect(hex(sharing.split(message, [1, 2, 3], [coefficients]))).toEqual(shares);
});
