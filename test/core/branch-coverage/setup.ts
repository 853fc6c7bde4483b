/**
 * Runs before each test file of a coverage run: whatever instantiates an instrumented module gets its counters, and the
 * file leaves the keys of the arms that ran in the run's folder.
 */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';

interface Counter {
  value: number;
}
interface WasmApi {
  readonly Global: new (type: { value: string; mutable: boolean }, value: number) => Counter;
  Instance: new (module: object, imports: object) => object;
}
declare const WebAssembly: WasmApi;

const counters = new Map<string, Counter>();

function counterOf(key: string): Counter {
  let counter = counters.get(key);
  if (counter === undefined) {
    counter = new WebAssembly.Global({ value: 'i32', mutable: true }, 0);
    counters.set(key, counter);
  }
  return counter;
}

const coverage = new Proxy({}, { get: (_target, key) => counterOf(String(key)) });
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct: (target, [module, imports]: [object, object]) => new target(module, { ...imports, coverage }),
});

const folder = process.env['HOLDFAST_COVERAGE_DIR'];
if (folder === undefined) throw new Error('HOLDFAST_COVERAGE_DIR names no folder');

afterAll(() => {
  const hit = [...counters].filter(([, counter]) => counter.value !== 0).map(([key]) => key);
  writeFileSync(join(folder, `${randomUUID()}.hits.json`), JSON.stringify(hit));
});
