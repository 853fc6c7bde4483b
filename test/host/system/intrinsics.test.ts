import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** In a process of its own: what is locked stays locked. */
const scratch = mkdtempSync(join(tmpdir(), 'holdfast-intrinsics-'));
const program = join(scratch, 'lock.mjs');
beforeAll(() => {
  buildSync({
    entryPoints: ['host/system/intrinsics.ts'],
    outfile: program,
    bundle: true,
    format: 'esm',
    platform: 'node',
  });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function afterLock(code: string): string {
  const file = join(scratch, 'try.mjs');
  writeFileSync(file, `import { lockIntrinsics } from './lock.mjs';\nlockIntrinsics();\n${code}`);
  return execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim();
}

describe('after the lock', () => {
  test.each([
    'JSON.parse = () => 1',
    'JSON = {}',
    'Uint8Array.prototype.set = () => 1',
    'Object.getPrototypeOf(Uint8Array.prototype).fill = () => 1',
    'Object.getPrototypeOf(Uint8Array.prototype).subarray = () => 1',
    'Object.defineProperty(Reflect, "ownKeys", { value: () => [] })',
    'WebAssembly.Instance = class {}',
    'globalThis.WebAssembly = {}',
    'Math.min = () => 0',
    'Buffer.from = () => 0',
    'Object.defineProperty(ArrayBuffer.prototype, "byteLength", { get: () => 0 })',
    'Object.prototype.polluted = true',
    'Map.prototype.get = () => 1',
  ])('%s fails', (line) => {
    expect(afterLock(`try { ${line}; console.log('changed'); } catch (error) { console.log(error.name); }`)).toBe(
      'TypeError',
    );
  });

  test('ordinary code goes on: subclasses, own members of the same name, new members of Reflect', () => {
    const line = `
      class Own extends Uint8Array { set() { return 'own'; } }
      class Fault extends Error { constructor() { super('x'); this.name = 'Fault'; } }
      const map = new Map(); map.set(1, 2);
      const odd = { toString: () => 'odd' }; odd.constructor = 1;
      Reflect.defineMetadata = () => 1;
      console.log(new Own(1).set(), new Fault().name, map.get(1), String(odd), Reflect.defineMetadata());`;
    expect(afterLock(line)).toBe('own Fault 2 odd 1');
  });

  test('the packages that the product loads still load', () => {
    const root = JSON.stringify(join(process.cwd(), 'package.json'));
    const line = `
      import { createRequire } from 'node:module';
      const require = createRequire(${root});
      const names = ['lmdb', 'koffi', 'hono', '@hono/node-server', 'reflect-metadata', '@peculiar/x509', 'pg', 'mysql2'];
      for (const name of names) {
        await import(require.resolve(name));
      }
      console.log('loaded');`;
    expect(afterLock(line)).toBe('loaded');
  });
});
