/** Moves rows to the newest epoch (core/spec/keyring.md, Rotation): opened and sealed inside core, nothing comes out. */
import {
  BAD_ARGUMENT,
  DENIED,
  KEY_SIZE_MAX,
  OK,
  PAYLOAD_SIZE_MAX,
  REFUSED,
  ROW_OVERHEAD,
  TABLE_JOB,
  TABLE_NAME,
  TABLE_RECORD,
} from './abi';
import { loadU32, wipe } from './bytes';
import { activeGrant, JOB } from './grants';
import { IN, OUT, setResult } from './memory';
import { mountCount, mountId, mountIsUsed } from './mounts';
import { currentEpoch } from './ring';
import { noMount, openRow, sealRow } from './sealed-row';

/** Position of `rewrap` in the table of jobs, plus 1: what a grant of it holds. */
const REWRAP: u32 = 7;

/** The mount whose row was opened last: rows that lie together are of one mount. */
let lastMount: u32 = 0;

/** Opens the row in IN behind its key to OUT by trying mounts. @returns its mount's id, or 0 */
function openByMount(table: u32, keyLength: u32, length: u32): usize {
  const count = mountCount();
  for (let i: u32 = 0; i < count; i++) {
    const index = (lastMount + i) % count;
    if (!mountIsUsed(index)) continue;
    const id = mountId(index);
    if (openRow(OUT, table, id, 0, IN, keyLength, IN + keyLength, length) == OK) {
      lastMount = index;
      return id;
    }
  }
  return 0;
}

/** IN: key, row. OUT: the row under the newest epoch. Result: its length; 0: it has that epoch already. */
export function reseal(number: f64, table: u32, keyLength: u32, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0 || load<u32>(grant + JOB) != REWRAP) return DENIED;
  if (table < TABLE_RECORD || table > TABLE_JOB || keyLength < 1 || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  if (length < ROW_OVERHEAD || length > PAYLOAD_SIZE_MAX + ROW_OVERHEAD) return REFUSED;
  setResult(0, 0);
  if (loadU32(IN + keyLength + 1) == currentEpoch()) return OK;
  let id = noMount();
  if (table == TABLE_RECORD || table == TABLE_NAME) {
    id = openByMount(table, keyLength, length);
    if (id == 0) return REFUSED;
  } else if (openRow(OUT, table, id, 0, IN, keyLength, IN + keyLength, length) != OK) {
    return REFUSED;
  }
  const status = sealRow(OUT, table, id, 0, IN, keyLength, OUT, length - ROW_OVERHEAD);
  if (status != OK) wipe(OUT, length);
  else setResult(0, length);
  return status;
}
