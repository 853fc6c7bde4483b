/**
 * Shamir's scheme over GF(256) as Vault has it: the field of AES (polynomial 0x11b) by logarithms to the base 229
 * (0xe5), a polynomial a byte by Horner's rule, Lagrange's interpolation at 0; a share is its y bytes, then its x.
 */

const EXP: number[] = [];
const LOG: number[] = new Array<number>(256).fill(0);

/** Product by long multiplication, to make the tables. */
function slowProduct(a: number, b: number): number {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product <<= 1;
    if (product & 0x100) product ^= 0x11b;
    if ((b >> bit) & 1) product ^= a;
  }
  return product;
}

for (let i = 0, power = 1; i < 255; i++, power = slowProduct(power, 0xe5)) {
  EXP[i] = power;
  LOG[power] = i;
}

export function product(a: number, b: number): number {
  if (a === 0 || b === 0) return 0;
  return EXP[((LOG[a] ?? 0) + (LOG[b] ?? 0)) % 255] ?? 0;
}

export function quotient(a: number, b: number): number {
  if (b === 0) throw new RangeError('division by zero');
  if (a === 0) return 0;
  return EXP[((LOG[a] ?? 0) - (LOG[b] ?? 0) + 255) % 255] ?? 0;
}

/** @param coefficients of x^1, x^2, … : one array of `secret.length` bytes each */
export function split(secret: Uint8Array, xs: readonly number[], coefficients: readonly Uint8Array[]): Buffer[] {
  return xs.map((x) => {
    const ys = [...secret].map((byte, i) =>
      [byte, ...coefficients.map((one) => one[i] ?? 0)].reduceRight((sum, c) => product(sum, x) ^ c, 0),
    );
    return Buffer.from([...ys, x]);
  });
}

export function combine(shares: readonly Uint8Array[]): Buffer {
  const xs = shares.map((share) => share.at(-1) ?? 0);
  const weights = xs.map((x, i) =>
    xs.reduce((w, other, j) => (i === j ? w : product(w, quotient(other, other ^ x))), 1),
  );
  const length = (shares[0]?.length ?? 1) - 1;
  return Buffer.from(
    Array.from({ length }, (_, k) =>
      shares.reduce((sum, share, i) => sum ^ product(share[k] ?? 0, weights[i] ?? 0), 0),
    ),
  );
}
