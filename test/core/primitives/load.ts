/** The primitives with copies in and out, for their tests and their bench. */
import { readFileSync } from 'node:fs';
import { wasmFile } from '../modules.ts';

type Call = (...args: number[]) => number;

export interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly [name: string]: Call | { readonly buffer: ArrayBuffer };
}

interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}
declare const WebAssembly: WasmApi;

/** Regions of linear memory that the tests own; the primitives keep their scratch below 1 MiB. */
export const KEY = 0x100000;
export const NONCE = 0x100100;
export const AD = 0x110000;
export const OUT = 0x200000;
export const INPUT = 0x400000;
export const INPUT_SIZE = 0x200000;

/** Calls by name; every pointer is a number. */
export class Primitives {
  readonly exports: Exports;
  /** All of linear memory; it never grows. */
  readonly memory: Buffer;

  constructor(wasm: Uint8Array = readFileSync(wasmFile('primitives'))) {
    this.exports = new WebAssembly.Instance(new WebAssembly.Module(wasm), {}).exports as Exports;
    this.memory = Buffer.from(this.exports.memory.buffer);
  }

  call(name: string, ...args: number[]): number {
    const found = this.exports[name];
    if (typeof found !== 'function') throw new TypeError(`the module has no export ${name}`);
    return found(...args);
  }

  put(at: number, bytes: Uint8Array): void {
    this.memory.set(bytes, at);
  }

  /** A copy. */
  get(at: number, length: number): Buffer {
    return Buffer.from(this.memory.subarray(at, at + length));
  }

  sha256(data: Uint8Array): Buffer {
    this.put(INPUT, data);
    this.call('sha256', OUT, INPUT, data.length);
    return this.get(OUT, 32);
  }

  hmac(key: Uint8Array, data: Uint8Array): Buffer {
    this.put(AD, key);
    this.put(INPUT, data);
    this.call('hmacKey', KEY, AD, key.length);
    this.call('hmac', OUT, KEY, INPUT, data.length);
    return this.get(OUT, 32);
  }

  hkdf(salt: Uint8Array, ikm: Uint8Array, info: Uint8Array, length: number): Buffer {
    this.put(KEY, salt);
    this.put(AD, info);
    this.put(INPUT, ikm);
    this.call('hkdf', OUT, length, KEY, salt.length, INPUT, ikm.length, AD, info.length);
    return this.get(OUT, length);
  }

  chacha20(key: Uint8Array, counter: number, nonce: Uint8Array, data: Uint8Array): Buffer {
    this.put(KEY, key);
    this.put(NONCE, nonce);
    this.put(INPUT, data);
    this.call('chacha20', OUT, KEY, counter, NONCE, INPUT, data.length);
    return this.get(OUT, data.length);
  }

  hchacha20(key: Uint8Array, nonce: Uint8Array): Buffer {
    this.put(KEY, key);
    this.put(NONCE, nonce);
    this.call('hchacha20', OUT, KEY, NONCE);
    return this.get(OUT, 32);
  }

  /** Ciphertext and tag; a nonce of 12 bytes is RFC 8439's, one of 24 XChaCha20's. */
  seal(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, plaintext: Uint8Array): Buffer {
    this.put(KEY, key);
    this.put(NONCE, nonce);
    this.put(AD, ad);
    this.put(INPUT, plaintext);
    const name = nonce.length === 12 ? 'chachaSeal' : 'xchachaSeal';
    this.call(name, OUT, KEY, NONCE, AD, ad.length, INPUT, plaintext.length);
    return this.get(OUT, plaintext.length + 16);
  }

  /** @param sealed ciphertext and tag @returns the plaintext, or undefined if it was refused */
  open(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, sealed: Uint8Array): Buffer | undefined {
    this.put(KEY, key);
    this.put(NONCE, nonce);
    this.put(AD, ad);
    this.put(INPUT, sealed);
    const length = sealed.length - 16;
    const name = nonce.length === 12 ? 'chachaOpen' : 'xchachaOpen';
    const status = this.call(name, OUT, KEY, NONCE, AD, ad.length, INPUT, length);
    return status === 1 ? this.get(OUT, length) : undefined;
  }

  split(secret: Uint8Array, n: number, t: number, random: Uint8Array): Buffer[] | undefined {
    this.put(KEY, secret);
    this.put(INPUT, random);
    if (this.call('shamirSplit', OUT, KEY, secret.length, n, t, INPUT) !== 0) return undefined;
    const size = secret.length + 1;
    return Array.from({ length: n }, (_, i) => this.get(OUT + i * size, size));
  }

  combine(shares: readonly Uint8Array[]): Buffer | undefined {
    const size = shares[0]?.length ?? 0;
    shares.forEach((share, i) => {
      this.put(INPUT + i * size, share);
    });
    return this.call('shamirCombine', OUT, INPUT, size, shares.length) === 0 ? this.get(OUT, size - 1) : undefined;
  }
}
