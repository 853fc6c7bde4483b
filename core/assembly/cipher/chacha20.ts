/** ChaCha20 (RFC 8439 section 2.4) out of the straight-line rounds of rounds.ts. */
import { wipeVectors } from '../bytes';
import { stream2, xor4 } from './rounds';

export { hchacha20 } from './rounds';

const scratch = memory.data(256, 16);

/** XORs `length` bytes, `out` may equal `input`. */
// constant-time
export function xorBytes(out: usize, input: usize, stream: usize, length: u32): void {
  const whole = length & ~15;
  for (let at: usize = 0; at < whole; at += 16) {
    v128.store(out + at, v128.xor(v128.load(input + at), v128.load(stream + at)));
  }
  for (let at: usize = whole; at < length; at++) store<u8>(out + at, load<u8>(input + at) ^ load<u8>(stream + at));
}

/**
 * XORs `length` bytes with the key stream from block `counter` on.
 *
 * @param key 32 bytes @param nonce 12 bytes @param out may equal `input`
 */
export function chacha20(out: usize, key: usize, counter: u32, nonce: usize, input: usize, length: u32): void {
  while (length >= 256) {
    xor4(out, input, key, counter, counter + 1, nonce);
    out += 256;
    input += 256;
    length -= 256;
    counter += 4;
  }
  if (length > 128) {
    memory.copy(scratch, input, length);
    xor4(scratch, scratch, key, counter, counter + 1, nonce);
    memory.copy(out, scratch, length);
  } else if (length > 0) {
    stream2(scratch, key, counter, counter + 1, nonce);
    xorBytes(out, input, scratch, length);
  }
  wipeVectors(scratch, 16);
}
