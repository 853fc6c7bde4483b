/** Blind keys: where a record and a name lie without saying what they are called (core/spec/names.md). */
import { copy, equalBytes, wipe } from './bytes';
import { HMAC_CONTEXT_SIZE, hmacFinish, hmacStart, hmacUpdate } from './hash/hmac';
import { inForce } from './keyring';
import { DIRECTORIES, DIRECTORY_SLOT_SIZE, DIRECTORY_SLOTS } from './memory';
import { mountNames, mountTop } from './mounts';

const context = memory.data(104);
const digest = memory.data(32);
const current = memory.data(16);
const DIR = memory.data<u8>([100, 105, 114]);
const ENTRY = memory.data<u8>([101, 110, 116, 114, 121]);
const ENTRY_DIR = memory.data<u8>([101, 110, 116, 114, 121, 100, 105, 114]);
const SLASH: u32 = 0x2f;

/** HMAC(K, label ‖ dir ‖ segment)[0..16] */
function blind(out: usize, mount: u32, label: usize, labelLength: u32, dir: usize, segment: usize, length: u32): void {
  const key = mountNames(mount);
  hmacStart(context, key);
  hmacUpdate(context, label, labelLength);
  hmacUpdate(context, dir, 16);
  hmacUpdate(context, segment, length);
  hmacFinish(context, key, digest);
  copy(out, digest, 16);
}

/** Where the last segment of a path begins. */
export function lastSegment(path: usize, length: u32): u32 {
  let at = length;
  while (at > 0 && <u32>load<u8>(path + at - 1) != SLASH) at--;
  return at;
}

// A slot of the cache: force (4), length (4), the mount's top (16), dir (16), path. The top, not the mount's place in its
// table: another mount may come to lie there.
const CACHED_TOP: usize = 8;
const CACHED_DIR: usize = 24;
const CACHED_PATH: usize = 40;
const CACHED_PATH_MAX: u32 = 216;

function cacheSlot(mount: u32, path: usize, length: u32): usize {
  let hash: u32 = 2_166_136_261 ^ mount;
  for (let i: u32 = 0; i < length; i++) hash = (hash ^ <u32>load<u8>(path + i)) * 16_777_619;
  return DIRECTORIES + <usize>((hash ^ (hash >>> 15)) & (DIRECTORY_SLOTS - 1)) * <usize>DIRECTORY_SLOT_SIZE;
}

/** dir of a directory's path (length 0: the mount's top), 16 bytes. */
export function directory(out: usize, mount: u32, path: usize, length: u32): void {
  const top = mountTop(mount);
  if (length == 0) {
    copy(out, top, 16);
    return;
  }
  const cached = length <= CACHED_PATH_MAX ? cacheSlot(mount, path, length) : 0;
  if (cached != 0 && load<u32>(cached) == inForce() && load<u32>(cached, 4) == length) {
    if (equalBytes(cached + CACHED_TOP, top, 16) == 1 && equalBytes(cached + CACHED_PATH, path, length) == 1) {
      copy(out, cached + CACHED_DIR, 16);
      return;
    }
  }
  copy(current, top, 16);
  let start: u32 = 0;
  while (start < length) {
    let end = start;
    while (end < length && <u32>load<u8>(path + end) != SLASH) end++;
    blind(current, mount, DIR, 3, current, path + start, end - start);
    start = end + 1;
  }
  copy(out, current, 16);
  if (cached == 0) return;
  store<u32>(cached, inForce());
  store<u32>(cached, length, 4);
  copy(cached + CACHED_TOP, top, 16);
  copy(cached + CACHED_DIR, current, 16);
  copy(cached + CACHED_PATH, path, length);
}

/** dir(parent) ‖ entry of the last segment, 32 bytes: a record's row key, and a secret's name row. */
export function recordKey(out: usize, mount: u32, path: usize, length: u32): void {
  const at = lastSegment(path, length);
  directory(out, mount, path, at == 0 ? 0 : at - 1);
  blind(out + 16, mount, ENTRY, 5, out, path + at, length - at);
}

/** dir(parent) ‖ entrydir of the last segment, 32 bytes: a directory's name row. */
export function directoryKey(out: usize, mount: u32, path: usize, length: u32): void {
  const at = lastSegment(path, length);
  directory(out, mount, path, at == 0 ? 0 : at - 1);
  blind(out + 16, mount, ENTRY_DIR, 8, out, path + at, length - at);
}

/** 16 bytes behind dir in the name row's key of a directory, for a segment whose parent's dir is known. */
export function directoryEntry(out: usize, mount: u32, dir: usize, segment: usize, length: u32): void {
  blind(out, mount, ENTRY_DIR, 8, dir, segment, length);
}

export function wipeNames(): void {
  wipe(DIRECTORIES, DIRECTORY_SLOTS * DIRECTORY_SLOT_SIZE);
  wipe(context, HMAC_CONTEXT_SIZE);
  wipe(digest, 32);
  wipe(current, 16);
}
