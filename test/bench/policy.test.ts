import { describe, expect, test } from 'vitest';
import { policy } from '../../bench/policy/policy.ts';
import { Expressions, Trie, type TrieRule } from '../../bench/policy/trie.ts';
import { renderResult } from '../../bench/result.ts';
import { ALLOWED, OK, Policies, rule } from '../core/policy/load.ts';
import { SeededRandom } from '../reference/random.ts';

test('the benchmark of policies runs, all rivals decide the same, and its digest is that of every run', async () => {
  const result = await policy({ small: true });
  expect(result.rows.map(({ what }) => what)).toEqual([
    'decision, 10 rules',
    'decision, 100 rules',
    'decision, 1,000 rules',
    'decision, the slowest of these',
  ]);
  expect(Object.keys(result.rows[0]?.rivals ?? {})).toEqual(['js-trie', 'regexps', 'cedar']);
  for (const { ours, rivals } of result.rows) {
    for (const value of [ours, ...Object.values(rivals)]) expect(value).toBeGreaterThan(0);
  }
  expect(renderResult(result)).toContain('js-trie');
  expect(result.digest).toMatch(/^[0-9a-f]{64}$/);
  expect((await policy({ small: true })).digest).toBe(result.digest);
});

describe('the rivals are no straw men', () => {
  test('they decide as core does, ties and + against * included', () => {
    const random = new SeededRandom(4);
    const words = ['a', 'b', 'ab', 'abc', '+'] as const;
    const core = new Policies();
    let allowed = 0;
    for (let round = 0; round < 200; round++) {
      const rules = new Map<string, TrieRule>();
      for (let i = 0; i < 12; i++) {
        const path = Array.from({ length: 1 + random.below(4) }, () => random.pick(words)).join('/');
        const written = random.once(2) ? `${path}/*` : random.once(3) && !path.endsWith('+') ? `${path}*` : path;
        rules.set(written, { path: written, capabilities: random.once(3) ? 1 : 4 });
      }
      const all = [...rules.values()];
      const encoded = all.map((one) => rule(one.path, one.capabilities === 1 ? ['deny'] : ['read']));
      expect(core.load([{ name: 'p', rules: encoded }])).toBe(OK);
      const trie = new Trie();
      for (const one of all) trie.add(one);
      const expressions = new Expressions(all);
      for (let i = 0; i < 20; i++) {
        const path = Array.from({ length: 1 + random.below(4) }, () => random.pick(words.slice(0, 4))).join('/');
        const asked = { path, wanted: 'read', sudo: false, wrapTtl: 0, parameters: [] } as const;
        const expected = core.decide([0], asked) === ALLOWED;
        if (expected) allowed++;
        expect([path, trie.allows(path, 4)]).toEqual([path, expected]);
        expect([path, expressions.allows(path, 4)]).toEqual([path, expected]);
        expect([path, core.decider([0], 4)(path)]).toEqual([path, expected]);
      }
    }
    expect(allowed).toBeGreaterThan(300);
  });
});
