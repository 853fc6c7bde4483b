/** The token that a request presents: what it says, the row that decides about it, and whether it may be honoured now. */
import { OK, ROW_OVERHEAD, TABLE_TOKEN, TOKEN_PAYLOAD_SIZE_MAX } from './abi';
import { tokenHmac } from './audit/leaf';
import { copy } from './bytes';
import { IN, OPENED, OUT, REQUEST } from './memory';
import { findMount, mountIsLive } from './mounts';
import { noMount, openRow } from './sealed-row';
import {
  cidrsOf,
  isAlive,
  isTokenText,
  isWithin,
  isZero16,
  keyedId,
  openBatch,
  TOKEN_MOUNT,
  TOKEN_PARENT,
  TOKEN_TYPE,
  TYPE_BATCH,
} from './tokens';

export const KIND_NONE: u32 = 0;
export const KIND_SERVICE: u32 = 1;
export const KIND_BATCH: u32 = 2;
const KIND_BAD: u32 = 3;

/** Id of the presented token, and its HMAC for the log in hex: parts of the request between begin and decide. */
export const TOKEN_KEY: usize = REQUEST + 18_432;
export const HMAC_HEX: usize = REQUEST + 18_496;
/** A batch token's parent, opened. */
const PARENT: usize = OPENED + 16_384;

export let kind: u32 = KIND_NONE;
/** Of the payload in OPENED. */
export let tokenLength: u32 = 0;

/**
 * Takes the token in IN: its text, and behind it for a batch token its decoded bytes.
 *
 * @param textLength 0: none is presented, or none is asked for
 * @returns true if a row is wanted: its key is in OUT (the token's, or a batch token's parent's)
 */
export function present(textLength: u32, binaryLength: u32, isBatch: bool): bool {
  kind = KIND_NONE;
  tokenLength = 0;
  if (textLength == 0) return false;
  kind = KIND_BAD;
  let given = false;
  if (isBatch) {
    if (openBatch(OPENED, IN + textLength, binaryLength) == OK) {
      tokenLength = binaryLength - 45;
      kind = KIND_BATCH;
      keyedId(TOKEN_KEY, 0, IN, textLength);
      given = !isZero16(OPENED + TOKEN_PARENT);
      if (given) copy(OUT, OPENED + TOKEN_PARENT, 16);
    }
  } else if (isTokenText(IN, textLength)) {
    kind = KIND_SERVICE;
    keyedId(TOKEN_KEY, 0, IN, textLength);
    copy(OUT, TOKEN_KEY, 16);
    given = true;
  }
  tokenHmac(HMAC_HEX, IN, textLength);
  return given;
}

/** Opens what was presented to OPENED and says whether it may be honoured now. */
export function isGood(row: usize, rowLength: i32, nowMs: u64, family: u32, address: usize): bool {
  if (kind == KIND_SERVICE) {
    if (rowLength < <i32>ROW_OVERHEAD || rowLength > <i32>(TOKEN_PAYLOAD_SIZE_MAX + ROW_OVERHEAD)) return false;
    if (openRow(OPENED, TABLE_TOKEN, noMount(), 0, TOKEN_KEY, 16, row, <u32>rowLength) != OK) return false;
    tokenLength = <u32>rowLength - ROW_OVERHEAD;
    if (<u32>load<u8>(OPENED + TOKEN_TYPE) == TYPE_BATCH) return false;
  } else if (kind == KIND_BATCH) {
    // The payload lies in OPENED since begin. Alive only while its mount and its parent are.
    const own = findMount(OPENED + TOKEN_MOUNT);
    if (own < 0 || !mountIsLive(<u32>own)) return false;
    if (!isZero16(OPENED + TOKEN_PARENT) && !parentLives(row, rowLength, nowMs)) return false;
  } else {
    return false;
  }
  const cidrs = cidrsOf(OPENED, tokenLength);
  return cidrs != 0 && isAlive(OPENED, nowMs) && isWithin(cidrs, family, address);
}

function parentLives(row: usize, rowLength: i32, nowMs: u64): bool {
  if (rowLength < <i32>ROW_OVERHEAD || rowLength > <i32>(TOKEN_PAYLOAD_SIZE_MAX + ROW_OVERHEAD)) return false;
  if (openRow(PARENT, TABLE_TOKEN, noMount(), 0, OPENED + TOKEN_PARENT, 16, row, <u32>rowLength) != OK) return false;
  return cidrsOf(PARENT, <u32>rowLength - ROW_OVERHEAD) != 0 && isAlive(PARENT, nowMs);
}
