/** SHA-256 (FIPS 180-4 sections 5 and 6.2), HMAC (RFC 2104) and HKDF (RFC 5869), word for word. */

const PRIMES = Array.from({ length: 320 }, (_, i) => i).filter(
  (n) => n > 1 && Array.from({ length: Math.floor(Math.sqrt(n)) - 1 }, (_, i) => i + 2).every((d) => n % d !== 0),
);

/** The largest whole number whose `degree`-th power is at most `value`. */
function wholeRoot(value: bigint, degree: bigint): bigint {
  let [low, high] = [0n, 1n << 80n];
  while (low < high) {
    const middle = (low + high + 1n) / 2n;
    if (middle ** degree <= value) low = middle;
    else high = middle - 1n;
  }
  return low;
}

/** First 32 bits of the fractional part of the root of a prime (sections 4.2.2 and 5.3.3). */
const fraction = (prime: number, degree: bigint): number =>
  Number(wholeRoot(BigInt(prime) << (32n * degree), degree) & 0xffffffffn);

const K = PRIMES.slice(0, 64).map((prime) => fraction(prime, 3n));
const START = PRIMES.slice(0, 8).map((prime) => fraction(prime, 2n));

const rotr = (x: number, n: number): number => (x >>> n) | (x << (32 - n));

function compress(state: readonly number[], block: Buffer): number[] {
  const w = Array.from({ length: 16 }, (_, i) => block.readUInt32BE(i * 4));
  for (let t = 16; t < 64; t++) {
    const [x, y] = [w[t - 15] ?? 0, w[t - 2] ?? 0];
    const s0 = rotr(x, 7) ^ rotr(x, 18) ^ (x >>> 3);
    const s1 = rotr(y, 17) ^ rotr(y, 19) ^ (y >>> 10);
    w.push(((w[t - 16] ?? 0) + s0 + (w[t - 7] ?? 0) + s1) >>> 0);
  }
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state;
  for (let t = 0; t < 64; t++) {
    const t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + (K[t] ?? 0) + (w[t] ?? 0);
    const t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    [a, b, c, d, e, f, g, h] = [(t1 + t2) | 0, a, b, c, (d + t1) | 0, e, f, g];
  }
  return [a, b, c, d, e, f, g, h].map((word, i) => ((state[i] ?? 0) + word) >>> 0);
}

export function sha256(message: Uint8Array): Buffer {
  const zeros = (119 - (message.length % 64)) % 64;
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(message.length) * 8n);
  const padded = Buffer.concat([message, Buffer.from([0x80]), Buffer.alloc(zeros), length]);
  let state = START;
  for (let at = 0; at < padded.length; at += 64) state = compress(state, padded.subarray(at, at + 64));
  const out = Buffer.alloc(32);
  state.forEach((word, i) => {
    out.writeUInt32BE(word, i * 4);
  });
  return out;
}

export function hmac(key: Uint8Array, message: Uint8Array): Buffer {
  const block = Buffer.alloc(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const inner = sha256(Buffer.concat([block.map((byte) => byte ^ 0x36), message]));
  return sha256(Buffer.concat([block.map((byte) => byte ^ 0x5c), inner]));
}

export const hkdfExtract = (salt: Uint8Array, ikm: Uint8Array): Buffer => hmac(salt, ikm);

export function hkdfExpand(prk: Uint8Array, info: Uint8Array, length: number): Buffer {
  let okm = Buffer.alloc(0);
  let t = Buffer.alloc(0);
  for (let n = 1; okm.length < length; n++) {
    t = Buffer.from(hmac(prk, Buffer.concat([t, info, Buffer.from([n])])));
    okm = Buffer.concat([okm, t]);
  }
  return okm.subarray(0, length);
}
