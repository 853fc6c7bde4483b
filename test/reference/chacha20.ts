/** ChaCha20 of RFC 8439 sections 2.1 to 2.4 and HChaCha20 of draft-irtf-cfrg-xchacha-03 section 2.2, word for word. */

const rotate = (value: number, bits: number): number => ((value << bits) | (value >>> (32 - bits))) >>> 0;

function quarterRound(state: Uint32Array, a: number, b: number, c: number, d: number): void {
  const at = (i: number): number => state[i] ?? 0;
  const step = (x: number, y: number, z: number, bits: number): void => {
    state[x] = at(x) + at(y);
    state[z] = rotate((at(z) ^ at(x)) >>> 0, bits);
  };
  step(a, b, d, 16);
  step(c, d, b, 12);
  step(a, b, d, 8);
  step(c, d, b, 7);
}

function words(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4, true));
}

function littleEndian(values: Iterable<number>): Uint8Array {
  return Uint8Array.from(
    [...values].flatMap((word) => [word, word >>> 8, word >>> 16, word >>> 24].map((b) => b & 255)),
  );
}

const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

function twentyRounds(start: readonly number[]): Uint32Array {
  const state = Uint32Array.from(start);
  for (let i = 0; i < 10; i++) {
    quarterRound(state, 0, 4, 8, 12);
    quarterRound(state, 1, 5, 9, 13);
    quarterRound(state, 2, 6, 10, 14);
    quarterRound(state, 3, 7, 11, 15);
    quarterRound(state, 0, 5, 10, 15);
    quarterRound(state, 1, 6, 11, 12);
    quarterRound(state, 2, 7, 8, 13);
    quarterRound(state, 3, 4, 9, 14);
  }
  return state;
}

/** One block of key stream, 64 bytes. */
export function chacha20Block(key: Uint8Array, counter: number, nonce: Uint8Array): Uint8Array {
  const start = [...CONSTANTS, ...words(key), counter >>> 0, ...words(nonce)];
  return littleEndian(twentyRounds(start).map((word, i) => word + (start[i] ?? 0)));
}

/** Data XOR key stream from block `counter` on. */
export function chacha20(key: Uint8Array, counter: number, nonce: Uint8Array, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += 64) {
    const stream = chacha20Block(key, counter + at / 64, nonce);
    for (let i = at; i < Math.min(at + 64, data.length); i++) out[i] = (data[i] ?? 0) ^ (stream[i - at] ?? 0);
  }
  return out;
}

export function hchacha20(key: Uint8Array, nonce16: Uint8Array): Uint8Array {
  const state = twentyRounds([...CONSTANTS, ...words(key), ...words(nonce16)]);
  return littleEndian([...state.subarray(0, 4), ...state.subarray(12)]);
}
