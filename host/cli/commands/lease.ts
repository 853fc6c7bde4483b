/** `holdfast lease …`: credentials that live outside the box, and their end. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { cell, formatOf, jsonText, printAnswer, table } from '../output.ts';

const dataOf = (json: ValueMap | undefined): ValueMap => (json?.['data'] ?? {}) as ValueMap;
const itemsOf = (data: ValueMap, name: string): readonly ValueMap[] => (data[name] ?? []) as readonly ValueMap[];

const leaseLookup: Command = {
  words: 'lease lookup',
  arguments: 'ID',
  summary: 'Show when a lease was made, and when it ends.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const { json } = await api().call('PUT', 'sys/leases/lookup', { body: { lease_id: parsed.positional[0] ?? '' } });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const leaseList: Command = {
  words: 'lease list',
  arguments: 'PREFIX',
  summary: 'List leases and folders of leases below a path, one level. Needs sudo.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const prefix = (parsed.positional[0] ?? '').replace(/\/+$/, '');
    const { json } = await api().call('LIST', `sys/leases/lookup/${prefix}`);
    for (const warning of (json?.['warnings'] ?? []) as readonly string[]) environment.error(`WARNING: ${warning}\n`);
    const keys = (dataOf(json)['keys'] ?? []) as readonly string[];
    if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(keys)}\n`);
    else
      environment.out(
        `${table(
          ['Keys'],
          keys.map((key) => [cell(key)]),
        )}\n`,
      );
    return EXIT.ok;
  },
};

const leaseRenew: Command = {
  words: 'lease renew',
  arguments: 'ID',
  summary: 'Let a lease live longer, at most to its maximum.',
  flags: [
    { name: 'increment', type: 'text', value: 'DURATION', help: 'How long from now; as at its issue without it.' },
  ],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const increment = parsed.text('increment');
    const body: ValueMap = {
      lease_id: parsed.positional[0] ?? '',
      ...(increment === undefined ? {} : { increment }),
    };
    const { json } = await api().call('PUT', 'sys/leases/renew', { body });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const leaseRevoke: Command = {
  words: 'lease revoke',
  arguments: 'ID',
  summary: 'End a lease, and the credential with it; with -prefix all below a path.',
  details:
    'What is revoked is found no more at once, and the credential is ended until it is gone, however often that takes; -sync\nwaits for it. `holdfast lease stuck` names what could not be ended yet.',
  flags: [
    { name: 'prefix', type: 'bool', help: 'ID is a path: every lease below it ends. Needs sudo.' },
    {
      name: 'force',
      type: 'bool',
      help: 'With -prefix: after one attempt the leases are forgotten, whatever their backend says.',
    },
    { name: 'sync', type: 'bool', help: 'Wait until the backend has said that it is gone.' },
  ],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const [id = ''] = parsed.positional;
    const [prefix, force, sync] = [parsed.bool('prefix'), parsed.bool('force'), parsed.bool('sync')];
    if (force && !prefix) {
      throw new LocalError('-force goes with -prefix: it forgets leases whose credentials may live on');
    }
    const path = force ? 'revoke-force' : 'revoke-prefix';
    const { json } = prefix
      ? await api().call('PUT', `sys/leases/${path}/${id.replace(/\/+$/, '')}`, { body: force ? {} : { sync } })
      : await api().call('PUT', 'sys/leases/revoke', { body: { lease_id: id, sync } });
    const waited = force || sync;
    printAnswer(
      environment,
      parsed,
      waited ? json : undefined,
      waited ? `Success! Revoked ${prefix ? 'any leases below' : 'lease'}: ${id}` : 'Success! Queued to be revoked.',
    );
    return EXIT.ok;
  },
};

const leaseStuck: Command = {
  words: 'lease stuck',
  arguments: '',
  summary: 'List leases whose credentials could not be ended yet, and why. Needs sudo.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    const { json } = await api().call('GET', 'sys/leases');
    const leases = itemsOf(dataOf(json), 'leases');
    if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(dataOf(json))}\n`);
    else if (leases.length === 0) environment.out('Nothing is stuck.\n');
    else {
      const rows = leases.map((lease) => [
        ...[cell(lease['lease_id']), cell(lease['since']), cell(lease['attempts']), cell(lease['error'])],
      ]);
      environment.out(`${table(['Lease', 'Since', 'Attempts', 'Why'], rows)}\n`);
    }
    return EXIT.ok;
  },
};

const leaseReconcile: Command = {
  words: 'lease reconcile',
  arguments: '',
  summary: 'List names on the backends that begin as this box’s do and that no lease explains. Needs sudo.',
  details:
    'Nothing is changed. Names of another box with the same data folder (a copy, a restore) are among them: look whose they\nare before you drop any.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    const { json } = await api().call('GET', 'sys/leases/reconcile');
    const backends = itemsOf(dataOf(json), 'backends');
    if (formatOf(environment, parsed) === 'json') {
      environment.out(`${jsonText(dataOf(json))}\n`);
      return EXIT.ok;
    }
    const rows = backends.flatMap(({ mount, backend, strangers }) =>
      ((strangers ?? []) as readonly string[]).map((name) => [cell(mount), cell(backend), cell(name)]),
    );
    for (const { mount, backend, error } of backends) {
      if (error !== undefined) environment.error(`WARNING: ${cell(backend)} of ${cell(mount)}: ${cell(error)}\n`);
    }
    environment.out(
      rows.length === 0 ? 'Every name is explained.\n' : `${table(['Mount', 'Backend', 'Name'], rows)}\n`,
    );
    return EXIT.ok;
  },
};

export const lease: readonly Command[] = [
  ...[leaseLookup, leaseList, leaseRenew, leaseRevoke, leaseStuck, leaseReconcile],
];
