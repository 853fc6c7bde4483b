/** Policies as the payload of their row (core/spec/policy.md): canonical rules for core, the text for people. */
import { Fault } from '../fault.ts';
import {
  CAPABILITIES,
  PARAMETER_COUNT_MAX,
  type PolicyRule,
  type RuleParameters,
  type RuleValue,
  VALUE_COUNT_MAX,
} from './rule.ts';

const KIND_EXACT = 0;
const KIND_GLOB = 1;
const KIND_TEMPLATE = 2;
const HAS_WRAPPING = 4;
const HAS_PARAMETERS = 8;

const u16 = (value: number): Buffer => Buffer.from([value >>> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const short = (text: string): Buffer => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);

interface Pattern {
  readonly kind: number;
  /** A `+` segment is the byte 0. */
  readonly bytes: Buffer;
  /** What follows a template's beginning, as written. */
  readonly tail: Buffer;
}

/** One whole segment `+` becomes a byte that no path has; a `+` among other characters is itself. */
function patternOf(path: string): Pattern {
  const template = path.indexOf('{{');
  const fixed = template < 0 ? path : path.slice(0, template);
  const glob = template < 0 && fixed.endsWith('*');
  const text = glob ? fixed.slice(0, -1) : fixed;
  const bytes = Buffer.from(
    text
      .split('/')
      // What a template follows at once is no whole segment.
      .map((segment, i, all) => (segment === '+' && (template < 0 || i + 1 < all.length) ? '\u0000' : segment))
      .join('/'),
  );
  const tail = Buffer.from(template < 0 ? '' : path.slice(template));
  return { kind: template >= 0 ? KIND_TEMPLATE : glob ? KIND_GLOB : KIND_EXACT, bytes, tail };
}

const valueBytes = ({ kind, value }: RuleValue): Buffer =>
  Buffer.concat([Buffer.from([kind === 'text' ? 0 : 1]), u16(Buffer.byteLength(value)), Buffer.from(value)]);

function parameterBytes(parameters: RuleParameters): Buffer {
  const entries = [...parameters].map(([name, values]) =>
    Buffer.concat([short(name), u16(values.length), ...values.map(valueBytes)]),
  );
  return Buffer.concat([Buffer.from([entries.length]), ...entries]);
}

interface Encoded {
  readonly pattern: Pattern;
  readonly bytes: Buffer;
}

/** Rules of one path may be too much together: a number that does not fit its bytes would say something else. */
function checkCounts({ path, required, allowed, denied }: PolicyRule): void {
  const names = Math.max(required.length, allowed.size, denied.size);
  const values = Math.max(0, ...[...allowed.values(), ...denied.values()].map((list) => list.length));
  if (names <= PARAMETER_COUNT_MAX && values <= VALUE_COUNT_MAX) return;
  const shown = JSON.stringify(path.slice(0, 128));
  throw new Fault('input.invalid', `failed to parse policy: path ${shown}: too many parameters or values in all`);
}

function encodeRule(rule: PolicyRule): Encoded {
  checkCounts(rule);
  const pattern = patternOf(rule.path);
  const wraps = rule.minWrappingTtl > 0 || rule.maxWrappingTtl > 0;
  const constrains = rule.required.length + rule.allowed.size + rule.denied.size > 0;
  const flags = pattern.kind | (wraps ? HAS_WRAPPING : 0) | (constrains ? HAS_PARAMETERS : 0);
  const capabilities = rule.capabilities.reduce((bits, one) => bits | CAPABILITIES[one], 0);
  const bytes = Buffer.concat([
    Buffer.from([flags]),
    u16(pattern.bytes.length),
    pattern.bytes,
    u16(capabilities),
    ...(pattern.kind === KIND_TEMPLATE ? [u16(pattern.tail.length), pattern.tail] : []),
    ...(wraps ? [u32(rule.minWrappingTtl), u32(rule.maxWrappingTtl)] : []),
    ...(constrains
      ? [
          Buffer.from([rule.required.length]),
          ...rule.required.map(short),
          parameterBytes(rule.allowed),
          parameterBytes(rule.denied),
        ]
      : []),
  ]);
  return { pattern, bytes };
}

/** Rules of one path in one policy are one: capabilities united, deny alone; values united, an empty list is any. */
function merge(rules: readonly PolicyRule[]): PolicyRule[] {
  const byPath = new Map<string, PolicyRule>();
  for (const rule of rules) {
    const before = byPath.get(rule.path);
    byPath.set(rule.path, before === undefined ? rule : unite(before, rule));
  }
  return [...byPath.values()];
}

function unite(a: PolicyRule, b: PolicyRule): PolicyRule {
  const capabilities = [...new Set([...a.capabilities, ...b.capabilities])];
  const smallest = (x: number, y: number): number => (x === 0 || y === 0 ? Math.max(x, y) : Math.min(x, y));
  return {
    path: a.path,
    capabilities: capabilities.includes('deny') ? ['deny'] : capabilities,
    minWrappingTtl: smallest(a.minWrappingTtl, b.minWrappingTtl),
    maxWrappingTtl: smallest(a.maxWrappingTtl, b.maxWrappingTtl),
    required: [...new Set([...a.required, ...b.required])],
    allowed: uniteParameters(a.allowed, b.allowed),
    denied: uniteParameters(a.denied, b.denied),
  };
}

function uniteParameters(a: RuleParameters, b: RuleParameters): RuleParameters {
  const all = new Map(a);
  for (const [name, values] of b) {
    const before = all.get(name);
    if (before === undefined) all.set(name, values);
    else all.set(name, before.length === 0 || values.length === 0 ? [] : [...before, ...values]);
  }
  return all;
}

const order = (a: Encoded, b: Encoded): number =>
  Buffer.compare(a.pattern.bytes, b.pattern.bytes) ||
  a.pattern.kind - b.pattern.kind ||
  Buffer.compare(a.pattern.tail, b.pattern.tail);

export function encodePolicy(name: string, rules: readonly PolicyRule[], source: string): Buffer {
  const encoded = merge(rules).map(encodeRule).sort(order);
  const body = Buffer.concat([u16(encoded.length), ...encoded.map(({ bytes }) => bytes)]);
  const rest = Buffer.from(source);
  return Buffer.concat([Buffer.from([1]), short(name), u32(body.length), body, u32(rest.length), rest]);
}

export function decodePolicy(payload: Uint8Array): { readonly name: string; readonly source: string } {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  const nameEnd = 2 + (bytes[1] ?? 0);
  const rest = nameEnd + 4 + bytes.readUInt32BE(nameEnd);
  return { name: bytes.toString('utf8', 2, nameEnd), source: bytes.toString('utf8', rest + 4) };
}
