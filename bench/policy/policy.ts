/**
 * How long does one decision take, the path given as a string, and does it grow with the rules?
 *
 * Expected: a walk down a trie in linear memory looks at each byte of the path once, whatever the number of rules; carrying
 * the string in costs about as much again. The JavaScript trie walks the same way but through objects that the collector
 * moved about; a list of regular expressions is linear in its rules, and so is Cedar, whose policies here have no scope
 * that it could index (its `like` has no single-segment wildcard, so it does a little less than the others).
 */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type * as CedarModule from '@cedar-policy/cedar-wasm';
import { Policies, rule } from '../../test/core/policy/load.ts';
import { SeededRandom } from '../../test/reference/random.ts';
import { FULL, measure, SMALL } from '../measure.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';
import { Expressions, Trie, type TrieRule } from './trie.ts';

const READ = 4;
const DENY = 1;
const QUESTIONS = 512;
const REACH_NS = 200;
const REACH_TRIE = 2.5;
/** Above, one of its decisions takes tens of milliseconds and nothing more is learnt. */
const CEDAR_RULES_MAX = 1000;

/** One flat string, as the HTTP parser gives it: not the rope that a template makes. */
const flat = (text: string): string => Buffer.from(text).toString('latin1');

function rulesOf(count: number): TrieRule[] {
  return Array.from({ length: count }, (_, i): TrieRule => {
    const forms = [`secret/data/team-${i}/*`, `secret/data/team-${i}/config`, `kv/+/app-${i}/+`, `own/${i}/x*`];
    return { path: forms[i % forms.length] ?? '', capabilities: i % 8 === 7 ? DENY : READ };
  });
}

function questions(rules: readonly TrieRule[], random: SeededRandom): string[] {
  return Array.from({ length: QUESTIONS }, (_, i) => {
    if (i % 8 === 0) return flat(`secret/data/nobody-${random.below(1000)}/config`);
    const path = random
      .pick(rules)
      .path.replace(/\+/g, () => `part-${random.below(100)}`)
      .replace(/\*$/, () => `database/${random.below(100)}`);
    return flat(path);
  });
}

function ours(rules: readonly TrieRule[]): (path: string) => boolean {
  const core = new Policies();
  const written = rules.map(({ path, capabilities }) => rule(path, capabilities === DENY ? ['deny'] : ['read']));
  if (core.load([{ name: 'bench', rules: written }]) !== 0) throw new Error('core takes no such policy');
  return core.decider([core.find('bench')], READ);
}

function cedar(rules: readonly TrieRule[]): (path: string) => boolean {
  const module = createRequire(import.meta.url)('@cedar-policy/cedar-wasm/nodejs') as typeof CedarModule;
  const text = rules.map(({ path, capabilities }) => {
    const effect = capabilities === DENY ? 'forbid' : 'permit';
    const like = path.replaceAll('+', '*');
    return `${effect} (principal, action == Action::"read", resource) when { context.path like ${JSON.stringify(like)} };`;
  });
  const id = `bench-${rules.length}`;
  const parsed = module.preparsePolicySet(id, { staticPolicies: text.join('\n') });
  if (parsed.type !== 'success') throw new Error('Cedar takes no such policies');
  return (path) => {
    const answer = module.statefulIsAuthorized({
      principal: { type: 'Token', id: 't' },
      action: { type: 'Action', id: 'read' },
      resource: { type: 'Path', id: 'p' },
      context: { path },
      preparsedPolicySetId: id,
      entities: [],
    });
    if (answer.type !== 'success') throw new Error('Cedar does not answer');
    return answer.response.decision === 'allow';
  };
}

export async function policy({ small }: BenchOptions): Promise<BenchResult> {
  const sizes = small ? [10, 100, 1000] : [10, 100, 1000, 10_000];
  const whole = createHash('sha256');
  const rows: BenchRow[] = [];
  for (const size of sizes) {
    const rules = rulesOf(size);
    const asked = questions(rules, new SeededRandom(size));
    const trie = new Trie();
    for (const one of rules) trie.add(one);
    const expressions = new Expressions(rules);
    const deciders: Record<string, (path: string) => boolean> = {
      ours: ours(rules),
      'js-trie': (path) => trie.allows(path, READ),
      regexps: (path) => expressions.allows(path, READ),
      ...(size <= (small ? 100 : CEDAR_RULES_MAX) ? { cedar: cedar(rules) } : {}),
    };
    const answers = Object.entries(deciders).map(
      ([name, decide]) => [name, asked.map((path) => (decide(path) ? '1' : '0')).join('')] as const,
    );
    const [[, first] = ['', '']] = answers;
    for (const [name, told] of answers) if (told !== first) throw new Error(`${name} decides otherwise`);
    whole.update(first);
    const contenders = Object.entries(deciders).map(([name, decide]) => {
      let next = 0;
      return [
        name,
        () => {
          decide(asked[next] ?? '');
          next = (next + 1) & (QUESTIONS - 1);
        },
      ] as const;
    });
    const { ours: own = Number.NaN, ...rivals } = measure(Object.fromEntries(contenders), small ? SMALL : FULL);
    const ratio = (rivals['js-trie'] ?? Number.NaN) / own;
    rows.push({
      what: `decision, ${size.toLocaleString('en')} rules`,
      unit: 'ns',
      ours: own,
      rivals,
      ratio,
      reach: `>= ${REACH_TRIE}x the JS trie`,
      met: ratio >= REACH_TRIE,
    });
  }
  const times = rows.map((row) => row.ours);
  const [slowest, fastest] = [Math.max(...times), Math.min(...times)];
  rows.push({
    what: 'decision, the slowest of these',
    unit: 'ns',
    ours: slowest,
    rivals: {},
    reach: `<= ${REACH_NS} ns`,
    met: slowest <= REACH_NS,
    note: `${(slowest / fastest).toFixed(2)} times the fastest`,
  });
  return benchResult('policy', rows, whole.digest('hex'));
}

export const run = policy;
