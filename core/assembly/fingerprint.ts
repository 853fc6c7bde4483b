/** The store's proof of itself: a multiset hash over all its rows, and the freshness row (core/spec/freshness.md). */
import { BAD_ARGUMENT, KEY_SIZE_MAX, OK, REFUSED, ROW_OVERHEAD, SEALED, TABLE_FRESHNESS } from './abi';
import { copy, equalBytes, loadU32, loadU64, storeU16, storeU32, storeU64, wipe } from './bytes';
import { HMAC_CONTEXT_SIZE, hmacFinish, hmacStart, hmacUpdate } from './hash/hmac';
import { sha256 } from './hash/sha256';
import {
  FINGERPRINT_HMAC,
  isOpen,
  isRootStaged,
  isStaged,
  keyringGeneration,
  STAGED_FINGERPRINT_HMAC,
} from './keyring';
import { IN, OUT, setResult, setResult64 } from './memory';
import { noMount, openRow, sealRow } from './sealed-row';

// Payload, version 1.
const GENERATION: usize = 1;
const ROWS: usize = 5;
const FINGERPRINT: usize = 13;
const SIZE: usize = 45;
const ROOT: usize = 53;
const TIME: usize = 85;
const COUNTERS: usize = 93;
const FIXED: u32 = 94;
const COUNTERS_MAX: u32 = 16;

const FRESHNESS_KEY = memory.data<u8>([102, 114, 101, 115, 104, 110, 101, 115, 115]); // freshness
const sum = memory.data(32);
const staged = memory.data(32);
/** The same rows under the fingerprint key of a staged root, while one is made: as durable, and as staged. */
const renewed = memory.data(32);
const renewedStaged = memory.data(32);
const checked = memory.data(32);
const expected = memory.data(32);
const term = memory.data(32);
const digest = memory.data(32);
const head = memory.data(8);
const context = memory.data(104);
let rows: i64 = 0;
let stagedRows: i64 = 0;
let checkedRows: i64 = 0;
let expectedRows: i64 = 0;
let renewing = false;
/** Rows are counted against the freshness row that verifyStart was given. */
let verifying = false;
/** Rows were counted to their end: what they are may be accepted. */
let counted = false;

/** HMAC(fingerprint key, table ‖ len(key) ‖ key ‖ SHA-256(value)) */
function rowTerm(table: u32, key: usize, keyLength: u32, value: usize, length: u32): void {
  sha256(digest, value, length);
  keyedTerm(FINGERPRINT_HMAC, table, key, keyLength);
}

/** The term of the row whose value's hash is in `digest`. @param hmac states of the fingerprint key */
function keyedTerm(hmac: usize, table: u32, key: usize, keyLength: u32): void {
  store<u8>(head, <u8>table);
  storeU16(head + 1, keyLength);
  hmacStart(context, hmac);
  hmacUpdate(context, head, 3);
  hmacUpdate(context, key, keyLength);
  hmacUpdate(context, digest, 32);
  hmacFinish(context, hmac, term);
}

/** a += term mod 2^256, big-endian. */
function add(a: usize): void {
  let carry: u64 = 0;
  for (let i: i32 = 28; i >= 0; i -= 4) {
    carry += <u64>loadU32(a + i) + <u64>loadU32(term + i);
    storeU32(a + i, <u32>carry);
    carry >>= 32;
  }
}

/** a -= term mod 2^256. */
function subtract(a: usize): void {
  let borrow: i64 = 0;
  for (let i: i32 = 28; i >= 0; i -= 4) {
    borrow += <i64>loadU32(a + i) - <i64>loadU32(term + i);
    storeU32(a + i, <u32>borrow);
    borrow >>= 32;
  }
}

/** A new box: no rows. */
export function startFingerprint(): void {
  wipe(sum, 32);
  rows = 0;
  renewing = false;
  discardFreshness();
}

/** IN: key, value before, value after; a length of -1: there was or is no row. */
export function foldChange(table: u32, keyLength: u32, before: i32, after: i32): u32 {
  if (!isOpen()) return SEALED;
  if (keyLength < 1 || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  const value = IN + keyLength;
  if (before >= 0) {
    rowTerm(table, IN, keyLength, value, <u32>before);
    subtract(staged);
    stagedRows--;
    if (renewing) {
      keyedTerm(STAGED_FINGERPRINT_HMAC, table, IN, keyLength);
      subtract(renewedStaged);
    }
  }
  if (after >= 0) {
    rowTerm(table, IN, keyLength, value + (before > 0 ? <usize>before : 0), <u32>after);
    add(staged);
    stagedRows++;
    if (renewing) {
      keyedTerm(STAGED_FINGERPRINT_HMAC, table, IN, keyLength);
      add(renewedStaged);
    }
  }
  return OK;
}

/**
 * IN: checkpoint root (32), counters (1 + each id 16, count 8). OUT: the row. Result: its length.
 *
 * @param withStaged  for the transaction that carries the staged ring: its generation, and its fingerprint if it has a
 *                    new root
 */
export function sealFreshness(size: f64, timeMs: f64, withStaged: bool): u32 {
  if (!isOpen()) return SEALED;
  if (withStaged && (!isStaged() || (isRootStaged() && !renewing))) return BAD_ARGUMENT;
  const counters = <u32>load<u8>(IN + 32);
  if (counters > COUNTERS_MAX) return BAD_ARGUMENT;
  const payload = OUT + 4096;
  store<u8>(payload, 1);
  storeU32(payload + GENERATION, keyringGeneration(withStaged));
  storeU64(payload + ROWS, <u64>stagedRows);
  copy(payload + FINGERPRINT, withStaged && renewing ? renewedStaged : staged, 32);
  storeU64(payload + SIZE, <u64>size);
  copy(payload + ROOT, IN, 32);
  storeU64(payload + TIME, <u64>timeMs);
  copy(payload + COUNTERS, IN + 32, 1 + counters * 24);
  const length = FIXED + counters * 24;
  setResult(0, length + ROW_OVERHEAD);
  return sealRow(OUT, TABLE_FRESHNESS, noMount(), 0, FRESHNESS_KEY, 9, payload, length);
}

export function adoptFreshness(): void {
  copy(sum, staged, 32);
  copy(renewed, renewedStaged, 32);
  rows = stagedRows;
}

export function discardFreshness(): void {
  copy(staged, sum, 32);
  copy(renewedStaged, renewed, 32);
  stagedRows = rows;
}

/** Begins to count every row under the fingerprint key of the staged root, from the durable state as it is now. */
export function renewStart(): u32 {
  if (!isOpen()) return SEALED;
  if (!isRootStaged()) return BAD_ARGUMENT;
  wipe(renewed, 32);
  wipe(renewedStaged, 32);
  renewing = true;
  return OK;
}

/** IN: key, value of a row of that state. What changes meanwhile, `foldChange` counts in both. */
export function renewRow(table: u32, keyLength: u32, length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (!renewing || keyLength < 1 || keyLength > KEY_SIZE_MAX) return BAD_ARGUMENT;
  sha256(digest, IN + keyLength, length);
  keyedTerm(STAGED_FINGERPRINT_HMAC, table, IN, keyLength);
  add(renewed);
  add(renewedStaged);
  return OK;
}

/** The staged ring comes into force (`adopted`) or is dropped: with a new root, so does what was counted under its key. */
export function renewEnd(adopted: bool): void {
  if (adopted && renewing) copy(sum, renewed, 32);
  renewing = false;
  discardFreshness();
}

/** Opens the row in IN to OUT. */
function openPayload(length: u32): bool {
  if (openRow(OUT, TABLE_FRESHNESS, noMount(), 0, FRESHNESS_KEY, 9, IN, length) != OK) return false;
  const size = length - ROW_OVERHEAD;
  return size >= FIXED && load<u8>(OUT) == 1 && size == FIXED + <u32>load<u8>(OUT + COUNTERS) * 24;
}

/** IN: the row. Results: generation, rows (2), size (2), time (2), counters. OUT: root (32), counters. */
export function openFreshness(length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (!openPayload(length)) return REFUSED;
  copy(sum, OUT + FINGERPRINT, 32);
  rows = <i64>loadU64(OUT + ROWS);
  discardFreshness();
  const counters = <u32>load<u8>(OUT + COUNTERS);
  setResult(0, loadU32(OUT + GENERATION));
  setResult64(2, loadU64(OUT + ROWS));
  setResult64(4, loadU64(OUT + SIZE));
  setResult64(6, loadU64(OUT + TIME));
  setResult(8, counters);
  copy(OUT, OUT + ROOT, 32);
  copy(OUT + 32, OUT + COUNTERS + 1, counters * 24);
  return OK;
}

/** IN: the freshness row that the snapshot holds. */
export function verifyStart(length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (!openPayload(length)) return REFUSED;
  copy(expected, OUT + FINGERPRINT, 32);
  expectedRows = <i64>loadU64(OUT + ROWS);
  wipe(checked, 32);
  checkedRows = 0;
  verifying = true;
  counted = false;
  return OK;
}

/** IN: key, value. */
export function verifyRow(table: u32, keyLength: u32, length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (!verifying) return BAD_ARGUMENT;
  rowTerm(table, IN, keyLength, IN + keyLength, length);
  add(checked);
  checkedRows++;
  return OK;
}

/** Result: 1 if rows and fingerprint are those of the row that verifyStart was given. */
export function verifyEnd(): u32 {
  if (!isOpen()) return SEALED;
  if (!verifying) return BAD_ARGUMENT;
  verifying = false;
  counted = true;
  setResult(0, checkedRows == expectedRows && equalBytes(checked, expected, 32) == 1 ? 1 : 0);
  return OK;
}

/** The recovery quorum takes the rows that were just counted as they are: core follows from them. */
export function acceptRows(): u32 {
  if (!isOpen()) return SEALED;
  if (!counted) return BAD_ARGUMENT;
  counted = false;
  copy(sum, checked, 32);
  rows = checkedRows;
  discardFreshness();
  return OK;
}

export function wipeFingerprint(): void {
  wipe(sum, 32);
  wipe(staged, 32);
  wipe(checked, 32);
  wipe(expected, 32);
  wipe(term, 32);
  wipe(digest, 32);
  wipe(renewed, 32);
  wipe(renewedStaged, 32);
  renewing = false;
  verifying = false;
  counted = false;
  wipe(context, HMAC_CONTEXT_SIZE);
  rows = 0;
  stagedRows = 0;
}
