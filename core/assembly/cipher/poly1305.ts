/** Poly1305 (RFC 8439 section 2.5), five limbs of 26 bits. */
const buffer = memory.data(16);
let r0: u64 = 0,
  r1: u64 = 0,
  r2: u64 = 0,
  r3: u64 = 0,
  r4: u64 = 0;
let h0: u64 = 0,
  h1: u64 = 0,
  h2: u64 = 0,
  h3: u64 = 0,
  h4: u64 = 0;
let pad0: u64 = 0,
  pad1: u64 = 0;

export function polyStart(key: usize): void {
  const t0 = load<u32>(key),
    t1 = load<u32>(key, 4),
    t2 = load<u32>(key, 8),
    t3 = load<u32>(key, 12);
  r0 = <u64>(t0 & 0x3ffffff);
  r1 = <u64>(((t0 >>> 26) | (t1 << 6)) & 0x3ffff03);
  r2 = <u64>(((t1 >>> 20) | (t2 << 12)) & 0x3ffc0ff);
  r3 = <u64>(((t2 >>> 14) | (t3 << 18)) & 0x3f03fff);
  r4 = <u64>((t3 >>> 8) & 0x00fffff);
  h0 = 0;
  h1 = 0;
  h2 = 0;
  h3 = 0;
  h4 = 0;
  pad0 = load<u64>(key, 16);
  pad1 = load<u64>(key, 24);
}

function block(p: usize, high: u64): void {
  const t0 = load<u32>(p),
    t1 = load<u32>(p, 4),
    t2 = load<u32>(p, 8),
    t3 = load<u32>(p, 12);
  const a0 = h0 + <u64>(t0 & 0x3ffffff);
  const a1 = h1 + <u64>(((t0 >>> 26) | (t1 << 6)) & 0x3ffffff);
  const a2 = h2 + <u64>(((t1 >>> 20) | (t2 << 12)) & 0x3ffffff);
  const a3 = h3 + <u64>(((t2 >>> 14) | (t3 << 18)) & 0x3ffffff);
  const a4 = h4 + (<u64>(t3 >>> 8) | high);
  const s1 = r1 * 5,
    s2 = r2 * 5,
    s3 = r3 * 5,
    s4 = r4 * 5;
  let d0 = a0 * r0 + a1 * s4 + a2 * s3 + a3 * s2 + a4 * s1;
  let d1 = a0 * r1 + a1 * r0 + a2 * s4 + a3 * s3 + a4 * s2;
  let d2 = a0 * r2 + a1 * r1 + a2 * r0 + a3 * s4 + a4 * s3;
  let d3 = a0 * r3 + a1 * r2 + a2 * r1 + a3 * r0 + a4 * s4;
  let d4 = a0 * r4 + a1 * r3 + a2 * r2 + a3 * r1 + a4 * r0;
  let c = d0 >> 26;
  h0 = d0 & 0x3ffffff;
  d1 += c;
  c = d1 >> 26;
  h1 = d1 & 0x3ffffff;
  d2 += c;
  c = d2 >> 26;
  h2 = d2 & 0x3ffffff;
  d3 += c;
  c = d3 >> 26;
  h3 = d3 & 0x3ffffff;
  d4 += c;
  c = d4 >> 26;
  h4 = d4 & 0x3ffffff;
  h0 += c * 5;
  c = h0 >> 26;
  h0 &= 0x3ffffff;
  h1 += c;
}

/** Whole message parts, each padded with zeros to 16 bytes as the AEAD construction wants it. */
export function polyPadded(data: usize, length: u32): void {
  while (length >= 16) {
    block(data, 1 << 24);
    data += 16;
    length -= 16;
  }
  if (length > 0) {
    memory.fill(buffer, 0, 16);
    memory.copy(buffer, data, length);
    block(buffer, 1 << 24);
  }
}

export function polyFinish(out: usize): void {
  let c = h1 >> 26;
  h1 &= 0x3ffffff;
  h2 += c;
  c = h2 >> 26;
  h2 &= 0x3ffffff;
  h3 += c;
  c = h3 >> 26;
  h3 &= 0x3ffffff;
  h4 += c;
  c = h4 >> 26;
  h4 &= 0x3ffffff;
  h0 += c * 5;
  c = h0 >> 26;
  h0 &= 0x3ffffff;
  h1 += c;
  let g0 = h0 + 5;
  c = g0 >> 26;
  g0 &= 0x3ffffff;
  let g1 = h1 + c;
  c = g1 >> 26;
  g1 &= 0x3ffffff;
  let g2 = h2 + c;
  c = g2 >> 26;
  g2 &= 0x3ffffff;
  let g3 = h3 + c;
  c = g3 >> 26;
  g3 &= 0x3ffffff;
  const g4 = h4 + c - (1 << 26);
  const mask = (g4 >> 63) - 1; // all ones if h >= p
  h0 = (h0 & ~mask) | (g0 & mask);
  h1 = (h1 & ~mask) | (g1 & mask);
  h2 = (h2 & ~mask) | (g2 & mask);
  h3 = (h3 & ~mask) | (g3 & mask);
  h4 = (h4 & ~mask) | (g4 & mask & 0x3ffffff);
  const low = h0 | (h1 << 26) | (h2 << 52);
  const high = (h2 >> 12) | (h3 << 14) | (h4 << 40);
  const sum = low + pad0;
  store<u64>(out, sum);
  store<u64>(out, high + pad1 + <u64>(sum < low), 8);
  h0 = 0;
  h1 = 0;
  h2 = 0;
  h3 = 0;
  h4 = 0;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  r4 = 0;
  pad0 = 0;
  pad1 = 0;
}
