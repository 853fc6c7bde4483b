/** Fields of a request, by the operation's schema. What clients of this field send is taken: digits in texts, Go durations. */
import { DURATION_MS_MAX, parseDurationMs } from '../duration.ts';
import { Fault } from '../fault.ts';
import type { Inbound } from '../ports/dispatch.ts';
import type { Field, FieldType, Operation } from '../ports/engine.ts';
import type { Value, ValueMap } from '../ports/value.ts';

export interface ParsedFields {
  readonly fields: ValueMap;
  readonly warnings: readonly string[];
}

const isMap = (value: Value): value is ValueMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const kindOf = (value: Value): string =>
  value === null
    ? 'null'
    : Array.isArray(value)
      ? 'a list'
      : value instanceof Uint8Array
        ? 'bytes'
        : `a ${typeof value}`;

class Mismatch extends Error {}

function mismatch(expected: string, value: Value): never {
  throw new Mismatch(`expected ${expected}, got ${kindOf(value)}`);
}

function text(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  return mismatch('a text', value);
}

function int(value: Value): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'string' && /^[+-]?\d{1,15}$/.test(value.trim())) return Number(value);
  return mismatch('a whole number', value);
}

const TRUE = ['true', 't', '1', 'TRUE', 'T', 'True'];
const FALSE = ['false', 'f', '0', 'FALSE', 'F', 'False', ''];

function bool(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === 1 || (typeof value === 'string' && TRUE.includes(value))) return true;
  if (value === 0 || (typeof value === 'string' && FALSE.includes(value))) return false;
  return mismatch('true or false', value);
}

/** Seconds, perhaps with a fraction. */
function seconds(value: Value, signed: boolean): number {
  const ms =
    typeof value === 'number'
      ? value * 1000
      : typeof value === 'string'
        ? value === ''
          ? 0
          : parseDurationMs(value)
        : undefined;
  if (ms === undefined || !(Math.abs(ms) <= DURATION_MS_MAX))
    return mismatch('a duration such as 30s, 1h30m or 7d', value);
  if (ms < 0 && !signed) throw new Mismatch(`cannot provide negative value '${String(value).slice(0, 32)}'`);
  return signed ? ms / 1000 : Math.floor(ms / 1000);
}

function list(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value;
  if (typeof value === 'string') return value === '' ? [] : value.split(',').map((part) => part.trim());
  if (typeof value === 'number') return [value];
  return mismatch('a list', value);
}

const PARSERS: Readonly<Record<FieldType, (value: Value) => Value>> = {
  string: text,
  int,
  bool,
  duration: (value) => seconds(value, false),
  'signed-duration': (value) => seconds(value, true),
  strings: (value) =>
    list(value)
      .map(text)
      .filter((part) => part !== ''),
  ints: (value) => list(value).map(int),
  map: (value) => (isMap(value) ? value : mismatch('an object', value)),
  'string-map': (value) =>
    isMap(value)
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, text(item)]))
      : mismatch('an object', value),
  any: (value) => value,
};

function parseOne(name: string, field: Field, value: Value, plain: boolean): Value {
  try {
    return PARSERS[field.type](value);
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    const negative = error.message.startsWith('cannot provide');
    const why = negative ? error.message : `error converting input for field ${JSON.stringify(name)}: ${error.message}`;
    throw new Fault('input.invalid', plain ? why : `Field validation failed: ${why}`);
  }
}

/** Most reads give nothing and are given nothing. */
const NO_FIELDS: ParsedFields = Object.freeze({ fields: Object.freeze({}), warnings: Object.freeze([]) });

function isEmpty(body: ValueMap): boolean {
  for (const _ in body) return false;
  return true;
}

function hasDefaults({ fields }: Operation): boolean {
  for (const name in fields) if (fields[name]?.default !== undefined) return true;
  return false;
}

const named = (names: readonly string[]): string => [...names].sort((a, b) => (a < b ? -1 : 1)).join(' ');

/**
 * @param keepNull  null resets a field (PATCH); elsewhere null is the same as absent
 * @throws Fault `input.invalid` for a field of the wrong type; its value is never in the text
 */
export function parseFields(
  operation: Operation,
  body: ValueMap,
  captures: Readonly<Record<string, string>>,
  keepNull: boolean,
): ParsedFields {
  if (operation.body === 'free' || (isEmpty(body) && !hasDefaults(operation))) return NO_FIELDS;
  const fields = new Map<string, Value>();
  const unknown: string[] = [];
  const replaced: string[] = [];
  const aliases = aliasesOf(operation);
  for (const [key, value] of Object.entries(body)) {
    if (Object.hasOwn(captures, key)) {
      replaced.push(key);
      continue;
    }
    const name = aliases.get(key) ?? key;
    const field = Object.hasOwn(operation.fields, name) ? operation.fields[name] : undefined;
    if (field === undefined) unknown.push(key);
    else if (value !== null) fields.set(name, parseOne(key, field, value, operation.plainFieldErrors === true));
    else if (keepNull) fields.set(name, null);
  }
  for (const [name, field] of Object.entries(operation.fields)) {
    if (field.default !== undefined && !fields.has(name)) fields.set(name, field.default);
  }
  const warnings: string[] = [];
  if (unknown.length > 0) warnings.push(`Endpoint ignored these unrecognized parameters: [${named(unknown)}]`);
  if (replaced.length > 0) {
    warnings.push(
      `Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [${named(replaced)}]`,
    );
  }
  return { fields: Object.fromEntries(fields), warnings };
}

const ALIASES = new WeakMap<Operation, ReadonlyMap<string, string>>();

function aliasesOf(operation: Operation): ReadonlyMap<string, string> {
  let aliases = ALIASES.get(operation);
  if (aliases === undefined) {
    aliases = new Map(
      Object.entries(operation.fields).flatMap(([name, field]) =>
        (field.aliases ?? []).map((alias): [string, string] => [alias, name]),
      ),
    );
    ALIASES.set(operation, aliases);
  }
  return aliases;
}

/** @returns the request with what its operation takes from the query in its body; a text: why not */
export function withQuery(request: Inbound, { fieldsInQuery: names }: Operation): Inbound | string {
  const { body, query } = request;
  if (names === undefined || query === undefined) return request;
  const taken: Record<string, Value> = {};
  for (const name of names) {
    const value = Object.hasOwn(query, name) ? query[name] : undefined;
    if (value === undefined) continue;
    if (value === '') return `${name} has no value in the query: give ${name}=true`;
    if (Object.hasOwn(body, name) && String(body[name]) !== value)
      return `${name} is one thing in the query and another in the body`;
    taken[name] = value;
  }
  return { ...request, body: { ...body, ...taken } };
}
