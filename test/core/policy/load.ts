/** The policy module alone, with copies in and out. */
import { readFileSync } from 'node:fs';
import { encodeParameters } from '../../../core/parameters.ts';
import { writeText } from '../../../core/wasm.ts';
import { encodePolicy } from '../../../host/policies/encode.ts';
import { CAPABILITIES, type PolicyRule } from '../../../host/policies/rule.ts';
import type { Asked } from '../../reference/policy.ts';
import { wasmFile } from '../modules.ts';

type Call = (...args: number[]) => number;
interface WasmApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Record<string, Call> & { readonly memory: { readonly buffer: ArrayBuffer } } };
}
declare const WebAssembly: WasmApi;

const INPUT = 0x100000;
const SET = 0x900000;
const MEMORY = 0x1000000;
/** As the shipped core gives. */
export const MEMORY_SIZE = 25_231_360;

export const OK = 0;
export const MALFORMED = 1;
export const FULL = 2;
export const DENIED = 0;
export const ALLOWED = 1;
export const NEEDS_PARAMETERS = 2;

export class Policies {
  readonly #exports: Record<string, Call>;
  readonly #memory: Buffer;

  constructor(size = MEMORY_SIZE) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(wasmFile('policy'))), {});
    this.#exports = exports;
    this.#memory = Buffer.from(exports.memory.buffer);
    this.call('policyMemory', MEMORY, size);
  }

  call(name: string, ...args: number[]): number {
    const found = this.#exports[name];
    if (found === undefined) throw new TypeError(`the module has no export ${name}`);
    return found(...args);
  }

  put(bytes: Uint8Array, at = INPUT): number {
    this.#memory.set(bytes, at);
    return at;
  }

  /** Everything of the module's own memory that is not zero. */
  leftovers(size = MEMORY_SIZE): number {
    let found = 0;
    for (const byte of this.#memory.subarray(MEMORY, MEMORY + size)) if (byte !== 0) found++;
    return found;
  }

  add(payload: Uint8Array): number {
    return this.call('policyAdd', this.put(payload), payload.length);
  }

  /** Builds and puts in force; the first policy that is refused ends it. */
  load(policies: readonly { readonly name: string; readonly rules: readonly PolicyRule[] }[]): number {
    this.call('policyBegin');
    for (const { name, rules } of policies) {
      const status = this.add(encodePolicy(name, rules, ''));
      if (status !== OK) return status;
    }
    return this.call('policyCommit');
  }

  find(name: string): number {
    const bytes = Buffer.from(name);
    return this.call('policyFind', this.put(bytes), bytes.length);
  }

  /** Puts a set of indexes where `decide` reads it. @returns how many */
  set(indexes: readonly number[]): number {
    this.put(new Uint8Array(Uint16Array.from(indexes).buffer), SET);
    return indexes.length;
  }

  /** The whole decision, parameters included where they are asked for. */
  decide(indexes: readonly number[], asked: Asked): number {
    const verdict = this.half(indexes, asked);
    return verdict === NEEDS_PARAMETERS ? this.parameters(encodeParameters(asked.parameters)) : verdict;
  }

  /** The decision as far as the path tells. */
  half(indexes: readonly number[], asked: Omit<Asked, 'parameters'>): number {
    const count = this.set(indexes);
    const path = Buffer.from(asked.path);
    const at = this.put(path);
    const flags = asked.sudo ? 1 : 0;
    return this.call('policyDecide', SET, count, at, path.length, CAPABILITIES[asked.wanted], flags, asked.wrapTtl);
  }

  /** Decides paths given as strings by one set, in the shortest way: for the bench. */
  decider(indexes: readonly number[], wanted: number): (path: string) => boolean {
    const decide = this.#exports['policyDecide'];
    if (decide === undefined) throw new TypeError('the module has no export policyDecide');
    const count = this.set(indexes);
    const into = this.#memory.subarray(INPUT, INPUT + 0x10000);
    return (path) => decide(SET, count, INPUT, writeText(path, into, 0), wanted, 0, 0) === ALLOWED;
  }

  parameters(bytes: Uint8Array): number {
    return this.call('policyParameters', this.put(bytes), bytes.length);
  }

  capabilitiesFor(indexes: readonly number[], path: string, isRoot = false): number {
    const count = this.set(indexes);
    const bytes = Buffer.from(path);
    return this.call('policyCapabilitiesFor', SET, count, this.put(bytes), bytes.length, isRoot ? 1 : 0);
  }

  /** Positions in the set of those that grant what was asked last. */
  granting(): number[] {
    const found: number[] = [];
    for (let i = 0; ; i++) {
      const at = this.call('policyGranting', i);
      if (at < 0) return found;
      found.push(at);
    }
  }
}

/** A rule with nothing but a path and capabilities, unless more is said. */
export function rule(
  path: string,
  capabilities: PolicyRule['capabilities'],
  more: Partial<PolicyRule> = {},
): PolicyRule {
  return {
    path,
    capabilities,
    minWrappingTtl: 0,
    maxWrappingTtl: 0,
    required: [],
    allowed: new Map(),
    denied: new Map(),
    ...more,
  };
}
