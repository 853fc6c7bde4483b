/**
 * The slow oracle of policy decisions: written from the rules ("Which rule decides", "merge", "parameters", "wrapping
 * TTLs") over the text of paths, without any of core's structures. Every rule is compared with every path.
 */
import type { PolicyRule, RuleCapability, RuleParameters, RuleValue } from '../../host/policies/rule.ts';

export interface AskedParameter {
  readonly name: string;
  readonly kind: 'text' | 'json';
  readonly value: string;
}

export interface Asked {
  readonly path: string;
  readonly wanted: RuleCapability;
  readonly sudo: boolean;
  /** Seconds; 0: not wrapped. */
  readonly wrapTtl: number;
  readonly parameters: readonly AskedParameter[];
}

/** What decided among several rules that match: for counting how often a generated set asks each question. */
export type Decided = 'nothing' | 'exact' | 'trimmed' | 'alone' | 'wildcard' | 'star' | 'pluses' | 'length' | 'text';

export interface OracleAnswer {
  readonly allowed: boolean;
  /** Capabilities of the deciding rule; empty without one, `deny` alone if it denies. */
  readonly capabilities: ReadonlySet<RuleCapability>;
  readonly by: Decided;
  /** Among the candidates were one with `+` and one that ends in `*`. */
  readonly plusAgainstStar: boolean;
  /** Candidates of one length disagreed on denying. */
  readonly denyAtEqualLength: boolean;
}

const hasPlus = (path: string): boolean => path.split('/').includes('+');
const hasStar = (path: string): boolean => path.endsWith('*');
const withoutStar = (path: string): string => (hasStar(path) ? path.slice(0, -1) : path);

/** One character a byte: lengths and order of paths are those of their UTF-8. */
const octets = (path: string): string => Buffer.from(path).toString('latin1');

/** A template that cannot be filled in: an allow vanishes, a deny holds for what begins as it does. */
function withoutTemplate(rule: PolicyRule): PolicyRule | undefined {
  const at = rule.path.indexOf('{{');
  if (at < 0) return rule;
  return rule.capabilities.includes('deny') ? { ...rule, path: `${rule.path.slice(0, at)}*` } : undefined;
}

const smallest = (a: number, b: number): number => (a === 0 ? b : b === 0 ? a : Math.min(a, b));

function unitedParameters(a: RuleParameters, b: RuleParameters): RuleParameters {
  const all = new Map<string, readonly RuleValue[]>(a);
  for (const [name, values] of b) {
    const before = all.get(name);
    all.set(name, before === undefined ? values : before.length && values.length ? [...before, ...values] : []);
  }
  return all;
}

function united(a: PolicyRule, b: PolicyRule): PolicyRule {
  return {
    path: a.path,
    capabilities: [...a.capabilities, ...b.capabilities],
    minWrappingTtl: smallest(a.minWrappingTtl, b.minWrappingTtl),
    maxWrappingTtl: smallest(a.maxWrappingTtl, b.maxWrappingTtl),
    required: [...a.required, ...b.required],
    allowed: unitedParameters(a.allowed, b.allowed),
    denied: unitedParameters(a.denied, b.denied),
  };
}

function merged(policies: readonly (readonly PolicyRule[])[]): PolicyRule[] {
  const byPath = new Map<string, PolicyRule>();
  for (const written of policies.flat()) {
    const rule = withoutTemplate({ ...written, path: octets(written.path) });
    if (rule === undefined) continue;
    const before = byPath.get(rule.path);
    byPath.set(rule.path, before === undefined ? rule : united(before, rule));
  }
  return [...byPath.values()];
}

/** Does a rule with `+` match: segment by segment; the last one of a glob by its beginning, whatever follows. */
function matchesPlus(pattern: string, path: string): boolean {
  const star = hasStar(pattern);
  const wanted = withoutStar(pattern).split('/');
  const given = path.split('/');
  if (star ? given.length < wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, i) => {
    const other = given[i] ?? '';
    if (star && i === wanted.length - 1) return other.startsWith(segment);
    return segment === '+' || segment === other;
  });
}

const firstWildcard = (path: string): number => {
  let at = 0;
  for (const segment of path.split('/')) {
    if (segment === '+') return at;
    at += segment.length + 1;
  }
  return hasStar(path) ? path.length - 1 : path.length;
};

/** The criteria in their order; above 0: a wins. */
const CRITERIA: readonly (readonly [Decided, (a: string, b: string) => number])[] = [
  ['wildcard', (a, b) => firstWildcard(a) - firstWildcard(b)],
  ['star', (a, b) => Number(hasStar(b)) - Number(hasStar(a))],
  ['pluses', (a, b) => pluses(b) - pluses(a)],
  ['length', (a, b) => withoutStar(a).length - withoutStar(b).length],
  ['text', (a, b) => (a < b ? -1 : 1)],
];

const pluses = (path: string): number => path.split('/').filter((segment) => segment === '+').length;

function compare(a: string, b: string): readonly [number, Decided] {
  for (const [name, by] of CRITERIA) {
    const found = by(a, b);
    if (found !== 0) return [found, name];
  }
  return [0, 'alone'];
}

interface Chosen {
  readonly rule: PolicyRule | undefined;
  readonly by: Decided;
  readonly candidates: readonly PolicyRule[];
}

function choose(rules: readonly PolicyRule[], path: string): Chosen {
  const prefixes = rules
    .filter(({ path: pattern }) => hasStar(pattern) && !hasPlus(pattern) && path.startsWith(withoutStar(pattern)))
    .sort((a, b) => b.path.length - a.path.length)
    .slice(0, 1);
  const plus = rules.filter(({ path: pattern }) => hasPlus(pattern) && matchesPlus(pattern, path));
  const candidates = [...prefixes, ...plus];
  let rule: PolicyRule | undefined;
  let by: Decided = candidates.length === 0 ? 'nothing' : 'alone';
  for (const candidate of candidates) {
    if (rule === undefined) {
      rule = candidate;
      continue;
    }
    const [found, name] = compare(candidate.path, rule.path);
    // The last criterion that was needed against any rival.
    if (CRITERIA.findIndex(([one]) => one === name) >= CRITERIA.findIndex(([one]) => one === by)) by = name;
    if (found > 0) rule = candidate;
  }
  return { rule, by, candidates };
}

function find(rules: readonly PolicyRule[], path: string, list: boolean): Chosen {
  const exact = (wanted: string): PolicyRule | undefined =>
    rules.find(({ path: pattern }) => !hasStar(pattern) && !hasPlus(pattern) && pattern === wanted);
  const first = exact(path);
  if (first !== undefined) return { rule: first, by: 'exact', candidates: [] };
  const slash = list && path.endsWith('/');
  const trimmed = slash ? exact(path.slice(0, -1)) : undefined;
  if (trimmed !== undefined) return { rule: trimmed, by: 'trimmed', candidates: [] };
  const chosen = choose(rules, path);
  return chosen.rule === undefined && slash ? choose(rules, path.slice(0, -1)) : chosen;
}

function valueMeets({ kind, value }: RuleValue, given: AskedParameter): boolean {
  if (kind !== given.kind) return false;
  if (kind === 'json' || value.length < 2) return value === given.value;
  const [before, after] = [value.startsWith('*'), value.endsWith('*')];
  if (before && after) return given.value.includes(value.slice(1, -1));
  if (before) return given.value.endsWith(value.slice(1));
  return after ? given.value.startsWith(value.slice(0, -1)) : value === given.value;
}

function parametersMeet(rule: PolicyRule, given: readonly AskedParameter[]): boolean {
  if (!rule.required.every((name) => given.some((one) => one.name === name))) return false;
  if (given.length === 0) return true;
  if (rule.denied.has('*')) return false;
  const listed = (list: RuleParameters, one: AskedParameter): readonly RuleValue[] | undefined =>
    list.get(one.name.replace(/[A-Z]/g, (letter) => letter.toLowerCase()));
  const meets = (values: readonly RuleValue[], one: AskedParameter): boolean =>
    values.length === 0 || values.some((value) => valueMeets(value, one));
  for (const one of given) {
    const values = listed(rule.denied, one);
    if (values !== undefined && meets(values, one)) return false;
  }
  if (rule.allowed.size === 0) return true;
  return given.every((one) => {
    const values = listed(rule.allowed, one);
    return values === undefined ? rule.allowed.has('*') : meets(values, one);
  });
}

/** @param policies of one token, in any order */
export function oracle(policies: readonly (readonly PolicyRule[])[], asked: Asked): OracleAnswer {
  const list = asked.wanted === 'list';
  const bare = octets(asked.path).replace(/^\/+/, '');
  const path = list && !bare.endsWith('/') ? `${bare}/` : bare;
  const { rule, by, candidates } = find(merged(policies), path, list);
  const denies = (one: PolicyRule): boolean => one.capabilities.includes('deny');
  const told = {
    by,
    plusAgainstStar: candidates.some((one) => hasPlus(one.path)) && candidates.some((one) => hasStar(one.path)),
    denyAtEqualLength: candidates.some((a) =>
      candidates.some((b) => a.path.length === b.path.length && denies(a) && !denies(b)),
    ),
  };
  if (rule === undefined) return { allowed: false, capabilities: new Set(), ...told };
  const capabilities = denies(rule) ? new Set<RuleCapability>(['deny']) : new Set(rule.capabilities);
  const { minWrappingTtl: least, maxWrappingTtl: most } = rule;
  const wrapped =
    (least === 0 && most === 0) ||
    (asked.wrapTtl > 0 && asked.wrapTtl >= least && (most === 0 || asked.wrapTtl <= most));
  const constrained = ['read', 'create', 'update', 'patch'].includes(asked.wanted);
  return {
    allowed:
      capabilities.has(asked.wanted) &&
      (!asked.sudo || capabilities.has('sudo')) &&
      wrapped &&
      (!constrained || parametersMeet(rule, asked.parameters)),
    capabilities,
    ...told,
  };
}
