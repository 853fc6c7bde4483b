/** The keys of the barrier: root, ring, and how they are made, opened, changed and forgotten (core/spec/keyring.md). */
import { BAD_ARGUMENT, FULL, NO_ENTROPY, OK, REFUSED, ROW_OVERHEAD, SEALED, TABLE_KEYRING } from './abi';
import { copy, loadU16, loadU32, storeU16, storeU32, storeU64, wipe } from './bytes';
import { xchachaOpen, xchachaSeal } from './cipher/xchacha20poly1305';
import { hkdf } from './hash/hkdf';
import { hmacKey } from './hash/hmac';
import { DERIVED, DERIVED_SIZE, OUT, poolLeft, poolTake, RING, RING_SIZE, ROOT, STAGED, setResult } from './memory';
import {
  APPLIANCE,
  AUDIT_COUNT,
  AUDIT_KEYS,
  auditGeneration,
  auditKeys,
  audits,
  BATCH_COUNT,
  batches,
  batchGeneration,
  currentEpoch,
  EPOCH_COUNT,
  epochKey,
  epochs,
  FINGERPRINT_KEY,
  GENERATION,
  isRing,
  KEY_COUNT_MAX,
  LISTS,
  NAME_GENERATION,
  NAME_KEY,
  ONE_KEY,
  ROOT_GENERATION,
  SLOTS_LENGTH,
  SLOTS_SIZE_MAX,
  slots,
  TOKEN_KEY,
  VERSION,
} from './ring';
import { ad, associate, deriveTableKeys, noMount, wipeRows } from './sealed-row';

// Derived keys, made when a ring comes into force; the subkeys of tables follow them (sealed-row.ts).
export const TOKEN_HMAC: usize = DERIVED;
export const FINGERPRINT_HMAC: usize = DERIVED + 64;
export const AUDIT_HMAC: usize = DERIVED + 128;
/** Of the staged ring, where a new root is staged. */
export const STAGED_FINGERPRINT_HMAC: usize = DERIVED + 192;
const STAGED_ROOT: usize = ROOT + 32;

/** Random bytes of a new box's keys, of a change's keys, and of the nonce that follows either. */
const CREATE_SIZE: u32 = 256;
const CHANGE_SIZE: u32 = 224;
const NONCE_SIZE: u32 = 24;

let open = false;
let rooted = false;
let staged = false;
let stagedRoot = false;
let stagedLength: u32 = 0;
/** Rises when a ring comes into force: what others derived before is stale. */
let force: u32 = 0;

const subkey = memory.data(32);
const info = memory.data(1);
const drawn = memory.data(256);
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

function addKey(list: usize, number: u32, nowMs: u64, from: usize, length: u32): void {
  storeU32(list, number);
  storeU64(list + 4, nowMs);
  copy(list + 12, from, length);
}

/** Seals the ring at `ring` under the root key at `root` into OUT. The pool has a nonce: callers look before they begin. */
function sealRing(ring: usize, length: u32, root: usize): void {
  hkdf(subkey, 32, info, 0, root, 32, KEYRING_INFO, 19);
  store<u8>(OUT, 1);
  copy(OUT + 1, ring + ROOT_GENERATION, 4);
  poolTake(OUT + 5, NONCE_SIZE);
  const adLength = associate(OUT, TABLE_KEYRING, noMount(), KEYRING_KEY, 7);
  xchachaSeal(OUT + 29, subkey, OUT + 5, ad, adLength, ring, length);
  wipe(subkey, 32);
  setResult(0, length + ROW_OVERHEAD);
}

/** Derives what the ring in force gives; caches elsewhere see `force` change. */
function derive(): void {
  force++;
  wipe(DERIVED, DERIVED_SIZE);
  hmacKey(TOKEN_HMAC, RING + TOKEN_KEY, 32);
  hmacKey(FINGERPRINT_HMAC, RING + FINGERPRINT_KEY, 32);
  hkdf(subkey, 32, info, 0, auditKeys(auditGeneration()) + 12, 32, AUDIT_LOG_INFO, 31);
  hmacKey(AUDIT_HMAC, subkey, 32);
  deriveTableKeys();
  wipe(subkey, 32);
}

/** Makes root and ring for a new box; OUT: the keyring's row. @param id 16 bytes */
export function createKeyring(id: usize, nowMs: u64): u32 {
  wipeKeys();
  if (poolLeft() < CREATE_SIZE + NONCE_SIZE) return NO_ENTROPY;
  const random = drawn;
  poolTake(random, CREATE_SIZE);
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
  wipe(random, CREATE_SIZE);
  rooted = true;
  open = true;
  derive();
  sealRing(RING, <u32>(slots(RING) - RING), ROOT);
  return OK;
}

/** Opens the keyring's row with the root that was unwrapped. A row that does not open wipes the root. */
export function openKeyring(row: usize, length: u32): u32 {
  if (!rooted) return SEALED;
  open = false;
  let good = false;
  if (length >= ROW_OVERHEAD && length <= RING_SIZE && load<u8>(row) == 1) {
    hkdf(subkey, 32, info, 0, ROOT, 32, KEYRING_INFO, 19);
    const adLength = associate(row, TABLE_KEYRING, noMount(), KEYRING_KEY, 7);
    const payload = length - ROW_OVERHEAD;
    good = xchachaOpen(RING, subkey, row + 5, ad, adLength, row + 29, payload) == 1 && isRing(RING, payload);
    wipe(subkey, 32);
  }
  if (!good) {
    wipeKeys();
    return REFUSED;
  }
  open = true;
  derive();
  return OK;
}

/** Copies the epochs but one to `to`. @returns where they end */
function copyEpochs(to: usize, retired: u32): usize {
  let at = epochs(RING);
  for (let i: u32 = loadU16(RING + EPOCH_COUNT); i > 0; i--) {
    if (loadU32(at) != retired) {
      copy(to, at, <u32>ONE_KEY);
      to += ONE_KEY;
    }
    at += ONE_KEY;
  }
  return to;
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
  const count = loadU16(RING + EPOCH_COUNT) - (retire == 0 ? 0 : 1) + (newEpoch || newRoot ? 1 : 0);
  const roots = loadU16(RING + AUDIT_COUNT) + (newRoot ? 1 : 0);
  if (count > KEY_COUNT_MAX || roots > KEY_COUNT_MAX) return FULL;
  if (poolLeft() < CHANGE_SIZE + NONCE_SIZE) return NO_ENTROPY;
  discardStaged();
  const random = drawn;
  poolTake(random, CHANGE_SIZE);
  copy(STAGED, RING, <u32>LISTS);
  storeU32(STAGED + GENERATION, loadU32(RING + GENERATION) + 1);
  storeU16(STAGED + EPOCH_COUNT, count);
  let to = copyEpochs(epochs(STAGED), retire);
  if (newEpoch || newRoot) {
    addKey(to, currentEpoch() + 1, nowMs, random, 32);
    to += ONE_KEY;
  }
  const batchBytes = <u32>loadU16(RING + BATCH_COUNT) * <u32>ONE_KEY;
  copy(to, batches(RING), batchBytes);
  to += batchBytes;
  if (newRoot) {
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
    storeU16(STAGED + AUDIT_COUNT, roots);
    copy(STAGED + FINGERPRINT_KEY, random + 128, 32);
    storeU32(STAGED + ROOT_GENERATION, loadU32(RING + ROOT_GENERATION) + 1);
    copy(STAGED_ROOT, random + 160, 32);
    hmacKey(STAGED_FINGERPRINT_HMAC, STAGED + FINGERPRINT_KEY, 32);
    stagedRoot = true;
  }
  wipe(random, CHANGE_SIZE);
  const slotBytes = slotsLength < 0 ? loadU32(RING + SLOTS_LENGTH) : <u32>slotsLength;
  copy(to, slotsLength < 0 ? slots(RING) : newSlots, slotBytes);
  storeU32(STAGED + SLOTS_LENGTH, slotBytes);
  stagedLength = <u32>(to - STAGED) + slotBytes;
  staged = true;
  sealRing(STAGED, stagedLength, rootToWrap());
  return OK;
}

/** The staged ring, which has a new root, is that of another appliance. OUT: its row. @param id 16 bytes */
export function nameStaged(id: usize): u32 {
  if (!open) return SEALED;
  if (!stagedRoot) return BAD_ARGUMENT;
  if (poolLeft() < NONCE_SIZE) return NO_ENTROPY;
  copy(STAGED + APPLIANCE, id, 16);
  sealRing(STAGED, stagedLength, STAGED_ROOT);
  return OK;
}

export function adoptStaged(): u32 {
  if (!open) return SEALED;
  if (!staged) return BAD_ARGUMENT;
  copy(RING, STAGED, stagedLength);
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

/** Everything secret that this file owns, and the subkeys. */
export function wipeKeys(): void {
  open = false;
  rooted = false;
  discardStaged();
  wipe(ROOT, 64);
  wipe(RING, RING_SIZE);
  wipe(DERIVED, DERIVED_SIZE);
  wipe(subkey, 32);
  wipe(drawn, 256);
  wipeRows();
  force++;
}
