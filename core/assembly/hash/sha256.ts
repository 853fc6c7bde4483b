/** SHA-256 (FIPS 180-4) over the straight-line rounds of rounds.ts, whole, in pieces, and four leaves at a time. */
import { copy, storeU32, storeU64, wipe } from '../bytes';
import { compress, compress4 } from './rounds';

/** Context: state 32, bytes hashed 8, block 64. */
export const SHA256_CONTEXT_SIZE: u32 = 104;
const COUNT: u32 = 32;
const BLOCK: u32 = 40;

const scratch = memory.data(104, 16);

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
  const filled = <u32>(load<u64>(ctx, COUNT) & 63);
  store<u64>(ctx, load<u64>(ctx, COUNT) + <u64>length, COUNT);
  const room: u32 = 64 - filled;
  if (length < room) {
    copy(ctx + BLOCK + filled, data, length);
    return;
  }
  if (filled != 0) {
    copy(ctx + BLOCK + filled, data, room);
    compress(ctx, ctx + BLOCK, 1);
    data += room;
    length -= room;
  }
  compress(ctx, data, length >>> 6);
  copy(ctx + BLOCK, data + (length & ~63), length & 63);
}

/** Writes the digest, 32 bytes, and wipes the context. */
export function sha256Finish(ctx: usize, out: usize): void {
  const bits = load<u64>(ctx, COUNT) << 3;
  let filled = <u32>(load<u64>(ctx, COUNT) & 63);
  store<u8>(ctx + BLOCK + filled, 0x80);
  filled++;
  if (filled > 56) {
    wipe(ctx + BLOCK + filled, 64 - filled);
    compress(ctx, ctx + BLOCK, 1);
    filled = 0;
  }
  wipe(ctx + BLOCK + filled, 56 - filled);
  storeU64(ctx + BLOCK + 56, bits);
  compress(ctx, ctx + BLOCK, 1);
  for (let i: usize = 0; i < 32; i += 4) storeU32(out + i, load<u32>(ctx + i));
  wipe(ctx, SHA256_CONTEXT_SIZE);
}

export function sha256(out: usize, data: usize, length: u32): void {
  sha256Start(scratch);
  sha256Update(scratch, data, length);
  sha256Finish(scratch, out);
}

/** SHA-256(prefix ‖ data), the prefix a byte. */
export function sha256Prefixed(out: usize, prefix: u32, data: usize, length: u32): void {
  sha256Start(scratch);
  store<u8>(scratch, <u8>prefix, BLOCK);
  store<u64>(scratch, 1, COUNT);
  sha256Update(scratch, data, length);
  sha256Finish(scratch, out);
}

/** SHA-256(0x01 ‖ left ‖ right), both 32 bytes: an inner node (RFC 6962 section 2.1). */
export function sha256Pair(out: usize, left: usize, right: usize): void {
  sha256Start(scratch);
  store<u8>(scratch, 1, BLOCK);
  store<u64>(scratch, 1, COUNT);
  sha256Update(scratch, left, 32);
  sha256Update(scratch, right, 32);
  sha256Finish(scratch, out);
}

/** Eight vectors of state; then for each lane a block that is put together, with what a longer one has before it. */
const laneState = memory.data(128, 16);
const laneBlocks = memory.data(256, 16);

/** Where block `index` of 0x00 ‖ data, padded, lies: in data itself, or put together in the lane's own block. */
function laneBlock(lane: u32, index: u32, data: usize, length: u32): usize {
  const own = laneBlocks + lane * 64;
  // Offset in data of the block's first byte; the prefix shifts all by one.
  const from = <i32>(index * 64) - 1;
  const rest = <i32>length - from;
  if (index != 0 && rest >= 64) return data + from;
  wipe(own, 64);
  const skip: i32 = index == 0 ? 1 : 0;
  if (rest > skip) copy(own + skip, data + from + skip, (rest < 64 ? rest : 64) - skip);
  if (rest >= 0 && rest < 64) store<u8>(own + rest, 0x80);
  if (rest < 56) storeU64(own + 56, (<u64>length + 1) << 3);
  return own;
}

function laneStart(): void {
  sha256Start(scratch);
  for (let i: usize = 0; i < 8; i++) v128.store(laneState + i * 16, v128.load32_splat(scratch + i * 4));
}

/** Writes the digest of a lane whose last block was block `index`. */
function laneEnd(out: usize, lane: u32, index: u32, length: u32): void {
  if (index != (length + 9) >>> 6) return;
  for (let i: usize = 0; i < 8; i++) storeU32(out + lane * 32 + i * 4, load<u32>(laneState + i * 16 + lane * 4));
}

/** Four messages at once, each SHA-256(0x00 ‖ data) (RFC 6962's leaf); `outs` takes 4 × 32 bytes. */
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
  laneStart();
  const longest = max(max(n0, n1), max(n2, n3));
  const last = (longest + 9) >>> 6;
  for (let index: u32 = 0; index <= last; index++) {
    const p0 = laneBlock(0, index, d0, n0);
    const p1 = laneBlock(1, index, d1, n1);
    const p2 = laneBlock(2, index, d2, n2);
    const p3 = laneBlock(3, index, d3, n3);
    compress4(laneState, p0, p1, p2, p3);
    laneEnd(outs, 0, index, n0);
    laneEnd(outs, 1, index, n1);
    laneEnd(outs, 2, index, n2);
    laneEnd(outs, 3, index, n3);
  }
  wipe(laneState, 128);
  wipe(laneBlocks, 256);
}
