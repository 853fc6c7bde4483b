/** Wrapping the root key for slots: DHKEM(X25519, HKDF-SHA256) and XChaCha20-Poly1305 (core/spec/keyring.md). */
import { BAD_ARGUMENT, NO_ENTROPY, OK, REFUSED, SEALED } from './abi';
import { copy, wipe } from './bytes';
import { xchachaOpen, xchachaSeal } from './cipher/xchacha20poly1305';
import { hkdf, hkdfExpand, hkdfExtract } from './hash/hkdf';
import { isOpen, rootIsThere, rootToWrap } from './keyring';
import { OUT, poolTake, ROOT, setResult } from './memory';

const kem = memory.data(256);
const subkey = memory.data(32);
const info = memory.data(1);

const HPKE = memory.data<u8>([72, 80, 75, 69, 45, 118, 49]); // HPKE-v1
const SUITE = memory.data<u8>([75, 69, 77, 0, 32]); // KEM, DHKEM(X25519, HKDF-SHA256)
const EAE = memory.data<u8>([101, 97, 101, 95, 112, 114, 107]); // eae_prk
const SHARED = memory.data<u8>([115, 104, 97, 114, 101, 100, 95, 115, 101, 99, 114, 101, 116]); // shared_secret
const WRAP = memory.data<u8>([104, 111, 108, 100, 102, 97, 115, 116, 47, 118, 49, 47, 119, 114, 97, 112]); // holdfast/v1/wrap

/** DHKEM's ExtractAndExpand (RFC 9180 section 4.1) over a Diffie-Hellman result. */
export function dhkem(out: usize, dh: usize, enc: usize, recipient: usize): void {
  copy(kem, HPKE, 7);
  copy(kem + 7, SUITE, 5);
  copy(kem + 12, EAE, 7);
  copy(kem + 19, dh, 32);
  hkdfExtract(kem + 192, kem, 0, kem, 51);
  store<u8>(kem, 0);
  store<u8>(kem + 1, 32);
  copy(kem + 2, HPKE, 7);
  copy(kem + 9, SUITE, 5);
  copy(kem + 14, SHARED, 13);
  copy(kem + 27, enc, 32);
  copy(kem + 59, recipient, 32);
  hkdfExpand(out, 32, kem + 192, kem, 91);
  wipe(kem, 256);
}

/** Wrapped root: version 1 ‖ nonce (24) ‖ ciphertext (32) ‖ tag (16). */
const WRAPPED_SIZE: u32 = 73;

/** Key that wraps: HKDF(KEM's shared secret, info = "holdfast/v1/wrap"). IN: dh 32, enc 32, recipient 32, context. */
function wrappingKey(input: usize): void {
  dhkem(subkey, input, input + 32, input + 64);
  hkdf(subkey, 32, info, 0, subkey, 32, WRAP, 16);
}

/** OUT: the root key, wrapped; the staged one where a new root is staged. */
export function wrapRoot(input: usize, contextLength: u32): u32 {
  if (!isOpen()) return SEALED;
  if (!poolTake(OUT + 1, 24)) return NO_ENTROPY;
  wrappingKey(input);
  store<u8>(OUT, 1);
  xchachaSeal(OUT + 25, subkey, OUT + 1, input + 96, contextLength, rootToWrap(), 32);
  wipe(subkey, 32);
  setResult(0, WRAPPED_SIZE);
  return OK;
}

/**
 * On a sealed core only: an older root in the place of the one in force would seal the next keyring.
 *
 * @param wrapped behind the context in IN
 */
export function unwrapRoot(input: usize, contextLength: u32, wrapped: usize, wrappedLength: u32): u32 {
  if (isOpen()) return BAD_ARGUMENT;
  if (wrappedLength != WRAPPED_SIZE || load<u8>(wrapped) != 1) return REFUSED;
  wrappingKey(input);
  const good = xchachaOpen(ROOT, subkey, wrapped + 1, input + 96, contextLength, wrapped + 25, 32);
  wipe(subkey, 32);
  if (good == 0) return REFUSED;
  rootIsThere();
  return OK;
}
