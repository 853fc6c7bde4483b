import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Fault } from '../../../../host/fault.ts';
import { decodeBlob, encodeBlob } from '../../../../host/seal/tpm2/blob.ts';
import { faultOf, plainCode, TpmError } from '../../../../host/seal/tpm2/codes.ts';
import { TpmCounter } from '../../../../host/seal/tpm2/counter.ts';
import { Tss } from '../../../../host/seal/tpm2/tss.ts';
import {
  authorizedPolicy,
  counterPublic,
  nameOf,
  policyReference,
  SRK_TEMPLATE,
  sealedTemplate,
  signerPublic,
  sized,
  withAuthValue,
} from '../../../../host/seal/tpm2/wire.ts';
import { systemClock } from '../../../../host/system/clock.ts';

describe('core/spec/tpm2.md', () => {
  const document = readFileSync('core/spec/tpm2.md', 'utf8');
  const example = (name: string): string => {
    const found = new RegExp(`^${name}: ([0-9a-f]+)$`, 'm').exec(document)?.[1];
    if (found === undefined) throw new Error(`the document has no example of ${name}`);
    return found;
  };
  const point = Buffer.concat([Buffer.alloc(32, 1), Buffer.alloc(32, 2)]);
  const reference = policyReference(Buffer.alloc(16, 5));
  const authorized = authorizedPolicy(nameOf(signerPublic(point)), reference);
  const header = {
    pin: true,
    pcrs: (1 << 7) | (1 << 11) | (1 << 12),
    srkName: Buffer.concat([Buffer.from('000b', 'hex'), Buffer.alloc(32, 3)]),
    signed: { point, index: 0x0180_0020 },
    publicArea: sealedTemplate(withAuthValue(authorized), false),
    privateArea: sized(Buffer.alloc(4, 4)),
  };

  test('its example is what the code makes', () => {
    expect(reference.toString('hex')).toBe(example('policyRef'));
    expect(authorized.toString('hex')).toBe(example('authorized'));
    expect(withAuthValue(authorized).toString('hex')).toBe(example('with PIN'));
    expect(encodeBlob(header).toString('hex')).toBe(example('blob'));
    expect(SRK_TEMPLATE.toString('hex')).toBe(example("storage key's template"));
    expect(nameOf(counterPublic(0x0180_0010, true)).toString('hex')).toBe(example("counter's Name"));
    const tss = new Tss({ tcti: '', clock: systemClock(), timeoutMs: 1 });
    const counter = new TpmCounter(tss, { index: 0x0180_0010, srkName: header.srkName });
    expect(Buffer.from(counter.id).toString('hex')).toBe(example('counter id'));
  });

  test('its example is read as what it was made of', () => {
    expect(decodeBlob(Buffer.from(example('blob'), 'hex'))).toEqual(header);
  });
});

describe('what a TPM answers', () => {
  const said = (code: number, command = 'Load'): Fault => {
    const fault = faultOf(new TpmError(command, code));
    if (!(fault instanceof Fault)) throw new Error('no fault');
    return fault;
  };

  test.each<readonly [string, number, string, string, string]>([
    ['wrong PIN', 0x98e, 'Unseal', 'slot.refused', 'PIN is wrong'],
    ['owner password', 0x9a2, 'CreatePrimary', 'slot.unavailable', 'owner authorisation'],
    ['lock-out password', 0x98e, 'HierarchyChangeAuth', 'slot.unavailable', 'authorisation'],
    ['PCR moved', 0x99d, 'Unseal', 'slot.refused', 'PCRs moved'],
    ['PCR moved during the policy', 0x128, 'Unseal', 'slot.refused', 'PCRs moved'],
    ['tampered blob or wrong parent', 0x1df, 'Load', 'slot.refused', 'changed'],
    ['edited public area', 0x2e1, 'Load', 'slot.refused', 'changed'],
    ['no structure', 0x9_0006, 'TPM2B_PUBLIC_Unmarshal', 'slot.refused', 'changed'],
    ['policy NV', 0x126, 'PolicyNV', 'slot.refused', 'downgrade'],
    ['signature', 0x2db, 'VerifySignature', 'slot.refused', 'signature'],
    ['lock-out', 0x921, 'Unseal', 'slot.unavailable', 'locked out'],
    ['retry', 0x922, 'Load', 'slot.unavailable', 'busy'],
    ['no room', 0x902, 'Load', 'slot.unavailable', 'object'],
    ['no session', 0x903, 'StartAuthSession', 'slot.unavailable', 'session'],
    ['not started', 0x100, 'CreatePrimary', 'slot.unavailable', 'not started'],
    ['failure mode', 0x101, 'CreatePrimary', 'slot.unavailable', 'failure mode'],
    ['hierarchy off', 0x185, 'CreatePrimary', 'slot.unavailable', 'firmware'],
    ['memory full', 0x14b, 'NV_DefineSpace', 'slot.unavailable', 'full'],
    ['command switched off', 0x120, 'NV_DefineSpace', 'slot.unavailable', 'firmware'],
    ['restart asked for', 0x12d, 'Load', 'slot.unavailable', 'off and on'],
    ['index lost its value', 0x14a, 'NV_Read', 'slot.unavailable', 'restart the machine'],
    ['index there already', 0x14c, 'NV_DefineSpace', 'slot.unavailable', 'at this place already'],
    ['no handle for an object', 0x904, 'Load', 'slot.unavailable', 'no room'],
    ['no handle for a session', 0x905, 'StartAuthSession', 'slot.unavailable', 'no room'],
    ['gave way', 0x908, 'Unseal', 'slot.unavailable', 'try again'],
    ['tests itself', 0x90a, 'Unseal', 'slot.unavailable', 'try again'],
    ['writes slowed down', 0x920, 'NV_Increment', 'slot.unavailable', 'try again later'],
    ['memory not available', 0x923, 'NV_Read', 'slot.unavailable', 'try again'],
    ['answer without its session', 0x7_0011, 'Unseal', 'slot.refused', 'changed on its way'],
    ['nothing answers', 0xa_0008, 'open the TPM', 'slot.unavailable', 'seal.tpm2.tcti'],
    ...[
      0x09f, 0x081, 0x082, 0x083, 0x084, 0x08a, 0x08c, 0x092, 0x095, 0x096, 0x097, 0x098, 0x09a, 0x09c, 0x0a1, 0x0a6,
    ].map(
      (code) => [`edited slot ${code.toString(16)}`, code | 0x100 | 0x0c0, 'Load', 'slot.refused', 'changed'] as const,
    ),
    ['forged answer', 0x7_001b, 'Unseal', 'slot.refused', 'changed on its way'],
    ['broken context', 0x7_0007, 'Unseal', 'slot.unavailable', 'try again'],
    ['no device', 0xa_000a, 'open the TPM', 'slot.unavailable', 'seal.tpm2.tcti'],
    ['unknown TCTI', 0xa_0015, 'open the TPM', 'slot.unavailable', 'seal.tpm2.tcti'],
    ['never heard of', 0x9ff, 'Load', 'slot.unavailable', '0x9ff'],
  ])('%s becomes a fault that says what to do', (_name, code, command, fault, words) => {
    expect(said(code, command)).toMatchObject({ code: fault, message: expect.stringContaining(words) });
  });

  test('through a resource manager, it is the same', () => {
    for (const code of [0x98e, 0x99d, 0x1df, 0x921]) {
      expect(plainCode(0xc_0000 | code)).toBe(plainCode(code));
      expect(said(0xc_0000 | code, 'Unseal').message).toBe(said(code, 'Unseal').message);
    }
  });

  test('what is no answer of a TPM is passed on', () => {
    const bug = new TypeError('a bug');
    expect(faultOf(bug)).toBe(bug);
  });
});
