/**
 * Instantiates core and carries bytes in and out: the only file that sees its memory. Memory is fixed, so the views made
 * here stay valid for the life of the instance.
 */
import type { CoreFault, CoreStatus } from './types.ts';

type Export = (...args: number[]) => number;

/** The exports (core/spec/abi.md). Sizes, times and grant numbers go as doubles, exact to 2^53. */
export interface CoreExports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly poolLeft: () => number;
  readonly poolFill: () => void;
  readonly isSealed: () => number;
  readonly auditPending: () => number;
  readonly declare: Export;
  readonly createKeyring: Export;
  readonly wrapRoot: Export;
  readonly unwrapRoot: Export;
  readonly openKeyring: Export;
  readonly keyringInfo: Export;
  readonly stageKeyring: Export;
  readonly nameStaged: Export;
  readonly adoptStaged: Export;
  readonly discardStaged: () => void;
  readonly seal: () => void;
  readonly loadMount: Export;
  readonly dropMount: Export;
  readonly beginPolicies: Export;
  readonly addPolicy: Export;
  readonly commitPolicies: Export;
  readonly route: Export;
  readonly begin: Export;
  readonly decide: Export;
  readonly capabilities: Export;
  readonly systemGrant: Export;
  readonly finishGrant: Export;
  readonly tokenPayload: Export;
  readonly locate: Export;
  readonly open: Export;
  readonly sealRecord: Export;
  readonly locateNames: Export;
  readonly openName: Export;
  readonly nameKey: Export;
  readonly sealName: Export;
  readonly openTable: Export;
  readonly sealTable: Export;
  readonly newToken: Export;
  readonly newAccessor: Export;
  readonly tokenId: Export;
  readonly blindKey: Export;
  readonly sealBatchToken: Export;
  readonly openBatchToken: Export;
  readonly auditStart: Export;
  readonly leaf: Export;
  readonly auditHmac: Export;
  readonly auditFlush: Export;
  readonly auditMark: Export;
  readonly auditOpenFrame: Export;
  readonly openFreshness: Export;
  readonly foldChange: Export;
  readonly sealFreshness: Export;
  readonly adoptFreshness: () => void;
  readonly discardFreshness: () => void;
  readonly verifyStart: Export;
  readonly renewRow: Export;
  readonly renewStart: Export;
  readonly reseal: Export;
  readonly verifyRow: Export;
  readonly verifyEnd: Export;
  readonly acceptRows: Export;
  readonly hash: (length: number) => void;
  readonly shamirSplit: Export;
  readonly shamirCombine: Export;
  readonly dhkem: () => void;
  readonly wipeOut: (length: number) => void;
}

const MIB = 1024 * 1024;
const IN = 1 * MIB;
const IN_SIZE = 3 * MIB;
const OUT = 4 * MIB;
const OUT_SIZE = 6 * MIB;
const RESULT = 10 * MIB;
const LEAF_HASHES = 19 * MIB + 256 * 1024;
const LEAF_HASHES_SIZE = 16_384 * 32;
const POOL_SIZE = 4096;
/** More than any one call takes. */
const POOL_LOW = 512;

const STATUSES: readonly (CoreStatus | undefined)[] = [
  undefined,
  'refused',
  'sealed',
  'denied',
  'path',
  'mount',
  'full',
  'argument',
  'entropy',
];

const SENTENCES: Readonly<Record<CoreStatus, string>> = {
  refused: 'what was given does not open',
  sealed: 'the barrier is sealed',
  denied: 'the grant does not cover this',
  path: 'the path breaks the grammar of paths',
  mount: 'there is no mount at this path',
  full: 'a fixed capacity of core is used up',
  argument: 'core was given an argument that has no meaning',
  entropy: 'no randomness was left',
};

class Refusal extends Error implements CoreFault {
  readonly status: CoreStatus;

  constructor(status: CoreStatus) {
    super(SENTENCES[status]);
    this.name = 'CoreFault';
    this.status = status;
  }
}

/** @returns the fault of a status; used for what the facade itself finds, too */
export function coreFault(status: CoreStatus): CoreFault {
  return new Refusal(status);
}

export function isCoreFault(error: unknown): error is CoreFault {
  return error instanceof Refusal;
}

export interface WasmOptions {
  readonly wasm: Uint8Array | object;
  /** Fills the pool: `length` fresh bytes. */
  readonly random: (length: number) => Uint8Array;
  /** Core trapped: a bug. The instance is dropped before this is called. */
  readonly onTrap?: () => void;
}

interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
  readonly RuntimeError: new () => Error;
}
declare const WebAssembly: WasmApi;

const utf8 = new TextEncoder();

/** Up to here a loop is faster than the encoder, whose call costs about as much as 100 characters. */
const SHORT = 96;

/**
 * Writes a text as UTF-8.
 *
 * @param into  room for three bytes a UTF-16 unit behind `at`, or the text is cut
 * @returns bytes written; -1 if it was cut
 */
export function writeText(value: string, into: Uint8Array, at: number): number {
  const { length } = value;
  let i = 0;
  if (length <= SHORT && at + length <= into.length) {
    for (; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) break;
      into[at + i] = code;
    }
    if (i === length) return length;
  }
  const { read, written } = utf8.encodeInto(value, into.subarray(at));
  return read === length ? written : -1;
}

/** One instance: an input region that is written from its start, and views of what comes out. */
export class Wasm {
  readonly #options: WasmOptions;
  readonly #input: Uint8Array;
  readonly #output: Buffer;
  /** The same bytes, not as a Buffer: its slices are made by a class of Node's, at twice the cost. */
  readonly #plain: Uint8Array;
  readonly #results: Uint32Array;
  readonly #leafHashes: Uint8Array;
  #exports: CoreExports | undefined;
  #at = 0;
  /** Random bytes that the pool still has at least: asking core costs a call. */
  #pool = 0;

  constructor(options: WasmOptions) {
    this.#options = options;
    const { wasm } = options;
    const module = wasm instanceof Uint8Array ? new WebAssembly.Module(wasm) : wasm;
    const exports = new WebAssembly.Instance(module, {}).exports as CoreExports;
    const { buffer } = exports.memory;
    this.#input = new Uint8Array(buffer, IN, IN_SIZE);
    this.#output = Buffer.from(buffer, OUT, OUT_SIZE);
    this.#plain = new Uint8Array(buffer, OUT, OUT_SIZE);
    this.#results = new Uint32Array(buffer, RESULT, 16);
    this.#leafHashes = new Uint8Array(buffer, LEAF_HASHES, LEAF_HASHES_SIZE);
    this.#exports = this.#guarded(exports);
  }

  /** The exports, each of which drops the instance if it traps. */
  #guarded(exports: CoreExports): CoreExports {
    const guard =
      (work: Export): Export =>
      // Fixed places instead of a rest array: core takes what it declares and ignores the others.
      (a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0) => {
        try {
          return work(a, b, c, d, e, f, g, h);
        } catch (error) {
          if (!(error instanceof WebAssembly.RuntimeError)) throw error;
          this.#exports = undefined;
          this.#output.fill(0);
          this.#options.onTrap?.();
          throw coreFault('sealed');
        }
      };
    const entries = Object.entries(exports).map(([name, value]: [string, unknown]) => [
      name,
      typeof value === 'function' ? guard(value as Export) : value,
    ]);
    return Object.fromEntries(entries) as CoreExports;
  }

  get dead(): boolean {
    return this.#exports === undefined;
  }

  /** Begins the arguments of a call. */
  start(): this {
    this.#at = 0;
    return this;
  }

  /** Adds bytes. @throws CoreFault `argument` beyond the region */
  bytes(value: Uint8Array): this {
    if (this.#at + value.length > IN_SIZE) throw coreFault('argument');
    this.#input.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  /** Adds a text. @returns its length in bytes */
  text(value: string): number {
    // Three bytes a UTF-16 unit at most: what cannot fit whole is refused before it is cut.
    if (value.length > IN_SIZE - this.#at) throw coreFault('argument');
    const written = writeText(value, this.#input, this.#at);
    if (written < 0) throw coreFault('argument');
    this.#at += written;
    return written;
  }

  byte(value: number): this {
    this.#input[this.#at++] = value;
    return this;
  }

  u16(value: number): this {
    return this.byte(value >>> 8).byte(value & 0xff);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  u64(value: number): this {
    return this.u32(Math.floor(value / 0x1_0000_0000)).u32(value >>> 0);
  }

  get position(): number {
    return this.#at;
  }

  /** Fresh bytes of the host for what core does not draw itself. */
  random(length: number): Uint8Array {
    return length === 0 ? new Uint8Array(0) : this.#options.random(length);
  }

  /** The pool was wiped. */
  drained(): void {
    this.#pool = 0;
  }

  /** The exports. @throws CoreFault `sealed` after a trap */
  get exports(): CoreExports {
    if (this.#exports === undefined) throw coreFault('sealed');
    return this.#exports;
  }

  /** For calls that use randomness: tops the pool up, then calls. */
  ready(use: number): CoreExports {
    const exports = this.exports;
    this.#pool -= use;
    if (this.#pool < POOL_LOW) {
      const at = this.#at;
      const kept = at === 0 ? undefined : this.#input.slice(0, Math.min(at, POOL_SIZE));
      this.#input.set(this.#options.random(POOL_SIZE), 0);
      exports.poolFill();
      if (kept !== undefined) {
        this.#input.set(kept, 0);
        kept.fill(0);
      }
      this.#pool = POOL_SIZE;
    }
    return exports;
  }

  /** @throws CoreFault for any status but success */
  check(status: number): void {
    if (status !== 0) throw coreFault(STATUSES[status] ?? 'argument');
  }

  /** View of what came out: valid until the next call. */
  out(from: number, to: number): Uint8Array {
    return this.#plain.subarray(from, to);
  }

  /** A copy of its own. */
  copy(from: number, to: number): Uint8Array {
    return this.#plain.slice(from, to);
  }

  outText(from: number, to: number): string {
    return this.#output.toString('utf8', from, to);
  }

  outLatin1(from: number, to: number): string {
    return this.#output.toString('latin1', from, to);
  }

  outHex(from: number, to: number): string {
    return this.#output.toString('hex', from, to);
  }

  hashes(count: number): Uint8Array {
    return this.#leafHashes.slice(0, count * 32);
  }

  result(index: number): number {
    return this.#results[index] ?? 0;
  }

  /** Two words, low first. */
  result64(index: number): number {
    return (this.#results[index] ?? 0) + (this.#results[index + 1] ?? 0) * 0x1_0000_0000;
  }
}
