/**
 * An independent verifier of a transparency log's folder, written from the texts alone: C2SP tlog-tiles, tlog-checkpoint and
 * signed-note, RFC 6962 section 2.1 (tree), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (proofs). Imports nothing of host or core.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
export const leafHash = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry);
const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right);

/** RFC 6962 section 2.1, as it is written, over leaf hashes. */
export function merkleTreeHash(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0] as Buffer;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(merkleTreeHash(leaves.slice(0, k)), merkleTreeHash(leaves.slice(k)));
}

/** RFC 9162 section 2.1.3.2. */
export function verifyInclusion(
  leaf: Buffer,
  index: number,
  size: number,
  proof: readonly Buffer[],
  root: Buffer,
): boolean {
  if (index >= size) return false;
  let fn = BigInt(index);
  let sn = BigInt(size - 1);
  let r = leaf;
  for (const p of proof) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      r = nodeHash(p, r);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = nodeHash(r, p);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && r.equals(root);
}

/** RFC 9162 section 2.1.4.2. */
export function verifyConsistency(
  first: number,
  second: number,
  firstRoot: Buffer,
  secondRoot: Buffer,
  proof: readonly Buffer[],
): boolean {
  if (first === second) return proof.length === 0 && firstRoot.equals(secondRoot);
  if (first === 0) return proof.length === 0;
  if (proof.length === 0) return false;
  const path = (first & (first - 1)) === 0 ? [firstRoot, ...proof] : [...proof];
  let fn = BigInt(first - 1);
  let sn = BigInt(second - 1);
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let fr = path[0] as Buffer;
  let sr = path[0] as Buffer;
  for (const c of path.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = nodeHash(sr, c);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && fr.equals(firstRoot) && sr.equals(secondRoot);
}

/** signed-note: a verifier key is name, key id in hex, and base64 of algorithm byte and public key. */
export function openSignedNote(note: string, verifierKey: string): string {
  const [, name = '', id = '', typed = ''] = /^([^+\s]+)\+([0-9a-f]{8})\+(.+)$/.exec(verifierKey.trim()) ?? [];
  const key = Buffer.from(typed, 'base64');
  if (key[0] !== 1 || key.length !== 33) throw new Error('not an Ed25519 verifier key');
  const keyId = sha256(Buffer.from(`${name}\n`), key).subarray(0, 4);
  if (keyId.toString('hex') !== id) throw new Error('the key id does not belong to the key');
  const at = note.lastIndexOf('\n\n');
  if (at < 0) throw new Error('no signature block');
  const text = note.slice(0, at + 1);
  const publicKey = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: key.subarray(1).toString('base64url') },
    format: 'jwk',
  });
  for (const line of note
    .slice(at + 2)
    .trimEnd()
    .split('\n')) {
    const [, signer, encoded = ''] = /^\u2014 ([^+\s]+) (\S+)$/.exec(line) ?? [];
    const blob = Buffer.from(encoded, 'base64');
    if (signer !== name || !blob.subarray(0, 4).equals(keyId)) continue;
    if (!verify(null, Buffer.from(text), publicKey, blob.subarray(4))) throw new Error('wrong signature');
    return text;
  }
  throw new Error('not signed by this key');
}

export interface ReferenceCheckpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** tlog-checkpoint: origin, size, root, each on its line. */
export function readCheckpoint(note: string, verifierKey: string): ReferenceCheckpoint {
  const [origin = '', size = '', root = ''] = openSignedNote(note, verifierKey).split('\n');
  if (!/^(0|[1-9]\d*)$/.test(size)) throw new Error('the size is not decimal');
  const hash = Buffer.from(root, 'base64');
  if (hash.length !== 32) throw new Error('the root is not 32 bytes');
  return { origin, size: Number(size), root: hash };
}

/** tlog-tiles: N as groups of three digits, all but the last with an x before them. */
export function tilePathOf(level: number, index: number, width: number): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0');
  const groups = digits.match(/\d{3}/g) ?? [];
  const name = groups.map((group, at) => (at === groups.length - 1 ? group : `x${group}`)).join('/');
  return `tile/${level}/${name}${width === 256 ? '' : `.p/${width}`}`;
}

/** Every hash of one level that a tree of `size` has in tiles. */
function readLevel(folder: string, level: number, size: number): Buffer[] {
  const count = Math.floor(size / 256 ** level);
  const hashes: Buffer[] = [];
  for (let index = 0; index * 256 < count; index++) {
    const width = Math.min(256, count - index * 256);
    const bytes = readFileSync(join(folder, tilePathOf(level, index, width)));
    if (bytes.length !== width * 32) throw new Error(`tile ${level}/${index} has a wrong length`);
    for (let at = 0; at < width; at++) hashes.push(bytes.subarray(at * 32, at * 32 + 32));
  }
  return hashes;
}

/**
 * Verifies a folder: every tile of every level against the leaf hashes in level 0, those against the signed root.
 *
 * @returns the leaf hashes @throws Error saying what does not agree
 */
export function verifyTiles(
  folder: string,
  verifierKey: string,
): { checkpoint: ReferenceCheckpoint; leaves: Buffer[] } {
  const checkpoint = readCheckpoint(readFileSync(join(folder, 'checkpoint'), 'utf8'), verifierKey);
  const leaves = readLevel(folder, 0, checkpoint.size);
  if (!merkleTreeHash(leaves).equals(checkpoint.root)) throw new Error('level 0 does not have the signed root');
  for (let level = 1; 256 ** level <= checkpoint.size; level++) {
    const span = 256 ** level;
    for (const [index, hash] of readLevel(folder, level, checkpoint.size).entries()) {
      const own = merkleTreeHash(leaves.slice(index * span, (index + 1) * span));
      if (!own.equals(hash)) throw new Error(`hash ${index} of level ${level} is wrong`);
    }
  }
  return { checkpoint, leaves };
}
