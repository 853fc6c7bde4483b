import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../reference/random.ts';
import * as slow from '../../reference/shamir.ts';
import { Primitives } from './load.ts';

const core = new Primitives();
const random = new SeededRandom(30);

/** All ways to choose `size` of `items`. */
function subsets<T>(items: readonly T[], size: number): T[][] {
  if (size === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), size - 1).map((rest) => [item, ...rest]));
}

/** A secret of 16 bytes and its shares. */
function make(n: number, t: number): { secret: Buffer; shares: Buffer[] } {
  const secret = random.bytes(16);
  return { secret, shares: core.split(secret, n, t, random.bytes((t - 1) * 16)) ?? [] };
}

describe('any t of n shares give the secret, t - 1 do not', () => {
  const sizes = [1, 2, 3, 4, 5, 6].flatMap((n) => Array.from({ length: n }, (_, i) => [i + 1, n] as const));
  test.each(sizes)('%i of %i', (t, n) => {
    const { secret, shares } = make(n, t);
    expect(shares).toHaveLength(n);
    for (const some of subsets(shares, t)) {
      expect(core.combine(some)).toEqual(secret);
      expect(core.combine(some.toReversed())).toEqual(secret);
    }
    if (t > 1) for (const few of subsets(shares, t - 1)) expect(core.combine(few)).not.toEqual(secret);
    expect(core.combine(shares)).toEqual(secret);
  });
});

test('the shares are those of the algebra that Vault uses, and each side combines what the other split', () => {
  for (const [t, n] of [
    [2, 3],
    [3, 5],
    [5, 5],
    [7, 20],
    [255, 255],
  ] as const) {
    const secret = random.bytes(33);
    const coefficients = Array.from({ length: t - 1 }, () => random.bytes(33));
    const xs = Array.from({ length: n }, (_, i) => i + 1);
    const theirs = slow.split(secret, xs, coefficients);
    expect(core.split(secret, n, t, Buffer.concat(coefficients))).toEqual(theirs);
    expect(slow.combine(theirs.slice(-t))).toEqual(secret);
    // Vault draws its x coordinates: any distinct ones but zero.
    const odd = slow.split(secret, [200, 3, 255, 17, 1, 90, 91].slice(0, Math.max(t, 1)), coefficients.slice(0, 6));
    if (t <= 7) expect(core.combine(odd)).toEqual(secret);
  }
});

test('every product and quotient of the field', () => {
  for (let a = 0; a < 256; a++) {
    // A line through (0, a) with slope s has y = a + s x.
    for (let x = 1; x < 256; x += 7) {
      const shares = core.split(Buffer.from([a]), x, Math.min(2, x), Buffer.from([a ^ 0x53])) ?? [];
      const slope = x === 1 ? 0 : a ^ 0x53;
      expect(shares.at(-1)?.[0]).toBe(a ^ slow.product(slope, x));
    }
  }
  for (let x = 1; x < 256; x++) {
    for (const z of [1, 2, 77, 255].filter((other) => other !== x)) {
      const shares = slow.split(Buffer.from([0xc3]), [x, z], [Buffer.from([x])]);
      expect(core.combine(shares)).toEqual(Buffer.from([0xc3]));
    }
  }
});

test('a wrong share gives another secret', () => {
  const { secret, shares } = make(5, 3);
  const [a = secret, b = secret, c = secret] = shares;
  for (let i = 0; i < 17; i++) {
    const bad = Buffer.from(a);
    bad[i] = i === 16 ? 9 : (bad[i] ?? 0) ^ 4;
    expect(core.combine([bad, b, c])).not.toEqual(secret);
  }
});

test('what makes no sense is refused', () => {
  const { shares } = make(3, 2);
  const [a = Buffer.alloc(17), b = Buffer.alloc(17)] = shares;
  const zero = Buffer.from(b);
  zero[16] = 0;
  expect(core.combine([a, zero])).toBeUndefined();
  expect(core.combine([a, a])).toBeUndefined();
  expect(core.combine([a, b, a])).toBeUndefined();
  expect(core.combine([])).toBeUndefined();
  expect(core.combine([Buffer.from([1])])).toBeUndefined();
  expect(core.call('shamirCombine', 0x200000, 0x400000, 17, 256)).toBe(1);
  for (const [n, t] of [
    [3, 0],
    [3, 4],
    [256, 3],
    [0, 0],
  ] as const) {
    expect(core.split(Buffer.alloc(4), n, t, Buffer.alloc(20))).toBeUndefined();
  }
  expect(core.split(Buffer.alloc(0), 3, 2, Buffer.alloc(4))).toBeUndefined();
});
