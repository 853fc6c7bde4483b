import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../host/whole/box.ts';
import { Checker } from './checker.ts';
import { cutEverywhere } from './cuts.ts';
import { killRounds } from './kill.ts';
import { bundle, type RecordedRun, recordRun } from './record.ts';

/** Points of the recorded run: 200 here, each in three states, thousands in `npm run campaign -- power`. */
const POINTS = Number(process.env['HOLDFAST_CUT_POINTS'] ?? 200);
const KILLS = Number(process.env['HOLDFAST_KILL_ROUNDS'] ?? 60);

describe('the whole box', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-box-rig-'));
  const folder = join(scratch, 'data');
  /** The same box before its load: what is killed begins without values that nobody there has acknowledged. */
  const fresh = join(scratch, 'fresh');
  const keyfile = join(scratch, 'keyfile');
  const rootFile = join(scratch, 'root-token');
  const programs: string[] = [];
  let checker: Checker;
  let run: RecordedRun;

  beforeAll(async () => {
    const { box, stop } = await assemble(folder, keyfile);
    const { rootToken } = await box.initialise({ shares: 1, threshold: 1, keyfile: true });
    writeFileSync(rootFile, rootToken.bytes, { mode: 0o600 });
    await stop();
    cpSync(folder, fresh, { recursive: true });
    for (const name of ['box-load.ts', 'box-check.ts']) {
      programs.push(await bundle(join(import.meta.dirname, 'load', name)));
    }
    process.env['BOX_KEYFILE'] = keyfile;
    process.env['BOX_ROOT'] = rootFile;
    checker = new Checker(programs[1] ?? '');
    run = await recordRun({
      command: [process.execPath, programs[0] ?? '', folder, keyfile, rootFile, '60', '4'],
      folder,
    });
    expect([run.exitCode, run.output]).toEqual([0, '']);
  }, 120_000);

  afterAll(() => {
    checker.close();
    for (const path of [scratch, ...programs]) rmSync(path, { recursive: true, force: true });
  });

  test('opens after a power cut at any instant, with every acknowledged write and a log that verifies', async () => {
    const result = await cutEverywhere(run, { points: POINTS, seed: 1, check: checker.check });
    expect(result.failures).toEqual([]);
    expect(result.folders).toBeGreaterThanOrEqual(Math.min(200, 3 * POINTS));
    console.log(`${result.folders} states of the disk after ${result.points} power cuts`);
  }, 3_000_000);

  test('goes red where syncs do nothing', async () => {
    const result = await cutEverywhere(run, { points: 12, seed: 1, ignoreSyncs: true, check: checker.check });
    expect(result.failures.filter(({ mode }) => mode === 'dropped').length).toBeGreaterThan(3);
  }, 300_000);

  test('opens after being killed over and over', async () => {
    const result = await killRounds({
      rounds: KILLS,
      command: (round) => [
        process.execPath,
        programs[0] ?? '',
        fresh,
        keyfile,
        rootFile,
        '100000',
        '4',
        String((round + 1) * 1_000_000),
      ],
      folder: fresh,
      linesMax: 200,
      seed: 5,
      check: checker.check,
    });
    expect(result.failures).toEqual([]);
    expect(result.lines).toBeGreaterThan(KILLS * 10);
  }, 3_000_000);
});
