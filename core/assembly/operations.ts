/**
 * The declared operations: patterns, what they need of the policy, and which storage they may touch. Written once before
 * the first unseal (core/spec/gate.md has the encoding), read at every request.
 */
import { BAD_ARGUMENT, FULL, OK } from './abi';
import { copy, equalBytes, loadU16, loadU32 } from './bytes';
import { OPERATIONS, OPERATIONS_SIZE } from './memory';

/** Index of the operations, then the encoding as it came. */
const OPERATION_COUNT_MAX: u32 = 4096;
const TYPE_COUNT_MAX: u32 = 128;
const INDEX: usize = OPERATIONS;
const TYPE_INDEX: usize = OPERATIONS + 16_384;
const BYTES: usize = OPERATIONS + 32_768;
const BYTES_SIZE: u32 = OPERATIONS_SIZE - 32_768;

let operationCount: u32 = 0;
let typeCount: u32 = 0;

export function declaredOperations(): u32 {
  return operationCount;
}

/**
 * Types, one after the other: name (1 + n), number of operations (2), then each operation: length of what follows (2),
 * type (2, filled in here), verb (1), flags (1), read tables (4), write tables (4), pattern (2 + n), existence template
 * (2 + n), existence suffix (1 + n), number of subtrees (1), each: modes (1), extent (1: 0 record, 1 subtree), template (2 + n).
 */
export function declareTypes(input: usize, length: u32): u32 {
  if (operationCount != 0 || length > BYTES_SIZE) return BAD_ARGUMENT;
  copy(BYTES, input, length);
  const end = BYTES + length;
  let at = BYTES;
  while (at < end) {
    if (typeCount == TYPE_COUNT_MAX) return FULL;
    store<u32>(TYPE_INDEX + <usize>typeCount * 4, <u32>at);
    at += 1 + <usize>load<u8>(at);
    const own = loadU16(at);
    at += 2;
    for (let i: u32 = 0; i < own; i++) {
      if (operationCount == OPERATION_COUNT_MAX) return FULL;
      const size = loadU16(at);
      store<u32>(INDEX + <usize>operationCount * 4, <u32>(at + 2));
      store<u16>(at + 2, <u16>typeCount);
      at += 2 + <usize>size;
      operationCount++;
    }
    typeCount++;
  }
  return at == end ? OK : BAD_ARGUMENT;
}

/** Index of a type by its name, or -1. */
export function findType(name: usize, length: u32): i32 {
  for (let i: u32 = 0; i < typeCount; i++) {
    const at = <usize>load<u32>(TYPE_INDEX + <usize>i * 4);
    if (<u32>load<u8>(at) == length && equalBytes(at + 1, name, length) == 1) return <i32>i;
  }
  return -1;
}

export function typeName(type: u32): usize {
  return <usize>load<u32>(TYPE_INDEX + <usize>type * 4);
}

export function operation(number: u32): usize {
  return <usize>load<u32>(INDEX + <usize>number * 4);
}

export function operationType(op: usize): u32 {
  return <u32>load<u16>(op);
}

export function operationVerb(op: usize): u32 {
  return <u32>load<u8>(op + 2);
}

export function operationFlags(op: usize): u32 {
  return <u32>load<u8>(op + 3);
}

export function readTables(op: usize): u32 {
  return loadU32(op + 4);
}

export function writeTables(op: usize): u32 {
  return loadU32(op + 8);
}

/** Address of its length (2), text behind it. */
export function patternOf(op: usize): usize {
  return op + 12;
}

export function existenceOf(op: usize): usize {
  const pattern = patternOf(op);
  return pattern + 2 + <usize>loadU16(pattern);
}

/** Address of its length (1), bytes behind it. */
export function existenceSuffixOf(op: usize): usize {
  const existence = existenceOf(op);
  return existence + 2 + <usize>loadU16(existence);
}

/** Address of their number (1), subtrees behind it. */
export function subtreesOf(op: usize): usize {
  const suffix = existenceSuffixOf(op);
  return suffix + 1 + <usize>load<u8>(suffix);
}

const SLASH: u32 = 0x2f;
const PLUS: u32 = 0x2b;
const STAR: u32 = 0x2a;

/** Captures of the last match: address of the name, its length, offset and length in the matched text (4 words each). */
export const CAPTURES = memory.data(128);
export const CAPTURE_COUNT_MAX: u32 = 8;
export let captureCount: u32 = 0;

function capture(name: usize, nameLength: u32, offset: u32, length: u32): void {
  const at = CAPTURES + <usize>captureCount * 16;
  store<u32>(at, <u32>name);
  store<u32>(at, nameLength, 4);
  store<u32>(at, offset, 8);
  store<u32>(at, length, 12);
  captureCount++;
}

function segmentEnd(p: usize, from: u32, length: u32): u32 {
  while (from < length && <u32>load<u8>(p + from) != SLASH) from++;
  return from;
}

/**
 * Matches a path below its mount (no slash at either end, '' for the mount itself) with a pattern, and fills the captures.
 *
 * @param list  for a list `*name` may capture nothing
 */
export function matchPattern(pattern: usize, path: usize, length: u32, list: bool): bool {
  captureCount = 0;
  const size = loadU16(pattern);
  const text = pattern + 2;
  let p: u32 = 0;
  let at: u32 = 0;
  if (size == 0) return length == 0;
  while (p <= size) {
    const end = segmentEnd(text, p, size);
    const kind = <u32>load<u8>(text + p);
    if (kind == STAR) {
      if (captureCount == CAPTURE_COUNT_MAX || (at >= length && !list)) return false;
      capture(text + p + 1, end - p - 1, at < length ? at : length, at < length ? length - at : 0);
      return true;
    }
    if (at >= length) return false;
    const until = segmentEnd(path, at, length);
    if (kind == PLUS) {
      if (captureCount == CAPTURE_COUNT_MAX) return false;
      capture(text + p + 1, end - p - 1, at, until - at);
    } else if (until - at != end - p || equalBytes(text + p, path + at, end - p) == 0) {
      return false;
    }
    p = end + 1;
    at = until + 1;
  }
  return at > length;
}

const BRACE: u32 = 0x7b;
const CLOSING: u32 = 0x7d;
const HEX = memory.data<u8>([48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 97, 98, 99, 100, 101, 102]);
const TOKEN_NAME = memory.data<u8>([116, 111, 107, 101, 110]);

/** Writes 2 × length hex digits; `bytes` are public here (ids and hashes that leave core anyway). */
export function hex(out: usize, bytes: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    const byte = <usize>load<u8>(bytes + i);
    store<u8>(out + i * 2, load<u8>(HEX + (byte >>> 4)));
    store<u8>(out + i * 2 + 1, load<u8>(HEX + (byte & 15)));
  }
}

/**
 * Fills a template: `{name}` with what was captured, `{token}` with the token's id in hex. A capture of nothing takes
 * the slash before it along.
 *
 * @param template address of its length (2)  @param captures as CAPTURES  @param path that the captures point into
 * @returns length written to `out`, which takes PATH_SIZE_MAX + 64 bytes; -1 for a name that was not captured
 */
export function fillTemplate(
  out: usize,
  template: usize,
  captures: usize,
  count: u32,
  path: usize,
  tokenId: usize,
): i32 {
  const size = loadU16(template);
  const text = template + 2;
  let to: u32 = 0;
  let p: u32 = 0;
  while (p < size) {
    const byte = <u32>load<u8>(text + p);
    if (byte != BRACE) {
      store<u8>(out + to++, <u8>byte);
      p++;
      continue;
    }
    let end = p + 1;
    while (end < size && <u32>load<u8>(text + end) != CLOSING) end++;
    const nameLength = end - p - 1;
    let found = false;
    if (nameLength == 5 && equalBytes(text + p + 1, TOKEN_NAME, 5) == 1) {
      if (tokenId == 0) return -1;
      hex(out + to, tokenId, 16);
      to += 32;
      found = true;
    }
    for (let i: u32 = 0; i < count && !found; i++) {
      const at = captures + <usize>i * 16;
      if (load<u32>(at, 4) != nameLength || equalBytes(<usize>load<u32>(at), text + p + 1, nameLength) == 0) continue;
      const length = load<u32>(at, 12);
      copy(out + to, path + load<u32>(at, 8), length);
      to += length;
      if (length == 0 && to > 0) to--;
      found = true;
    }
    if (!found) return -1;
    p = end + 1;
  }
  return <i32>to;
}
