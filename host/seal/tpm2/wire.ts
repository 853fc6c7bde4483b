/** The exact bytes that the TPM sees: templates, selections, policy digests (TPM 2.0 Part 2 and 3). Big-endian throughout. */
import { createHash } from 'node:crypto';

export const OWNER = 0x101;
export const LOCKOUT = 0x10a;
export const PASSWORD = 0x0ff;
export const NONE = 0xfff;
export const ALG_SHA256 = 0x000b;
export const NO_SESSIONS = [NONE, NONE, NONE] as const;
export const SESSION = { hmac: 0, policy: 1, trial: 3 } as const;
/** continueSession, decrypt (parameters to the TPM), encrypt (parameters from it). */
export const SESSION_FLAGS = 0x61;
/** AES-128-CFB, as TPMT_SYM_DEF. */
export const AES_CFB = Buffer.from('000600800043', 'hex');
export const UNSIGNED_LE = 0x0009;
export const CC_POLICY_AUTHORIZE = 0x16a;
export const CC_POLICY_AUTH_VALUE = 0x16b;
/** NT_COUNTER, AUTHREAD, AUTHWRITE, NO_DA, OWNERREAD; never ORDERLY. */
export const COUNTER_ATTRIBUTES = 0x0206_0014;
export const NV_WRITTEN = 0x2000_0000;

export const u16 = (value: number): Buffer => Buffer.of(value >>> 8, value & 0xff);
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
/** A length of two bytes, then the bytes: every TPM2B. */
export const sized = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);
export const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** ECC P-256 storage key, attributes 0x30472, AES-128-CFB, `unique` empty (zeroed would be another key). */
export const SRK_TEMPLATE = sized(Buffer.from('0023000b00030472000000060080004300100003001000000000', 'hex'));
export const NO_SENSITIVE = sized(Buffer.from('00000000', 'hex'));

/** KEYEDHASH, fixedTPM and fixedParent, noDA where no PIN is asked; opened by the policy alone. */
export function sealedTemplate(policy: Uint8Array, noDa: boolean): Buffer {
  return sized(Buffer.concat([u16(8), u16(ALG_SHA256), u32(noDa ? 0x412 : 0x12), sized(policy), u16(0x10), u16(0)]));
}

/** A P-256 key for verifying only (ECDSA with SHA-256), from its point. */
export function signerPublic(point: Uint8Array): Buffer {
  const head = Buffer.from('0023000b00040040000000100018000b00030010', 'hex');
  return sized(Buffer.concat([head, sized(point.subarray(0, 32)), sized(point.subarray(32))]));
}

/** The Name of a public area given as TPM2B_PUBLIC or TPM2B_NV_PUBLIC. */
export const nameOf = (area: Uint8Array): Buffer => Buffer.concat([u16(ALG_SHA256), sha256(area.subarray(2))]);

export function counterPublic(index: number, written: boolean): Buffer {
  const attributes = (COUNTER_ATTRIBUTES | (written ? NV_WRITTEN : 0)) >>> 0;
  return sized(Buffer.concat([u32(index), u16(ALG_SHA256), u32(attributes), u16(0), u16(8)]));
}

/** @param pcrs  numbers from 0 to 23 */
export const pcrMask = (pcrs: readonly number[]): number => pcrs.reduce((mask, pcr) => mask | (1 << pcr), 0);

/** TPML_PCR_SELECTION of the SHA-256 bank; bit n of `mask` is PCR n, 0 to 23. */
export const pcrSelection = (mask: number): Buffer =>
  Buffer.concat([u32(1), u16(ALG_SHA256), Buffer.of(3, mask & 0xff, (mask >>> 8) & 0xff, (mask >>> 16) & 0xff)]);

/** Policy digest after PolicyAuthorize by the key of that Name, whatever it was before. */
export function authorizedPolicy(signerName: Uint8Array, reference: Uint8Array): Buffer {
  return sha256(sha256(Buffer.alloc(32), u32(CC_POLICY_AUTHORIZE), signerName), reference);
}
export const withAuthValue = (policy: Uint8Array): Buffer => sha256(policy, u32(CC_POLICY_AUTH_VALUE));

/** What a policy's signature is bound to: this appliance. */
export const policyReference = (applianceId: Uint8Array): Buffer =>
  sha256(Buffer.from('holdfast/v1/tpm2-policy', 'ascii'), applianceId);
