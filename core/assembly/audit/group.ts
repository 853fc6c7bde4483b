/** Groups: hashing the lines into the tree, the sealed frame and its mark (core/spec/audit.md, Frame and Mark). */
import { BAD_ARGUMENT, DENIED, NO_ENTROPY, OK, REFUSED, SEALED } from '../abi';
import { copy, equalBytes, loadU16, loadU32, loadU64, storeU16, storeU32, storeU64, wipe } from '../bytes';
import { xchachaOpen, xchachaSeal } from '../cipher/xchacha20poly1305';
import { activeGrant, READ_TABLES } from '../grants';
import { hkdf, hkdfExpand, hkdfExtract } from '../hash/hkdf';
import { hmac, hmacKey } from '../hash/hmac';
import { leafHashx4, sha256Prefixed } from '../hash/sha256';
import { isOpen } from '../keyring';
import { IN, LEAF_HASHES, LINE_TABLE, LINES, OUT, poolTake, setResult, setResult64 } from '../memory';
import { applianceId, auditGeneration, auditKeys } from '../ring';
import { appendLeaf, startTree, treeRoot, treeSize } from './frontier';
import { clearGroup, groupBytes, groupLines } from './leaf';

const FRAME_HEADER: u32 = 44;
const MARK_SIZE: u32 = 80;
const TABLE_JOB_BIT: u32 = 13;

const ad = memory.data(64);
const mac = memory.data(128);
const key = memory.data(64);
const digest = memory.data(32);
const FRAME_AD = memory.data<u8>([
  104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 97, 117, 100, 105, 116, 45, 102, 114, 97, 109, 101,
]); // holdfast/v1/audit-frame
const MARK_AD = memory.data<u8>([
  104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 97, 117, 100, 105, 116, 45, 109, 97, 114, 107,
]); // holdfast/v1/audit-mark
const HMAC_INFO = memory.data<u8>([
  104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 97, 117, 100, 105, 116, 45, 104, 109, 97, 99,
]); // holdfast/v1/audit-hmac

/** IN: the frontier. OUT: the root. */
export function auditStart(size: f64, length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (groupLines != 0 || !startTree(<u64>size, IN, length)) return BAD_ARGUMENT;
  treeRoot(OUT);
  return OK;
}

function frameAd(frame: usize): u32 {
  copy(ad, FRAME_AD, 23);
  copy(ad + 23, applianceId(), 16);
  copy(ad + 39, frame, 20);
  return 59;
}

/** HMAC of a mark's first 48 bytes under the keys of a generation. */
function markMac(out: usize, mark: usize, keys: usize): void {
  hkdf(digest, 32, digest, 0, keys + 12, 32, MARK_AD, 22);
  hmacKey(key, digest, 32);
  wipe(digest, 32);
  copy(mac, MARK_AD, 22);
  copy(mac + 22, applianceId(), 16);
  copy(mac + 38, mark, 48);
  hmac(out, key, mac, 86);
  wipe(key, 64);
}

function lineAt(i: u32): usize {
  return LINES + <usize>load<u32>(LINE_TABLE + <usize>i * 8);
}

function lineLength(i: u32): u32 {
  return load<u32>(LINE_TABLE + <usize>i * 8, 4);
}

/** Leaf hashes of the group's lines, four at a time, which costs half; then into the tree in their order. */
function hashLines(): void {
  let i: u32 = 0;
  for (; i + 4 <= groupLines; i += 4) {
    leafHashx4(
      LEAF_HASHES + <usize>i * 32,
      lineAt(i),
      lineLength(i),
      lineAt(i + 1),
      lineLength(i + 1),
      lineAt(i + 2),
      lineLength(i + 2),
      lineAt(i + 3),
      lineLength(i + 3),
    );
  }
  for (; i < groupLines; i++) sha256Prefixed(LEAF_HASHES + <usize>i * 32, 0, lineAt(i), lineLength(i));
  for (let leaf: u32 = 0; leaf < groupLines; leaf++) appendLeaf(LEAF_HASHES + <usize>leaf * 32);
}

/** OUT: frame ‖ mark. Results: first number (2), size (2), length, lines. Hashes at LEAF_HASHES. Nothing waits: length 0. */
export function auditFlush(): u32 {
  if (!isOpen()) return SEALED;
  setResult(4, 0);
  if (groupLines == 0) return OK;
  const generation = auditGeneration();
  const keys = auditKeys(generation);
  const length = FRAME_HEADER + groupBytes + 16;
  if (!poolTake(OUT + 20, 24)) return NO_ENTROPY;
  setResult64(0, treeSize());
  store<u8>(OUT, 1);
  store<u8>(OUT + 1, 1);
  storeU16(OUT + 2, groupLines);
  storeU32(OUT + 4, length);
  storeU64(OUT + 8, treeSize());
  storeU32(OUT + 16, generation);
  xchachaSeal(OUT + FRAME_HEADER, keys + 44, OUT + 20, ad, frameAd(OUT), LINES, groupBytes);
  hashLines();
  const mark = OUT + length;
  store<u8>(mark, 1);
  store<u8>(mark + 1, 2);
  storeU16(mark + 2, 0);
  storeU32(mark + 4, generation);
  storeU64(mark + 8, treeSize());
  treeRoot(mark + 16);
  markMac(mark + 48, mark, keys);
  setResult64(2, treeSize());
  setResult(4, length + MARK_SIZE);
  setResult(5, groupLines);
  clearGroup();
  return OK;
}

/** IN: a mark. Results: size (2). OUT: root. */
export function auditMark(length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (length != MARK_SIZE || load<u8>(IN) != 1 || load<u8>(IN + 1) != 2 || loadU16(IN + 2) != 0) return REFUSED;
  const keys = auditKeys(loadU32(IN + 4));
  if (keys == 0) return REFUSED;
  markMac(digest, IN, keys);
  if (equalBytes(digest, IN + 48, 32) == 0) return REFUSED;
  setResult64(0, loadU64(IN + 8));
  copy(OUT, IN + 16, 32);
  return OK;
}

/** IN: a frame. Results: first number (2), length. OUT: the lines. */
export function auditOpenFrame(number: f64, length: u32): u32 {
  const grant = activeGrant(number);
  if (grant == 0 || ((load<u32>(grant + READ_TABLES) >>> TABLE_JOB_BIT) & 1) == 0) return DENIED;
  if (length < FRAME_HEADER + 16 || load<u8>(IN) != 1 || load<u8>(IN + 1) != 1 || loadU32(IN + 4) != length)
    return REFUSED;
  const keys = auditKeys(loadU32(IN + 16));
  if (keys == 0) return REFUSED;
  const size = length - FRAME_HEADER - 16;
  if (xchachaOpen(OUT, keys + 44, IN + 20, ad, frameAd(IN), IN + FRAME_HEADER, size) == 0) return REFUSED;
  setResult64(0, loadU64(IN + 8));
  setResult(2, size);
  return OK;
}

/** IN: accessor, value. OUT: 32 bytes. */
export function auditHmac(accessorLength: u32, length: u32): u32 {
  if (!isOpen()) return SEALED;
  if (accessorLength < 1 || accessorLength > 64) return BAD_ARGUMENT;
  copy(mac, HMAC_INFO, 22);
  copy(mac + 22, IN, accessorLength);
  hkdfExtract(digest, mac, 0, auditKeys(auditGeneration()) + 12, 32);
  hkdfExpand(digest, 32, digest, mac, 22 + accessorLength);
  hmacKey(key, digest, 32);
  hmac(OUT, key, IN + accessorLength, length);
  wipe(key, 64);
  wipe(digest, 32);
  return OK;
}
