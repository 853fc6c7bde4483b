/** The primitives alone, for their tests and their bench: the shipped core does not export them. */
export {
  compareBytes,
  equalBytes,
  loadU16,
  loadU32,
  loadU64,
  storeU16,
  storeU32,
  storeU64,
  wipe,
} from '../../../../core/assembly/bytes';
export { chacha20, hchacha20 } from '../../../../core/assembly/cipher/chacha20';
export { polyFinish, polyPadded, polyStart } from '../../../../core/assembly/cipher/poly1305';
export { chachaOpen, chachaSeal, xchachaOpen, xchachaSeal } from '../../../../core/assembly/cipher/xchacha20poly1305';
export { hkdf, hkdfExpand, hkdfExtract } from '../../../../core/assembly/hash/hkdf';
export { hmac, hmacFinish, hmacKey, hmacStart, hmacUpdate } from '../../../../core/assembly/hash/hmac';
export {
  leafHashx4,
  sha256,
  sha256Finish,
  sha256Pair,
  sha256Prefixed,
  sha256Start,
  sha256Update,
} from '../../../../core/assembly/hash/sha256';
export { shamirCombine, shamirSplit } from '../../../../core/assembly/shamir';
export { leakyEqualBytes } from './leaky';
