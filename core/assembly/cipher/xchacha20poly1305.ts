/** XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2) over the AEAD of RFC 8439 section 2.8. */
import { copy, equalBytes, wipe } from '../bytes';
import { chacha20, hchacha20 } from './chacha20';
import { polyFinish, polyPadded, polyStart } from './poly1305';

const subkey = memory.data(32);
const nonce12 = memory.data(12);
const polyKey = memory.data(64);
const lengths = memory.data(16);
const tag = memory.data(16);

function authenticate(
  out: usize,
  key: usize,
  nonce: usize,
  ad: usize,
  adLength: u32,
  ciphertext: usize,
  length: u32,
): void {
  wipe(polyKey, 64);
  chacha20(polyKey, key, 0, nonce, polyKey, 64);
  polyStart(polyKey);
  polyPadded(ad, adLength);
  polyPadded(ciphertext, length);
  store<u64>(lengths, <u64>adLength);
  store<u64>(lengths, <u64>length, 8);
  polyPadded(lengths, 16);
  polyFinish(out);
  wipe(polyKey, 64);
}

function extend(key: usize, nonce: usize): void {
  hchacha20(subkey, key, nonce);
  store<u32>(nonce12, 0);
  copy(nonce12 + 4, nonce + 16, 8);
}

/** RFC 8439 section 2.8: nonce of 12 bytes. Otherwise as `xchachaSeal`. */
export function chachaSeal(
  out: usize,
  key: usize,
  nonce: usize,
  ad: usize,
  adLength: u32,
  plaintext: usize,
  length: u32,
): void {
  chacha20(out, key, 1, nonce, plaintext, length);
  authenticate(out + length, key, nonce, ad, adLength, out, length);
}

/** RFC 8439 section 2.8: nonce of 12 bytes. Otherwise as `xchachaOpen`. */
export function chachaOpen(
  out: usize,
  key: usize,
  nonce: usize,
  ad: usize,
  adLength: u32,
  ciphertext: usize,
  length: u32,
): u32 {
  authenticate(tag, key, nonce, ad, adLength, ciphertext, length);
  const good = equalBytes(tag, ciphertext + length, 16);
  wipe(tag, 16);
  if (good == 1) chacha20(out, key, 1, nonce, ciphertext, length);
  return good;
}

/** Writes `length` bytes of ciphertext and the 16 of the tag; `out` may equal `plaintext`. */
export function xchachaSeal(
  out: usize,
  key: usize,
  nonce: usize,
  ad: usize,
  adLength: u32,
  plaintext: usize,
  length: u32,
): void {
  extend(key, nonce);
  chacha20(out, subkey, 1, nonce12, plaintext, length);
  authenticate(out + length, subkey, nonce12, ad, adLength, out, length);
  wipe(subkey, 32);
}

/** @param length of the ciphertext, whose tag follows it @returns 1, or 0 with nothing written */
export function xchachaOpen(
  out: usize,
  key: usize,
  nonce: usize,
  ad: usize,
  adLength: u32,
  ciphertext: usize,
  length: u32,
): u32 {
  extend(key, nonce);
  authenticate(tag, subkey, nonce12, ad, adLength, ciphertext, length);
  const good = equalBytes(tag, ciphertext + length, 16);
  wipe(tag, 16);
  if (good == 1) chacha20(out, subkey, 1, nonce12, ciphertext, length);
  wipe(subkey, 32);
  return good;
}
