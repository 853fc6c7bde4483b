/** HKDF-SHA256 (RFC 5869). */
import { copy, wipe } from '../bytes';
import { HMAC_CONTEXT_SIZE, HMAC_KEY_SIZE, hmac, hmacFinish, hmacKey, hmacStart, hmacUpdate } from './hmac';

const key = memory.data(64);
const context = memory.data(104);
const block = memory.data(32);
const counter = memory.data(1);
const extracted = memory.data(32);

export function hkdfExtract(out: usize, salt: usize, saltLength: u32, ikm: usize, ikmLength: u32): void {
  hmacKey(key, salt, saltLength);
  hmac(out, key, ikm, ikmLength);
  wipe(key, HMAC_KEY_SIZE);
}

/** @param outLength at most 255 × 32 */
export function hkdfExpand(out: usize, outLength: u32, prk: usize, info: usize, infoLength: u32): void {
  hmacKey(key, prk, 32);
  let done: u32 = 0;
  let n: u32 = 0;
  while (done < outLength) {
    hmacStart(context, key);
    if (n > 0) hmacUpdate(context, block, 32);
    hmacUpdate(context, info, infoLength);
    n++;
    store<u8>(counter, <u8>n);
    hmacUpdate(context, counter, 1);
    hmacFinish(context, key, block);
    const rest = outLength - done;
    copy(out + done, block, rest < 32 ? rest : 32);
    done += 32;
  }
  wipe(block, 32);
  wipe(key, HMAC_KEY_SIZE);
  wipe(context, HMAC_CONTEXT_SIZE);
}

export function hkdf(
  out: usize,
  outLength: u32,
  salt: usize,
  saltLength: u32,
  ikm: usize,
  ikmLength: u32,
  info: usize,
  infoLength: u32,
): void {
  hkdfExtract(extracted, salt, saltLength, ikm, ikmLength);
  hkdfExpand(out, outLength, extracted, info, infoLength);
  wipe(extracted, 32);
}
