/** ChaCha20-Poly1305 (RFC 8439 section 2.8) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2). */
import { copy, equalBytes, wipe, wipeVectors } from '../bytes';
import { STAGE, STAGE_SIZE } from '../memory';
import { chacha20, xorBytes } from './chacha20';
import { polyFinish, polyPadded, polyStart, polyState } from './poly1305';
import { hchacha20, stream2, xor4, xor4poly } from './rounds';

/**
 * Key stream of the first blocks, zeros in between: the Poly1305 key is block 0's first half, the message begins with
 * block 1.
 */
const head = memory.data(256, 16);
const HEAD_SIZE: u32 = 192;
/** Up to here two blocks in rows do, which cost less than four in lanes. */
const SHORT_SIZE: u32 = 64;

const subkey = memory.data(32, 16);
const nonce12 = memory.data(16, 16);
const lengths = memory.data(16, 16);
const tag = memory.data(16, 16);

function begin(key: usize, nonce: usize, ad: usize, adLength: u32, length: u32): void {
  if (length <= SHORT_SIZE) stream2(head, key, 0, nonce);
  else xor4(head, head, key, 0, nonce);
  polyStart(head);
  polyPadded(ad, adLength);
}

/** Takes the last of the ciphertext, then both lengths. */
function finish(out: usize, rest: usize, restLength: u32, adLength: u32, length: u32): void {
  polyPadded(rest, restLength);
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
  begin(key, nonce, ad, adLength, length);
  let done = min(length, HEAD_SIZE);
  xorBytes(out, plaintext, head + 64, done);
  let counter: u32 = 4;
  let absorbed: u32 = 0;
  while (length - done >= 256) {
    // Poly1305 follows one step behind: first the 192 bytes of the head, then 256 at a time.
    xor4poly(out + done, plaintext + done, key, counter, nonce, polyState, out + absorbed, (done - absorbed) >>> 5);
    absorbed = done;
    done += 256;
    counter += 4;
  }
  if (done < length) chacha20(out + done, key, counter, nonce, plaintext + done, length - done);
  finish(out + length, out + absorbed, length - absorbed, adLength, length);
  wipeVectors(head, 16);
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
  begin(key, nonce, ad, adLength, length);
  const short = min(length, HEAD_SIZE);
  let done = short;
  let counter: u32 = 4;
  let absorbed: u32 = 0;
  if (length <= STAGE_SIZE) {
    // Deciphered beside Poly1305, but to a place of our own until the tag is known.
    while (length - done >= 256) {
      xor4poly(STAGE + done, ciphertext + done, key, counter, nonce, polyState, ciphertext + absorbed, 8);
      absorbed += 256;
      done += 256;
      counter += 4;
    }
  }
  finish(tag, ciphertext + absorbed, length - absorbed, adLength, length);
  const good = equalBytes(tag, ciphertext + length, 16);
  wipeVectors(tag, 1);
  // The verdict is public; what is secret is the tag, and it was compared in constant time.
  if (good == 1) {
    xorBytes(out, ciphertext, head + 64, short);
    if (done > short) copy(out + short, STAGE + short, done - short);
    if (done < length) chacha20(out + done, key, counter, nonce, ciphertext + done, length - done);
  }
  if (done > short) wipe(STAGE + short, done - short);
  wipeVectors(head, 16);
  return good;
}

function extend(key: usize, nonce: usize): void {
  hchacha20(subkey, key, nonce);
  store<u32>(nonce12, 0);
  store<u64>(nonce12, load<u64>(nonce, 16), 4);
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
  wipeVectors(subkey, 2);
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
  wipeVectors(subkey, 2);
  return good;
}
