/** HMAC-SHA256 (RFC 2104) with the two padded keys hashed once. */
import { copy, wipe } from '../bytes';
import { SHA256_CONTEXT_SIZE, sha256, sha256Finish, sha256Start, sha256Update } from './sha256';

/** The states after the inner and the outer padded key. */
export const HMAC_KEY_SIZE: u32 = 64;
export const HMAC_CONTEXT_SIZE: u32 = 104;
const COUNT: u32 = 32;

const block = memory.data(64);
const digest = memory.data(32);
const context = memory.data(104);

function padded(state: usize, pad: u8): void {
  for (let i: usize = 0; i < 64; i++) store<u8>(block + i, load<u8>(block + i) ^ pad);
  sha256Start(context);
  sha256Update(context, block, 64);
  copy(state, context, 32);
  for (let i: usize = 0; i < 64; i++) store<u8>(block + i, load<u8>(block + i) ^ pad);
}

export function hmacKey(state: usize, key: usize, keyLength: u32): void {
  wipe(block, 64);
  if (keyLength > 64) sha256(block, key, keyLength);
  else copy(block, key, keyLength);
  padded(state, 0x36);
  padded(state + 32, 0x5c);
  wipe(block, 64);
  wipe(context, SHA256_CONTEXT_SIZE);
}

export function hmacStart(ctx: usize, state: usize): void {
  copy(ctx, state, 32);
  store<u64>(ctx, 64, COUNT);
}

export function hmacUpdate(ctx: usize, data: usize, length: u32): void {
  sha256Update(ctx, data, length);
}

export function hmacFinish(ctx: usize, state: usize, out: usize): void {
  sha256Finish(ctx, digest);
  copy(ctx, state + 32, 32);
  store<u64>(ctx, 64, COUNT);
  sha256Update(ctx, digest, 32);
  sha256Finish(ctx, out);
  wipe(digest, 32);
}

export function hmac(out: usize, state: usize, data: usize, length: u32): void {
  hmacStart(context, state);
  hmacUpdate(context, data, length);
  hmacFinish(context, state, out);
}
