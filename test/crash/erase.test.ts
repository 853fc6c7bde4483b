import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assemble } from '../host/whole/box.ts';
import { Checker } from './checker.ts';
import { cutEverywhere } from './cuts.ts';
import { killRounds } from './kill.ts';
import { bundle, type RecordedRun, recordRun } from './record.ts';

/** Points of the recorded run, each in three states; more in `npm run campaign -- erase`. */
const POINTS = Number(process.env['HOLDFAST_ERASE_POINTS'] ?? 12);
const KILLS = Math.ceil(POINTS / 2);

describe('a whole box that erases while it serves', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-erase-rig-'));
  const [folder, fresh, keyfile, rootFile] = ['data', 'fresh', 'keyfile', 'root-token'].map((name) =>
    join(scratch, name),
  ) as [string, string, string, string];
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
    checker = new Checker(programs[1] ?? '', 30_000);
    run = await recordRun({
      command: [process.execPath, programs[0] ?? '', folder, keyfile, rootFile, '30', '2', '0', '2'],
      folder,
    });
    expect([run.exitCode, run.output]).toEqual([0, '']);
  }, 120_000);

  afterAll(() => {
    checker.close();
    for (const path of [scratch, ...programs]) rmSync(path, { recursive: true, force: true });
  });

  test('opens after a power cut at any instant, and what was answered is erased in the end', async () => {
    const result = await cutEverywhere(run, { points: POINTS, seed: 4, check: checker.check });
    expect(result.failures).toEqual([]);
    const names = run.events.flatMap(({ kind }, at) => (kind === 'linked' || kind === 'renamed' ? [at + 1] : []));
    expect(names.length).toBeGreaterThanOrEqual(4);
    const exchanged = await cutEverywhere(run, { points: 0, at: names, seed: 5, check: checker.check });
    expect(exchanged.failures).toEqual([]);
  }, 3_000_000);

  test('opens after being killed over and over', async () => {
    const result = await killRounds({
      rounds: KILLS,
      command: (round) => {
        const first = String((round + 1) * 1_000_000);
        return [process.execPath, programs[0] ?? '', fresh, keyfile, rootFile, '100000', '2', first, '1000'];
      },
      folder: fresh,
      linesMax: 60,
      seed: 6,
      check: checker.check,
    });
    expect(result.failures).toEqual([]);
    expect(result.lines).toBeGreaterThan(KILLS * 5);
  }, 3_000_000);
});
