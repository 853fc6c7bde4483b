/** `holdfast secrets …`: the mounted engines. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT } from '../environment.ts';
import { cell, formatOf, jsonText, printAnswer, table } from '../output.ts';

const SECRETS_FLAGS: readonly FlagDeclaration[] = [
  { name: 'path', type: 'text', value: 'PATH', help: 'Where to mount it; the type without it.' },
  { name: 'description', type: 'text', value: 'TEXT', help: 'A note for people.' },
  { name: 'version', type: 'text', value: '1|2', help: 'For kv: 2 keeps versions.' },
  { name: 'default-lease-ttl', type: 'text', value: 'DURATION', help: 'How long leases live unless asked.' },
  { name: 'max-lease-ttl', type: 'text', value: 'DURATION', help: 'How long leases live at most.' },
];

function ttlsOf({ parsed }: Invocation): ValueMap {
  const texts: [string, string | undefined][] = [
    ['default_lease_ttl', parsed.text('default-lease-ttl')],
    ['max_lease_ttl', parsed.text('max-lease-ttl')],
  ];
  return Object.fromEntries(texts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

const secretsList: Command = {
  words: 'secrets list',
  arguments: '',
  summary: 'List the mounted engines.',
  flags: [{ name: 'detailed', type: 'bool', help: 'With TTLs (0: the system’s), options and UUID.' }],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    const { json } = await api().call('GET', 'sys/mounts');
    const mounts = (json?.['data'] ?? {}) as ValueMap;
    if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(mounts)}\n`);
    else {
      const detailed = parsed.bool('detailed');
      const rows = Object.entries(mounts).map(([path, mount]) => {
        const { type, accessor, description, config, options, uuid } = mount as ValueMap;
        const { default_lease_ttl: ttl, max_lease_ttl: most } = config as ValueMap;
        const more = detailed ? [cell(ttl), cell(most), cell(options), cell(uuid)] : [];
        return [cell(path), cell(type), cell(accessor), ...more, cell(description || null)];
      });
      const more = detailed ? ['Default TTL', 'Max TTL', 'Options', 'UUID'] : [];
      environment.out(`${table(['Path', 'Type', 'Accessor', ...more, 'Description'], rows)}\n`);
    }
    return EXIT.ok;
  },
};

const secretsEnable: Command = {
  words: 'secrets enable',
  arguments: 'TYPE',
  summary: 'Mount an engine: kv-v2, kv, database.',
  flags: SECRETS_FLAGS,
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 1, invocation.usage);
    const [type = ''] = parsed.positional;
    const path = (parsed.text('path') ?? type).replace(/\/+$/, '');
    const version = parsed.text('version');
    const body: ValueMap = {
      type,
      description: parsed.text('description') ?? '',
      config: ttlsOf(invocation),
      ...(version === undefined ? {} : { options: { version } }),
    };
    const { json } = await api().call('POST', `sys/mounts/${path}`, { body });
    printAnswer(environment, parsed, json, `Success! Enabled the ${cell(type)} secrets engine at: ${cell(path)}/`);
    return EXIT.ok;
  },
};

const secretsDisable: Command = {
  words: 'secrets disable',
  arguments: 'PATH',
  summary: 'Remove an engine with everything in it, for good.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const path = (parsed.positional[0] ?? '').replace(/\/+$/, '');
    const { json } = await api().call('DELETE', `sys/mounts/${path}`);
    printAnswer(environment, parsed, json, `Success! Disabled the secrets engine (if it existed) at: ${cell(path)}/`);
    return EXIT.ok;
  },
};

const secretsTune: Command = {
  words: 'secrets tune',
  arguments: 'PATH',
  summary: 'Change the settings of a mount.',
  flags: SECRETS_FLAGS.filter((flag) => flag.name !== 'path'),
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 1, invocation.usage);
    const path = (parsed.positional[0] ?? '').replace(/\/+$/, '');
    const description = parsed.text('description');
    const version = parsed.text('version');
    const body: ValueMap = {
      ...ttlsOf(invocation),
      ...(description === undefined ? {} : { description }),
      ...(version === undefined ? {} : { options: { version } }),
    };
    const { json } = await api().call('POST', `sys/mounts/${path}/tune`, { body });
    printAnswer(environment, parsed, json, `Success! Tuned the secrets engine at: ${cell(path)}/`);
    return EXIT.ok;
  },
};

const secretsMove: Command = {
  words: 'secrets move',
  arguments: 'FROM TO',
  summary: 'Give a mount another path.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 2, 2, usage);
    const [from = '', to = ''] = parsed.positional;
    await api().call('POST', 'sys/remount', { body: { from, to } });
    printAnswer(environment, parsed, undefined, `Success! Moved ${cell(from)} to ${cell(to)}`);
    return EXIT.ok;
  },
};

export const secrets: readonly Command[] = [secretsList, secretsEnable, secretsDisable, secretsTune, secretsMove];
