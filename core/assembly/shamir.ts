/**
 * Shamir's secret sharing over GF(256), polynomial 0x11b, arithmetic only: no table, no branch on secrets. Shares have
 * Vault's form: `length` y bytes, then the x byte. Vault draws the x coordinates; they are no secret, so here they are
 * 1 to `shares`, and any distinct ones but 0 are combined.
 */

// constant-time
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
// constant-time
function invert(a: u32): u32 {
  let result: u32 = 1;
  let power = a;
  for (let i = 0; i < 7; i++) {
    power = multiply(power, power);
    result = multiply(result, power);
  }
  return result;
}

/** The polynomial of each byte at x, by Horner's rule: the secret, then `degree` coefficients `length` bytes apart. */
// constant-time
function evaluate(to: usize, secret: usize, length: u32, degree: u32, random: usize, x: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    let y: u32 = 0;
    for (let k = degree; k > 0; k--) y = multiply(y ^ <u32>load<u8>(random + (k - 1) * length + i), x);
    store<u8>(to + i, <u8>(y ^ <u32>load<u8>(secret + i)));
  }
}

/** Adds a share's y bytes times its weight. */
// constant-time
function accumulate(out: usize, share: usize, length: u32, weight: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    store<u8>(out + i, <u8>(<u32>load<u8>(out + i) ^ multiply(<u32>load<u8>(share + i), weight)));
  }
}

/**
 * @param out     shares × (length + 1) bytes
 * @param random  (threshold - 1) × length bytes, used for nothing else
 * @returns 0, or 1 for numbers out of range: 1 <= threshold <= shares <= 255, length >= 1
 */
export function shamirSplit(out: usize, secret: usize, length: u32, shares: u32, threshold: u32, random: usize): u32 {
  if (threshold < 1 || threshold > shares || shares > 255 || length < 1) return 1;
  for (let x: u32 = 1; x <= shares; x++) {
    evaluate(out, secret, length, threshold - 1, random, x);
    store<u8>(out + length, <u8>x);
    out += length + 1;
  }
  return 0;
}

/**
 * Lagrange's interpolation at 0. Fewer shares than the threshold, or a wrong one, give another secret: the scheme itself
 * cannot tell.
 *
 * @param shareLength  y bytes and the x byte
 * @returns 0, or 1 if an x is 0 or stands twice, or there is no share or no byte
 */
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
    let weight: u32 = 1;
    for (let j: u32 = 0; j < count; j++) {
      if (j == i) continue;
      const xj = <u32>load<u8>(shares + j * shareLength + length);
      weight = multiply(weight, multiply(xj, invert(xi ^ xj)));
    }
    accumulate(out, shares + i * shareLength, length, weight);
  }
  return 0;
}
