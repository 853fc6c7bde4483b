/** Commands for any path of the API: read, write, list, delete. */
import type { Value, ValueMap } from '../../ports/value.ts';
import { expectPositional } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError, RemoteError } from '../environment.ts';
import type { Call } from '../http.ts';
import { readData } from '../input.ts';
import { cell, formatOf, jsonText, printAnswer, table } from '../output.ts';

/** API paths are given without `/v1/`; a leading slash is forgiven. */
export function pathOf(text: string | undefined): string {
  const path = (text ?? '').replace(/^\/+/, '');
  if (path === '' || path.includes('//')) throw new LocalError('a path is needed, such as secret/data/app');
  return path;
}

export function wrapOf({ parsed }: Invocation): Pick<Call, 'wrapTtl'> {
  const ttl = parsed.text('wrap-ttl');
  return ttl === undefined ? {} : { wrapTtl: ttl };
}

/** `name=value` items as a query, for reads, lists and deletes. */
export function queryOf(data: ValueMap): string {
  const pairsOf = Object.entries(data).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(
      (item: Value) => `${encodeURIComponent(name)}=${encodeURIComponent(String(item))}`,
    ),
  );
  return pairsOf.length === 0 ? '' : `?${pairsOf.join('&')}`;
}

export function printKeys({ environment, parsed }: Invocation, json: ValueMap | undefined): void {
  const keys = ((json?.['data'] as ValueMap | null | undefined)?.['keys'] ?? []) as readonly string[];
  if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(keys)}\n`);
  else
    environment.out(
      `${table(
        ['Keys'],
        keys.map((key) => [cell(key)]),
      )}\n`,
    );
}

const read: Command = {
  words: 'read',
  arguments: 'PATH [name=value …]',
  summary: 'Read any path.',
  flags: [],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 64, invocation.usage);
    const query = queryOf(await readData(environment, parsed.positional.slice(1)));
    const { json, text } = await api().call('GET', pathOf(parsed.positional[0]), wrapOf(invocation), query);
    // Metrics, a checkpoint: text of its own.
    if (json === undefined && text !== '') environment.out(text);
    else printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const write: Command = {
  words: 'write',
  arguments: 'PATH [name=value | name=@FILE | name=- | @FILE | -]…',
  summary: 'Write to any path. Keep secrets out of the arguments: use name=@FILE, name=- or -.',
  flags: [{ name: 'force', type: 'bool', help: 'Write without data.' }],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 1024, invocation.usage);
    if (parsed.positional.length === 1 && !parsed.bool('force'))
      throw new LocalError('no data was given; -force writes without');
    const body = await readData(environment, parsed.positional.slice(1));
    const { json } = await api().call('PUT', pathOf(parsed.positional[0]), { body, ...wrapOf(invocation) });
    printAnswer(environment, parsed, json, `Success! Data written to: ${pathOf(parsed.positional[0])}`);
    return EXIT.ok;
  },
};

const list: Command = {
  words: 'list',
  arguments: 'PATH',
  summary: 'List names below a path.',
  flags: [],
  async run(invocation) {
    const { parsed, api } = invocation;
    expectPositional(parsed, 1, 1, invocation.usage);
    try {
      const { json } = await api().call('LIST', pathOf(parsed.positional[0]), wrapOf(invocation));
      if (json?.['wrap_info']) printAnswer(invocation.environment, parsed, json);
      else printKeys(invocation, json);
      return EXIT.ok;
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error;
      throw new RemoteError(404, `No value found at ${pathOf(parsed.positional[0])}`);
    }
  },
};

const remove: Command = {
  words: 'delete',
  arguments: 'PATH [name=value …]',
  summary: 'Delete at any path.',
  flags: [],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 64, invocation.usage);
    const query = queryOf(await readData(environment, parsed.positional.slice(1)));
    const { json } = await api().call('DELETE', pathOf(parsed.positional[0]), wrapOf(invocation), query);
    printAnswer(environment, parsed, json, `Success! Data deleted (if it existed) at: ${pathOf(parsed.positional[0])}`);
    return EXIT.ok;
  },
};

export const generic: readonly Command[] = [read, write, list, remove];
