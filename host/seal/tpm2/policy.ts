/** Opens a policy session as the slot asks: PCRs as they were, or a signed policy that is not older than the last one used. */
import { Fault } from '../../fault.ts';
import { TpmError } from './codes.ts';
import { incrementCounter, openCounter, readCounter } from './counter.ts';
import { output, policyDigest, policyPcr, type Srk, startSession } from './device.ts';
import type { Esys } from './tss.ts';
import {
  NO_SESSIONS,
  NONE,
  nameOf,
  OWNER,
  policyReference,
  sha256,
  signerPublic,
  sized,
  UNSIGNED_LE,
  u16,
  u64,
} from './wire.ts';

/** A boot policy that somebody signed for this appliance. */
export interface SignedPolicy {
  /** Least count of the version index that it may be used at is the index's own; it raises the index to this. */
  readonly version: bigint;
  /** Digest after PolicyPCR and PolicyNV(index ≤ version), 32 bytes. */
  readonly digest: Uint8Array;
  /** ECDSA P-256 over SHA-256(digest ‖ policyRef): r ‖ s, 64 bytes. */
  readonly signature: Uint8Array;
}

export interface Signed {
  readonly point: Buffer;
  readonly index: number;
  readonly applianceId: Uint8Array;
  readonly policies: readonly SignedPolicy[];
}

const POLICIES_MAX = 8;
/** How far one update may move the version. */
const STEP_MAX = 64n;

/** PolicyPCR ∧ PolicyNV(index ≤ version) in `session`. */
export async function bootPolicy(esys: Esys, srk: Srk, session: number, mask: number, index: number, version: bigint) {
  await policyPcr(esys, session, mask);
  const counter = await openCounter(esys, index);
  const hmac = await startSession(esys, srk, 'hmac');
  const operand = esys.struct('TPM2B_DIGEST', sized(u64(version)));
  await esys.call('PolicyNV', counter, counter, session, hmac, NONE, NONE, operand, 0, UNSIGNED_LE);
  await esys.flush(hmac);
}

/** @returns the session, and the version to raise the index to once the key is out */
export async function signedSession(
  esys: Esys,
  srk: Srk,
  mask: number,
  signed: Signed,
): Promise<{ readonly session: number; readonly version: bigint }> {
  let failure: unknown = new Fault(
    'slot.refused',
    'no signed boot policy fits this start of the machine: sign one for it',
  );
  for (const policy of signed.policies.slice(0, POLICIES_MAX)) {
    const session = await startSession(esys, srk, 'policy');
    try {
      await bootPolicy(esys, srk, session, mask, signed.index, policy.version);
    } catch (error) {
      if (!(error instanceof TpmError)) throw error;
      failure = error;
      await esys.flush(session);
      continue;
    }
    if ((await policyDigest(esys, session)).equals(policy.digest)) {
      await authorize(esys, session, signed, policy);
      return { session, version: policy.version };
    }
    await esys.flush(session);
  }
  throw failure;
}

async function authorize(esys: Esys, session: number, signed: Signed, policy: SignedPolicy): Promise<void> {
  const area = signerPublic(signed.point);
  const loaded = [0];
  await esys.call('LoadExternal', ...NO_SESSIONS, null, esys.struct('TPM2B_PUBLIC', area), OWNER, loaded);
  const key = esys.keep(loaded[0] ?? 0);
  const reference = policyReference(signed.applianceId);
  const { signature } = policy;
  const wire = Buffer.concat([u16(0x18), u16(0x0b), sized(signature.subarray(0, 32)), sized(signature.subarray(32))]);
  const ticket = await output(
    esys,
    'TPMT_TK_VERIFIED',
    'VerifySignature',
    key,
    ...NO_SESSIONS,
    esys.struct('TPM2B_DIGEST', sized(sha256(policy.digest, reference))),
    esys.struct('TPMT_SIGNATURE', wire),
  );
  await esys.flush(key);
  await esys.call(
    'PolicyAuthorize',
    session,
    ...NO_SESSIONS,
    esys.struct('TPM2B_DIGEST', sized(policy.digest)),
    esys.struct('TPM2B_DIGEST', sized(reference)),
    esys.struct('TPM2B_NAME', sized(nameOf(area))),
    esys.struct('TPMT_TK_VERIFIED', ticket),
  );
}

/** Raises the version index: what is older than `version` does not open the slot again. */
export async function raiseVersion(esys: Esys, srk: Srk, index: number, version: bigint): Promise<void> {
  const counter = await openCounter(esys, index);
  let count = await readCounter(esys, srk, counter);
  if (version - count > STEP_MAX) {
    throw new Fault(
      'slot.refused',
      `the boot policy's version is more than ${STEP_MAX} ahead: sign it with the next one`,
    );
  }
  while (count < version) count = await incrementCounter(esys, srk, counter);
}
