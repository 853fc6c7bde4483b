/** ChaCha20-Poly1305 (RFC 8439 section 2.8) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2). */
import { chacha20, chacha20Block, hchacha20 } from './chacha20.ts';
import { poly1305 } from './poly1305.ts';

const padding = (length: number): Buffer => Buffer.alloc((16 - (length % 16)) % 16);

function lengthBytes(length: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(length);
  return bytes;
}

/** @returns ciphertext and tag */
export function chachaSeal(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, plaintext: Uint8Array): Buffer {
  const ciphertext = chacha20(key, 1, nonce, plaintext);
  const authenticated = Buffer.concat([
    ad,
    padding(ad.length),
    ciphertext,
    padding(ciphertext.length),
    lengthBytes(ad.length),
    lengthBytes(ciphertext.length),
  ]);
  return Buffer.concat([ciphertext, poly1305(chacha20Block(key, 0, nonce).subarray(0, 32), authenticated)]);
}

export function xchachaSeal(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, plaintext: Uint8Array): Buffer {
  const subkey = hchacha20(key, nonce.subarray(0, 16));
  return chachaSeal(subkey, Buffer.concat([Buffer.alloc(4), nonce.subarray(16)]), ad, plaintext);
}
