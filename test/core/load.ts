import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { loadCore } from '../../core/index.ts';
import type { Core } from '../../core/types.ts';

/** The wasm under test: the shipped one, or the one that coverage instruments. */
export const WASM_FILE = process.env['HOLDFAST_CORE_WASM'] ?? 'dist/core.wasm';

/** Bytes that are the same in every run, and never the same twice in one. */
export function seededRandom(seed: string): (length: number) => Uint8Array {
  let block = 0;
  return (length) => {
    const parts: Buffer[] = [];
    for (let size = 0; size < length; size += 32) {
      parts.push(createHash('sha256').update(`${seed}/${block++}`).digest());
    }
    return Buffer.concat(parts).subarray(0, length);
  };
}

export function newCore(seed = 'core', onTrap?: () => void): Core {
  const wasm = readFileSync(WASM_FILE);
  return loadCore({ wasm, random: seededRandom(seed), ...(onTrap === undefined ? {} : { onTrap }) });
}
