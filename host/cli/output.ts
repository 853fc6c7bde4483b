/** How answers are printed: tables for people, JSON for programs, one field for scripts. */
import { stringifyJson } from '../json.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import type { Parsed } from './arguments.ts';
import { type Environment, LocalError } from './environment.ts';
import { setting } from './server.ts';

export type Format = 'table' | 'json';

export function formatOf(environment: Environment, parsed: Parsed): Format {
  const format = setting(environment, parsed, 'format', 'FORMAT') ?? 'table';
  if (format !== 'table' && format !== 'json') throw new LocalError('-format is table or json');
  return format;
}

/** One cell: control characters that could move a terminal's cursor are shown as escapes, not obeyed. */
export function cell(value: Value | undefined): string {
  if (value === undefined || value === null) return 'n/a';
  if (typeof value === 'string') return visible(value);
  if (Array.isArray(value)) return `[${value.map(cell).join(' ')}]`;
  if (typeof value === 'object') return visible(stringifyJson(value));
  return String(value);
}

const visible = (text: string): string =>
  text.replace(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** As JSON.stringify with two blanks, but integers keep all their digits. @param line what begins a line at this depth */
function indented(value: Value, line: string): string {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return stringifyJson(value);
  const within = `${line}  `;
  const items = Array.isArray(value)
    ? value.map((item: Value) => indented(item, within))
    : Object.entries(value)
        .filter(([, item]) => item !== undefined)
        .map(([name, item]) => `${JSON.stringify(name)}: ${indented(item as Value, within)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return items.length === 0 ? `${open}${close}` : `${open}${within}${items.join(`,${within}`)}${line}${close}`;
}

export function jsonText(value: Value): string {
  return indented(value, '\n');
}

/** Columns with a heading that is underlined, as wide as their widest cell. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join('    ')
      .trimEnd();
  return [line(headings), line(headings.map((heading) => '-'.repeat(heading.length))), ...rows.map(line)].join('\n');
}

/** The order of the API's lists. */
export const byOctets = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Seconds as people say them: 768h, 1h30m, 45s. */
function human(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  const text = parts.map((count, at) => (count === 0 ? '' : `${count}${'hms'[at] ?? ''}`)).join('');
  return text === '' ? '0s' : text;
}

/** As the vault command shows some names; JSON and `-field` have the answer's own value. */
function shownAs(name: string, value: Value | undefined): string {
  // A token without an end has no seconds left to count.
  if (name === 'token_duration' && value === 0) return '∞';
  if ((name === 'token_duration' || name === 'lease_duration') && typeof value === 'number') return human(value);
  if (name === 'deletion_time' && value === '') return 'n/a';
  return cell(value);
}

/** Names and values, sorted by name unless `order` is kept. */
export function pairs(map: ValueMap, order?: readonly string[]): string {
  const names = order ?? Object.keys(map).sort(byOctets);
  return table(
    ['Key', 'Value'],
    names.filter((name) => name in map).map((name) => [visible(name), shownAs(name, map[name])]),
  );
}

/** One field of an answer, as it is: what `-field` prints. @throws LocalError an answer without it */
export function fieldText(map: ValueMap, name: string): string {
  const value = Object.hasOwn(map, name) ? map[name] : undefined;
  if (value === undefined) throw new LocalError(`the answer has no field ${JSON.stringify(name)}`);
  return typeof value === 'string' ? value : jsonText(value);
}

/** Envelope keys shown above the data in tables. */
export function printAnswer(
  environment: Environment,
  parsed: Parsed,
  json: ValueMap | undefined,
  done = 'Success!',
): void {
  const format = formatOf(environment, parsed);
  const field = parsed.text('field');
  if (json === undefined) {
    if (format === 'json') environment.out('{}\n');
    else if (field === undefined) environment.out(`${done}\n`);
    return;
  }
  for (const warning of (json['warnings'] ?? []) as readonly string[]) environment.error(`WARNING: ${cell(warning)}\n`);
  const shown = flatten(json);
  if (field !== undefined) environment.out(`${fieldText(shown, field)}${environment.interactive ? '\n' : ''}`);
  else if (format === 'json') environment.out(`${jsonText(json)}\n`);
  else if (Object.keys(shown).length > 0)
    environment.out(`${pairs(shown, inOrder(json) ? Object.keys(shown) : undefined)}\n`);
  else environment.out(`${done}\n`);
}

/** A wrapping token or a login is shown token first; data by name. */
const inOrder = ({ wrap_info: wrap, auth }: ValueMap): boolean => Boolean(wrap ?? auth);

const ENVELOPE = ['data', 'auth', 'wrap_info'];

/** What a table shows of an answer: a wrapping token, a login, the data with its lease, or what has no envelope as it is. */
function flatten(json: ValueMap): ValueMap {
  const wrap = json['wrap_info'] as ValueMap | null | undefined;
  if (wrap) {
    return Object.fromEntries(
      Object.entries(wrap).map(([key, value]) => [
        key === 'token' ? 'wrapping_token' : `wrapping_${key}`.replace('wrapping_wrapped', 'wrapped'),
        value,
      ]),
    );
  }
  const auth = json['auth'] as ValueMap | null | undefined;
  if (auth) {
    return {
      token: auth['client_token'] ?? '',
      token_accessor: auth['accessor'] ?? '',
      token_duration: auth['lease_duration'] ?? 0,
      token_renewable: auth['renewable'] ?? false,
      token_policies: auth['token_policies'] ?? [],
      identity_policies: auth['identity_policies'] ?? [],
      policies: auth['policies'] ?? [],
    };
  }
  if (!ENVELOPE.some((name) => name in json)) return json;
  const data = (json['data'] ?? {}) as ValueMap;
  const lease = json['lease_id'];
  const head: ValueMap = lease
    ? { lease_id: lease, lease_duration: json['lease_duration'] ?? 0, lease_renewable: json['renewable'] ?? false }
    : {};
  return { ...head, ...data };
}
