/** Policies in HCL or JSON, in Vault's form, to rules. Errors begin `failed to parse policy: ` and name the line. */
import { parseDurationMs } from '../duration.ts';
import { Fault } from '../fault.ts';
import { HclError, type HclValue, parseHcl } from './hcl.ts';
import {
  CAPABILITIES,
  PATTERN_SIZE_MAX,
  POLICY_SIZE_MAX,
  type PolicyRule,
  RULE_COUNT_MAX,
  type RuleCapability,
  type RuleParameters,
  type RuleValue,
} from './rule.ts';

export interface ParsedPolicy {
  readonly rules: readonly PolicyRule[];
  readonly warnings: readonly string[];
}

type Body = ReadonlyMap<string, HclValue>;

const KEYS = new Set([
  'capabilities',
  'policy',
  'allowed_parameters',
  'denied_parameters',
  'required_parameters',
  'min_wrapping_ttl',
  'max_wrapping_ttl',
  'comment',
]);
const OLD: Readonly<Record<string, readonly RuleCapability[]>> = {
  deny: ['deny'],
  read: ['read', 'list'],
  write: ['create', 'read', 'update', 'delete', 'list', 'patch'],
  sudo: ['create', 'read', 'update', 'delete', 'list', 'patch', 'sudo'],
};
const PARAMETER_COUNT_MAX = 255;
const VALUE_SIZE_MAX = 4096;

function fail(what: string): never {
  throw new Fault('input.invalid', `failed to parse policy: ${what}`);
}

const isMap = (value: HclValue | undefined): value is Body => value instanceof Map;
const shown = (path: string): string => JSON.stringify(path.slice(0, 128));

/** JSON values as HCL values: objects become maps, so no key can reach a prototype. */
function fromJson(value: unknown): HclValue {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === 'object' && value !== null) {
    return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
  }
  return value as string | number | boolean | null;
}

function bodies(source: string): { readonly path: string; readonly line: number; readonly body: Body }[] {
  if (source.trimStart().startsWith('{')) return jsonBodies(source);
  try {
    const { blocks, attributes } = parseHcl(source);
    for (const name of attributes.keys())
      if (name !== 'name') fail(`there is no attribute ${shown(name)} outside a path`);
    return blocks.map(({ name, label, line, body }) => {
      if (name !== 'path' || label === undefined) fail(`line ${line}: a policy holds path "…" { … }`);
      return { path: label ?? '', line, body };
    });
  } catch (error) {
    if (error instanceof HclError) return fail(error.message);
    throw error;
  }
}

function jsonBodies(source: string): ReturnType<typeof bodies> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(source);
  } catch {
    return fail('it begins with { and is no JSON');
  }
  const file = fromJson(parsed);
  if (!isMap(file)) return fail('it is no JSON object');
  for (const name of file.keys())
    if (name !== 'path' && name !== 'name') fail(`there is no key ${shown(name)} outside path`);
  const path = file.get('path');
  const entries = Array.isArray(path) ? path : path === undefined ? [] : [path];
  return entries.flatMap((entry) => {
    if (!isMap(entry)) return fail('path is an object of paths');
    return [...entry].map(([name, body]) => {
      const one = Array.isArray(body) ? body[0] : body;
      if (!isMap(one)) return fail(`path ${shown(name)} is no object`);
      return { path: name, line: 0, body: one };
    });
  });
}

function capabilitiesOf(path: string, body: Body): RuleCapability[] {
  const old = body.get('policy');
  const stated = body.get('capabilities');
  const all = new Set<RuleCapability>();
  if (old !== undefined) {
    const known = typeof old === 'string' && Object.hasOwn(OLD, old) ? OLD[old] : undefined;
    for (const one of known ?? fail(`path ${shown(path)}: invalid policy ${typeof old === 'string' ? shown(old) : ''}`))
      all.add(one);
  }
  if (stated !== undefined) {
    if (!Array.isArray(stated)) fail(`path ${shown(path)}: capabilities is a list`);
    for (const one of stated as readonly HclValue[]) {
      if (typeof one !== 'string' || !Object.hasOwn(CAPABILITIES, one)) {
        fail(`path ${shown(path)}: invalid capability ${typeof one === 'string' ? shown(one) : ''}`);
      }
      all.add(one as RuleCapability);
    }
  }
  // Deny leaves nothing else.
  return all.has('deny') ? ['deny'] : [...all];
}

function ttlOf(path: string, name: string, value: HclValue | undefined): number {
  if (value === undefined) return 0;
  const ms = typeof value === 'number' || typeof value === 'string' ? parseDurationMs(String(value)) : undefined;
  if (ms === undefined || ms < 0 || ms > 0xffffffff * 1000) return fail(`path ${shown(path)}: ${name} is a duration`);
  return Math.floor(ms / 1000);
}

function canonical(value: HclValue): string {
  if (value instanceof Map) {
    const entries = [...(value as Body)].sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
  }
  return Array.isArray(value) ? `[${value.map(canonical).join(',')}]` : JSON.stringify(value);
}

function parametersOf(path: string, name: string, value: HclValue | undefined): RuleParameters {
  if (value === undefined) return new Map();
  if (!isMap(value)) return fail(`path ${shown(path)}: ${name} is an object`);
  if (value.size > PARAMETER_COUNT_MAX)
    fail(`path ${shown(path)}: ${name} has more than ${PARAMETER_COUNT_MAX} parameters`);
  const out = new Map<string, readonly RuleValue[]>();
  for (const [key, values] of value) {
    if (!Array.isArray(values)) fail(`path ${shown(path)}: ${name} gives each parameter a list of values`);
    const list = (values as readonly HclValue[]).map(
      (one): RuleValue =>
        typeof one === 'string' ? { kind: 'text', value: one } : { kind: 'json', value: canonical(one) },
    );
    if (list.some((one) => Buffer.byteLength(one.value) > VALUE_SIZE_MAX))
      fail(`path ${shown(path)}: a value is too long`);
    // Names are compared without regard to case.
    const folded = key.toLowerCase();
    checkParameterName(path, folded);
    out.set(folded, [...(out.get(folded) ?? []), ...list]);
  }
  return out;
}

function checkParameterName(path: string, name: string): void {
  const size = Buffer.byteLength(name);
  if (size < 1 || size > 255) fail(`path ${shown(path)}: the name of a parameter has 1 to 255 bytes`);
}

function requiredOf(path: string, value: HclValue | undefined): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) {
    return fail(`path ${shown(path)}: required_parameters is a list of names`);
  }
  const names = value.map((one) => String(one).toLowerCase());
  if (names.length > PARAMETER_COUNT_MAX)
    fail(`path ${shown(path)}: more than ${PARAMETER_COUNT_MAX} required parameters`);
  for (const name of names) checkParameterName(path, name);
  return names;
}

function checkPath(path: string): string {
  const trimmed = path.replace(/^\/+/, '');
  if (trimmed.includes('+*')) fail(`path ${shown(path)}: invalid use of wildcards ('+*' is forbidden)`);
  if (Buffer.byteLength(trimmed) > PATTERN_SIZE_MAX) fail(`path ${shown(path)}: longer than ${PATTERN_SIZE_MAX} bytes`);
  if (/\p{Cc}/u.test(trimmed)) fail(`path ${shown(path)}: it holds a control character`);
  return trimmed;
}

function ruleOf(given: string, body: Body): PolicyRule {
  const path = checkPath(given);
  for (const key of body.keys()) if (!KEYS.has(key)) fail(`path ${shown(path)}: invalid key ${shown(key)}`);
  const minWrappingTtl = ttlOf(path, 'min_wrapping_ttl', body.get('min_wrapping_ttl'));
  const maxWrappingTtl = ttlOf(path, 'max_wrapping_ttl', body.get('max_wrapping_ttl'));
  if (maxWrappingTtl !== 0 && maxWrappingTtl < minWrappingTtl) {
    fail(`path ${shown(path)}: max_wrapping_ttl cannot be less than min_wrapping_ttl`);
  }
  return {
    path,
    capabilities: capabilitiesOf(path, body),
    minWrappingTtl,
    maxWrappingTtl,
    required: requiredOf(path, body.get('required_parameters')),
    allowed: parametersOf(path, 'allowed_parameters', body.get('allowed_parameters')),
    denied: parametersOf(path, 'denied_parameters', body.get('denied_parameters')),
  };
}

/** A deny with `+` that a broader prefix beats: allowed, and almost never meant. */
function hints(rules: readonly PolicyRule[]): string[] {
  const globs = rules.filter(
    (rule) => rule.path.endsWith('*') && !rule.path.includes('+') && !rule.capabilities.includes('deny'),
  );
  return rules
    .filter((rule) => rule.capabilities.includes('deny') && rule.path.includes('+'))
    .flatMap((rule) => {
      const fixed = rule.path.slice(0, rule.path.indexOf('+'));
      const winner = globs.find((glob) => glob.path.slice(0, -1).length >= fixed.length && glob.path.startsWith(fixed));
      return winner === undefined
        ? []
        : [
            `the deny of ${shown(rule.path)} is beaten by the allow of ${shown(winner.path)}, whose wildcard stands no further left`,
          ];
    });
}

/** @throws Fault `input.invalid` */
export function parsePolicy(source: string): ParsedPolicy {
  if (Buffer.byteLength(source) > POLICY_SIZE_MAX) fail(`it is larger than ${POLICY_SIZE_MAX} bytes`);
  if (!source.isWellFormed()) fail('it is no well-formed text');
  const found = bodies(source);
  if (found.length > RULE_COUNT_MAX) fail(`it has more than ${RULE_COUNT_MAX} paths`);
  const rules = found.map(({ path, body }) => ruleOf(path, body));
  return { rules, warnings: hints(rules) };
}
