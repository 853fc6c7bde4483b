/** Tokens: ids, drawing, the fixed part of a token row, batch tokens (core/spec/token.md). */
import { BAD_ARGUMENT, NO_ENTROPY, OK, REFUSED, TOKEN_PAYLOAD_SIZE_MAX } from './abi';
import { compareBytes, copy, loadU16, loadU32, loadU64, storeU32, wipe } from './bytes';
import { xchachaOpen, xchachaSeal } from './cipher/xchacha20poly1305';
import { HMAC_CONTEXT_SIZE, hmacFinish, hmacStart, hmacUpdate } from './hash/hmac';
import { TOKEN_HMAC } from './keyring';
import { OUT, poolTake, setResult } from './memory';
import { applianceId, batchGeneration, batchKey } from './ring';

export const TOKEN_TYPE: usize = 1;
export const TOKEN_FLAGS: usize = 2;
export const TOKEN_EXPIRES: usize = 12;
export const TOKEN_USES: usize = 20;
export const TOKEN_PARENT: usize = 24;
export const TOKEN_MOUNT: usize = 40;
export const TOKEN_ENTITY: usize = 56;
export const TOKEN_POLICIES: usize = 72;
export const TYPE_BATCH: u32 = 1;
const FLAG_REVOKED: u32 = 2;
const SPENT: u32 = 0xffffffff;

const context = memory.data(104);
const digest = memory.data(32);
const draw = memory.data(48);
const ad = memory.data(33);
const SERVICE = memory.data<u8>([104, 118, 115, 46]); // hvs.
const RECOVERY = memory.data<u8>([104, 118, 114, 46]); // hvr.
const BATCH = memory.data<u8>([104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 98, 97, 116, 99, 104]); // holdfast/v1/batch
const ZEROS = memory.data(16);
const ROOT = memory.data<u8>([114, 111, 111, 116]);

/** HMAC(token key, table ‖ bytes)[0..16]: the table is 0 for tokens. */
export function keyedId(out: usize, table: u32, bytes: usize, length: u32): void {
  hmacStart(context, TOKEN_HMAC);
  if (table != 0) {
    // A token begins with a printable byte, so no token can stand for a name of a table.
    store<u8>(draw, <u8>table);
    hmacUpdate(context, draw, 1);
  }
  hmacUpdate(context, bytes, length);
  hmacFinish(context, TOKEN_HMAC, digest);
  copy(out, digest, 16);
  wipe(digest, 32);
}

/** Letters, digits, `-`, `_` and `.`: what a service token is made of, 1 to 160 of them. */
export function isTokenText(p: usize, length: u32): bool {
  if (length < 1 || length > 160) return false;
  for (let i: u32 = 0; i < length; i++) {
    const c = <u32>load<u8>(p + i);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    const digit = c >= 0x30 && c <= 0x39;
    if (!letter && !digit && c != 0x2d && c != 0x2e && c != 0x5f) return false;
  }
  return true;
}

/** 24 characters of base62, drawn without bias: bytes above 247 are drawn again. */
function drawBase62(out: usize): bool {
  let done: u32 = 0;
  while (done < 24) {
    if (!poolTake(draw, 1)) return false;
    const byte = <u32>load<u8>(draw);
    if (byte >= 248) continue;
    const digit = byte % 62;
    store<u8>(out + done++, <u8>(digit < 10 ? 48 + digit : digit < 36 ? 55 + digit : 61 + digit));
  }
  store<u8>(draw, 0);
  return true;
}

/** OUT: the token's text (28), its id (16). */
export function newToken(recovery: bool): u32 {
  copy(OUT, recovery ? RECOVERY : SERVICE, 4);
  if (!drawBase62(OUT + 4)) return NO_ENTROPY;
  keyedId(OUT + 28, 0, OUT, 28);
  return OK;
}

/** OUT: 24 characters. */
export function newAccessor(): u32 {
  return drawBase62(OUT) ? OK : NO_ENTROPY;
}

export function isZero16(p: usize): bool {
  return compareBytes(p, 16, ZEROS, 16) == 0;
}

/** Where the CIDRs of a payload begin, or 0 if its policies or CIDRs do not lie within it as the spec says. */
export function cidrsOf(payload: usize, length: u32): usize {
  const end = payload + length;
  if (length < 79 || length > TOKEN_PAYLOAD_SIZE_MAX || load<u8>(payload) != 1) return 0;
  const policies = loadU16(payload + TOKEN_POLICIES);
  if (policies > 256) return 0;
  let at = payload + TOKEN_POLICIES + 2;
  let before: usize = 0;
  for (let i: u32 = 0; i < policies; i++) {
    if (at >= end) return 0;
    const size = <u32>load<u8>(at);
    if (size < 1 || size > 128 || at + 1 + size > end) return 0;
    if (before != 0 && compareBytes(before + 1, <u32>load<u8>(before), at + 1, size) >= 0) return 0;
    before = at;
    at += 1 + size;
  }
  const cidrs = at;
  if (at >= end || load<u8>(at) > 64) return 0;
  let left = <u32>load<u8>(at);
  at++;
  for (; left > 0; left--) {
    if (at + 2 > end) return 0;
    const family = <u32>load<u8>(at);
    const bits = <u32>load<u8>(at + 1);
    if (!(family == 4 && bits <= 32) && !(family == 6 && bits <= 128)) return 0;
    at += family == 4 ? 6 : 18;
  }
  if (at + 4 > end || at + 4 + loadU32(at) != end) return 0;
  return cidrs;
}

/** True if the token of this payload may be honoured now, but for its CIDRs. */
export function isAlive(payload: usize, nowMs: u64): bool {
  if ((loadU16(payload + TOKEN_FLAGS) & FLAG_REVOKED) != 0) return false;
  const expires = loadU64(payload + TOKEN_EXPIRES);
  if (expires != 0 && nowMs >= expires) return false;
  // Entities are not known yet: a token that names one was made by a later version.
  return loadU32(payload + TOKEN_USES) != SPENT && isZero16(payload + TOKEN_ENTITY);
}

/** True if the token of this payload has an expiry. */
export function ends(payload: usize): bool {
  return loadU64(payload + TOKEN_EXPIRES) != 0;
}

/** True for no CIDRs, or if the peer's address (family 4 or 6; 0 none) lies in one of them. */
export function isWithin(cidrs: usize, family: u32, address: usize): bool {
  let left = <u32>load<u8>(cidrs);
  if (left == 0) return true;
  let at = cidrs + 1;
  for (; left > 0; left--) {
    const own = <u32>load<u8>(at);
    const bits = <u32>load<u8>(at + 1);
    if (own == family && samePrefix(at + 2, address, bits)) return true;
    at += own == 4 ? 6 : 18;
  }
  return false;
}

function samePrefix(a: usize, b: usize, bits: u32): bool {
  const whole = bits >>> 3;
  if (compareBytes(a, whole, b, whole) != 0) return false;
  const rest = bits & 7;
  if (rest == 0) return true;
  const mask: u32 = (0xff00 >>> rest) & 0xff;
  return ((<u32>load<u8>(a + whole) ^ <u32>load<u8>(b + whole)) & mask) == 0;
}

/** Takes one use off; @returns 0 unlimited, 1 uses are left, 2 this is the last */
export function spend(payload: usize): u32 {
  const uses = loadU32(payload + TOKEN_USES);
  if (uses == 0) return 0;
  storeU32(payload + TOKEN_USES, uses == 1 ? SPENT : uses - 1);
  return uses == 1 ? 2 : 1;
}

export function isRootName(p: usize, length: u32): bool {
  return compareBytes(p, length, ROOT, 4) == 0;
}

function associate(): void {
  copy(ad, BATCH, 17);
  copy(ad + 17, applianceId(), 16);
}

/** OUT: version 1 ‖ generation (4) ‖ nonce (24) ‖ sealed payload. */
export function sealBatch(payload: usize, length: u32): u32 {
  if (cidrsOf(payload, length) == 0 || <u32>load<u8>(payload + TOKEN_TYPE) != TYPE_BATCH) return BAD_ARGUMENT;
  const generation = batchGeneration();
  store<u8>(OUT, 1);
  storeU32(OUT + 1, generation);
  if (!poolTake(OUT + 5, 24)) return NO_ENTROPY;
  associate();
  xchachaSeal(OUT + 29, batchKey(generation), OUT + 5, ad, 33, payload, length);
  setResult(0, length + 45);
  return OK;
}

/** @returns OK or REFUSED; the payload lies at `out`, its length is bytes' − 45 */
export function openBatch(out: usize, bytes: usize, length: u32): u32 {
  if (length < 45 + 79 || length > TOKEN_PAYLOAD_SIZE_MAX + 45 || load<u8>(bytes) != 1) return REFUSED;
  const key = batchKey(loadU32(bytes + 1));
  if (key == 0) return REFUSED;
  associate();
  // What the batch key sealed was checked then (sealBatch).
  return xchachaOpen(out, key, bytes + 5, ad, 33, bytes + 29, length - 45) == 1 ? OK : REFUSED;
}

export function wipeTokens(): void {
  wipe(context, HMAC_CONTEXT_SIZE);
  wipe(digest, 32);
  wipe(draw, 48);
}
