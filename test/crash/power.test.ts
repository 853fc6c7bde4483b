import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Checker } from './checker.ts';
import { cutEverywhere } from './cuts.ts';
import { bundle, type RecordedRun, recordRun } from './record.ts';

describe('a power cut at any instant', () => {
  let run: RecordedRun;
  let folder: string;
  let checker: Checker;
  const programs: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-load-'));
    for (const name of ['store-load.ts', 'store-check.ts']) {
      programs.push(await bundle(join(import.meta.dirname, 'load', name)));
    }
    const [load = '', check = ''] = programs;
    checker = new Checker(check);
    run = await recordRun({ command: [process.execPath, load, folder, '7', '240', '4'], folder });
    expect(run.output).toBe('');
    expect(run.exitCode).toBe(0);
  });

  afterAll(() => {
    checker.close();
    for (const path of [folder, ...programs]) rmSync(path, { recursive: true, force: true });
  });

  test('loses no acknowledged commit, tears none, and leaves a store that opens', async () => {
    const result = await cutEverywhere(run, { points: 250, seed: 1, check: checker.check });
    expect(result.failures).toEqual([]);
    expect(result.points).toBeGreaterThanOrEqual(200);
    expect(result.folders).toBe(3 * result.points);
  });

  test('is noticed where syncs do nothing: the rig can go red', async () => {
    const result = await cutEverywhere(run, { points: 20, seed: 1, ignoreSyncs: true, check: checker.check });
    expect(result.failures.filter(({ mode }) => mode === 'dropped').length).toBeGreaterThan(10);
    expect(result.failures.filter(({ mode }) => mode === 'torn').length).toBeGreaterThan(0);
    expect(result.failures.filter(({ mode }) => mode === 'kept')).toEqual([]);
  });
});
