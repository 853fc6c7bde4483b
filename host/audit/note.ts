/** Signed notes (C2SP signed-note) and checkpoints (C2SP tlog-checkpoint), Ed25519. */
import { createHash, type KeyObject, sign, verify } from 'node:crypto';
import { HASH_SIZE, TREE_SIZE_MAX } from './tree.ts';

const ALGORITHM_ED25519 = 1;
const ED25519_KEY_SIZE = 32;
const ED25519_SIGNATURE_SIZE = 64;
const KEY_ID_SIZE = 4;
/** A note of ours has a few hundred bytes; witnesses may add lines. */
const NOTE_SIZE_MAX = 16_384;

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

export interface VerifierKey {
  readonly name: string;
  readonly id: Uint8Array;
  /** Raw Ed25519 public key. */
  readonly publicKey: Uint8Array;
}

/** Raw public key of a node:crypto Ed25519 key, public or private. */
export function rawPublicKey(key: KeyObject): Uint8Array {
  const x = key.export({ format: 'jwk' }).x;
  return Buffer.from(x ?? '', 'base64url');
}

export function verifierKey(name: string, publicKey: Uint8Array): VerifierKey {
  const digest = createHash('sha256').update(`${name}\n`).update(Uint8Array.of(ALGORITHM_ED25519)).update(publicKey);
  return { name, id: digest.digest().subarray(0, KEY_ID_SIZE), publicKey: Uint8Array.from(publicKey) };
}

/** `name+id in hex+base64(algorithm ‖ key)`: the form in which a verifier is given a key. */
export function encodeVerifierKey(key: VerifierKey): string {
  const typed = Buffer.concat([Uint8Array.of(ALGORITHM_ED25519), key.publicKey]);
  return `${key.name}+${Buffer.from(key.id).toString('hex')}+${typed.toString('base64')}`;
}

/** Strict base64: what Node skips is refused. */
function base64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

/** @returns undefined for anything but an Ed25519 key whose id fits */
export function parseVerifierKey(text: string): VerifierKey | undefined {
  const parts = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const typed = base64(parts?.[3] ?? '');
  if (parts === null || typed === undefined || typed.length !== 1 + ED25519_KEY_SIZE) return undefined;
  if (typed[0] !== ALGORITHM_ED25519) return undefined;
  const key = verifierKey(parts[1] ?? '', typed.subarray(1));
  return Buffer.from(key.id).toString('hex') === parts[2] ? key : undefined;
}

export const checkpointText = (checkpoint: Checkpoint): string =>
  `${checkpoint.origin}\n${checkpoint.size}\n${Buffer.from(checkpoint.root).toString('base64')}\n`;

/** @param text ends in LF @returns the signature line, with its LF */
function signatureLine(text: string, key: VerifierKey, privateKey: KeyObject): string {
  const signature = sign(null, Buffer.from(text, 'utf8'), privateKey);
  return `\u2014 ${key.name} ${Buffer.concat([key.id, signature]).toString('base64')}\n`;
}

/** @param signers one or more; the log's own first */
export function signNote(
  text: string,
  signers: readonly { readonly key: VerifierKey; readonly privateKey: KeyObject }[],
): string {
  return `${text}\n${signers.map(({ key, privateKey }) => signatureLine(text, key, privateKey)).join('')}`;
}

/** Node takes a raw Ed25519 key only inside its SPKI frame. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

export function verifySignature(key: VerifierKey, text: string, signature: Uint8Array): boolean {
  const spki = Buffer.concat([SPKI_PREFIX, key.publicKey]);
  return verify(null, Buffer.from(text, 'utf8'), { key: spki, format: 'der', type: 'spki' }, signature);
}

/**
 * The text of a note that `key` signed; other signatures are passed over.
 *
 * @returns undefined if the note is malformed, not signed by the key, or any signature of the key is wrong
 */
export function openNote(note: string, key: VerifierKey): string | undefined {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || note.length > NOTE_SIZE_MAX || !note.endsWith('\n')) return undefined;
  const text = note.slice(0, end + 1);
  let signed = false;
  for (const line of note.slice(end + 2, -1).split('\n')) {
    const parts = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/.exec(line);
    const bytes = base64(parts?.[2] ?? '');
    if (parts === null || bytes === undefined || bytes.length <= KEY_ID_SIZE) return undefined;
    if (parts[1] !== key.name || !bytes.subarray(0, KEY_ID_SIZE).equals(key.id)) continue;
    if (bytes.length !== KEY_ID_SIZE + ED25519_SIGNATURE_SIZE) return undefined;
    if (!verifySignature(key, text, bytes.subarray(KEY_ID_SIZE))) return undefined;
    signed = true;
  }
  return signed ? text : undefined;
}

/** The three lines of a checkpoint; extension lines after them are passed over. @returns undefined if malformed */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  const [origin, size, root, ...rest] = text.split('\n');
  if (origin === undefined || origin === '' || rest.at(-1) !== '' || rest.slice(0, -1).includes('')) return undefined;
  if (size === undefined || !/^(0|[1-9][0-9]{0,15})$/.test(size) || Number(size) > TREE_SIZE_MAX) return undefined;
  const hash = base64(root ?? '');
  if (hash === undefined || hash.length !== HASH_SIZE) return undefined;
  return { origin, size: Number(size), root: hash };
}

/** A checkpoint that one of the keys signed under its own name. @returns undefined for anything else */
export function openCheckpoint(note: string, keys: readonly VerifierKey[]): Checkpoint | undefined {
  for (const key of keys) {
    const text = openNote(note, key);
    const checkpoint = text === undefined ? undefined : parseCheckpoint(text);
    if (checkpoint !== undefined && checkpoint.origin === key.name) return checkpoint;
  }
  return undefined;
}
