import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Checker } from './checker.ts';
import { cutEverywhere } from './cuts.ts';
import { bundle, type RecordedRun, recordRun } from './record.ts';

/** Points of the run that moves; more in `npm run campaign -- erase`. */
const POINTS = Number(process.env['HOLDFAST_ERASE_POINTS'] ?? 100);

describe('a power cut at any instant', () => {
  let run: RecordedRun;
  /** The same while it moves into a new file. */
  let moved: RecordedRun;
  let folder: string;
  let other: string;
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
    other = mkdtempSync(join(tmpdir(), 'holdfast-load-'));
    moved = await recordRun({ command: [process.execPath, load, other, '8', '160', '4', '3'], folder: other });
    expect([moved.output, moved.exitCode]).toEqual(['', 0]);
  });

  afterAll(() => {
    checker.close();
    for (const path of [folder, other, ...programs]) rmSync(path, { recursive: true, force: true });
  });

  test('loses no acknowledged commit, tears none, and leaves a store that opens', async () => {
    const result = await cutEverywhere(run, { points: 250, seed: 1, check: checker.check });
    expect(result.failures).toEqual([]);
    expect(result.points).toBeGreaterThanOrEqual(200);
    expect(result.folders).toBe(3 * result.points);
  });

  test('while the store moves into a new file leaves the one or the other, and nothing half erased', async () => {
    const result = await cutEverywhere(moved, { points: POINTS, seed: 2, check: checker.check });
    expect(result.failures).toEqual([]);
    expect(result.folders).toBe(3 * result.points);
    const around = moved.events.flatMap(({ kind }, at) =>
      kind === 'linked' || kind === 'renamed' || kind === 'unlinked' ? [at] : [],
    );
    // Of every name that is made, moved or removed both sides are cut, whatever the spread of the others.
    const names = await cutEverywhere(moved, {
      at: around.flatMap((at) => [at, at + 1]),
      points: 0,
      seed: 3,
      check: checker.check,
    });
    expect(names.failures).toEqual([]);
    expect(names.points).toBeGreaterThan(12);
  }, 3_000_000);

  test('is noticed where syncs do nothing: the rig can go red', async () => {
    const result = await cutEverywhere(run, { points: 20, seed: 1, ignoreSyncs: true, check: checker.check });
    expect(result.failures.filter(({ mode }) => mode === 'dropped').length).toBeGreaterThan(10);
    expect(result.failures.filter(({ mode }) => mode === 'torn').length).toBeGreaterThan(0);
    expect(result.failures.filter(({ mode }) => mode === 'kept')).toEqual([]);
  });
});
