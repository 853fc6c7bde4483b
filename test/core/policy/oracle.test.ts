/** Core's decision against the slow oracle, over generated sets of rules in which the hard questions come up. */
import { describe, expect, test } from 'vitest';
import type { PolicyRule, RuleCapability, RuleParameters, RuleValue } from '../../../host/policies/rule.ts';
import { CAPABILITIES } from '../../../host/policies/rule.ts';
import { type Asked, type AskedParameter, type Decided, oracle } from '../../reference/policy.ts';
import { SeededRandom } from '../../reference/random.ts';
import { ALLOWED, OK, Policies, rule } from './load.ts';

const SETS = 400;
const QUESTIONS = 60;
const VERBS: readonly RuleCapability[] = ['create', 'read', 'update', 'delete', 'list', 'patch'];
const SEGMENTS = ['a', 'b', 'ab', 'abc', 'a+b', '*x', 'ä', 'a.b'] as const;

const TWINS = ['+/a/+', '+/+/a'] as const;
const TWINS_MEET = 'b/a/a';

/** A pattern out of few words, so that patterns meet; `+` often, all forms of an end. */
function pattern(random: SeededRandom): string {
  const segments = Array.from({ length: 1 + random.below(4) }, () => (random.once(3) ? '+' : random.pick(SEGMENTS)));
  const path = segments.join('/');
  const end = random.below(7);
  const closed = segments.at(-1) === '+';
  if (end === 0) return `${path}/`;
  if (end === 1) return `${path}/*`;
  if (end === 2 && !closed) return `${path}*`;
  if (end === 3 && random.once(8)) return '*';
  if (end === 4 && random.once(3)) return `${path}/{{identity.entity.id}}/x`;
  return path;
}

function values(random: SeededRandom): RuleValue[] {
  return Array.from(
    { length: random.below(3) },
    (): RuleValue =>
      random.once(4)
        ? { kind: 'json', value: random.pick(['1', 'true', '{"a":1}']) }
        : { kind: 'text', value: random.pick(['', 'x', 'xy', 'x*', '*y', '*', '**', '*xy*', 'xyz']) },
  );
}

function parameters(random: SeededRandom): RuleParameters {
  const all = new Map<string, readonly RuleValue[]>();
  for (let i = random.below(3); i > 0; i--) all.set(random.pick(['p', 'q', '*', 'rr']), values(random));
  return all;
}

function generated(random: SeededRandom): PolicyRule {
  const capabilities: RuleCapability[] = random.once(4)
    ? ['deny']
    : [...VERBS, 'sudo' as const].filter(() => !random.once(3));
  const wraps = random.once(10);
  const constrains = random.once(5);
  return rule(pattern(random), capabilities, {
    minWrappingTtl: wraps ? random.below(3) * 10 : 0,
    maxWrappingTtl: wraps ? 20 + random.below(3) * 10 : 0,
    required: constrains && random.once(3) ? [random.pick(['p', 'q'])] : [],
    allowed: constrains && random.once(2) ? parameters(random) : new Map(),
    denied: constrains && random.once(3) ? parameters(random) : new Map(),
  });
}

/** Rules of one path are one rule, as the encoder makes them. */
function policy(random: SeededRandom): PolicyRule[] {
  const byPath = new Map<string, PolicyRule>();
  for (let i = 1 + random.below(8); i > 0; i--) {
    const one = generated(random);
    byPath.set(one.path, one);
  }
  // Two that only their text tells apart.
  if (random.once(4)) for (const path of TWINS) byPath.set(path, { ...generated(random), path });
  return [...byPath.values()];
}

function path(random: SeededRandom, known: readonly string[]): string {
  // Half of them near a pattern of the set, so that rules match.
  const near = random.once(2) ? undefined : random.pick(known);
  const text =
    near === undefined
      ? Array.from({ length: 1 + random.below(4) }, () => random.pick(SEGMENTS)).join('/')
      : near
          .replace(/\{\{.*\}\}/, 'id')
          .split('/')
          .map((segment) => (segment === '+' ? random.pick([...SEGMENTS, '+']) : segment))
          .join('/')
          .replace(/\*$/, random.pick(['', 'a', 'b/a', 'a/']));
  const clean = text.replace(/\/+$/, '');
  return `${random.once(12) ? '/' : ''}${clean}${random.once(5) ? '/' : ''}`;
}

function given(random: SeededRandom): AskedParameter[] {
  return Array.from({ length: random.below(3) }, () => ({
    name: random.pick(['p', 'P', 'q', 'Q', 'rr', 'other', '*']),
    kind: random.once(4) ? ('json' as const) : ('text' as const),
    value: random.pick(['', 'x', 'xy', 'xyz', 'axyb', 'abcde', '1', 'true', '{"a":1}']),
  }));
}

function question(random: SeededRandom, known: readonly string[]): Asked {
  return {
    path: path(random, known),
    wanted: random.pick(VERBS),
    sudo: random.once(10),
    wrapTtl: random.once(4) ? random.below(5) * 10 : 0,
    parameters: given(random),
  };
}

const bits = (all: Iterable<RuleCapability>): number => [...all].reduce((sum, one) => sum | CAPABILITIES[one], 0);

describe('a decision', () => {
  test('is the one of the oracle, for every verb, path and set of rules', () => {
    const random = new SeededRandom(20260727);
    const core = new Policies();
    const counts = new Map<Decided | 'plus against star' | 'deny at equal length' | 'allowed' | 'refused', number>();
    const count = (what: Parameters<typeof counts.set>[0]): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
    for (let round = 0; round < SETS; round++) {
      const all = Array.from({ length: 1 + random.below(4) }, () => policy(random));
      expect(core.load(all.map((rules, i) => ({ name: `policy-${i}`, rules })))).toBe(OK);
      const indexes = all.map((_, i) => core.find(`policy-${i}`));
      const known = [...all.flat().map((one) => one.path), TWINS_MEET];
      for (let asked = 0; asked < QUESTIONS; asked++) {
        const one = question(random, known);
        const expected = oracle(all, one);
        const told = { round, one, rules: all };
        expect({ ...told, allowed: core.decide(indexes, one) === ALLOWED }).toEqual({
          ...told,
          allowed: expected.allowed,
        });
        expect({ ...told, bits: core.call('policyCapabilities') }).toEqual({
          ...told,
          bits: bits(expected.capabilities),
        });
        count(expected.by);
        count(expected.allowed ? 'allowed' : 'refused');
        if (expected.plusAgainstStar) count('plus against star');
        if (expected.denyAtEqualLength) count('deny at equal length');
      }
    }
    console.log(`policy decisions by what decided: ${JSON.stringify(Object.fromEntries(counts))}`);
    // A generator that does not ask the hard questions would prove nothing.
    for (const by of ['nothing', 'exact', 'alone', 'wildcard', 'allowed', 'refused', 'plus against star'] as const)
      expect([by, counts.get(by) ?? 0]).toEqual([by, expect.toSatisfy((n: number) => n >= 500)]);
    for (const by of ['trimmed', 'star', 'pluses', 'length', 'text', 'deny at equal length'] as const)
      expect([by, counts.get(by) ?? 0]).toEqual([by, expect.toSatisfy((n: number) => n >= 20)]);
  });

  test('of many rules is the one of the oracle too', () => {
    const random = new SeededRandom(7);
    const core = new Policies();
    const rules = Array.from({ length: 3000 }, (_, i) =>
      rule(`${random.pick(['secret', 'kv', '+'])}/${i % 997}/${random.pick(['+', 'x*', `k${i}`, '*'])}`, ['read']),
    );
    const unique = [...new Map(rules.map((one) => [one.path, one])).values()];
    expect(core.load([{ name: 'large', rules: unique }])).toBe(OK);
    const indexes = [core.find('large')];
    let allowed = 0;
    for (let i = 0; i < 300; i++) {
      const asked: Asked = {
        path: `${random.pick(['secret', 'kv', 'other'])}/${random.below(1100)}/${random.pick(['x1', 'k5', 'zz'])}`,
        wanted: 'read',
        sudo: false,
        wrapTtl: 0,
        parameters: [],
      };
      const expected = oracle([unique], asked).allowed;
      expect([asked.path, core.decide(indexes, asked) === ALLOWED]).toEqual([asked.path, expected]);
      if (expected) allowed++;
    }
    expect(allowed).toBeGreaterThan(50);
  });
});

test('a node with more children than are compared at once finds each', () => {
  const core = new Policies();
  const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
  expect(core.load([{ name: 'wide', rules: letters.map((one) => rule(`k/${one}/v`, ['read'])) }])).toBe(OK);
  const asked = { wanted: 'read', sudo: false, wrapTtl: 0, parameters: [] } as const;
  for (const one of letters) expect(core.decide([0], { ...asked, path: `k/${one}/v` })).toBe(ALLOWED);
  for (const one of ['A', '_', '~']) expect(core.decide([0], { ...asked, path: `k/${one}/v` })).not.toBe(ALLOWED);
});

describe('capabilities of a path', () => {
  test('are those of the rule that the oracle finds, no slash added', () => {
    const random = new SeededRandom(99);
    const core = new Policies();
    for (let round = 0; round < 100; round++) {
      const all = [policy(random), policy(random)];
      expect(core.load(all.map((rules, i) => ({ name: `policy-${i}`, rules })))).toBe(OK);
      const indexes = [core.find('policy-0'), core.find('policy-1')];
      const known = all.flat().map((one) => one.path);
      for (let i = 0; i < 20; i++) {
        const asked = path(random, known);
        const slash = asked.endsWith('/');
        const { capabilities } = oracle(all, {
          path: asked,
          wanted: slash ? 'list' : 'read',
          sudo: false,
          wrapTtl: 0,
          parameters: [],
        });
        expect([asked, core.capabilitiesFor(indexes, asked)]).toEqual([asked, bits(capabilities) || CAPABILITIES.deny]);
      }
    }
    expect(core.capabilitiesFor([], 'anything', true)).toBe(256);
  });
});
