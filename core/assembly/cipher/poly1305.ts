/**
 * Poly1305 (RFC 8439 section 2.5) in four limbs of 32 bits, the last of 34, carried lazily. The clamped r has limbs below
 * 2^28, and its limbs 1 to 3 are multiples of 4: a limb that passes 2^128 comes back times s = 5/4 r, so 16 products do.
 *
 * Bounds, in units of 2^32 with the message added: h1, h2 <= 2, h3 <= 4 + 1 + 1 (the bit above the block), and h0 <= 2 + 5/64
 * (h0 + 10), that is 3.02. The largest sum of products is 3.02 + 5/4 (2 + 2 + 6) = 15.52 units of 2^60: it fits 64 bits.
 */
import { wipeVectors } from '../bytes';

const MASK: u64 = 0xffffffff;
const MASK_TOP: u64 = 0x3ffffffff;

/** h 4 × 8, r 4 × 8, the key's second half 16; then one padded block. `xor4poly` continues the first two. */
export const polyState = memory.data(80, 16);
const padded = memory.data(16, 16);
const R: u32 = 32;
const PAD: u32 = 64;

/** @param key one-time key, 32 bytes */
// constant-time
export function polyStart(key: usize): void {
  wipeVectors(polyState, 2);
  store<u64>(polyState, <u64>(load<u32>(key) & 0x0fffffff), R);
  store<u64>(polyState, <u64>(load<u32>(key, 4) & 0x0ffffffc), R + 8);
  store<u64>(polyState, <u64>(load<u32>(key, 8) & 0x0ffffffc), R + 16);
  store<u64>(polyState, <u64>(load<u32>(key, 12) & 0x0ffffffc), R + 24);
  v128.store(polyState, v128.load(key, 16), PAD);
}

/** Whole blocks of 16 bytes. */
// constant-time
function blocks(data: usize, count: u32): void {
  const r0 = load<u64>(polyState, R);
  const r1 = load<u64>(polyState, R + 8);
  const r2 = load<u64>(polyState, R + 16);
  const r3 = load<u64>(polyState, R + 24);
  const s1 = r1 + (r1 >> 2);
  const s2 = r2 + (r2 >> 2);
  const s3 = r3 + (r3 >> 2);
  let h0 = load<u64>(polyState);
  let h1 = load<u64>(polyState, 8);
  let h2 = load<u64>(polyState, 16);
  let h3 = load<u64>(polyState, 24);
  for (let left = count; left != 0; left--) {
    h0 += <u64>load<u32>(data);
    h1 += <u64>load<u32>(data, 4);
    h2 += <u64>load<u32>(data, 8);
    h3 += <u64>load<u32>(data, 12) + 0x100000000;
    data += 16;
    const d0 = h0 * r0 + h1 * s3 + (h2 * s2 + h3 * s1);
    const d1 = h0 * r1 + h1 * r0 + (h2 * s3 + h3 * s2) + (d0 >> 32);
    const d2 = h0 * r2 + h1 * r1 + (h2 * r0 + h3 * s3) + (d1 >> 32);
    const d3 = h0 * r3 + h1 * r2 + (h2 * r1 + h3 * r0) + (d2 >> 32);
    h0 = (d0 & MASK) + (d3 >> 34) * 5;
    h1 = d1 & MASK;
    h2 = d2 & MASK;
    h3 = d3 & MASK_TOP;
  }
  store<u64>(polyState, h0);
  store<u64>(polyState, h1, 8);
  store<u64>(polyState, h2, 16);
  store<u64>(polyState, h3, 24);
}

/**
 * Message parts, each padded with zeros to 16 bytes as the AEAD construction wants it. The last block is read whole and
 * cut, so up to 15 bytes behind the part are read: no region ends where memory does.
 */
export function polyPadded(data: usize, length: u32): void {
  blocks(data, length >>> 4);
  const rest = length & 15;
  if (rest != 0) {
    const kept = i8x16.lt_u(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>rest));
    v128.store(padded, v128.and(v128.load(data + length - rest), kept));
    blocks(padded, 1);
  }
}

/** Writes the tag, 16 bytes, and forgets key and message. */
// constant-time
export function polyFinish(out: usize): void {
  let h0 = load<u64>(polyState);
  let h1 = load<u64>(polyState, 8) + (h0 >> 32);
  let h2 = load<u64>(polyState, 16) + (h1 >> 32);
  let h3 = load<u64>(polyState, 24) + (h2 >> 32);
  // Now below 2^131; what is above 2^130 comes back times 5, and then once more.
  h0 = (h0 & MASK) + (h3 >> 34) * 5;
  h1 = (h1 & MASK) + (h0 >> 32);
  h2 = (h2 & MASK) + (h1 >> 32);
  h3 = (h3 & MASK_TOP) + (h2 >> 32);
  h0 = (h0 & MASK) + (h3 >> 34) * 5;
  h1 = (h1 & MASK) + (h0 >> 32);
  h2 = (h2 & MASK) + (h1 >> 32);
  h3 = (h3 & MASK_TOP) + (h2 >> 32);
  // h + 5 passes 2^130 exactly if h >= 2^130 - 5: then h - p is its lower 130 bits, of which the tag takes 128.
  const g0 = (h0 & MASK) + 5;
  const g1 = (h1 & MASK) + (g0 >> 32);
  const g2 = (h2 & MASK) + (g1 >> 32);
  const g3 = h3 + (g2 >> 32);
  const reduced: u64 = 0 - (g3 >> 34);
  const low = (h0 & MASK) | (h1 << 32);
  const high = (h2 & MASK) | (h3 << 32);
  const lowReduced = (g0 & MASK) | (g1 << 32);
  const highReduced = (g2 & MASK) | (g3 << 32);
  const lower = (low & ~reduced) | (lowReduced & reduced);
  const upper = (high & ~reduced) | (highReduced & reduced);
  const sum = lower + load<u64>(polyState, PAD);
  // The carry without a comparison: out of bit 63 of the sum.
  const carry = ((lower & load<u64>(polyState, PAD)) | ((lower | load<u64>(polyState, PAD)) & ~sum)) >> 63;
  const sumUpper = upper + load<u64>(polyState, PAD + 8) + carry;
  store<u64>(out, sum);
  store<u64>(out, sumUpper, 8);
  wipeVectors(polyState, 5);
  wipeVectors(padded, 1);
}

/** @returns 1 if two tags of 16 bytes are equal, else 0 */
// constant-time
export function equalTags(a: usize, b: usize): u32 {
  return 1 - <u32>v128.any_true(v128.xor(v128.load(a), v128.load(b)));
}
