/** Bytes in linear memory. Pointers are caller-owned; nothing here allocates. */

/**
 * Compares two buffers in time that depends on `length` only.
 *
 * @param a, b    pointers to `length` readable bytes each; they may overlap
 * @param length  bytes to compare; a public value
 * @returns 1 if all bytes are equal, else 0 (so 1 when `length` is 0)
 */
// constant-time
export function equalBytes(a: usize, b: usize, length: u32): u32 {
  let difference: u32 = 0;
  for (let i: u32 = 0; i < length; i++) difference |= <u32>load<u8>(a + i) ^ <u32>load<u8>(b + i);
  return (difference - 1) >>> 31; // difference is 0..255: bit 31 is set only for 0
}

/** Overwrites with zeros. */
export function wipe(p: usize, length: u32): void {
  memory.fill(p, 0, length);
}

/** Overwrites `count` times 16 bytes with zeros; for the few bytes where calling out for `wipe` costs more than storing. */
export function wipeVectors(p: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) v128.store(p + i * 16, i64x2(0, 0));
}

export function copy(dst: usize, src: usize, length: u32): void {
  memory.copy(dst, src, length);
}

/** Lexicographic order of public bytes: negative, zero or positive. */
export function compareBytes(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const shorter = aLength < bLength ? aLength : bLength;
  for (let i: u32 = 0; i < shorter; i++) {
    const difference = <i32>load<u8>(a + i) - <i32>load<u8>(b + i);
    if (difference != 0) return difference;
  }
  return <i32>aLength - <i32>bLength;
}

export function loadU16(p: usize): u32 {
  return <u32>bswap<u16>(load<u16>(p));
}

export function loadU32(p: usize): u32 {
  return bswap<u32>(load<u32>(p));
}

export function loadU64(p: usize): u64 {
  return bswap<u64>(load<u64>(p));
}

export function storeU16(p: usize, value: u32): void {
  store<u16>(p, bswap<u16>(<u16>value));
}

export function storeU32(p: usize, value: u32): void {
  store<u32>(p, bswap<u32>(value));
}

export function storeU64(p: usize, value: u64): void {
  store<u64>(p, bswap<u64>(value));
}
