/** Cuts one recorded run in many places and checks what each leaves. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Check } from './checker.ts';
import { CUT_MODES, type CutMode, cutPoints, Disk, type DiskOptions, marksBefore } from './disk.ts';
import type { RecordedRun } from './record.ts';

export interface CutOptions extends DiskOptions {
  /** Points at most; each is cut in every mode. */
  readonly points: number;
  /** Cut here instead, in rising order. */
  readonly at?: readonly number[];
  /** Different torn states of each point (default 1). */
  readonly tears?: number;
  readonly seed: number;
  readonly check: Check;
  readonly progress?: (done: number, of: number) => void;
}

export interface CutResult {
  readonly points: number;
  readonly folders: number;
  readonly failures: readonly { readonly cut: number; readonly mode: CutMode; readonly wrong: readonly string[] }[];
}

export async function cutEverywhere(run: RecordedRun, options: CutOptions): Promise<CutResult> {
  const { tears = 1, seed, check, progress } = options;
  const points = [...new Set(options.at ?? cutPoints(run.events, options.points))];
  const disk = new Disk(run.events, run.baseline, options);
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-cut-'));
  const failures: { cut: number; mode: CutMode; wrong: string[] }[] = [];
  let folders = 0;
  try {
    for (const [done, cut] of points.entries()) {
      disk.advance(cut);
      const marks = marksBefore(run.events, cut);
      for (const mode of CUT_MODES) {
        for (let tear = 0; tear < (mode === 'torn' ? tears : 1); tear++) {
          const folder = join(scratch, 'disk');
          disk.materialise(folder, mode, seed + cut * 1000 + tear);
          const wrong = await check(folder, marks);
          if (wrong.length > 0) failures.push({ cut, mode, wrong });
          folders++;
          rmSync(folder, { recursive: true });
        }
      }
      progress?.(done + 1, points.length);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return { points: points.length, folders, failures };
}
