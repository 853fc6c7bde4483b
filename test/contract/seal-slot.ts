import { afterEach, describe, expect, test } from 'vitest';
import type { CreatedSlot, Offered, SealSlot, SlotKind } from '../../host/ports/seal-slot.ts';

/** One adapter with its device (a folder, a TPM, people), and what the suite needs to know of it. */
export interface SlotBench {
  readonly slot: SealSlot;
  /** What opens a slot that was created here. */
  offer(created: CreatedSlot): Offered;
  /** What must not open it. */
  readonly wrongOffers: (created: CreatedSlot, other: CreatedSlot) => readonly Offered[];
  /** Takes the device away; absent where there is none that could go. */
  readonly remove?: () => void;
  /** Nothing lies outside the blob: `discard` has nothing to forget, and the keyring's rotation is what shuts the slot. */
  readonly blobOnly?: true;
  close(): void;
}

export interface SlotExpectations {
  readonly kind: SlotKind;
  readonly automatic: boolean;
  readonly bindsContext: boolean;
}

const CONTEXT = Buffer.from('context of one slot of one box');
const refused = expect.objectContaining({ code: 'slot.refused' });

export function sealSlotContract(expected: SlotExpectations, make: () => SlotBench): void {
  const open: SlotBench[] = [];
  const bench = (): SlotBench => {
    const one = make();
    open.push(one);
    return one;
  };
  afterEach(() => {
    for (const one of open.splice(0)) one.close();
  });

  describe(`the slot contract, kept by ${expected.kind}`, () => {
    test('it declares what it is', () => {
      const { kind, automatic, bindsContext } = bench().slot;
      expect({ kind, automatic, bindsContext }).toEqual(expected);
    });

    test('what was created is recovered, again and again', async () => {
      const { slot, offer } = bench();
      const created = await slot.create(CONTEXT);
      expect(created.key.length).toBe(32);
      expect(created.blob.length).toBeLessThanOrEqual(4096);
      for (let round = 0; round < 3; round++) {
        using key = await slot.recover(created.blob, CONTEXT, offer(created));
        expect(Buffer.from(key.bytes).equals(created.key.bytes)).toBe(true);
      }
    });

    test('the blob does not hold the key, and two slots have two keys', async () => {
      const { slot } = bench();
      const one = await slot.create(CONTEXT);
      const two = await slot.create(CONTEXT);
      expect(Buffer.from(one.blob).includes(Buffer.from(one.key.bytes))).toBe(false);
      expect(Buffer.from(one.key.bytes).equals(two.key.bytes)).toBe(false);
      expect(Buffer.from(one.blob).equals(two.blob)).toBe(false);
    });

    test('every flipped bit of the blob is refused, and so is a blob cut short or grown', async () => {
      const { slot, offer } = bench();
      const created = await slot.create(CONTEXT);
      for (let bit = 0; bit < created.blob.length * 8; bit++) {
        const blob = Buffer.from(created.blob);
        blob[bit >> 3] = (blob[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        await opensNotTo(slot, blob, CONTEXT, offer(created), created);
      }
      for (const blob of [
        created.blob.subarray(1),
        created.blob.subarray(0, -1),
        Buffer.concat([created.blob, Buffer.of(0)]),
      ]) {
        await expect(slot.recover(blob, CONTEXT, offer(created))).rejects.toEqual(refused);
      }
    });

    test('the blob of another slot does not give this slot its key', async () => {
      const { slot, offer } = bench();
      const one = await slot.create(CONTEXT);
      const two = await slot.create(Buffer.from('another'));
      await opensNotTo(slot, two.blob, CONTEXT, offer(one), one);
    });

    test(`another context ${expected.bindsContext ? 'is refused' : 'does not matter to the device: core binds it'}`, async () => {
      const { slot, offer } = bench();
      const created = await slot.create(CONTEXT);
      const recovered = slot.recover(created.blob, Buffer.from('moved'), offer(created));
      if (expected.bindsContext) await expect(recovered).rejects.toEqual(refused);
      else expect(Buffer.from((await recovered).bytes).equals(created.key.bytes)).toBe(true);
    });

    test('what does not belong to it is refused', async () => {
      const { slot, wrongOffers } = bench();
      const created = await slot.create(CONTEXT);
      const other = await slot.create(Buffer.from('another'));
      for (const wrong of wrongOffers(created, other)) {
        await expect(slot.recover(created.blob, CONTEXT, wrong)).rejects.toEqual(refused);
      }
    });

    test('a device that is gone is `slot.unavailable`, not a wrong key', async () => {
      const { slot, offer, remove } = bench();
      const created = await slot.create(CONTEXT);
      if (remove === undefined) {
        // Nothing can go: the blob and what is offered are all there is.
        using key = await slot.recover(created.blob, CONTEXT, offer(created));
        expect(key.length).toBe(32);
        return;
      }
      remove();
      await expect(slot.recover(created.blob, CONTEXT, offer(created))).rejects.toMatchObject({
        code: 'slot.unavailable',
      });
    });

    test('what was discarded does not come back', async () => {
      const { slot, offer, remove, blobOnly } = bench();
      const created = await slot.create(CONTEXT);
      await slot.discard(created.blob);
      if (blobOnly) {
        using key = await slot.recover(created.blob, CONTEXT, offer(created));
        return expect(key.length).toBe(32);
      }
      if (remove === undefined) return expect(slot.automatic).toBe(false);
      await expect(slot.recover(created.blob, CONTEXT, offer(created))).rejects.toMatchObject({
        code: 'slot.unavailable',
      });
    });
  });
}

/** Refused, or (where a bit has no meaning to the device) another key: never this slot's key by a changed blob. */
async function opensNotTo(
  slot: SealSlot,
  blob: Uint8Array,
  context: Uint8Array,
  offered: Offered,
  created: CreatedSlot,
) {
  let same = false;
  try {
    using key = await slot.recover(blob, context, offered);
    same = Buffer.from(key.bytes).equals(created.key.bytes);
  } catch (error) {
    expect(error).toEqual(refused);
  }
  expect(same).toBe(false);
}
