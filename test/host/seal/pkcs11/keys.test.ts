import { afterAll, describe, expect, test } from 'vitest';
import { decodeBlob } from '../../../../host/seal/pkcs11/blob.ts';
import * as c from '../../../../host/seal/pkcs11/constants.ts';
import { childrenAlive } from './shim.ts';
import { type Attributes, tamper } from './tamper.ts';
import { nss, removeScratch, softHsm, type TokenBench } from './tokens.ts';
import { startTpm, tpmToken } from './tpm.ts';

afterAll(() => {
  expect(childrenAlive()).toEqual([]);
  removeScratch();
});

const CONTEXT = Buffer.from('context of one slot of one box');

/** As the box makes it. */
const RIGHT: Attributes = {
  [c.CKA_CLASS]: c.CKO_SECRET_KEY,
  [c.CKA_KEY_TYPE]: c.CKK_AES,
  [c.CKA_VALUE_LEN]: 32,
  [c.CKA_TOKEN]: true,
  [c.CKA_PRIVATE]: true,
  [c.CKA_SENSITIVE]: true,
  [c.CKA_EXTRACTABLE]: false,
  [c.CKA_ENCRYPT]: true,
  [c.CKA_DECRYPT]: true,
  [c.CKA_WRAP]: false,
  [c.CKA_UNWRAP]: false,
  [c.CKA_DERIVE]: false,
};
/** Its bytes chosen by somebody: AES-256 of 00 … 00. */
const { [c.CKA_VALUE_LEN]: _length, ...UNSIZED } = RIGHT;
const CKA_VALUE = 0x11;

async function withSlot(bench: TokenBench) {
  const { blob } = await bench.slot.create(CONTEXT);
  const parsed = decodeBlob(blob);
  if (parsed === undefined) throw new Error('the slot has a blob');
  return { ...bench, blob, parsed, recover: () => bench.slot.recover(blob, CONTEXT, {}) };
}

describe('a key in the token that is not as the box made it is refused', () => {
  test.each([
    ['extractable', { ...RIGHT, [c.CKA_EXTRACTABLE]: true }],
    ['not sensitive', { ...RIGHT, [c.CKA_SENSITIVE]: false }],
    ['one that wraps', { ...RIGHT, [c.CKA_WRAP]: true }],
    ['one that unwraps', { ...RIGHT, [c.CKA_UNWRAP]: true }],
    ['one that derives', { ...RIGHT, [c.CKA_DERIVE]: true }],
    ['shorter', { ...RIGHT, [c.CKA_VALUE_LEN]: 16 }],
  ])('%s', async (_what, attributes) => {
    const bench = await withSlot(softHsm());
    expect(tamper(bench, bench.parsed.id, [{ do: 'destroy' }, { do: 'generate', attributes }])).toEqual([0, 0]);
    await expect(bench.recover()).rejects.toMatchObject({ code: 'slot.refused' });
    await expect(bench.recover()).rejects.toThrow('never could leave it');
  });

  test('brought from outside', async () => {
    const bench = await withSlot(softHsm());
    const attributes = { ...UNSIZED, [CKA_VALUE]: '00'.repeat(32) };
    expect(tamper(bench, bench.parsed.id, [{ do: 'destroy' }, { do: 'create', attributes }])).toEqual([0, 0]);
    await expect(bench.recover()).rejects.toThrow('never could leave it');
  });

  test('one of two with its id', async () => {
    const bench = await withSlot(softHsm());
    expect(tamper(bench, bench.parsed.id, [{ do: 'generate', attributes: RIGHT }])).toEqual([0]);
    await expect(bench.recover()).rejects.toMatchObject({ code: 'slot.refused' });
    await expect(bench.recover()).rejects.toThrow('several keys');
  });

  test('right in everything but its bytes', async () => {
    const bench = await withSlot(softHsm());
    tamper(bench, bench.parsed.id, [{ do: 'destroy' }, { do: 'generate', attributes: RIGHT }]);
    await expect(bench.recover()).rejects.toMatchObject({ code: 'slot.refused' });
    await expect(bench.recover()).rejects.toThrow('the token works');
  });
});

describe('what each token is, and what it lets somebody with the PIN do', () => {
  const extractable = { [c.CKA_EXTRACTABLE]: true };

  test('SoftHSM: GCM, local keys; neither copies nor changes them', async () => {
    const bench = await withSlot(softHsm());
    expect(bench.parsed.sort).toEqual({ mechanism: 'gcm', local: true });
    const codes = tamper(bench, bench.parsed.id, [
      { do: 'set', attributes: extractable },
      { do: 'copy', attributes: extractable },
    ]);
    expect(codes).not.toContain(0);
    (await bench.recover())[Symbol.dispose]();
  });

  test('NSS: GCM, forgets that keys are local; makes extractable copies, which are refused', async () => {
    const bench = await withSlot(nss());
    expect(bench.parsed.sort).toEqual({ mechanism: 'gcm', local: false });
    expect(tamper(bench, bench.parsed.id, [{ do: 'set', attributes: extractable }])).not.toContain(0);
    (await bench.recover())[Symbol.dispose]();
    expect(
      tamper(bench, bench.parsed.id, [{ do: 'copy', attributes: { ...extractable, [c.CKA_TOKEN]: true } }]),
    ).toEqual([0]);
    // Its store keeps one object of an id: the copy took the place of the key.
    await expect(bench.recover()).rejects.toThrow('never could leave it');
  });

  test('NSS: the same serial number for every store, so another store has no key of the slot', async () => {
    const one = await withSlot(nss());
    const two = await withSlot(nss());
    expect(Buffer.from(one.parsed.serial).equals(two.parsed.serial)).toBe(true);
    await expect(two.slot.recover(one.blob, CONTEXT, {})).rejects.toThrow('no key of this slot');
  });

  test('libtpm2-pkcs11: OAEP with SHA-256, local keys; gone while the TPM is gone', async () => {
    const tpm = startTpm();
    try {
      const bench = await withSlot(tpmToken(tpm));
      expect(bench.parsed.sort).toEqual({ mechanism: 'oaepSha256', local: true });
      (await bench.recover())[Symbol.dispose]();
      tpm.stop();
      await expect(bench.recover()).rejects.toMatchObject({ code: 'slot.unavailable' });
    } finally {
      tpm.stop();
    }
  });
});
