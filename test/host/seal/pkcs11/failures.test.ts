import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { decodeBlob, encodeBlob, type SlotBlob } from '../../../../host/seal/pkcs11/blob.ts';
import { childrenAlive, shimmed } from './shim.ts';
import { clock, initSoftHsmToken, removeScratch } from './tokens.ts';

afterAll(removeScratch);
afterEach(() => expect(childrenAlive()).toEqual([]));

const CONTEXT = Buffer.from('context of one slot of one box');
const unavailable = expect.objectContaining({ code: 'slot.unavailable' });

async function withSlot(changes: Parameters<typeof shimmed>[0] = {}) {
  const bench = shimmed(changes);
  const { key, blob } = await bench.slot.create(CONTEXT);
  const opens = async (slot = bench.slot): Promise<void> => {
    using again = await slot.recover(blob, CONTEXT, {});
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
  };
  return { ...bench, blob, opens };
}

describe('a module that misbehaves costs an error, and the next call works', () => {
  test.each(['C_Initialize', 'C_Decrypt'])('when it hangs in %s', async (at) => {
    const deadlineMs = 3000;
    const { slot, blob, opens, misbehave } = await withSlot({ deadlineMs });
    misbehave({ at, does: 'hang', times: 1 });
    const before = clock.bootMs();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
    const tookMs = clock.bootMs() - before;
    expect(tookMs).toBeGreaterThanOrEqual(deadlineMs - 1);
    expect(tookMs).toBeLessThan(deadlineMs * 2);
    await opens();
  });

  test('when it hangs while it makes a key', async () => {
    const { slot, opens, misbehave } = await withSlot({ generateDeadlineMs: 1000 });
    misbehave({ at: 'C_GenerateKey', does: 'hang', times: 1 });
    await expect(slot.create(CONTEXT)).rejects.toEqual(unavailable);
    await opens();
  });

  test.each(['C_Initialize', 'C_OpenSession', 'C_Login', 'C_Decrypt', 'C_Finalize'])(
    'when it aborts in %s',
    async (at) => {
      const { slot, blob, opens, misbehave } = await withSlot();
      misbehave({ at, does: 'abort', times: 1 });
      if (at === 'C_Finalize') await opens();
      else await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
      await opens();
    },
  );

  test('calls that come at once take turns', async () => {
    const { opens, logins } = await withSlot();
    await Promise.all([opens(), opens(), opens()]);
    expect(logins()).toBe(4);
  });
});

describe('a session that is lost', () => {
  /** CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_DEVICE_REMOVED, CKR_USER_NOT_LOGGED_IN */
  test.each([0xb3, 0xb0, 0x32, 0x101])('with return code %i is opened again once', async (does) => {
    const { slot, blob, opens, misbehave, logins } = await withSlot();
    misbehave({ at: 'C_Decrypt', does, times: 1 });
    const before = logins();
    await opens();
    expect(logins() - before).toBe(2);
    misbehave({ at: 'C_Decrypt', does, times: 3 });
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
    expect(logins() - before).toBe(4);
  });
});

describe('a token that answers any failure with CKR_GENERAL_ERROR', () => {
  test('is asked once more', async () => {
    const { opens, misbehave } = await withSlot();
    misbehave({ at: 'C_Decrypt', does: 5, times: 1 });
    await opens();
  });

  test('is not taken for a changed blob when it decrypts nothing at all', async () => {
    const { slot, blob, misbehave } = await withSlot();
    misbehave({ at: 'C_Decrypt', does: 5 });
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
  });
});

describe('a blob that somebody changed with care, so that its digest is right', () => {
  const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
    Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
  const changes: readonly (readonly [string, (blob: SlotBlob) => SlotBlob, string])[] = [
    ['ciphertext', (blob) => ({ ...blob, ciphertext: flipped(blob.ciphertext, 0) }), 'slot.refused'],
    ['tag', (blob) => ({ ...blob, ciphertext: flipped(blob.ciphertext, 47) }), 'slot.refused'],
    ['IV', (blob) => ({ ...blob, iv: flipped(blob.iv, 3) }), 'slot.refused'],
    ['check', (blob) => ({ ...blob, check: flipped(blob.check, 15) }), 'slot.refused'],
    ['demand', (blob) => ({ ...blob, sort: { mechanism: 'gcm', local: false } }), 'slot.refused'],
    ['key id', (blob) => ({ ...blob, id: flipped(blob.id, 0) }), 'slot.unavailable'],
    ['serial number', (blob) => ({ ...blob, serial: flipped(blob.serial, 0) }), 'slot.unavailable'],
  ];

  test.each(changes)('does not open: its %s', async (_what, change, code) => {
    const { slot, blob, opens } = await withSlot();
    const parsed = decodeBlob(blob);
    if (parsed === undefined) throw new Error('the slot has a blob');
    expect(Buffer.from(encodeBlob(parsed)).equals(blob)).toBe(true);
    await expect(slot.recover(encodeBlob(change(parsed)), CONTEXT, {})).rejects.toMatchObject({ code });
    await opens();
  });
});

describe('a token that goes', () => {
  test('is unavailable while it is pulled, and opens when it is back', async () => {
    const { folder, slot, blob, opens } = await withSlot();
    renameSync(join(folder, 'tokens'), join(folder, 'pulled'));
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
    await expect(slot.create(CONTEXT)).rejects.toEqual(unavailable);
    await expect(slot.discard(blob)).rejects.toEqual(unavailable);
    renameSync(join(folder, 'pulled'), join(folder, 'tokens'));
    await opens();
  });

  test('and is replaced by one with the same label is not told the PIN', async () => {
    const { folder, slot, blob, opens, logins } = await withSlot();
    renameSync(join(folder, 'tokens'), join(folder, 'pulled'));
    mkdirSync(join(folder, 'tokens'));
    initSoftHsmToken(folder, 'box');
    const before = logins();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
    expect(logins()).toBe(before);
    rmSync(join(folder, 'tokens'), { recursive: true });
    renameSync(join(folder, 'pulled'), join(folder, 'tokens'));
    await opens();
  });

  test('or has a twin with the same label is not told the PIN', async () => {
    const { folder, slot, blob, logins } = await withSlot();
    initSoftHsmToken(folder, 'box');
    const before = logins();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('several tokens');
    expect(logins()).toBe(before);
  });

  test('with its module is unavailable', async () => {
    const { restarted, blob, folder } = await withSlot();
    for (const module of [join(folder, 'gone.so'), join(folder, 'softhsm2.conf'), folder]) {
      await expect(restarted({ module }).recover(blob, CONTEXT, {})).rejects.toThrow('seal.pkcs11.module');
    }
  });

  test('has no key of a slot that was discarded, and keeps the others', async () => {
    const { slot, blob, opens } = await withSlot();
    const other = await slot.create(CONTEXT);
    await slot.discard(other.blob);
    await expect(slot.recover(other.blob, CONTEXT, {})).rejects.toThrow('no key of this slot');
    await opens();
    await slot.discard(blob);
    await slot.discard(blob);
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toEqual(unavailable);
  });
});

test.each(['C_GenerateKey', 'C_Encrypt', 'C_Decrypt'])(
  'no key is left of a slot whose creation failed in %s',
  async (at) => {
    const { folder, slot, opens, misbehave } = await withSlot();
    const objects = (): number =>
      readdirSync(join(folder, 'tokens'), { recursive: true, encoding: 'utf8' }).filter((name) =>
        name.endsWith('.object'),
      ).length;
    const before = objects();
    misbehave({ at, does: 6 });
    await expect(slot.create(CONTEXT)).rejects.toMatchObject({ name: 'Fault' });
    expect(objects()).toBe(before);
    misbehave(undefined);
    await slot.create(CONTEXT);
    expect(objects()).toBe(before + 1);
    await opens();
  },
);
