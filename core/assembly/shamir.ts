/**
 * Shamir's secret sharing over GF(256), polynomial 0x11b, arithmetic only: no table, no branch on secrets. Shares have
 * Vault's form: `length` y bytes, then the x byte.
 */

function multiply(a: u32, b: u32): u32 {
  let product: u32 = 0;
  for (let i = 0; i < 8; i++) {
    product ^= (0 - (b & 1)) & a;
    a = (a << 1) ^ ((0 - (a >>> 7)) & 0x11b);
    b >>>= 1;
  }
  return product & 0xff;
}

/** a^254, which is 1/a (and 0 for 0). */
function invert(a: u32): u32 {
  let result: u32 = 1;
  let power = a;
  for (let i = 0; i < 7; i++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

/** @param random (threshold - 1) × length bytes @returns 0, or 1 for numbers out of range */
export function shamirSplit(out: usize, secret: usize, length: u32, shares: u32, threshold: u32, random: usize): u32 {
  if (threshold < 1 || threshold > shares || shares > 255 || length < 1) return 1;
  for (let share: u32 = 0; share < shares; share++) {
    const x = share + 1;
    const to = out + share * (length + 1);
    for (let i: u32 = 0; i < length; i++) {
      let y: u32 = 0;
      for (let k = threshold - 1; k > 0; k--) y = multiply(y ^ <u32>load<u8>(random + (k - 1) * length + i), x);
      store<u8>(to + i, <u8>(y ^ <u32>load<u8>(secret + i)));
    }
    store<u8>(to + length, <u8>x);
  }
  return 0;
}

/** @param shareLength y bytes and the x byte @returns 0, or 1 if an x is 0 or stands twice */
export function shamirCombine(out: usize, shares: usize, shareLength: u32, count: u32): u32 {
  if (count < 1 || count > 255 || shareLength < 2) return 1;
  const length = shareLength - 1;
  for (let i: u32 = 0; i < count; i++) {
    const x = load<u8>(shares + i * shareLength + length);
    if (x == 0) return 1;
    for (let j: u32 = 0; j < i; j++) if (load<u8>(shares + j * shareLength + length) == x) return 1;
  }
  memory.fill(out, 0, length);
  for (let i: u32 = 0; i < count; i++) {
    const xi = <u32>load<u8>(shares + i * shareLength + length);
    let basis: u32 = 1;
    for (let j: u32 = 0; j < count; j++) {
      if (j == i) continue;
      const xj = <u32>load<u8>(shares + j * shareLength + length);
      basis = multiply(basis, multiply(xj, invert(xi ^ xj)));
    }
    for (let k: u32 = 0; k < length; k++) {
      const y = multiply(<u32>load<u8>(shares + i * shareLength + k), basis);
      store<u8>(out + k, <u8>(<u32>load<u8>(out + k) ^ y));
    }
  }
  return 0;
}
