/** X25519 (RFC 7748) of node:crypto over raw 32-byte keys. */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Secret } from '../secret.ts';

/** What stands before the raw key in PKCS #8 and SubjectPublicKeyInfo (RFC 8410, sections 7 and 4). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');
const KEY_SIZE = 32;

function privateKeyOf(raw: Secret): KeyObject {
  using der = new Secret(Buffer.concat([PKCS8_PREFIX, raw.bytes]));
  return createPrivateKey({
    key: Buffer.from(der.bytes.buffer, der.bytes.byteOffset, der.length),
    format: 'der',
    type: 'pkcs8',
  });
}

const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });

const rawOf = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length);

function agree(privateKey: KeyObject, publicKey: KeyObject): Secret {
  // OpenSSL refuses a result of zeros (a public key of low order) by throwing: RFC 7748, section 6.1.
  return new Secret(diffieHellman({ privateKey, publicKey }));
}

/** @param raw  32 bytes, clamped by the use itself */
export function publicKey(raw: Secret): Buffer {
  if (raw.length !== KEY_SIZE) throw new RangeError('an X25519 key has 32 bytes');
  return rawOf(createPublicKey(privateKeyOf(raw)));
}

/** A fresh key pair agrees with `recipient`. @returns the shared secret, owned by the caller, and the fresh public key */
export function encapsulate(recipient: Uint8Array): { readonly shared: Secret; readonly enc: Buffer } {
  const fresh = generateKeyPairSync('x25519');
  return { shared: agree(fresh.privateKey, publicKeyOf(recipient)), enc: rawOf(fresh.publicKey) };
}

/** @throws Error of OpenSSL if `enc` is of low order */
export function decapsulate(raw: Secret, enc: Uint8Array): Secret {
  return agree(privateKeyOf(raw), publicKeyOf(enc));
}
