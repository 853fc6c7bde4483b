import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Checker } from './checker.ts';
import { killRounds } from './kill.ts';
import { bundle } from './record.ts';

/** With those of the whole box (box.test.ts) 200 in one run of the suite. */
const ROUNDS = 140;

test(`a store killed ${ROUNDS} times on one folder keeps every acknowledged commit and opens again`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-kill-'));
  const load = await bundle(join(import.meta.dirname, 'load', 'store-load.ts'));
  const check = await bundle(join(import.meta.dirname, 'load', 'store-check.ts'));
  const checker = new Checker(check);
  try {
    const result = await killRounds({
      rounds: ROUNDS,
      command: (round) => [process.execPath, load, folder, String(round + 1), '100000', '8'],
      folder,
      linesMax: 400,
      seed: 5,
      check: checker.check,
    });
    expect(result.failures).toEqual([]);
    expect(result.lines).toBeGreaterThan(1000);
  } finally {
    checker.close();
    for (const path of [folder, load, check]) rmSync(path, { recursive: true, force: true });
  }
}, 600_000);
