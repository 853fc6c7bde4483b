/**
 * The grammar of a path, decided here alone (core/spec/names.md): well-formed UTF-8, 1 to 32 segments of 1 to 255 bytes
 * joined by `/`, without control characters, `.` or `..` alone, or spaces at an end of a segment.
 */
import { PATH_SIZE_MAX, SEGMENT_COUNT_MAX, SEGMENT_SIZE_MAX } from './abi';

const SLASH: u32 = 0x2f;
const SPACE: u32 = 0x20;
const DOT: u32 = 0x2e;

/** Length of the well-formed UTF-8 sequence at p (RFC 3629 section 4), or 0; 0 for control characters and `/` too. */
function sequence(p: usize, end: usize): u32 {
  const b0 = <u32>load<u8>(p);
  if (b0 < 0x80) return b0 < 0x20 || b0 == 0x7f || b0 == SLASH ? 0 : 1;
  if (b0 < 0xc2 || b0 > 0xf4) return 0;
  const length: u32 = b0 < 0xe0 ? 2 : b0 < 0xf0 ? 3 : 4;
  if (p + length > end) return 0;
  const b1 = <u32>load<u8>(p + 1);
  // Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte; so do the controls U+0080 to U+009F.
  let low: u32 = 0x80;
  let high: u32 = 0xbf;
  if (b0 == 0xc2) low = 0xa0;
  else if (b0 == 0xe0) low = 0xa0;
  else if (b0 == 0xed) high = 0x9f;
  else if (b0 == 0xf0) low = 0x90;
  else if (b0 == 0xf4) high = 0x8f;
  if (b1 < low || b1 > high) return 0;
  for (let i: u32 = 2; i < length; i++) if ((<u32>load<u8>(p + i) & 0xc0) != 0x80) return 0;
  return length;
}

/** True if `length` bytes at `p` are one segment. */
function isSegment(p: usize, length: u32): bool {
  if (length < 1 || length > SEGMENT_SIZE_MAX) return false;
  const first = <u32>load<u8>(p);
  const last = <u32>load<u8>(p + length - 1);
  if (first == SPACE || last == SPACE) return false;
  if (first == DOT && (length == 1 || (length == 2 && last == DOT))) return false;
  const end = p + length;
  let at = p;
  while (at < end) {
    const step = sequence(at, end);
    if (step == 0) return false;
    at += step;
  }
  return true;
}

/** True if `length` bytes at `p` are a path, without a slash at its end. */
export function isPath(p: usize, length: u32): bool {
  if (length < 1 || length >= PATH_SIZE_MAX) return false;
  const end = p + length;
  let segments: u32 = 0;
  let start = p;
  while (start <= end) {
    let at = start;
    while (at < end && <u32>load<u8>(at) != SLASH) at++;
    segments++;
    if (segments > SEGMENT_COUNT_MAX || !isSegment(start, <u32>(at - start))) return false;
    start = at + 1;
  }
  return true;
}
