import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadCore } from '../../../core/index.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { Secret } from '../../../host/secret.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { sealSlotContract } from '../../contract/seal-slot.ts';

const core = loadCore({ wasm: readFileSync('dist/core.wasm'), random: (length) => systemRandom.bytes(length) });
const CONTEXT = Buffer.from('context of one slot of one box');

const newSlot = (threshold: number, shares: number): ShamirSlot =>
  new ShamirSlot({ core, random: systemRandom, threshold, shares });
const copies = (shares: readonly Secret[] | undefined): Secret[] =>
  (shares ?? []).map((share) => new Secret(Buffer.from(share.bytes)));

sealSlotContract({ kind: 'shamir', automatic: false, bindsContext: true }, () => ({
  slot: newSlot(3, 5),
  offer: ({ shares }) => ({ shares: copies(shares).slice(1, 4) }),
  wrongOffers: ({ shares }, other) => {
    const own = copies(shares);
    const [first, second, third] = own;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three of five');
    const changed = new Secret(Buffer.from(third.bytes.map((byte, at) => (at === 0 ? byte ^ 1 : byte))));
    const renumbered = new Secret(Buffer.from(third.bytes.map((byte, at) => (at === 32 ? 9 : byte))));
    const zero = new Secret(Buffer.from(third.bytes.map((byte, at) => (at === 32 ? 0 : byte))));
    const short = new Secret(Buffer.from(third.bytes.subarray(1)));
    return [
      {},
      { shares: [] },
      { shares: [first, second] },
      { shares: [first, second, second] },
      { shares: [first, second, changed] },
      { shares: [first, second, renumbered] },
      { shares: [first, second, zero] },
      { shares: [first, second, short] },
      { shares: copies(other.shares).slice(0, 3) },
      { shares: [first, second, ...copies(other.shares).slice(2, 3)] },
    ];
  },
  close: () => undefined,
}));

describe('shares', () => {
  test('have Vault’s form: 32 bytes and a number, all different', async () => {
    const { shares = [] } = await newSlot(3, 5).create(CONTEXT);
    expect(shares.map((share) => share.length)).toEqual([33, 33, 33, 33, 33]);
    expect(new Set(shares.map((share) => share.bytes[32])).size).toBe(5);
  });

  test.each([
    [1, 1],
    [2, 2],
    [2, 3],
    [3, 5],
    [5, 5],
    [100, 255],
    [255, 255],
  ])('any %d of %d open it', async (threshold, count) => {
    const slot = newSlot(threshold, count);
    const { key, blob, shares } = await slot.create(CONTEXT);
    const all = copies(shares);
    expect(all).toHaveLength(count);
    for (const chosen of [all.slice(0, threshold), all.slice(-threshold), all]) {
      using recovered = await slot.recover(blob, CONTEXT, { shares: chosen });
      expect(Buffer.from(recovered.bytes).equals(key.bytes)).toBe(true);
    }
    await expect(slot.recover(blob, CONTEXT, { shares: all.slice(0, threshold - 1) })).rejects.toMatchObject({
      code: 'slot.refused',
    });
  });
});
