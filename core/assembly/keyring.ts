/** The keys of the barrier (core/spec/keyring.md): root, keyring, what is derived from them, and the sealed row. */
import {
  BAD_ARGUMENT,
  FULL,
  KEY_SIZE_MAX,
  NO_ENTROPY,
  OK,
  PAYLOAD_SIZE_MAX,
  REFUSED,
  ROW_OVERHEAD,
  SEALED,
  TABLE_KEYRING,
} from './abi';
import { copy, loadU16, loadU32, loadU64, storeU16, storeU32, storeU64, wipe } from './bytes';
import { xchachaOpen, xchachaSeal } from './cipher/xchacha20poly1305';
import { hkdf, hkdfExpand, hkdfExtract } from './hash/hkdf';
import { hmacKey } from './hash/hmac';
import { DERIVED, DERIVED_SIZE, OUT, poolTake, RING, RING_SIZE, ROOT, STAGED, setResult } from './memory';

// Offsets in a ring (the keyring row's payload).
const VERSION: usize = 0;
const GENERATION: usize = 1;
const ROOT_GENERATION: usize = 5;
const APPLIANCE: usize = 9;
const NAME_GENERATION: usize = 25;
const NAME_KEY: usize = 29;
const TOKEN_KEY: usize = 61;
const FINGERPRINT_KEY: usize = 93;
const EPOCH_COUNT: usize = 125;
const BATCH_COUNT: usize = 127;
const AUDIT_COUNT: usize = 129;
const SLOTS_LENGTH: usize = 131;
const LISTS: usize = 135;
/** number (4), installed at (8, ms), key (32) */
const ONE_KEY: usize = 44;
/** number (4), installed at (8, ms), HMAC key (32), data key (32) */
const AUDIT_KEYS: usize = 76;
const SLOTS_SIZE_MAX: u32 = 16_384;
const EPOCH_COUNT_MAX: u32 = 256;

// Derived keys, made when a ring comes into force.
export const TOKEN_HMAC: usize = DERIVED;
export const FINGERPRINT_HMAC: usize = DERIVED + 64;
export const AUDIT_HMAC: usize = DERIVED + 128;
/** Of the staged ring, where a new root is staged. */
export const STAGED_FINGERPRINT_HMAC: usize = DERIVED + 192;
const TABLE_KEYS: usize = DERIVED + 256; // 16 × 32: subkeys of the newest epoch with no mount
const STAGED_ROOT: usize = ROOT + 32;

let open = false;
let rooted = false;
let staged = false;
let stagedRoot = false;
let ringLength: u32 = 0;
let stagedLength: u32 = 0;
/** Rises when a ring comes into force: what others derived before is stale. */
let force: u32 = 0;

const ad = memory.data(128);
const subkey = memory.data(32);
const info = memory.data(64);
const drawn = memory.data(256);
const NO_MOUNT_ID = memory.data(16);
const SEAL_INFO = memory.data<u8>([104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 115, 101, 97, 108]); // holdfast/v1/seal
const AUDIT_LOG_INFO = memory.data<u8>([
  104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 97, 117, 100, 105, 116, 45, 104, 109, 97, 99, 97, 117, 100,
  105, 116, 95, 108, 111, 103,
]); // holdfast/v1/audit-hmac ‖ audit_log
const KEYRING_INFO = memory.data<u8>([
  104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 107, 101, 121, 114, 105, 110, 103,
]); // holdfast/v1/keyring
const KEYRING_KEY = memory.data<u8>([107, 101, 121, 114, 105, 110, 103]); // keyring

export function isOpen(): bool {
  return open;
}

export function inForce(): u32 {
  return force;
}

export function noMount(): usize {
  return NO_MOUNT_ID;
}

function epochs(ring: usize): usize {
  return ring + LISTS;
}

function batches(ring: usize): usize {
  return epochs(ring) + <usize>loadU16(ring + EPOCH_COUNT) * ONE_KEY;
}

function audits(ring: usize): usize {
  return batches(ring) + <usize>loadU16(ring + BATCH_COUNT) * ONE_KEY;
}

function slots(ring: usize): usize {
  return audits(ring) + <usize>loadU16(ring + AUDIT_COUNT) * AUDIT_KEYS;
}

export function applianceId(): usize {
  return RING + APPLIANCE;
}

export function nameKey(): usize {
  return RING + NAME_KEY;
}

export function keyringGeneration(ofStaged: bool): u32 {
  return loadU32((ofStaged ? STAGED : RING) + GENERATION);
}

/** A ring is staged. */
export function isStaged(): bool {
  return staged;
}

/** A ring with a new root, and so with a new fingerprint key, is staged. */
export function isRootStaged(): bool {
  return stagedRoot;
}

/** The newest epoch: lists are in rising order. */
export function currentEpoch(): u32 {
  return loadU32(epochs(RING) + <usize>(loadU16(RING + EPOCH_COUNT) - 1) * ONE_KEY);
}

/** Key of an epoch, or 0. */
function epochKey(epoch: u32): usize {
  let at = epochs(RING);
  for (let i: u32 = loadU16(RING + EPOCH_COUNT); i > 0; i--) {
    if (loadU32(at) == epoch) return at + 12;
    at += ONE_KEY;
  }
  return 0;
}

export function batchKey(generation: u32): usize {
  let at = batches(RING);
  for (let i: u32 = loadU16(RING + BATCH_COUNT); i > 0; i--) {
    if (loadU32(at) == generation) return at + 12;
    at += ONE_KEY;
  }
  return 0;
}

export function batchGeneration(): u32 {
  return loadU32(batches(RING) + <usize>(loadU16(RING + BATCH_COUNT) - 1) * ONE_KEY);
}

/** Entry of an audit generation (its HMAC key at +12, its data key at +44), or 0. */
export function auditKeys(generation: u32): usize {
  let at = audits(RING);
  for (let i: u32 = loadU16(RING + AUDIT_COUNT); i > 0; i--) {
    if (loadU32(at) == generation) return at;
    at += AUDIT_KEYS;
  }
  return 0;
}

export function auditGeneration(): u32 {
  return loadU32(audits(RING) + <usize>(loadU16(RING + AUDIT_COUNT) - 1) * AUDIT_KEYS);
}

/** HKDF-SHA256(epoch key, info = "holdfast/v1/seal" ‖ table ‖ mount id). @returns false if the epoch is not in the ring */
export function deriveSubkey(out: usize, epoch: u32, table: u32, mountId: usize): bool {
  const key = epochKey(epoch);
  if (key == 0) return false;
  copy(info, SEAL_INFO, 16);
  store<u8>(info + 16, <u8>table);
  copy(info + 17, mountId, 16);
  hkdf(out, 32, info, 0, key, 32, info, 33);
  return true;
}

/** Subkey of the newest epoch for a table without mount. */
function tableKey(table: u32): usize {
  return TABLE_KEYS + <usize>table * 32;
}

/** The associated data of a row: its first five bytes, table, mount id and key. */
function associate(row: usize, table: u32, mountId: usize, key: usize, keyLength: u32): u32 {
  copy(ad, row, 5);
  store<u8>(ad + 5, <u8>table);
  copy(ad + 6, mountId, 16);
  copy(ad + 22, key, keyLength);
  return 22 + keyLength;
}

/**
 * Seals `length` bytes into a row at `row` (length + 45 bytes) with the newest epoch.
 *
 * @param known  the subkey of the newest epoch, or 0 to derive it
 */
export function sealRow(
  row: usize,
  table: u32,
  mountId: usize,
  known: usize,
  key: usize,
  keyLength: u32,
  payload: usize,
  length: u32,
): u32 {
  if (length > PAYLOAD_SIZE_MAX || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  const epoch = currentEpoch();
  if (known == 0) {
    known = mountId == NO_MOUNT_ID ? tableKey(table) : subkey;
    if (known == subkey) deriveSubkey(subkey, epoch, table, mountId);
  }
  // Moved first: payload and row may overlap.
  copy(row + 29, payload, length);
  store<u8>(row, 1);
  storeU32(row + 1, epoch);
  if (!poolTake(row + 5, 24)) {
    wipe(row + 29, length);
    return NO_ENTROPY;
  }
  xchachaSeal(row + 29, known, row + 5, ad, associate(row, table, mountId, key, keyLength), row + 29, length);
  return OK;
}

/**
 * Opens a row of `length` bytes to `out` (length - 45 bytes).
 *
 * @param known  the subkey of the newest epoch, or 0
 * @returns OK or REFUSED, whatever is wrong with it
 */
export function openRow(
  out: usize,
  table: u32,
  mountId: usize,
  known: usize,
  key: usize,
  keyLength: u32,
  row: usize,
  length: u32,
): u32 {
  if (length < ROW_OVERHEAD || length > PAYLOAD_SIZE_MAX + ROW_OVERHEAD || keyLength > KEY_SIZE_MAX) return REFUSED;
  if (load<u8>(row) != 1) return REFUSED;
  const epoch = loadU32(row + 1);
  if (epoch != currentEpoch()) known = 0;
  else if (known == 0 && mountId == NO_MOUNT_ID) known = tableKey(table);
  if (known == 0) {
    if (!deriveSubkey(subkey, epoch, table, mountId)) return REFUSED;
    known = subkey;
  }
  const adLength = associate(row, table, mountId, key, keyLength);
  return xchachaOpen(out, known, row + 5, ad, adLength, row + 29, length - ROW_OVERHEAD) == 1 ? OK : REFUSED;
}

// ------------------------------------------------------------------------------------------------ making and changing

function addKey(list: usize, number: u32, nowMs: u64, from: usize, length: u32): void {
  storeU32(list, number);
  storeU64(list + 4, nowMs);
  copy(list + 12, from, length);
}

/** Seals the ring at `ring` under the root key at `root` into OUT. */
function sealRing(ring: usize, length: u32, root: usize): u32 {
  hkdf(subkey, 32, info, 0, root, 32, KEYRING_INFO, 19);
  store<u8>(OUT, 1);
  copy(OUT + 1, ring + ROOT_GENERATION, 4);
  if (!poolTake(OUT + 5, 24)) return NO_ENTROPY;
  const adLength = associate(OUT, TABLE_KEYRING, NO_MOUNT_ID, KEYRING_KEY, 7);
  xchachaSeal(OUT + 29, subkey, OUT + 5, ad, adLength, ring, length);
  wipe(subkey, 32);
  setResult(0, length + ROW_OVERHEAD);
  return OK;
}

/** Derives what the ring in force gives; caches elsewhere see `force` change. */
function derive(): void {
  force++;
  wipe(DERIVED, DERIVED_SIZE);
  hmacKey(TOKEN_HMAC, RING + TOKEN_KEY, 32);
  hmacKey(FINGERPRINT_HMAC, RING + FINGERPRINT_KEY, 32);
  hkdf(subkey, 32, info, 0, auditKeys(auditGeneration()) + 12, 32, AUDIT_LOG_INFO, 31);
  hmacKey(AUDIT_HMAC, subkey, 32);
  for (let table: u32 = 0; table < 16; table++) deriveSubkey(tableKey(table), currentEpoch(), table, NO_MOUNT_ID);
  wipe(subkey, 32);
}

/** Makes root and ring for a new box; OUT: the keyring's row. @param id 16 bytes */
export function createKeyring(id: usize, nowMs: u64): u32 {
  wipeKeys();
  const randomLength: u32 = 32 * 8;
  const random = STAGED;
  if (!poolTake(random, randomLength)) return NO_ENTROPY;
  copy(ROOT, random, 32);
  store<u8>(RING + VERSION, 1);
  storeU32(RING + GENERATION, 1);
  storeU32(RING + ROOT_GENERATION, 1);
  copy(RING + APPLIANCE, id, 16);
  storeU32(RING + NAME_GENERATION, 1);
  copy(RING + NAME_KEY, random + 32, 32);
  copy(RING + TOKEN_KEY, random + 64, 32);
  copy(RING + FINGERPRINT_KEY, random + 96, 32);
  storeU16(RING + EPOCH_COUNT, 1);
  storeU16(RING + BATCH_COUNT, 1);
  storeU16(RING + AUDIT_COUNT, 1);
  storeU32(RING + SLOTS_LENGTH, 0);
  addKey(epochs(RING), 1, nowMs, random + 128, 32);
  addKey(batches(RING), 1, nowMs, random + 160, 32);
  addKey(audits(RING), 1, nowMs, random + 192, 64);
  wipe(random, randomLength);
  ringLength = <u32>(slots(RING) - RING);
  rooted = true;
  open = true;
  derive();
  return sealRing(RING, ringLength, ROOT);
}

/**
 * True if the bytes at `ring` are a ring of version 1 with at least one key of each kind. It was authenticated before:
 * this guards against a later version, not against a thief.
 */
function isRing(ring: usize, length: u32): bool {
  if (length < <u32>LISTS || load<u8>(ring) != 1) return false;
  const counts = loadU16(ring + EPOCH_COUNT) < 1 || loadU16(ring + BATCH_COUNT) < 1 || loadU16(ring + AUDIT_COUNT) < 1;
  if (counts || loadU32(ring + SLOTS_LENGTH) > SLOTS_SIZE_MAX) return false;
  return <u32>(slots(ring) - ring) + loadU32(ring + SLOTS_LENGTH) == length;
}

/** Opens the keyring's row with the root that was unwrapped. A row that does not open wipes the root. */
export function openKeyring(row: usize, length: u32): u32 {
  if (!rooted) return SEALED;
  open = false;
  let status = REFUSED;
  if (length >= ROW_OVERHEAD && length <= RING_SIZE && load<u8>(row) == 1) {
    hkdf(subkey, 32, info, 0, ROOT, 32, KEYRING_INFO, 19);
    const adLength = associate(row, TABLE_KEYRING, NO_MOUNT_ID, KEYRING_KEY, 7);
    const payload = length - ROW_OVERHEAD;
    if (xchachaOpen(RING, subkey, row + 5, ad, adLength, row + 29, payload) == 1 && isRing(RING, payload)) {
      ringLength = payload;
      status = OK;
    }
    wipe(subkey, 32);
  }
  if (status != OK) {
    wipeKeys();
    return status;
  }
  open = true;
  derive();
  return OK;
}

/** Stages a ring with other slots, a new epoch, a new root, or without an epoch. OUT: its row. 0 and -1: as it is. */
export function stageKeyring(
  newSlots: usize,
  slotsLength: i32,
  newEpoch: bool,
  newRoot: bool,
  retire: u32,
  nowMs: u64,
): u32 {
  if (!open) return SEALED;
  if (slotsLength > <i32>SLOTS_SIZE_MAX) return BAD_ARGUMENT;
  if (retire != 0 && (retire == currentEpoch() || epochKey(retire) == 0)) return BAD_ARGUMENT;
  discardStaged();
  const random = drawn;
  if (!poolTake(random, 224)) return NO_ENTROPY;
  copy(STAGED, RING, <u32>LISTS);
  storeU32(STAGED + GENERATION, loadU32(RING + GENERATION) + 1);
  let to = epochs(STAGED);
  let count: u32 = 0;
  let at = epochs(RING);
  for (let i: u32 = loadU16(RING + EPOCH_COUNT); i > 0; i--) {
    if (loadU32(at) != retire) {
      copy(to, at, <u32>ONE_KEY);
      to += ONE_KEY;
      count++;
    }
    at += ONE_KEY;
  }
  if (newEpoch || newRoot) {
    if (count >= EPOCH_COUNT_MAX) return FULL;
    addKey(to, currentEpoch() + 1, nowMs, random, 32);
    to += ONE_KEY;
    count++;
  }
  storeU16(STAGED + EPOCH_COUNT, count);
  const batchBytes = <u32>loadU16(RING + BATCH_COUNT) * <u32>ONE_KEY;
  copy(to, batches(RING), batchBytes);
  to += batchBytes;
  if (newRoot) {
    if (loadU16(RING + AUDIT_COUNT) >= EPOCH_COUNT_MAX) return FULL;
    addKey(to, batchGeneration() + 1, nowMs, random + 32, 32);
    to += ONE_KEY;
    storeU16(STAGED + BATCH_COUNT, loadU16(RING + BATCH_COUNT) + 1);
  }
  const auditBytes = <u32>loadU16(RING + AUDIT_COUNT) * <u32>AUDIT_KEYS;
  copy(to, audits(RING), auditBytes);
  to += auditBytes;
  if (newRoot) {
    addKey(to, auditGeneration() + 1, nowMs, random + 64, 64);
    to += AUDIT_KEYS;
    storeU16(STAGED + AUDIT_COUNT, loadU16(RING + AUDIT_COUNT) + 1);
    copy(STAGED + FINGERPRINT_KEY, random + 128, 32);
    storeU32(STAGED + ROOT_GENERATION, loadU32(RING + ROOT_GENERATION) + 1);
    copy(STAGED_ROOT, random + 160, 32);
    hmacKey(STAGED_FINGERPRINT_HMAC, STAGED + FINGERPRINT_KEY, 32);
    stagedRoot = true;
  }
  wipe(random, 224);
  const slotBytes = slotsLength < 0 ? loadU32(RING + SLOTS_LENGTH) : <u32>slotsLength;
  copy(to, slotsLength < 0 ? slots(RING) : newSlots, slotBytes);
  storeU32(STAGED + SLOTS_LENGTH, slotBytes);
  stagedLength = <u32>(to - STAGED) + slotBytes;
  staged = true;
  return sealRing(STAGED, stagedLength, stagedRoot ? STAGED_ROOT : ROOT);
}

export function adoptStaged(): u32 {
  if (!open) return SEALED;
  if (!staged) return BAD_ARGUMENT;
  copy(RING, STAGED, stagedLength);
  ringLength = stagedLength;
  if (stagedRoot) copy(ROOT, STAGED_ROOT, 32);
  discardStaged();
  derive();
  return OK;
}

export function discardStaged(): void {
  wipe(STAGED, RING_SIZE);
  wipe(STAGED_ROOT, 32);
  wipe(STAGED_FINGERPRINT_HMAC, 64);
  staged = false;
  stagedRoot = false;
  stagedLength = 0;
}

/** Results: generation, root generation, epoch; OUT: appliance id, epochs (4 + 8 each), slots; their counts in results. */
export function keyringInfo(): u32 {
  if (!open) return SEALED;
  setResult(0, loadU32(RING + GENERATION));
  setResult(1, loadU32(RING + ROOT_GENERATION));
  setResult(2, currentEpoch());
  setResult(3, loadU16(RING + EPOCH_COUNT));
  setResult(4, loadU32(RING + SLOTS_LENGTH));
  copy(OUT, RING + APPLIANCE, 16);
  let to = OUT + 16;
  let at = epochs(RING);
  for (let i: u32 = loadU16(RING + EPOCH_COUNT); i > 0; i--) {
    copy(to, at, 12);
    to += 12;
    at += ONE_KEY;
  }
  copy(to, slots(RING), loadU32(RING + SLOTS_LENGTH));
  return OK;
}

/** The root that slots wrap: the staged one where a new root is staged. */
export function rootToWrap(): usize {
  return stagedRoot ? STAGED_ROOT : ROOT;
}

/** The root lies at ROOT: a keyring can be opened. */
export function rootIsThere(): void {
  rooted = true;
}

/** Everything secret that this file owns. */
export function wipeKeys(): void {
  open = false;
  rooted = false;
  ringLength = 0;
  discardStaged();
  wipe(ROOT, 64);
  wipe(RING, RING_SIZE);
  wipe(DERIVED, DERIVED_SIZE);
  wipe(subkey, 32);
  wipe(drawn, 256);
  force++;
}
