import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Checker } from './checker.ts';
import { type FaultFamily, families, faultEverywhere } from './fault-run.ts';
import { bundle } from './record.ts';

/** Calls of each kind that fail: some here, all in `npm run campaign -- faults`. */
const POINTS = Number(process.env['HOLDFAST_FAULT_POINTS'] ?? 5);

describe('a disk that fails under the store', () => {
  const programs: string[] = [];
  let checker: Checker;

  beforeAll(async () => {
    for (const name of ['store-faults.ts', 'store-check.ts']) {
      programs.push(await bundle(join(import.meta.dirname, 'load', name)));
    }
    checker = new Checker(programs[1] ?? '');
  });

  afterAll(() => {
    checker.close();
    for (const path of programs) rmSync(path, { force: true });
  });

  const everywhere = (all: readonly FaultFamily[], points = POINTS) =>
    faultEverywhere({ program: programs[0] ?? '', families: all, points, check: checker.check });

  test('EIO and ENOSPC at any write and sync: refused or written, reads go on, and it opens again with all of it', async () => {
    const result = await everywhere(families('', ['write', 'sync', 'short']));
    console.log(`${result.runs} runs with a failed call, ${result.deaths} deaths, ${result.refusals} refusals`);
    expect(result.failures).toEqual([]);
    expect(result.refusals).toBeGreaterThan(result.runs / 2);
  }, 3_000_000);

  test('while it is made and opened: a fault, and the next start goes on', async () => {
    const result = await everywhere(families('', ['write', 'sync'], { atOpen: true }));
    console.log(`${result.runs} runs with a failed call, ${result.deaths} deaths, ${result.refusals} refusals`);
    expect(result.failures).toEqual([]);
  }, 3_000_000);

  test('blocks that cannot be reserved: refused before LMDB is told, and no process dies', async () => {
    const result = await everywhere(families('', ['allocate'], { atOpen: true }));
    console.log(`${result.runs} runs with a failed call, ${result.deaths} deaths, ${result.refusals} refusals`);
    expect(result.failures).toEqual([]);
    expect(result.deaths).toBe(0);
  }, 3_000_000);
});
