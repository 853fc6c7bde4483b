/** Core's exports below its facade, for arguments that the facade never makes. */
import { readFileSync } from 'node:fs';
import { WASM_FILE } from './load.ts';

type Call = (...args: number[]) => number;
interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}

/** Regions of core/assembly/memory.ts. */
const IN = 0x100000;
const OUT = 0x400000;
const RESULT = 0xa00000;

export class RawCore {
  readonly #exports: Record<string, Call>;
  readonly memory: Buffer;

  constructor(seedByte = 7) {
    const api = (globalThis as unknown as { readonly WebAssembly: WasmApi }).WebAssembly;
    const { exports } = new api.Instance(new api.Module(readFileSync(WASM_FILE)), {});
    const { memory } = exports as { readonly memory: { readonly buffer: ArrayBuffer } };
    this.#exports = exports as Record<string, Call>;
    this.memory = Buffer.from(memory.buffer);
    this.fill(seedByte);
  }

  /** Fills the pool of random bytes with bytes that are not random. */
  fill(seedByte: number): void {
    this.put(Buffer.alloc(4096, seedByte));
    this.call('poolFill');
  }

  call(name: string, ...args: number[]): number {
    const found = this.#exports[name];
    if (typeof found !== 'function') throw new TypeError(`core has no export ${name}`);
    return found(...args);
  }

  get names(): readonly string[] {
    return Object.keys(this.#exports);
  }

  put(...parts: readonly Uint8Array[]): number {
    const bytes = Buffer.concat(parts);
    this.memory.set(bytes, IN);
    return bytes.length;
  }

  out(length: number, from = 0): Buffer {
    return Buffer.from(this.memory.subarray(OUT + from, OUT + from + length));
  }

  result(index: number): number {
    return this.memory.readUInt32LE(RESULT + index * 4);
  }
}
