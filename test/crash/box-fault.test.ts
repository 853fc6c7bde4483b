import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../host/whole/box.ts';
import { Checker } from './checker.ts';
import { type FaultFamily, families, faultEverywhere } from './fault-run.ts';
import { bundle } from './record.ts';

/** Calls of each kind that fail: some here, all in `npm run campaign -- faults`. */
const POINTS = Number(process.env['HOLDFAST_FAULT_POINTS'] ?? 2);

describe('a disk that fails under the whole box', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-faults-'));
  const folder = join(scratch, 'data');
  const programs: string[] = [];
  let checker: Checker;

  beforeAll(async () => {
    const keyfile = join(scratch, 'keyfile');
    const rootFile = join(scratch, 'root-token');
    const { box, stop } = await assemble(folder, keyfile);
    const { rootToken } = await box.initialise({ shares: 1, threshold: 1, keyfile: true });
    writeFileSync(rootFile, rootToken.bytes, { mode: 0o600 });
    await stop();
    for (const name of ['box-faults.ts', 'box-check.ts']) {
      programs.push(await bundle(join(import.meta.dirname, 'load', name)));
    }
    process.env['BOX_KEYFILE'] = keyfile;
    process.env['BOX_ROOT'] = rootFile;
    checker = new Checker(programs[1] ?? '');
  }, 120_000);

  afterAll(() => {
    checker.close();
    for (const path of [scratch, ...programs]) rmSync(path, { recursive: true, force: true });
  });

  const everywhere = async (all: readonly FaultFamily[]) => {
    const result = await faultEverywhere({
      program: programs[0] ?? '',
      families: all,
      points: POINTS,
      prepare: (target) => cpSync(folder, target, { recursive: true }),
      check: checker.check,
    });
    console.log(`${result.runs} runs with a failed call, ${result.deaths} deaths, ${result.refusals} refusals`);
    return result;
  };

  test('the store: 5xx or written, reads go on, and it opens again with all that was acknowledged', async () => {
    const result = await everywhere(families('store.mdb', ['write', 'sync']));
    expect(result.failures).toEqual([]);
    expect(result.refusals).toBeGreaterThan(result.runs / 2);
  }, 3_000_000);

  test('the audit log: one failure heals, a lasting one answers 503, and the log verifies', async () => {
    const result = await everywhere(families('*audit/segment', ['write', 'sync']));
    expect(result.failures).toEqual([]);
    expect(result.deaths).toBe(0);
  }, 3_000_000);

  test('everything at once', async () => {
    const result = await everywhere(families('', ['write', 'sync']));
    expect(result.failures).toEqual([]);
  }, 3_000_000);
});
