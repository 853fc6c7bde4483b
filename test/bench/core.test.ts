import { expect, test } from 'vitest';
import { run as core } from '../../bench/core/core.ts';
import { run as dudect, LEAK, largestT } from '../../bench/core/dudect.ts';
import { renderResult } from '../../bench/result.ts';
import { SeededRandom } from '../reference/random.ts';

test('the benchmark of core runs, all rivals compute the same, and its digest is that of every run', async () => {
  const result = await core({ small: true });
  expect(result.rows).toHaveLength(2 * 2 * 4 + 5);
  expect(result.digest).toMatch(/^[0-9a-f]{64}$/);
  for (const { ours, rivals } of result.rows) {
    for (const value of [ours, ...Object.values(rivals)]) expect(value).toBeGreaterThan(0);
  }
  expect(renderResult(result)).toContain('seal 32 B');
  expect((await core({ small: true })).digest).toBe(result.digest);
});

test('the statistical test catches a comparison that stops at the first difference', async () => {
  const { rows } = await dudect({ small: true });
  const leaky = rows.find(({ what }) => what.startsWith('leaky'));
  expect(leaky?.ours).toBeGreaterThan(LEAK);
  expect(leaky?.met).toBe(true);
});

test('the statistic is small for one distribution and large for two', () => {
  const random = new SeededRandom(1);
  const sample = (shift: number): number[] => Array.from({ length: 5000 }, () => random.below(1000) + shift);
  expect(largestT(sample(0), sample(0))).toBeLessThan(6);
  expect(largestT(sample(0), sample(100))).toBeGreaterThan(LEAK);
});
