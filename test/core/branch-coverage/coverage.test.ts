import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Arm } from './instrument.ts';
import { coverageOf, measure, prepare, renderArms } from './run.ts';

interface Counter {
  readonly value: number;
}
type Seeded = Record<'implicitElse' | 'both' | 'cases' | 'until' | 'chosen', (a: number, b?: number) => number>;
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
  readonly Global: new (type: { value: string; mutable: boolean }, value: number) => Counter;
};

const SEEDED = 'test/core/branch-coverage/assembly/seeded.ts';

describe('the coverage tool', () => {
  let folder: string;
  let arms: readonly Arm[];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-seeded-'));
    arms = prepare(SEEDED, folder, 'seeded');
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** What is not covered after some calls: the lines of the source, with the kind of the arm. */
  function uncovered(work: (seeded: Seeded) => void): { readonly left: string[]; readonly sentence: string } {
    const counters = new Map(arms.map(({ key }) => [key, new WebAssembly.Global({ value: 'i32', mutable: true }, 0)]));
    const module = new WebAssembly.Module(readFileSync(join(folder, 'seeded.wasm')));
    const { exports } = new WebAssembly.Instance(module, { coverage: Object.fromEntries(counters) });
    work(exports as Seeded);
    const hits = new Set([...counters].filter(([, { value }]) => value > 0).map(([key]) => key));
    const result = coverageOf(arms, hits, 'test/core/branch-coverage');
    return { left: result.uncovered.map(({ line, kind }) => `${line} ${kind}`), sentence: result.sentence };
  }

  const all = (seeded: Seeded): void => {
    expect([seeded.implicitElse(5), seeded.implicitElse(-1)]).toEqual([5, 5]);
    expect([seeded.both(1, 1), seeded.both(1, 0), seeded.both(0, 1)]).toEqual([1, 2, 2]);
    expect([0, 1, 2, 9].map((a) => seeded.cases(a))).toEqual([10, 11, 12, 13]);
    expect(seeded.until(3)).toBe(3);
    expect([seeded.chosen(1, 2), seeded.chosen(3, 2)]).toEqual([2, 3]);
  };

  test('finds nothing when every arm has run, and the module does what it did', () => {
    const { left, sentence } = uncovered(all);
    expect(left).toEqual([]);
    expect(sentence).toMatch(/^branch coverage of test\/core\/branch-coverage: (\d+) of \1 \(100 %\)$/);
  });

  test('names the line of an else that is not written', () => {
    const { left } = uncovered((seeded) => {
      all({ ...seeded, implicitElse: (a) => seeded.implicitElse(Math.abs(a)) && 5 });
    });
    expect(left).toEqual(['5 else']);
  });

  test('names the side of an && that was not seen, a case, a way of a loop and of a select', () => {
    const { left } = uncovered((seeded) => {
      seeded.implicitElse(1);
      seeded.implicitElse(0);
      seeded.both(1, 1);
      seeded.cases(0);
      seeded.until(0);
      seeded.chosen(2, 1);
    });
    const lines = new Set(left.map((arm) => Number.parseInt(arm, 10)));
    expect([...lines].filter((line) => line < 13)).toEqual([10]);
    expect([...lines].filter((line) => line > 13 && line < 26).length).toBeGreaterThanOrEqual(3);
    expect([...lines].some((line) => line >= 26 && line <= 30)).toBe(true);
    expect([...lines].some((line) => line > 30)).toBe(true);
  });
});

test('every arm of core/assembly has run', { timeout: 600_000 }, async () => {
  const { sentence, uncovered } = await measure();
  console.log(sentence);
  expect(renderArms(uncovered)).toBe('');
});
