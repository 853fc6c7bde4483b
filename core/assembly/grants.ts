/** Live grants: a table of slots whose numbers are never used again (core/spec/gate.md). */
import { MODE_READ, MODE_WRITE, PATH_SIZE_MAX } from './abi';
import { compareBytes, copy, loadU16, wipe } from './bytes';
import { GRANT_COUNT_MAX, GRANT_SIZE, GRANTS } from './memory';
import { existenceSuffixOf, fillTemplate, subtreesOf } from './operations';

// Offsets in a slot.
const NUMBER: usize = 0;
export const STATE: usize = 8;
export const OPERATION: usize = 12;
export const MOUNT: usize = 16;
export const CAPABILITY: usize = 20;
export const VERDICT: usize = 24;
export const JOB: usize = 28;
export const DEADLINE: usize = 32;
export const READ_TABLES: usize = 40;
export const WRITE_TABLES: usize = 44;
export const FLAGS: usize = 48;
export const PATH_LENGTH: usize = 52;
export const RELATIVE: usize = 56;
export const SLASHED: usize = 60;
export const TOKEN_ID: usize = 64;
export const EXISTENCE_LENGTH: usize = 80;
export const EXISTENCE_KEY: usize = 84;
export const LOCATED_LENGTH: usize = 128;
export const LOCATED_MODES: usize = 132;
export const LOCATED_KEY: usize = 136;
export const NAMES_LOCATED: usize = 176;
export const NAMES_DIR: usize = 180;
export const CAPTURED: usize = 196;
export const CAPTURE_LIST: usize = 200;
export const TOKEN_LENGTH: usize = 328;
export const MOUNT_ID: usize = 332;
export const TOKEN_HMAC_HEX: usize = 352;
export const PATH: usize = 512;
export const TOKEN: usize = 8768;

/** Decided, its request leaf not written yet. */
export const STATE_DECIDED: u32 = 1;
export const STATE_ACTIVE: u32 = 2;

export const FLAG_TOKEN: u32 = 1;
export const FLAG_ROOT: u32 = 2;
export const FLAG_CREATE: u32 = 4;
/** A job: the whole storage of its mount. */
export const FLAG_JOB: u32 = 8;
/** Refused: it opens nothing, and writes its two leaves. */
export const FLAG_REFUSED: u32 = 16;

const free = memory.data(2048);
const filled = memory.data(8448);
const SLASH: u32 = 0x2f;

let freeCount: u32 = 0;
let usedSlots: u32 = 0;
let serial: u64 = 0;
let newest: u64 = 0;

/** Time goes by what the host says and never back. */
export function tell(nowMs: u64): void {
  if (nowMs > newest) newest = nowMs;
}

/** A new slot, wiped, or 0 if all are in use. The one freed last comes first: few pages are ever touched. */
export function newGrant(): usize {
  let index: u32;
  if (freeCount > 0) {
    freeCount--;
    index = <u32>load<u16>(free + <usize>freeCount * 2);
  } else if (usedSlots < GRANT_COUNT_MAX) {
    index = usedSlots;
    usedSlots++;
  } else {
    return 0;
  }
  const at = GRANTS + <usize>index * <usize>GRANT_SIZE;
  serial++;
  store<u64>(at + NUMBER, serial * <u64>GRANT_COUNT_MAX + <u64>index);
  return at;
}

export function numberOf(grant: usize): u64 {
  return load<u64>(grant + NUMBER);
}

/** The slot of a live number, or 0. */
export function findGrant(presented: f64): usize {
  const number = <u64>presented;
  const index = <u32>(number % <u64>GRANT_COUNT_MAX);
  const at = GRANTS + <usize>index * <usize>GRANT_SIZE;
  return number != 0 && load<u64>(at + NUMBER) == number ? at : 0;
}

/** The slot of a grant that may open and seal now, or 0. */
export function activeGrant(number: f64): usize {
  const at = findGrant(number);
  if (at == 0 || load<u32>(at + STATE) != STATE_ACTIVE || (load<u32>(at + FLAGS) & FLAG_REFUSED) != 0) return 0;
  return newest > load<u64>(at + DEADLINE) ? 0 : at;
}

export function endGrant(grant: usize): void {
  const index = <u32>(load<u64>(grant + NUMBER) % <u64>GRANT_COUNT_MAX);
  // The token first: its length lies in what is wiped after it.
  wipe(grant + TOKEN, load<u32>(grant + TOKEN_LENGTH));
  wipe(grant, <u32>PATH + load<u32>(grant + PATH_LENGTH));
  store<u16>(free + <usize>freeCount * 2, <u16>index);
  freeCount++;
}

/** What a grant may do with the record or directory at a storage path of its mount: MODE_ bits. */
export function modesAt(grant: usize, path: usize, length: u32): u32 {
  if ((load<u32>(grant + FLAGS) & FLAG_JOB) != 0) return 7;
  const op = <usize>load<u32>(grant + OPERATION);
  let at = subtreesOf(op);
  let left = <u32>load<u8>(at);
  at++;
  let modes: u32 = 0;
  for (; left > 0; left--) {
    const own = <u32>load<u8>(at);
    const isSubtree = load<u8>(at + 1) == 1;
    const size = fill(grant, at + 2);
    at += 4 + <usize>loadU16(at + 2);
    if (size < 0 || <u32>size > length || compareBytes(filled, <u32>size, path, <u32>size) != 0) continue;
    const whole = <u32>size == length;
    if (whole || (isSubtree && (size == 0 || <u32>load<u8>(path + size) == SLASH))) modes |= own;
  }
  return modes;
}

/** True if `path` is a directory above (or is) something that the grant may write. */
export function isAboveWritable(grant: usize, path: usize, length: u32): bool {
  if ((load<u32>(grant + FLAGS) & FLAG_JOB) != 0) return true;
  const op = <usize>load<u32>(grant + OPERATION);
  let at = subtreesOf(op);
  let left = <u32>load<u8>(at);
  at++;
  for (; left > 0; left--) {
    const own = <u32>load<u8>(at);
    const size = fill(grant, at + 2);
    at += 4 + <usize>loadU16(at + 2);
    if ((own & MODE_WRITE) == 0 || size < 0 || <u32>size < length || compareBytes(filled, length, path, length) != 0)
      continue;
    if (length == 0 || <u32>size == length || <u32>load<u8>(filled + length) == SLASH) return true;
  }
  return false;
}

function fill(grant: usize, template: usize): i32 {
  const captures = grant + CAPTURE_LIST;
  const tokenId = (load<u32>(grant + FLAGS) & FLAG_TOKEN) != 0 ? grant + TOKEN_ID : 0;
  const path = grant + PATH + load<u32>(grant + RELATIVE);
  return fillTemplate(filled, template, captures, load<u32>(grant + CAPTURED), path, tokenId);
}

export function readsOrWrites(modes: u32): bool {
  return (modes & (MODE_READ | MODE_WRITE)) != 0;
}

export function keepExistence(grant: usize, key: usize, op: usize): void {
  const suffix = existenceSuffixOf(op);
  const length = 32 + <u32>load<u8>(suffix);
  copy(grant + EXISTENCE_KEY, key, length);
  store<u32>(grant + EXISTENCE_LENGTH, length);
}

export function wipeGrants(): void {
  wipe(GRANTS, usedSlots * GRANT_SIZE);
  wipe(filled, PATH_SIZE_MAX);
  freeCount = 0;
  usedSlots = 0;
}
