/** The sealed row: what every value of the store is (core/spec/record.md). */
import { BAD_ARGUMENT, KEY_SIZE_MAX, NO_ENTROPY, OK, PAYLOAD_SIZE_MAX, REFUSED, ROW_OVERHEAD } from './abi';
import { copy, loadU32, storeU32, wipe } from './bytes';
import { xchachaOpen, xchachaSeal } from './cipher/xchacha20poly1305';
import { hkdf } from './hash/hkdf';
import { DERIVED, poolTake } from './memory';
import { currentEpoch, epochKey } from './ring';

/** 16 × 32, behind the HMAC states of keyring.ts: subkeys of the newest epoch with no mount. */
const TABLE_KEYS: usize = DERIVED + 256;
const TABLE_COUNT: u32 = 16;

/** Associated data of the row under way. */
export const ad = memory.data(128);
const subkey = memory.data(32);
const info = memory.data(64);
const NO_MOUNT_ID = memory.data(16);
const SEAL_INFO = memory.data<u8>([104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 115, 101, 97, 108]); // holdfast/v1/seal

export function noMount(): usize {
  return NO_MOUNT_ID;
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
export function associate(row: usize, table: u32, mountId: usize, key: usize, keyLength: u32): u32 {
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

/** Subkeys of the newest epoch for tables without mount. */
export function deriveTableKeys(): void {
  for (let table: u32 = 0; table < TABLE_COUNT; table++)
    deriveSubkey(tableKey(table), currentEpoch(), table, NO_MOUNT_ID);
}

export function wipeRows(): void {
  wipe(subkey, 32);
}
