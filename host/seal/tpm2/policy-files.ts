/**
 * Signed boot policies and the key of who signs them, as files (core/spec/tpm2.md): read when a slot is made or opened, so
 * that a policy for the next firmware can be put there while the box runs.
 */
import { createPublicKey } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import type { SignedPolicy } from './policy.ts';

const FILE_SIZE_MAX = 4096;
const FILES_MAX = 8;
const VERSION_MAX = 2 ** 32;

/** @returns x ‖ y of the P-256 key in a PEM file @throws Fault `slot.unavailable` */
export function readSigner(path: string): Buffer {
  try {
    const { kty, crv, x = '', y = '' } = createPublicKey(readSmall(path)).export({ format: 'jwk' });
    const point = Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
    if (kty === 'EC' && crv === 'P-256' && point.length === 64) return point;
  } catch {
    // Whatever is wrong with it, the sentence is the same.
  }
  throw new Fault(
    'slot.unavailable',
    `the key in seal.tpm2.signerFile cannot be used: ${path} must be a public key on P-256 in PEM`,
  );
}

/**
 * @returns the newest version first
 * @throws Fault `slot.unavailable` naming the file that is none: an operator meant it to count
 */
export function readPolicies(folder: string): readonly SignedPolicy[] {
  let names: readonly string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  } catch {
    throw new Fault('slot.unavailable', `the folder in seal.tpm2.policyFolder cannot be read: ${folder}`);
  }
  if (names.length > FILES_MAX)
    throw new Fault('slot.unavailable', `${folder} holds more than ${FILES_MAX} boot policies: take old ones away`);
  return names
    .map((name) => {
      const policy = parsePolicy(join(folder, name));
      if (policy === undefined)
        throw new Fault('slot.unavailable', `${join(folder, name)} is no signed boot policy: sign it anew`);
      return policy;
    })
    .sort((a, b) => Number(b.version - a.version));
}

function parsePolicy(path: string): SignedPolicy | undefined {
  try {
    const { version, digest, signature, ...rest } = JSON.parse(readSmall(path)) as Readonly<Record<string, unknown>>;
    if (Object.keys(rest).length > 0 || typeof version !== 'number') return undefined;
    if (!Number.isInteger(version) || version < 0 || version >= VERSION_MAX) return undefined;
    const bytes = { digest: hex(digest, 32), signature: hex(signature, 64) };
    if (bytes.digest === undefined || bytes.signature === undefined) return undefined;
    return { version: BigInt(version), digest: bytes.digest, signature: bytes.signature };
  } catch {
    return undefined;
  }
}

function hex(value: unknown, size: number): Buffer | undefined {
  if (typeof value !== 'string' || value.length !== size * 2 || !/^[0-9a-f]*$/.test(value)) return undefined;
  return Buffer.from(value, 'hex');
}

function readSmall(path: string): string {
  const status = statSync(path);
  if (!status.isFile() || status.size > FILE_SIZE_MAX) throw new Error('no small file');
  return readFileSync(path, 'utf8');
}
