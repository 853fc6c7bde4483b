/** The mount table: which mount a path belongs to, and what is derived for each (core/spec/mount.md). */
import { BAD_ARGUMENT, FULL, MOUNT_PATH_SIZE_MAX, NO_MOUNT, OK, TABLE_NAME, TABLE_RECORD } from './abi';
import { copy, equalBytes, loadU16, loadU32, wipe } from './bytes';
import { hkdf } from './hash/hkdf';
import { hmac, hmacKey } from './hash/hmac';
import { inForce } from './keyring';
import { MOUNT_COUNT_MAX, MOUNT_INDEX, MOUNT_INDEX_SLOTS, MOUNT_SIZE, MOUNTS } from './memory';
import { findType } from './operations';
import { isPath } from './path';
import { currentEpoch, nameKey } from './ring';
import { deriveSubkey } from './sealed-row';

// Offsets in a slot.
const USED: usize = 0;
const STATE: usize = 1;
const ID: usize = 4;
const TYPE: usize = 20;
const PATH_LENGTH: usize = 24;
const FORCE: usize = 28;
const EPOCH: usize = 32;
const NAMES: usize = 64; // HMAC states of K
const TOP: usize = 128; // dir of the top
const RECORD_KEY: usize = 144;
const NAME_KEY: usize = 176;
const PATH: usize = 256;

const digest = memory.data(32);
const TOP_TEXT = memory.data<u8>([116, 111, 112]); // top
const SLASH: u32 = 0x2f;

let count: u32 = 0;

function slot(index: u32): usize {
  return MOUNTS + <usize>index * <usize>MOUNT_SIZE;
}

export function mountId(index: u32): usize {
  return slot(index) + ID;
}

export function mountType(index: u32): u32 {
  return load<u32>(slot(index) + TYPE);
}

export function mountPath(index: u32): usize {
  return slot(index) + PATH;
}

export function mountPathLength(index: u32): u32 {
  return load<u32>(slot(index) + PATH_LENGTH);
}

export function mountIsLive(index: u32): bool {
  return load<u8>(slot(index) + USED) == 1 && load<u8>(slot(index) + STATE) == 0;
}

/** Slots of the table that were ever used since the unseal. */
export function mountCount(): u32 {
  return count;
}

/** A mount lies there, live or being removed. */
export function mountIsUsed(index: u32): bool {
  return load<u8>(slot(index) + USED) == 1;
}

/** Index of the mount with this id, or -1. */
export function findMount(id: usize): i32 {
  for (let i: u32 = 0; i < count; i++) {
    if (load<u8>(slot(i) + USED) == 1 && equalBytes(slot(i) + ID, id, 16) == 1) return <i32>i;
  }
  return -1;
}

const HASH_START: u32 = 2_166_136_261;

function hashStep(hash: u32, byte: u32): u32 {
  return (hash ^ byte) * 16_777_619;
}

function place(hash: u32): u32 {
  return (hash ^ (hash >>> 15)) & (MOUNT_INDEX_SLOTS - 1);
}

/** Rebuilds the index of paths: open addressing, mount index + 1. */
function reindex(): void {
  wipe(MOUNT_INDEX, MOUNT_INDEX_SLOTS * 2);
  for (let i: u32 = 0; i < count; i++) {
    if (!mountIsLive(i)) continue;
    let hash = HASH_START;
    for (let k: u32 = 0; k < mountPathLength(i); k++) hash = hashStep(hash, <u32>load<u8>(mountPath(i) + k));
    let at = place(hash);
    while (load<u16>(MOUNT_INDEX + <usize>at * 2) != 0) at = (at + 1) & (MOUNT_INDEX_SLOTS - 1);
    store<u16>(MOUNT_INDEX + <usize>at * 2, <u16>(i + 1));
  }
}

/** Index of the live mount whose path is these bytes and one slash, or -1. @param hash of the path with that slash */
function lookup(path: usize, length: u32, hash: u32): i32 {
  let at = place(hash);
  let entry = <u32>load<u16>(MOUNT_INDEX + <usize>at * 2);
  while (entry != 0) {
    const own = mountPath(entry - 1);
    if (mountPathLength(entry - 1) == length + 1 && equalBytes(own, path, length) == 1) return <i32>(entry - 1);
    at = (at + 1) & (MOUNT_INDEX_SLOTS - 1);
    entry = <u32>load<u16>(MOUNT_INDEX + <usize>at * 2);
  }
  return -1;
}

/** Index of the mount with the longest path that `path` (a path, no slash at its end) is at or below; -1 none. */
export function routeMount(path: usize, length: u32): i32 {
  let best: i32 = -1;
  let hash = HASH_START;
  for (let i: u32 = 0; i <= length && i < MOUNT_PATH_SIZE_MAX; i++) {
    const byte: u32 = i == length ? SLASH : <u32>load<u8>(path + i);
    hash = hashStep(hash, byte);
    if (byte != SLASH) continue;
    const found = lookup(path, i, hash);
    if (found >= 0) best = found;
  }
  return best;
}

/** Enters the payload of a mount row; a mount of the same id is replaced. */
export function loadMount(payload: usize, length: u32, key: usize, keyLength: u32): u32 {
  if (length < 24 || keyLength != 16 || load<u8>(payload) != 1 || load<u8>(payload + 1) > 1) return BAD_ARGUMENT;
  const end = payload + length;
  const id = payload + 2;
  if (equalBytes(id, key, 16) == 0) return BAD_ARGUMENT;
  const typeLength = <u32>load<u8>(payload + 18);
  const typeAt = payload + 19;
  if (typeAt + typeLength + 2 > end) return BAD_ARGUMENT;
  const type = findType(typeAt, typeLength);
  const pathLength = loadU16(typeAt + typeLength);
  const path = typeAt + typeLength + 2;
  if (type < 0 || pathLength < 2 || pathLength > MOUNT_PATH_SIZE_MAX || path + pathLength + 4 > end)
    return BAD_ARGUMENT;
  if (<u32>load<u8>(path + pathLength - 1) != SLASH || !isPath(path, pathLength - 1)) return BAD_ARGUMENT;
  if (path + pathLength + 4 + loadU32(path + pathLength) != end) return BAD_ARGUMENT;
  let index = findMount(id);
  if (index < 0) {
    for (let i: u32 = 0; i < count && index < 0; i++) if (load<u8>(slot(i) + USED) == 0) index = <i32>i;
    if (index < 0) {
      if (count == MOUNT_COUNT_MAX) return FULL;
      index = <i32>count;
      count++;
    }
  }
  const at = slot(<u32>index);
  wipe(at, MOUNT_SIZE);
  store<u8>(at + USED, 1);
  store<u8>(at + STATE, load<u8>(payload + 1));
  copy(at + ID, id, 16);
  store<u32>(at + TYPE, <u32>type);
  store<u32>(at + PATH_LENGTH, pathLength);
  copy(at + PATH, path, pathLength);
  reindex();
  return OK;
}

export function dropMount(id: usize): u32 {
  const index = findMount(id);
  if (index < 0) return NO_MOUNT;
  wipe(slot(<u32>index), MOUNT_SIZE);
  reindex();
  return OK;
}

/** Derives a mount's keys when a ring came into force since the last time. */
function refresh(index: u32): usize {
  const at = slot(index);
  if (load<u32>(at + FORCE) == inForce()) return at;
  hkdf(digest, 32, digest, 0, nameKey(), 32, at + ID, 16);
  hmacKey(at + NAMES, digest, 32);
  hmac(digest, at + NAMES, TOP_TEXT, 3);
  copy(at + TOP, digest, 16);
  const epoch = currentEpoch();
  deriveSubkey(at + RECORD_KEY, epoch, TABLE_RECORD, at + ID);
  deriveSubkey(at + NAME_KEY, epoch, TABLE_NAME, at + ID);
  store<u32>(at + EPOCH, epoch);
  store<u32>(at + FORCE, inForce());
  wipe(digest, 32);
  return at;
}

/** HMAC states of the mount's name key. */
export function mountNames(index: u32): usize {
  return refresh(index) + NAMES;
}

/** dir of the mount's top, 16 bytes. */
export function mountTop(index: u32): usize {
  return refresh(index) + TOP;
}

/** Subkey of the newest epoch for the mount's records or names. */
export function mountSubkey(index: u32, table: u32): usize {
  return refresh(index) + (table == TABLE_RECORD ? RECORD_KEY : NAME_KEY);
}

export function wipeMounts(): void {
  wipe(MOUNTS, count * MOUNT_SIZE);
  wipe(MOUNT_INDEX, MOUNT_INDEX_SLOTS * 2);
  count = 0;
}
