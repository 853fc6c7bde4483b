import { describe, expect, test } from 'vitest';
import * as vectors from '../../vectors/primitives.ts';
import { AD, INPUT, KEY, OUT, Primitives } from './load.ts';

const core = new Primitives();
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('RFC 8439', () => {
  test('2.3.2: the block function', () => {
    const { key, counter, nonce, block } = vectors.CHACHA20_BLOCK;
    expect(core.chacha20(hex(key), counter, hex(nonce), Buffer.alloc(64)).toString('hex')).toBe(block);
  });

  test('2.4.2: encryption', () => {
    const { key, counter, nonce, plaintextText, ciphertext } = vectors.CHACHA20;
    expect(core.chacha20(hex(key), counter, hex(nonce), Buffer.from(plaintextText)).toString('hex')).toBe(ciphertext);
  });

  const poly = (key: string, message: Buffer): string => {
    core.put(KEY, hex(key));
    core.put(AD, message);
    core.call('polyStart', KEY);
    core.call('polyPadded', AD, message.length);
    core.call('polyFinish', OUT);
    return core.get(OUT, 16).toString('hex');
  };

  test.each(vectors.POLY1305_EDGES)('$section: Poly1305', ({ key, message, tag }) => {
    expect(poly(key, hex(message))).toBe(tag);
  });

  test('2.5.2: Poly1305, its whole blocks', async () => {
    const { poly1305 } = await import('../../reference/poly1305.ts');
    const { key, messageText, tag } = vectors.POLY1305;
    const message = Buffer.from(messageText);
    // Core pads with zeros as the AEAD wants it, so the vector is the twin's and the twin is core's.
    expect(Buffer.from(poly1305(hex(key), message)).toString('hex')).toBe(tag);
    expect(hex(poly(key, message.subarray(0, 32)))).toEqual(Buffer.from(poly1305(hex(key), message.subarray(0, 32))));
  });

  test('2.8.2: AEAD', () => {
    const { key, nonce, ad, plaintextText, sealed } = vectors.CHACHA20_POLY1305;
    expect(core.seal(hex(key), hex(nonce), hex(ad), Buffer.from(plaintextText)).toString('hex')).toBe(sealed);
    expect(core.open(hex(key), hex(nonce), hex(ad), hex(sealed))?.toString()).toBe(plaintextText);
  });
});

describe('draft-irtf-cfrg-xchacha-03', () => {
  test('2.2.1: HChaCha20', () => {
    const { key, nonce, subkey } = vectors.HCHACHA20;
    expect(core.hchacha20(hex(key), hex(nonce)).toString('hex')).toBe(subkey);
  });

  test('A.3.1: AEAD', () => {
    const { key, nonce, ad, plaintextText, sealed } = vectors.XCHACHA20_POLY1305;
    expect(core.seal(hex(key), hex(nonce), hex(ad), Buffer.from(plaintextText)).toString('hex')).toBe(sealed);
    expect(core.open(hex(key), hex(nonce), hex(ad), hex(sealed))?.toString()).toBe(plaintextText);
  });
});

describe('FIPS 180-4', () => {
  test.each(vectors.SHA256)('SHA-256 of $times × "$text"', ({ text, times, digest }) => {
    expect(core.sha256(Buffer.from(text.repeat(times))).toString('hex')).toBe(digest);
  });
});

describe('RFC 4231', () => {
  test.each(vectors.HMAC_SHA256)('section $section', ({ key, data, mac }) => {
    expect(core.hmac(hex(key), hex(data)).toString('hex').slice(0, mac.length)).toBe(mac);
  });
});

describe('RFC 5869', () => {
  test.each(vectors.HKDF_SHA256)('$section', ({ ikm, salt, info, prk, okm }) => {
    core.put(KEY, hex(salt));
    core.put(INPUT, hex(ikm));
    core.call('hkdfExtract', OUT, KEY, salt.length / 2, INPUT, ikm.length / 2);
    expect(core.get(OUT, 32).toString('hex')).toBe(prk);
    expect(core.hkdf(hex(salt), hex(ikm), hex(info), okm.length / 2).toString('hex')).toBe(okm);
  });
});
