/** route → begin → decide: from a path and a token to a grant (core/spec/gate.md). */
import {
  BAD_ARGUMENT,
  BAD_PATH,
  DENIED,
  FULL,
  NO_MOUNT,
  OK,
  OP_EXISTENCE,
  OP_OPEN,
  OP_ROOT,
  OP_SLASH,
  OP_SUDO,
  PATH_SIZE_MAX,
  REFUSED,
  ROW_OVERHEAD,
  SEALED,
  TABLE_ACCESSOR,
  TABLE_EXPIRY,
  TABLE_RECORD,
  TABLE_TOKEN,
  TABLE_WRAP,
  VERB_DELETE,
  VERB_HELP,
  VERB_LIST,
  VERB_PATCH,
  VERB_READ,
  VERB_WRITE,
  VERDICT_ALLOWED,
  VERDICT_NEEDS_PARAMETERS,
  VERDICT_POLICY,
  VERDICT_TOKEN,
} from './abi';
import { copy, loadU16, wipe } from './bytes';
import {
  CAPABILITY,
  CAPTURE_LIST,
  CAPTURED,
  DEADLINE,
  endGrant,
  FLAG_CREATE,
  FLAG_REFUSED,
  FLAG_ROOT,
  FLAG_TOKEN,
  FLAGS,
  JOB,
  keepExistence,
  MOUNT,
  MOUNT_ID,
  newGrant,
  numberOf,
  OPERATION,
  PATH,
  PATH_LENGTH,
  READ_TABLES,
  RELATIVE,
  SLASHED,
  STATE,
  STATE_DECIDED,
  TOKEN,
  TOKEN_HMAC_HEX,
  TOKEN_ID,
  TOKEN_LENGTH,
  tell,
  VERDICT,
  WRITE_TABLES,
} from './grants';
import { isOpen } from './keyring';
import { IN, OPENED, OUT, REQUEST, setResult, setResult64 } from './memory';
import { mountId, mountIsLive, mountPathLength, mountSubkey, mountType, routeMount } from './mounts';
import { recordKey } from './names';
import {
  CAPTURES,
  captureCount,
  declaredOperations,
  existenceOf,
  existenceSuffixOf,
  fillTemplate,
  matchPattern,
  operation,
  operationFlags,
  operationType,
  operationVerb,
  patternOf,
  readTables,
  writeTables,
} from './operations';
import { isPath } from './path';
import {
  CAPABILITY_CREATE,
  CAPABILITY_DELETE,
  CAPABILITY_LIST,
  CAPABILITY_PATCH,
  CAPABILITY_READ,
  CAPABILITY_SUDO,
  CAPABILITY_UPDATE,
  VERDICT_ALLOWED as POLICY_ALLOWED,
  VERDICT_NEEDS_PARAMETERS as POLICY_NEEDS_PARAMETERS,
  POLICY_SUDO,
  policyCapabilities,
  policyCapabilitiesFor,
  policyDecide,
  policyFind,
  policyGranting,
  policyParameters,
} from './policy/index';
import {
  HMAC_HEX,
  isGood,
  KIND_BATCH,
  KIND_NONE,
  KIND_SERVICE,
  kind,
  present,
  TOKEN_KEY,
  tokenLength,
} from './presented';
import { noMount, openRow, sealRow } from './sealed-row';
import { cidrsOf, ends, isRootName, spend, TOKEN_POLICIES } from './tokens';

// The request between route and decide.
const SLASH: u32 = 0x2f;
const ROUTED_PATH: usize = REQUEST;
const FILLED: usize = REQUEST + 8704;
const SET: usize = REQUEST + 17_408;
const EXISTENCE: usize = REQUEST + 18_448;

const STAGE_NONE: u32 = 0;
const STAGE_ROUTED: u32 = 1;
const STAGE_BEGUN: u32 = 2;

let stage: u32 = STAGE_NONE;
let pathLength: u32 = 0;
let relative: u32 = 0;
let slashed = false;
let mount: u32 = 0;
let op: usize = 0;
let existenceLength: u32 = 0;
let capability: u32 = 0;

/** IN: the path. Results: mount index, where the relative path begins, its trailing slash, length. */
export function route(length: u32): u32 {
  stage = STAGE_NONE;
  if (!isOpen()) return SEALED;
  if (length < 1 || length > PATH_SIZE_MAX) return BAD_PATH;
  slashed = <u32>load<u8>(IN + length - 1) == SLASH;
  if (slashed) length--;
  if (!isPath(IN, length)) return BAD_PATH;
  copy(ROUTED_PATH, IN, length);
  pathLength = length;
  const found = routeMount(ROUTED_PATH, length);
  if (found < 0) return NO_MOUNT;
  mount = <u32>found;
  const own = mountPathLength(mount);
  relative = own < length ? own : length;
  stage = STAGE_ROUTED;
  setResult(0, mount);
  setResult(1, relative);
  setResult(2, slashed ? 1 : 0);
  setResult(3, length);
  return OK;
}

/**
 * IN: the token's text, and behind it for a batch token its decoded bytes. Results: what keys are in OUT (1 token's
 * row, 2 existence), length of the latter. OUT: token key (16), existence key.
 */
export function begin(number: u32, textLength: u32, binaryLength: u32, isBatch: bool): u32 {
  if (stage == STAGE_NONE || !isOpen()) return BAD_ARGUMENT;
  stage = STAGE_ROUTED;
  if (number >= declaredOperations() || !mountIsLive(mount)) return BAD_ARGUMENT;
  op = operation(number);
  if (operationType(op) != mountType(mount)) return DENIED;
  const isList = operationVerb(op) == VERB_LIST;
  if (slashed && !isList && (operationFlags(op) & OP_SLASH) == 0) return BAD_PATH;
  if (!matchPattern(patternOf(op), ROUTED_PATH + relative, pathLength - relative, isList)) return DENIED;
  const needsToken = (operationFlags(op) & OP_OPEN) == 0;
  let given: u32 = present(needsToken ? textLength : 0, binaryLength, isBatch) ? 1 : 0;
  existenceLength = 0;
  if ((operationFlags(op) & OP_EXISTENCE) != 0 && operationVerb(op) == VERB_WRITE) {
    // A token's own storage has no name until the token is known: then the key is that of the presented token.
    const tokenId = kind == KIND_SERVICE || kind == KIND_BATCH ? TOKEN_KEY : 0;
    const length = fillTemplate(FILLED, existenceOf(op), CAPTURES, captureCount, ROUTED_PATH + relative, tokenId);
    if (length > 0 && isPath(FILLED, <u32>length)) {
      recordKey(EXISTENCE, mount, FILLED, <u32>length);
      const suffix = existenceSuffixOf(op);
      copy(EXISTENCE + 32, suffix + 1, <u32>load<u8>(suffix));
      existenceLength = 32 + <u32>load<u8>(suffix);
      copy(OUT + 16, EXISTENCE, existenceLength);
      given |= 2;
    }
  }
  stage = STAGE_BEGUN;
  setResult(0, given);
  setResult(1, existenceLength);
  return OK;
}

function wanted(verb: u32, exists: bool): u32 {
  if (verb == VERB_READ) return CAPABILITY_READ;
  if (verb == VERB_LIST) return CAPABILITY_LIST;
  if (verb == VERB_DELETE) return CAPABILITY_DELETE;
  if (verb == VERB_PATCH) return CAPABILITY_PATCH;
  if (verb == VERB_HELP) return 0;
  return exists ? CAPABILITY_UPDATE : CAPABILITY_CREATE;
}

/** Fills SET with the indexes of a payload's policies. @returns their number, or -1 for the root policy */
function policySet(payload: usize): i32 {
  const count = loadU16(payload + TOKEN_POLICIES);
  let at = payload + TOKEN_POLICIES + 2;
  for (let i: u32 = 0; i < count; i++) {
    const length = <u32>load<u8>(at);
    if (isRootName(at + 1, length)) return -1;
    // A policy that is not there grants nothing; its place is kept, so that positions are those of the token's list.
    store<u16>(SET + i * 2, <u16>policyFind(at + 1, length));
    at += 1 + length;
  }
  return <i32>count;
}

/**
 * Decides the begun request. IN: row under the token key, existence row, encoded parameters, peer's address, one behind
 * the other; a length of -1: not given. Results: verdict, capability, grant number (2 words), flags (1 root, 2 sudo,
 * 4 a spent row is in OUT, 8 last use), length of the spent row, number of granting policies (at OUT + 32 KiB, 2 each).
 *
 * @param refuseEnding  the host does not know the time well enough for a token that has an expiry
 */
export function decide(
  rowLength: i32,
  existsLength: i32,
  parametersLength: i32,
  family: u32,
  now: f64,
  deadlineMs: f64,
  wrapTtl: u32,
  refuseEnding: bool,
): u32 {
  if (stage != STAGE_BEGUN || !isOpen()) return BAD_ARGUMENT;
  const nowMs = <u64>now;
  tell(nowMs);
  const row = IN;
  const exists = row + (rowLength > 0 ? <usize>rowLength : 0);
  const parameters = exists + (existsLength > 0 ? <usize>existsLength : 0);
  const address = parameters + (parametersLength > 0 ? <usize>parametersLength : 0);
  const flags = operationFlags(op);
  const verb = operationVerb(op);
  let verdict = VERDICT_TOKEN;
  let isRoot = false;
  let hasSudo = false;
  let grantingCount: u32 = 0;
  // A refused token's leaves say what was asked for too.
  capability = wanted(verb, true);
  if ((flags & OP_OPEN) != 0) {
    verdict = VERDICT_ALLOWED;
  } else if (isGood(row, rowLength, nowMs, family, address) && !(refuseEnding && ends(OPENED))) {
    let present = true;
    if (existenceLength > 0) {
      present = existsLength >= 0;
      if (present) {
        const key = mountSubkey(mount, TABLE_RECORD);
        const id = mountId(mount);
        if (openRow(OUT, TABLE_RECORD, id, key, EXISTENCE, existenceLength, exists, <u32>existsLength) != OK) {
          return REFUSED;
        }
        wipe(OUT, <u32>existsLength);
      }
    }
    capability = wanted(verb, present);
    const count = policySet(OPENED);
    verdict = VERDICT_POLICY;
    if (count < 0) {
      isRoot = true;
      hasSudo = true;
      verdict = VERDICT_ALLOWED;
    } else if (verb == VERB_HELP) {
      verdict = VERDICT_ALLOWED;
    } else if ((flags & OP_ROOT) == 0) {
      if (verb == VERB_LIST) store<u8>(ROUTED_PATH + pathLength, <u8>SLASH);
      const length = verb == VERB_LIST ? pathLength + 1 : pathLength;
      const needs = (flags & OP_SUDO) != 0 ? POLICY_SUDO : 0;
      let answer = policyDecide(SET, <u32>count, ROUTED_PATH, length, capability, needs, wrapTtl);
      if (answer == POLICY_NEEDS_PARAMETERS) {
        if (parametersLength < 0) {
          // The request stays begun: the host decides it again, with parameters.
          setResult(0, VERDICT_NEEDS_PARAMETERS);
          return OK;
        }
        answer = policyParameters(parameters, <u32>parametersLength);
      }
      if (answer == POLICY_ALLOWED) verdict = VERDICT_ALLOWED;
      hasSudo = (policyCapabilities() & CAPABILITY_SUDO) != 0;
      for (let i = policyGranting(grantingCount); i >= 0; i = policyGranting(grantingCount)) {
        store<u16>(OUT + 32_768 + grantingCount * 2, <u16>i);
        grantingCount++;
      }
    }
  }
  const grant = newGrant();
  if (grant == 0) return FULL;
  let outcome: u32 = (isRoot ? 1 : 0) | (hasSudo ? 2 : 0);
  let spentLength: u32 = 0;
  fillGrant(grant, verdict, isRoot, <u64>deadlineMs, wrapTtl);
  if (verdict != VERDICT_TOKEN && kind == KIND_SERVICE && (flags & OP_OPEN) == 0) {
    const left = spend(grant + TOKEN);
    if (left != 0) {
      const status = sealRow(OUT, TABLE_TOKEN, noMount(), 0, TOKEN_KEY, 16, grant + TOKEN, tokenLength);
      if (status != OK) {
        endGrant(grant);
        return status;
      }
      spentLength = tokenLength + ROW_OVERHEAD;
      outcome |= left == 2 ? <u32>12 : <u32>4;
    }
  }
  stage = STAGE_NONE;
  setResult(0, verdict);
  setResult(1, capability);
  setResult64(2, numberOf(grant));
  setResult(4, outcome);
  setResult(5, spentLength);
  setResult(6, verdict == VERDICT_ALLOWED ? grantingCount : 0);
  return OK;
}

function fillGrant(grant: usize, verdict: u32, isRoot: bool, deadlineMs: u64, wrapTtl: u32): void {
  const known = verdict != VERDICT_TOKEN && (operationFlags(op) & OP_OPEN) == 0;
  const wraps = wrapTtl > 0 ? (1 << TABLE_TOKEN) | (1 << TABLE_ACCESSOR) | (1 << TABLE_WRAP) | (1 << TABLE_EXPIRY) : 0;
  let flags: u32 = 0;
  if (known) flags |= FLAG_TOKEN;
  if (isRoot) flags |= FLAG_ROOT;
  if (verdict != VERDICT_ALLOWED) flags |= FLAG_REFUSED;
  if (capability == CAPABILITY_CREATE) flags |= FLAG_CREATE;
  store<u32>(grant + STATE, STATE_DECIDED);
  store<u32>(grant + OPERATION, <u32>op);
  store<u32>(grant + MOUNT, mount);
  store<u32>(grant + CAPABILITY, capability);
  store<u32>(grant + VERDICT, verdict);
  store<u32>(grant + JOB, 0);
  store<u64>(grant + DEADLINE, deadlineMs);
  store<u32>(grant + READ_TABLES, readTables(op));
  store<u32>(grant + WRITE_TABLES, writeTables(op) | wraps);
  store<u32>(grant + FLAGS, flags);
  store<u32>(grant + PATH_LENGTH, pathLength);
  store<u32>(grant + RELATIVE, relative);
  store<u32>(grant + SLASHED, operationVerb(op) == VERB_LIST ? 1 : 0);
  store<u32>(grant + CAPTURED, captureCount);
  copy(grant + CAPTURE_LIST, CAPTURES, captureCount * 16);
  copy(grant + PATH, ROUTED_PATH, pathLength);
  copy(grant + MOUNT_ID, mountId(mount), 16);
  if (kind != KIND_NONE) copy(grant + TOKEN_HMAC_HEX, HMAC_HEX, 64);
  if (known) {
    copy(grant + TOKEN_ID, TOKEN_KEY, 16);
    copy(grant + TOKEN, OPENED, tokenLength);
    store<u32>(grant + TOKEN_LENGTH, tokenLength);
  }
  if (existenceLength > 0) keepExistence(grant, EXISTENCE, op);
}

/** What a token payload's policies say of a path. IN: payload, path. Result: capability bits of the policy module. */
export function capabilities(payloadLength: u32, length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (cidrsOf(IN, payloadLength) == 0 || length > PATH_SIZE_MAX) return BAD_ARGUMENT;
  const count = policySet(IN);
  setResult(0, policyCapabilitiesFor(SET, count < 0 ? 0 : <u32>count, IN + payloadLength, length, count < 0 ? 1 : 0));
  return OK;
}

export function wipeRequest(): void {
  wipe(REQUEST, 65_536);
  wipe(OPENED, 32_768);
  stage = STAGE_NONE;
}
