/** The ring: the keyring row's payload, its fields and its lists (core/spec/keyring.md, Payload). */
import { loadU16, loadU32 } from './bytes';
import { RING } from './memory';

export const VERSION: usize = 0;
export const GENERATION: usize = 1;
export const ROOT_GENERATION: usize = 5;
export const APPLIANCE: usize = 9;
export const NAME_GENERATION: usize = 25;
export const NAME_KEY: usize = 29;
export const TOKEN_KEY: usize = 61;
export const FINGERPRINT_KEY: usize = 93;
export const EPOCH_COUNT: usize = 125;
export const BATCH_COUNT: usize = 127;
export const AUDIT_COUNT: usize = 129;
export const SLOTS_LENGTH: usize = 131;
export const LISTS: usize = 135;
/** number (4), installed at (8, ms), key (32) */
export const ONE_KEY: usize = 44;
/** number (4), installed at (8, ms), HMAC key (32), data key (32) */
export const AUDIT_KEYS: usize = 76;
export const SLOTS_SIZE_MAX: u32 = 16_384;
/** Keys of one list. With all lists and the slots full a ring has 58,503 bytes. */
export const KEY_COUNT_MAX: u32 = 256;

export function epochs(ring: usize): usize {
  return ring + LISTS;
}

export function batches(ring: usize): usize {
  return epochs(ring) + <usize>loadU16(ring + EPOCH_COUNT) * ONE_KEY;
}

export function audits(ring: usize): usize {
  return batches(ring) + <usize>loadU16(ring + BATCH_COUNT) * ONE_KEY;
}

export function slots(ring: usize): usize {
  return audits(ring) + <usize>loadU16(ring + AUDIT_COUNT) * AUDIT_KEYS;
}

/** Entry of that number in a list of `count` entries of `size` bytes, or 0. */
function find(list: usize, count: u32, size: usize, number: u32): usize {
  for (let i: u32 = 0; i < count; i++) {
    if (loadU32(list) == number) return list;
    list += size;
  }
  return 0;
}

/** Number of the newest entry: lists are in rising order and never empty. */
function newest(list: usize, count: u32, size: usize): u32 {
  return loadU32(list + <usize>(count - 1) * size);
}

export function applianceId(): usize {
  return RING + APPLIANCE;
}

export function nameKey(): usize {
  return RING + NAME_KEY;
}

export function currentEpoch(): u32 {
  return newest(epochs(RING), loadU16(RING + EPOCH_COUNT), ONE_KEY);
}

/** Key of an epoch, or 0. */
export function epochKey(epoch: u32): usize {
  const entry = find(epochs(RING), loadU16(RING + EPOCH_COUNT), ONE_KEY, epoch);
  return entry == 0 ? 0 : entry + 12;
}

export function batchGeneration(): u32 {
  return newest(batches(RING), loadU16(RING + BATCH_COUNT), ONE_KEY);
}

/** Batch key of a generation, or 0. */
export function batchKey(generation: u32): usize {
  const entry = find(batches(RING), loadU16(RING + BATCH_COUNT), ONE_KEY, generation);
  return entry == 0 ? 0 : entry + 12;
}

export function auditGeneration(): u32 {
  return newest(audits(RING), loadU16(RING + AUDIT_COUNT), AUDIT_KEYS);
}

/** Entry of an audit generation (its HMAC key at +12, its data key at +44), or 0. */
export function auditKeys(generation: u32): usize {
  return find(audits(RING), loadU16(RING + AUDIT_COUNT), AUDIT_KEYS, generation);
}

/**
 * True if the bytes at `ring` are a ring of version 1 with at least one key of each kind. It was authenticated before:
 * this guards against a later version, not against a thief.
 */
export function isRing(ring: usize, length: u32): bool {
  if (length < <u32>LISTS || load<u8>(ring) != 1) return false;
  const empty = loadU16(ring + EPOCH_COUNT) < 1 || loadU16(ring + BATCH_COUNT) < 1 || loadU16(ring + AUDIT_COUNT) < 1;
  if (empty || loadU32(ring + SLOTS_LENGTH) > SLOTS_SIZE_MAX) return false;
  return <u32>(slots(ring) - ring) + loadU32(ring + SLOTS_LENGTH) == length;
}
