/** ChaCha20 (RFC 8439 section 2.3) and HChaCha20 (draft-irtf-cfrg-xchacha-03 section 2.2). */
const state = memory.data(64);
const working = memory.data(64);

function quarter(a: usize, b: usize, c: usize, d: usize): void {
  let x = load<u32>(working + a * 4),
    y = load<u32>(working + b * 4),
    z = load<u32>(working + c * 4),
    w = load<u32>(working + d * 4);
  x += y;
  w = rotl<u32>(w ^ x, 16);
  z += w;
  y = rotl<u32>(y ^ z, 12);
  x += y;
  w = rotl<u32>(w ^ x, 8);
  z += w;
  y = rotl<u32>(y ^ z, 7);
  store<u32>(working + a * 4, x);
  store<u32>(working + b * 4, y);
  store<u32>(working + c * 4, z);
  store<u32>(working + d * 4, w);
}

function rounds(): void {
  memory.copy(working, state, 64);
  for (let i = 0; i < 10; i++) {
    quarter(0, 4, 8, 12);
    quarter(1, 5, 9, 13);
    quarter(2, 6, 10, 14);
    quarter(3, 7, 11, 15);
    quarter(0, 5, 10, 15);
    quarter(1, 6, 11, 12);
    quarter(2, 7, 8, 13);
    quarter(3, 4, 9, 14);
  }
}

function setup(key: usize): void {
  store<u32>(state, 0x61707865);
  store<u32>(state, 0x3320646e, 4);
  store<u32>(state, 0x79622d32, 8);
  store<u32>(state, 0x6b206574, 12);
  memory.copy(state + 16, key, 32);
}

export function hchacha20(out: usize, key: usize, nonce16: usize): void {
  setup(key);
  memory.copy(state + 48, nonce16, 16);
  rounds();
  memory.copy(out, working, 16);
  memory.copy(out + 16, working + 48, 16);
  memory.fill(state, 0, 64);
  memory.fill(working, 0, 64);
}

/** XORs `length` bytes of key stream from block `counter` on. `out` may equal `input`. */
export function chacha20(out: usize, key: usize, counter: u32, nonce12: usize, input: usize, length: u32): void {
  setup(key);
  store<u32>(state, counter, 48);
  memory.copy(state + 52, nonce12, 12);
  let at: u32 = 0;
  while (at < length) {
    rounds();
    for (let i: usize = 0; i < 16; i++)
      store<u32>(working + i * 4, load<u32>(working + i * 4) + load<u32>(state + i * 4));
    const rest = length - at < 64 ? length - at : 64;
    for (let i: u32 = 0; i < rest; i++) store<u8>(out + at + i, load<u8>(input + at + i) ^ load<u8>(working + i));
    store<u32>(state, load<u32>(state, 48) + 1, 48);
    at += 64;
  }
  memory.fill(state, 0, 64);
  memory.fill(working, 0, 64);
}
