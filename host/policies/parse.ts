/** Policies in HCL or JSON, in Vault's form, to rules. Errors begin `failed to parse policy: ` and name the line. */
import { parseDurationMs } from '../duration.ts';
import { Fault, isFault } from '../fault.ts';
import { parseJson } from '../json.ts';
import type { Value } from '../ports/value.ts';
import { HclError, type HclValue, parseHcl } from './hcl.ts';
import {
  CAPABILITIES,
  PARAMETER_COUNT_MAX,
  PATTERN_SIZE_MAX,
  PLUS_COUNT_MAX,
  POLICY_SIZE_MAX,
  type PolicyRule,
  RULE_COUNT_MAX,
  type RuleCapability,
  type RuleParameters,
  type RuleValue,
  VALUE_COUNT_MAX,
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
const VALUE_SIZE_MAX = 4096;

function fail(what: string): never {
  throw new Fault('input.invalid', `failed to parse policy: ${what}`);
}

const isMap = (value: HclValue | undefined): value is Body => value instanceof Map;
const shown = (path: string): string => JSON.stringify(path.slice(0, 128));

/** JSON values as HCL values: objects become maps, so no key can reach a prototype. */
function fromJson(value: Value): HclValue {
  if (Array.isArray(value)) return (value as readonly Value[]).map(fromJson);
  if (typeof value === 'object' && value !== null) {
    return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
  }
  return typeof value === 'bigint' ? fail('a number is too large') : value;
}

interface Block {
  readonly path: string;
  /** 0 where the line is not known. */
  readonly line: number;
  readonly body: Body;
}

function bodies(source: string): Block[] {
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

/** The strict reader, with the line for its offset. */
function readJson(source: string): Value {
  try {
    return parseJson(source);
  } catch (error) {
    const [, why, offset] = /: (.+) at offset (\d+)$/.exec(isFault(error) ? error.message : '') ?? [];
    if (why === undefined) throw error;
    return fail(`line ${source.slice(0, Number(offset)).split('\n').length}: ${why}`);
  }
}

function jsonBodies(source: string): Block[] {
  const file = fromJson(readJson(source));
  if (!isMap(file)) return fail('it is no JSON object');
  for (const name of file.keys())
    if (name !== 'path' && name !== 'name') fail(`there is no key ${shown(name)} outside path`);
  const path = file.get('path');
  const entries = Array.isArray(path) ? path : path === undefined ? [] : [path];
  return entries.flatMap((entry) => {
    if (!isMap(entry)) return fail('path is an object of paths');
    // A list is as many blocks of one path: each counts, a deny in the last one too.
    return [...entry].flatMap(([name, body]) =>
      (Array.isArray(body) ? (body as readonly HclValue[]) : [body]).map((one) =>
        isMap(one) ? { path: name, line: 0, body: one } : fail(`path ${shown(name)} is no object`),
      ),
    );
  });
}

function capabilitiesOf(where: string, body: Body): RuleCapability[] {
  const old = body.get('policy');
  const stated = body.get('capabilities');
  const all = new Set<RuleCapability>();
  if (old !== undefined) {
    const known = typeof old === 'string' && Object.hasOwn(OLD, old) ? OLD[old] : undefined;
    for (const one of known ?? fail(`${where}: invalid policy ${typeof old === 'string' ? shown(old) : ''}`))
      all.add(one);
  }
  if (stated !== undefined) {
    if (!Array.isArray(stated)) fail(`${where}: capabilities is a list`);
    for (const one of stated as readonly HclValue[]) {
      if (typeof one !== 'string' || !Object.hasOwn(CAPABILITIES, one)) {
        fail(`${where}: invalid capability ${typeof one === 'string' ? shown(one) : ''}`);
      }
      all.add(one as RuleCapability);
    }
  }
  // Deny leaves nothing else.
  return all.has('deny') ? ['deny'] : [...all];
}

function ttlOf(where: string, name: string, value: HclValue | undefined): number {
  if (value === undefined) return 0;
  const ms = typeof value === 'number' || typeof value === 'string' ? parseDurationMs(String(value)) : undefined;
  if (ms === undefined || ms < 0 || ms > 0xffffffff * 1000) return fail(`${where}: ${name} is a duration`);
  // Below a second is a second: 0 would mean that none is set.
  return ms === 0 ? 0 : Math.max(1, Math.floor(ms / 1000));
}

function canonical(value: HclValue): string {
  if (value instanceof Map) {
    const entries = [...(value as Body)].sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
  }
  return Array.isArray(value) ? `[${value.map(canonical).join(',')}]` : JSON.stringify(value);
}

/** Names are compared with A to Z folded, as core folds a request's: any other letter folded here would never meet one. */
function fold(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function parametersOf(where: string, name: string, value: HclValue | undefined): RuleParameters {
  if (value === undefined) return new Map();
  if (!isMap(value)) return fail(`${where}: ${name} is an object`);
  if (value.size > PARAMETER_COUNT_MAX) fail(`${where}: ${name} has more than ${PARAMETER_COUNT_MAX} parameters`);
  const out = new Map<string, readonly RuleValue[]>();
  for (const [key, values] of value) {
    if (!Array.isArray(values)) fail(`${where}: ${name} gives each parameter a list of values`);
    if (values.length > VALUE_COUNT_MAX) fail(`${where}: a parameter has more than ${VALUE_COUNT_MAX} values`);
    const list = (values as readonly HclValue[]).map(
      (one): RuleValue =>
        typeof one === 'string' ? { kind: 'text', value: one } : { kind: 'json', value: canonical(one) },
    );
    if (list.some((one) => Buffer.byteLength(one.value) > VALUE_SIZE_MAX)) fail(`${where}: a value is too long`);
    const folded = fold(key);
    checkParameterName(where, folded);
    const before = out.get(folded);
    // No values are any value: what is written once more in other letters does not narrow it.
    out.set(folded, before === undefined ? list : before.length && list.length ? [...before, ...list] : []);
  }
  return out;
}

function checkParameterName(where: string, name: string): void {
  const size = Buffer.byteLength(name);
  if (size < 1 || size > 255) fail(`${where}: the name of a parameter has 1 to 255 bytes`);
}

function requiredOf(where: string, value: HclValue | undefined): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) {
    return fail(`${where}: required_parameters is a list of names`);
  }
  const names = value.map((one) => fold(String(one)));
  if (names.length > PARAMETER_COUNT_MAX) fail(`${where}: more than ${PARAMETER_COUNT_MAX} required parameters`);
  for (const name of names) checkParameterName(where, name);
  return names;
}

function checkPath(where: string, path: string): string {
  const trimmed = path.replace(/^\/+/, '');
  if (trimmed.includes('+*')) fail(`${where}: invalid use of wildcards ('+*' is forbidden)`);
  if (Buffer.byteLength(trimmed) > PATTERN_SIZE_MAX) fail(`${where}: longer than ${PATTERN_SIZE_MAX} bytes`);
  if (/\p{Cc}/u.test(trimmed)) fail(`${where}: it holds a control character`);
  const pluses = trimmed.split('/').filter((segment) => segment === '+').length;
  if (pluses > PLUS_COUNT_MAX) fail(`${where}: more than ${PLUS_COUNT_MAX} segments +`);
  return trimmed;
}

function ruleOf({ path: given, line, body }: Block): PolicyRule {
  const where = `${line === 0 ? '' : `line ${line}: `}path ${shown(given)}`;
  const path = checkPath(where, given);
  for (const key of body.keys()) if (!KEYS.has(key)) fail(`${where}: invalid key ${shown(key)}`);
  const minWrappingTtl = ttlOf(where, 'min_wrapping_ttl', body.get('min_wrapping_ttl'));
  const maxWrappingTtl = ttlOf(where, 'max_wrapping_ttl', body.get('max_wrapping_ttl'));
  if (maxWrappingTtl !== 0 && maxWrappingTtl < minWrappingTtl) {
    fail(`${where}: max_wrapping_ttl cannot be less than min_wrapping_ttl`);
  }
  return {
    path,
    capabilities: capabilitiesOf(where, body),
    minWrappingTtl,
    maxWrappingTtl,
    required: requiredOf(where, body.get('required_parameters')),
    allowed: parametersOf(where, 'allowed_parameters', body.get('allowed_parameters')),
    denied: parametersOf(where, 'denied_parameters', body.get('denied_parameters')),
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
  const rules = found.map(ruleOf);
  return { rules, warnings: hints(rules) };
}
