/** ChaCha20-Poly1305 (RFC 8439 section 2.8) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2). */
import { copy, equalBytes, wipe } from '../bytes';
import { chacha20, xorBytes } from './chacha20';
import { polyFinish, polyPadded, polyStart } from './poly1305';
import { hchacha20, stream2, xor4 } from './rounds';

/** Key stream of the first blocks: the Poly1305 key is block 0's first half, the message begins with block 1. */
const head = memory.data(256, 16);
const HEAD_SIZE: u32 = 192;
/** What two blocks in rows give: they cost less than four in lanes. */
const SHORT_SIZE: u32 = 64;

const subkey = memory.data(32, 16);
const nonce12 = memory.data(16, 16);
const lengths = memory.data(16, 16);
const tag = memory.data(16, 16);

function begin(key: usize, nonce: usize, length: u32): void {
  if (length <= SHORT_SIZE) stream2(head, key, 0, nonce);
  else xor4(head, head, key, 0, nonce);
}

/** XORs the whole message: its beginning with what `begin` left. */
function crypt(out: usize, key: usize, nonce: usize, input: usize, length: u32): void {
  const short = length < HEAD_SIZE ? length : HEAD_SIZE;
  xorBytes(out, input, head + 64, short);
  if (length > HEAD_SIZE) chacha20(out + HEAD_SIZE, key, 4, nonce, input + HEAD_SIZE, length - HEAD_SIZE);
}

function authenticate(out: usize, ad: usize, adLength: u32, ciphertext: usize, length: u32): void {
  polyStart(head);
  polyPadded(ad, adLength);
  polyPadded(ciphertext, length);
  store<u64>(lengths, <u64>adLength);
  store<u64>(lengths, <u64>length, 8);
  polyPadded(lengths, 16);
  polyFinish(out);
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
  begin(key, nonce, length);
  crypt(out, key, nonce, plaintext, length);
  authenticate(out + length, ad, adLength, out, length);
  wipe(head, 256);
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
  begin(key, nonce, length);
  authenticate(tag, ad, adLength, ciphertext, length);
  const good = equalBytes(tag, ciphertext + length, 16);
  wipe(tag, 16);
  // The verdict is public; what is secret is the tag, and it was compared in constant time.
  if (good == 1) crypt(out, key, nonce, ciphertext, length);
  wipe(head, 256);
  return good;
}

function extend(key: usize, nonce: usize): void {
  hchacha20(subkey, key, nonce);
  store<u32>(nonce12, 0);
  copy(nonce12 + 4, nonce + 16, 8);
}

/**
 * Writes `length` bytes of ciphertext and the 16 of the tag.
 *
 * @param out  `length` + 16 bytes; may equal `plaintext`, must not overlap it otherwise
 * @param key  32 bytes @param nonce 24 bytes, never used twice under one key
 */
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
  chachaSeal(out, subkey, nonce12, ad, adLength, plaintext, length);
  wipe(subkey, 32);
}

/**
 * Writes the plaintext, and only if the tag is right.
 *
 * @param out     `length` bytes; may equal `ciphertext`, must not overlap it otherwise
 * @param length  of the ciphertext, whose tag follows it
 * @returns 1, or 0 with nothing written
 */
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
  const good = chachaOpen(out, subkey, nonce12, ad, adLength, ciphertext, length);
  wipe(subkey, 32);
  return good;
}
