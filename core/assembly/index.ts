/** The only exports of core. Each takes its bytes from IN and leaves them in OUT; core/spec/abi.md lists them. */
import { BAD_ARGUMENT, DENIED, OK, SEALED } from './abi';
import { wipeTree } from './audit/frontier';
import { auditFlush, auditHmac, auditMark, auditOpenFrame, auditStart } from './audit/group';
import { groupBytes, leaf, wipeLeaves } from './audit/leaf';
import { copy, wipe } from './bytes';
import {
  acceptRows,
  adoptFreshness,
  discardFreshness,
  foldChange,
  openFreshness,
  renewEnd,
  renewRow,
  renewStart,
  sealFreshness,
  startFingerprint,
  verifyEnd,
  verifyRow,
  verifyStart,
  wipeFingerprint,
} from './fingerprint';
import { begin, capabilities, decide, route, wipeRequest } from './gate';
import { activeGrant, endGrant, findGrant, TOKEN, TOKEN_LENGTH, WRITE_TABLES, wipeGrants } from './grants';
import { sha256 } from './hash/sha256';
import { systemGrant } from './jobs';
import * as keyring from './keyring';
import { IN, OUT, POLICIES, POLICIES_SIZE, poolFill, poolLeft, poolWipe, setResult } from './memory';
import * as mounts from './mounts';
import { wipeNames } from './names';
import { declareTypes } from './operations';
import {
  POLICY_FULL,
  POLICY_OK,
  policyAdd,
  policyBegin,
  policyClear,
  policyCommit,
  policyMemory,
} from './policy/index';
import { reseal } from './rewrap';
import * as root from './root';
import { locate, locateNames, nameKey, open, openName, openTable, sealName, sealRecord, sealTable } from './rows';
import { noMount, openRow } from './sealed-row';
import * as shamir from './shamir';
import * as tokens from './tokens';

export {
  acceptRows,
  adoptFreshness,
  auditFlush,
  auditHmac,
  auditMark,
  auditOpenFrame,
  auditStart,
  begin,
  capabilities,
  decide,
  discardFreshness,
  foldChange,
  leaf,
  locate,
  locateNames,
  nameKey,
  open,
  openFreshness,
  openName,
  openTable,
  poolFill,
  poolLeft,
  renewRow,
  renewStart,
  reseal,
  route,
  sealFreshness,
  sealName,
  sealRecord,
  sealTable,
  systemGrant,
  verifyEnd,
  verifyRow,
  verifyStart,
};

policyMemory(POLICIES, POLICIES_SIZE);

/** IN: the declarations. Once. */
export function declare(length: u32): u32 {
  return declareTypes(IN, length);
}

export function isSealed(): bool {
  return !keyring.isOpen();
}

export function auditPending(): u32 {
  return groupBytes;
}

/** IN: appliance id. */
export function createKeyring(nowMs: f64): u32 {
  const status = keyring.createKeyring(IN, <u64>nowMs);
  if (status == OK) startFingerprint();
  return status;
}

/** IN: dh, enc, recipient (32 each), context. */
export function wrapRoot(contextLength: u32): u32 {
  const status = root.wrapRoot(IN, contextLength);
  wipe(IN, 32);
  return status;
}

/** IN: as wrapRoot, then the wrapped root. */
export function unwrapRoot(contextLength: u32, wrappedLength: u32): u32 {
  const status = root.unwrapRoot(IN, contextLength, IN + 96 + contextLength, wrappedLength);
  wipe(IN, 32);
  return status;
}

export function openKeyring(length: u32): u32 {
  const status = keyring.openKeyring(IN, length);
  if (status == OK) startFingerprint();
  return status;
}

export function keyringInfo(): u32 {
  return keyring.keyringInfo();
}

/** IN: slots. */
export function stageKeyring(slotsLength: i32, newEpoch: bool, newRoot: bool, retire: u32, nowMs: f64): u32 {
  return keyring.stageKeyring(IN, slotsLength, newEpoch, newRoot, retire, <u64>nowMs);
}

/** IN: appliance id. */
export function nameStaged(): u32 {
  return keyring.nameStaged(IN);
}

export function adoptStaged(): u32 {
  const status = keyring.adoptStaged();
  if (status == OK) renewEnd(true);
  return status;
}

export function discardStaged(): void {
  keyring.discardStaged();
  renewEnd(false);
}

/** Wipes every key, every grant, everything that was opened. */
export function seal(): void {
  keyring.wipeKeys();
  wipeGrants();
  wipeRequest();
  mounts.wipeMounts();
  wipeNames();
  tokens.wipeTokens();
  wipeLeaves();
  wipeTree();
  wipeFingerprint();
  policyClear();
  poolWipe();
  wipe(IN, 3 * 1024 * 1024);
  wipe(OUT, 6 * 1024 * 1024);
}

/** IN: key (16), row of table `mount`. */
export function loadMount(length: u32): u32 {
  if (!keyring.isOpen()) return SEALED;
  const status = openRow(OUT, 10, noMount(), 0, IN, 16, IN + 16, length);
  return status == OK ? mounts.loadMount(OUT, length - 45, IN, 16) : status;
}

export function dropMount(): u32 {
  return mounts.dropMount(IN);
}

export function beginPolicies(): u32 {
  if (!keyring.isOpen()) return SEALED;
  policyBegin();
  return OK;
}

/** IN: key (16), row of table `policy`. */
export function addPolicy(length: u32): u32 {
  if (!keyring.isOpen()) return SEALED;
  const status = openRow(OUT, 9, noMount(), 0, IN, 16, IN + 16, length);
  if (status != OK) return status;
  const added = policyAdd(OUT, length - 45);
  return added == POLICY_OK ? OK : added == POLICY_FULL ? 6 : BAD_ARGUMENT;
}

export function commitPolicies(): u32 {
  return policyCommit() == POLICY_OK ? OK : BAD_ARGUMENT;
}

/** OUT: payload of the token that a live grant was decided with. Result: its length, 0 without token. */
export function tokenPayload(number: f64): u32 {
  const grant = findGrant(number);
  if (grant == 0) return DENIED;
  const length = load<u32>(grant + TOKEN_LENGTH);
  copy(OUT, grant + TOKEN, length);
  setResult(0, length);
  return OK;
}

export function finishGrant(number: f64): u32 {
  const grant = findGrant(number);
  if (grant == 0) return DENIED;
  endGrant(grant);
  return OK;
}

/** A grant that may write tokens. */
function writesTokens(number: f64): bool {
  const grant = activeGrant(number);
  return grant != 0 && ((load<u32>(grant + WRITE_TABLES) >>> 5) & 1) == 1;
}

export function newToken(number: f64, recovery: bool): u32 {
  return writesTokens(number) ? tokens.newToken(recovery) : DENIED;
}

export function newAccessor(): u32 {
  return tokens.newAccessor();
}

/** IN: the token's text. OUT: id. */
export function tokenId(length: u32): u32 {
  if (!keyring.isOpen()) return SEALED;
  if (!tokens.isTokenText(IN, length)) return BAD_ARGUMENT;
  tokens.keyedId(OUT, 0, IN, length);
  return OK;
}

/** IN: a name. OUT: 16 bytes. */
export function blindKey(table: u32, length: u32): u32 {
  if (!keyring.isOpen()) return SEALED;
  tokens.keyedId(OUT, table, IN, length);
  return OK;
}

export function sealBatchToken(number: f64, length: u32): u32 {
  return writesTokens(number) ? tokens.sealBatch(IN, length) : DENIED;
}

export function openBatchToken(number: f64, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0) return DENIED;
  const status = tokens.openBatch(OUT, IN, length);
  if (status == OK) setResult(0, length - 45);
  return status;
}

export function hash(length: u32): void {
  sha256(OUT, IN, length);
}

/** IN: secret, random bytes. OUT: the shares. */
export function shamirSplit(length: u32, shares: u32, threshold: u32): u32 {
  const status = shamir.shamirSplit(OUT, IN, length, shares, threshold, IN + length);
  wipe(IN, length * threshold);
  return status == 0 ? OK : BAD_ARGUMENT;
}

/** IN: the shares. OUT: the secret. */
export function shamirCombine(shareLength: u32, count: u32): u32 {
  const status = shamir.shamirCombine(OUT, IN, shareLength, count);
  wipe(IN, shareLength * count);
  return status == 0 ? OK : BAD_ARGUMENT;
}

/** For the self-check of DHKEM against RFC 9180's vectors: IN dh, enc, recipient; OUT shared secret. */
export function dhkem(): void {
  root.dhkem(OUT, IN, IN + 32, IN + 64);
}

/** The facade wipes what it has read of a secret. */
export function wipeOut(length: u32): void {
  wipe(OUT, length);
}
