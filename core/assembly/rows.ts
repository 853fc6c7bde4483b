/** Inside a grant: where records and names lie, and opening and sealing them (core/spec/gate.md). */
import {
  BAD_ARGUMENT,
  BAD_PATH,
  DENIED,
  KEY_SIZE_MAX,
  MODE_NAMES,
  MODE_READ,
  MODE_WRITE,
  NO_MOUNT,
  OK,
  PAYLOAD_SIZE_MAX,
  REFUSED,
  ROW_OVERHEAD,
  SUFFIX_SIZE_MAX,
  TABLE_NAME,
  TABLE_RECORD,
} from './abi';
import { compareBytes, copy, equalBytes, wipe } from './bytes';
import {
  activeGrant,
  EXISTENCE_KEY,
  EXISTENCE_LENGTH,
  FLAG_CREATE,
  FLAGS,
  isAboveWritable,
  LOCATED_KEY,
  LOCATED_LENGTH,
  LOCATED_MODES,
  MOUNT,
  modesAt,
  NAMES_DIR,
  NAMES_LOCATED,
  READ_TABLES,
  readsOrWrites,
  WRITE_TABLES,
} from './grants';
import { IN, OUT, setResult } from './memory';
import { mountId, mountIsLive, mountSubkey } from './mounts';
import { directory, directoryEntry, directoryKey, lastSegment, recordKey } from './names';
import { isPath } from './path';
import { noMount, openRow, sealRow } from './sealed-row';

const key = memory.data(48);
const NO_MOUNT_INDEX: u32 = 0xffffffff;
const NAME_SIZES = memory.data<u32>([32, 64, 128, 256]);

/** The grant's mount, or -1 if it names none or it is gone. A job may work in a mount that is being removed. */
function mountOf(grant: usize, isJob: bool): i32 {
  const mount = load<u32>(grant + MOUNT);
  if (mount == NO_MOUNT_INDEX) return -1;
  return isJob || mountIsLive(mount) ? <i32>mount : -1;
}

function isJob(grant: usize): bool {
  return (load<u32>(grant + FLAGS) & 8) != 0;
}

/** IN: storage path, suffix. OUT: row key. */
export function locate(number: f64, length: u32, suffixLength: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  store<u32>(grant + LOCATED_LENGTH, 0);
  if (suffixLength > SUFFIX_SIZE_MAX) return BAD_ARGUMENT;
  if (!isPath(IN, length)) return BAD_PATH;
  const modes = modesAt(grant, IN, length);
  if (!readsOrWrites(modes)) return DENIED;
  recordKey(grant + LOCATED_KEY, <u32>mount, IN, length);
  copy(grant + LOCATED_KEY + 32, IN + length, suffixLength);
  store<u32>(grant + LOCATED_LENGTH, 32 + suffixLength);
  store<u32>(grant + LOCATED_MODES, modes);
  copy(OUT, grant + LOCATED_KEY, 32 + suffixLength);
  return OK;
}

/** IN: the row at the key last located. OUT: its payload. Result: its length. */
export function open(number: f64, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  const keyLength = load<u32>(grant + LOCATED_LENGTH);
  if (keyLength == 0 || (load<u32>(grant + LOCATED_MODES) & MODE_READ) == 0) return DENIED;
  const id = mountId(<u32>mount);
  const subkey = mountSubkey(<u32>mount, TABLE_RECORD);
  if (openRow(OUT, TABLE_RECORD, id, subkey, grant + LOCATED_KEY, keyLength, IN, length) != OK) return REFUSED;
  setResult(0, length - ROW_OVERHEAD);
  return OK;
}

/** IN: storage path, suffix, payload. OUT: row key (40 bytes kept for it), row. Results: key length, row length, must be absent. */
export function sealRecord(number: f64, length: u32, suffixLength: u32, payloadLength: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  if (suffixLength > SUFFIX_SIZE_MAX || payloadLength > PAYLOAD_SIZE_MAX) return BAD_ARGUMENT;
  if (!isPath(IN, length)) return BAD_PATH;
  if ((modesAt(grant, IN, length) & MODE_WRITE) == 0) return DENIED;
  recordKey(OUT, <u32>mount, IN, length);
  copy(OUT + 32, IN + length, suffixLength);
  const keyLength = 32 + suffixLength;
  const id = mountId(<u32>mount);
  const subkey = mountSubkey(<u32>mount, TABLE_RECORD);
  const payload = IN + length + suffixLength;
  const status = sealRow(OUT + 40, TABLE_RECORD, id, subkey, OUT, keyLength, payload, payloadLength);
  if (status != OK) return status;
  const created =
    (load<u32>(grant + FLAGS) & FLAG_CREATE) != 0 &&
    compareBytes(OUT, keyLength, grant + EXISTENCE_KEY, load<u32>(grant + EXISTENCE_LENGTH)) == 0;
  setResult(0, keyLength);
  setResult(1, payloadLength + ROW_OVERHEAD);
  setResult(2, created ? 1 : 0);
  return OK;
}

/** IN: path of a directory ('' the top). OUT: the 16 bytes with which its name rows begin. */
export function locateNames(number: f64, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  store<u32>(grant + NAMES_LOCATED, 0);
  if (length > 0 && !isPath(IN, length)) return BAD_PATH;
  const lists = (modesAt(grant, IN, length) & MODE_NAMES) != 0;
  if (!lists && !isAboveWritable(grant, IN, length)) return DENIED;
  directory(grant + NAMES_DIR, <u32>mount, IN, length);
  if (lists) store<u32>(grant + NAMES_LOCATED, 1);
  copy(OUT, grant + NAMES_DIR, 16);
  return OK;
}

/** IN: name row's key (32), row. OUT: the segment. Results: its length, whether it is a directory. */
export function openName(number: f64, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  if (load<u32>(grant + NAMES_LOCATED) == 0 || equalBytes(IN, grant + NAMES_DIR, 16) == 0) return DENIED;
  const id = mountId(<u32>mount);
  const subkey = mountSubkey(<u32>mount, TABLE_NAME);
  if (length > 256 + ROW_OVERHEAD || openRow(OUT, TABLE_NAME, id, subkey, IN, 32, IN + 32, length) != OK)
    return REFUSED;
  const size = <u32>load<u8>(OUT);
  directoryEntry(key, <u32>mount, IN, OUT + 1, size);
  const isDirectory = equalBytes(key, IN + 16, 16);
  copy(OUT, OUT + 1, size);
  setResult(0, size);
  setResult(1, isDirectory);
  return OK;
}

/** What a name row's key needs: the record is written, or a directory above what is written. */
function nameStatus(grant: usize, length: u32, isDirectory: bool): u32 {
  if (!isPath(IN, length)) return BAD_PATH;
  if (isDirectory) return isAboveWritable(grant, IN, length) ? OK : DENIED;
  return (modesAt(grant, IN, length) & MODE_WRITE) != 0 ? OK : DENIED;
}

/** IN: path of a record or directory. OUT: key of its name row in the directory above, 32 bytes. */
export function nameKey(number: f64, length: u32, isDirectory: bool): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const mount = mountOf(grant, isJob(grant));
  if (mount < 0) return NO_MOUNT;
  const status = nameStatus(grant, length, isDirectory);
  if (status != OK) return status;
  if (isDirectory) directoryKey(OUT, <u32>mount, IN, length);
  else recordKey(OUT, <u32>mount, IN, length);
  return OK;
}

/** As nameKey. OUT: key (32), then at 40 the row. Result: the row's length. */
export function sealName(number: f64, length: u32, isDirectory: bool): u32 {
  const status = nameKey(number, length, isDirectory);
  if (status != OK) return status;
  const grant = activeGrant(number);
  const mount = load<u32>(grant + MOUNT);
  const at = lastSegment(IN, length);
  const size = length - at;
  let padded = NAME_SIZES;
  while (load<u32>(padded) < size + 1) padded += 4;
  const payload = IN + length;
  wipe(payload, 256);
  store<u8>(payload, <u8>size);
  copy(payload + 1, IN + at, size);
  setResult(0, load<u32>(padded) + ROW_OVERHEAD);
  return sealRow(
    OUT + 40,
    TABLE_NAME,
    mountId(mount),
    mountSubkey(mount, TABLE_NAME),
    OUT,
    32,
    payload,
    load<u32>(padded),
  );
}

/** IN: row key, row. OUT: payload. Result: its length. */
export function openTable(number: f64, table: u32, keyLength: u32, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0 || table > 31 || ((load<u32>(grant + READ_TABLES) >>> table) & 1) == 0) return DENIED;
  if (keyLength < 1 || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  if (openRow(OUT, table, noMount(), 0, IN, keyLength, IN + keyLength, length) != OK) return REFUSED;
  setResult(0, length - ROW_OVERHEAD);
  return OK;
}

/** IN: row key, payload. OUT: row. Result: its length. */
export function sealTable(number: f64, table: u32, keyLength: u32, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0 || table > 31 || ((load<u32>(grant + WRITE_TABLES) >>> table) & 1) == 0) return DENIED;
  if (keyLength < 1 || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  setResult(0, length + ROW_OVERHEAD);
  return sealRow(OUT, table, noMount(), 0, IN, keyLength, IN + keyLength, length);
}
