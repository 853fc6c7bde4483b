/** ChaCha20-Poly1305 (RFC 8439 section 2.8) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 section 2). */
import { copy, wipe, wipeVectors } from '../bytes';
import { STAGE, STAGE_SIZE } from '../memory';
import { chacha20, xorBytes } from './chacha20';
import { equalTags, polyFinish, polyPadded, polyStart, polyState } from './poly1305';
import { hchacha20, stream2, xor4, xor4poly } from './rounds';

/**
 * Key stream of block 0, whose first half is the Poly1305 key, and of the last blocks, which make no whole step of 256
 * bytes: they are computed together. Zeros in between.
 */
const head = memory.data(256, 16);
const TAIL: u32 = 64;
const TAIL_SIZE: u32 = 192;
/** Up to here two blocks in rows do, which cost less than four in lanes. */
const SHORT_SIZE: u32 = 64;
const STEP: u32 = 256;

const subkey = memory.data(32, 16);
const nonce12 = memory.data(16, 16);
const lengths = memory.data(16, 16);
const tag = memory.data(16, 16);

function begin(key: usize, nonce: usize, ad: usize, adLength: u32, length: u32): void {
  const last = 1 + ((length >>> 8) << 2);
  if ((length & 255) <= SHORT_SIZE) stream2(head, key, 0, last, nonce);
  else xor4(head, head, key, 0, last, nonce);
  polyStart(head);
  polyPadded(ad, adLength);
}

/** XORs what is behind the whole steps. */
function cryptTail(out: usize, key: usize, nonce: usize, input: usize, length: u32): void {
  const whole = length & ~255;
  const tail = length & 255;
  xorBytes(out + whole, input + whole, head + TAIL, min(tail, TAIL_SIZE));
  if (tail > TAIL_SIZE) {
    const at = whole + TAIL_SIZE;
    chacha20(out + at, key, 1 + (at >>> 6), nonce, input + at, tail - TAIL_SIZE);
  }
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
  const whole = length & ~255;
  let absorbed: u32 = 0;
  for (let done: u32 = 0; done < whole; done += STEP) {
    // Poly1305 follows one step behind.
    const pairs = (done - absorbed) >>> 5;
    xor4poly(out + done, plaintext + done, key, 1 + (done >>> 6), nonce, polyState, out + absorbed, pairs);
    absorbed = done;
  }
  cryptTail(out, key, nonce, plaintext, length);
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
  const whole = length & ~255;
  let done: u32 = 0;
  if (length <= STAGE_SIZE) {
    // Deciphered beside Poly1305, but to a place of our own until the tag is known.
    for (; done < whole; done += STEP) {
      const from = ciphertext + done;
      xor4poly(STAGE + done, from, key, 1 + (done >>> 6), nonce, polyState, from, 8);
    }
  }
  finish(tag, ciphertext + done, length - done, adLength, length);
  const good = equalTags(tag, ciphertext + length);
  wipeVectors(tag, 1);
  // The verdict is public; what is secret is the tag, and it was compared in constant time.
  if (good == 1) {
    // In this order: in place, the steps overwrite nothing that the tail reads.
    if (done > 0) copy(out, STAGE, done);
    else if (whole > 0) chacha20(out, key, 1, nonce, ciphertext, whole);
    cryptTail(out, key, nonce, ciphertext, length);
  }
  if (done > 0) wipe(STAGE, done);
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
