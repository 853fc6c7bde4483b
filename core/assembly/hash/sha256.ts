/** SHA-256 (FIPS 180-4 section 6.2). */
import { copy, loadU32, storeU32, storeU64, wipe } from '../bytes';

/** Context: state 32, bytes hashed 8, block 64. */
export const SHA256_CONTEXT_SIZE: u32 = 104;
const COUNT: u32 = 32;
const BLOCK: u32 = 40;

const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
]);
const W = memory.data(256);
const scratch = memory.data(104);

function compress(state: usize, block: usize): void {
  for (let i: usize = 0; i < 16; i++) store<u32>(W + i * 4, loadU32(block + i * 4));
  for (let i: usize = 16; i < 64; i++) {
    const x = load<u32>(W + (i - 15) * 4);
    const y = load<u32>(W + (i - 2) * 4);
    const s0 = rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >>> 3);
    const s1 = rotr<u32>(y, 17) ^ rotr<u32>(y, 19) ^ (y >>> 10);
    store<u32>(W + i * 4, load<u32>(W + (i - 16) * 4) + s0 + load<u32>(W + (i - 7) * 4) + s1);
  }
  let a = load<u32>(state),
    b = load<u32>(state, 4),
    c = load<u32>(state, 8),
    d = load<u32>(state, 12);
  let e = load<u32>(state, 16),
    f = load<u32>(state, 20),
    g = load<u32>(state, 24),
    h = load<u32>(state, 28);
  for (let i: usize = 0; i < 64; i++) {
    const t1 =
      h +
      (rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25)) +
      ((e & f) ^ (~e & g)) +
      load<u32>(K + i * 4) +
      load<u32>(W + i * 4);
    const t2 = (rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  store<u32>(state, load<u32>(state) + a);
  store<u32>(state, load<u32>(state, 4) + b, 4);
  store<u32>(state, load<u32>(state, 8) + c, 8);
  store<u32>(state, load<u32>(state, 12) + d, 12);
  store<u32>(state, load<u32>(state, 16) + e, 16);
  store<u32>(state, load<u32>(state, 20) + f, 20);
  store<u32>(state, load<u32>(state, 24) + g, 24);
  store<u32>(state, load<u32>(state, 28) + h, 28);
}

export function sha256Start(ctx: usize): void {
  store<u32>(ctx, 0x6a09e667);
  store<u32>(ctx, 0xbb67ae85, 4);
  store<u32>(ctx, 0x3c6ef372, 8);
  store<u32>(ctx, 0xa54ff53a, 12);
  store<u32>(ctx, 0x510e527f, 16);
  store<u32>(ctx, 0x9b05688c, 20);
  store<u32>(ctx, 0x1f83d9ab, 24);
  store<u32>(ctx, 0x5be0cd19, 28);
  store<u64>(ctx, 0, COUNT);
}

export function sha256Update(ctx: usize, data: usize, length: u32): void {
  let filled = <u32>(load<u64>(ctx, COUNT) & 63);
  store<u64>(ctx, load<u64>(ctx, COUNT) + <u64>length, COUNT);
  while (length > 0) {
    const room: u32 = 64 - filled;
    const taken = length < room ? length : room;
    copy(ctx + BLOCK + filled, data, taken);
    data += taken;
    length -= taken;
    filled += taken;
    if (filled == 64) {
      compress(ctx, ctx + BLOCK);
      filled = 0;
    }
  }
}

export function sha256Finish(ctx: usize, out: usize): void {
  const bits = load<u64>(ctx, COUNT) << 3;
  let filled = <u32>(load<u64>(ctx, COUNT) & 63);
  store<u8>(ctx + BLOCK + filled, 0x80);
  filled++;
  if (filled > 56) {
    wipe(ctx + BLOCK + filled, 64 - filled);
    compress(ctx, ctx + BLOCK);
    filled = 0;
  }
  wipe(ctx + BLOCK + filled, 56 - filled);
  storeU64(ctx + BLOCK + 56, bits);
  compress(ctx, ctx + BLOCK);
  for (let i: usize = 0; i < 8; i++) storeU32(out + i * 4, load<u32>(ctx + i * 4));
  wipe(ctx, SHA256_CONTEXT_SIZE);
}

export function sha256(out: usize, data: usize, length: u32): void {
  sha256Start(scratch);
  sha256Update(scratch, data, length);
  sha256Finish(scratch, out);
}

/** SHA-256(prefix ‖ data). */
export function sha256Prefixed(out: usize, prefix: u32, data: usize, length: u32): void {
  sha256Start(scratch);
  store<u8>(W, <u8>prefix);
  sha256Update(scratch, W, 1);
  sha256Update(scratch, data, length);
  sha256Finish(scratch, out);
}

/** SHA-256(0x01 ‖ left ‖ right): an inner node (RFC 6962 section 2.1). */
export function sha256Pair(out: usize, left: usize, right: usize): void {
  sha256Start(scratch);
  store<u8>(W, 1);
  sha256Update(scratch, W, 1);
  sha256Update(scratch, left, 32);
  sha256Update(scratch, right, 32);
  sha256Finish(scratch, out);
}

/** Four messages at once, each SHA-256(0x00 ‖ data); `outs` takes 4 × 32 bytes. */
export function leafHashx4(
  outs: usize,
  d0: usize,
  n0: u32,
  d1: usize,
  n1: u32,
  d2: usize,
  n2: u32,
  d3: usize,
  n3: u32,
): void {
  sha256Prefixed(outs, 0, d0, n0);
  sha256Prefixed(outs + 32, 0, d1, n1);
  sha256Prefixed(outs + 64, 0, d2, n2);
  sha256Prefixed(outs + 96, 0, d3, n3);
}
