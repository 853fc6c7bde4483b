/** What must not be written: a comparison that stops at the first difference. The statistical test has to find it. */
export function leakyEqualBytes(a: usize, b: usize, length: u32): u32 {
  for (let i: u32 = 0; i < length; i++) if (load<u8>(a + i) != load<u8>(b + i)) return 0;
  return 1;
}
