/** `holdfast policy …`. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../environment.ts';
import { readFileText, readInputText } from '../input.ts';
import { cell, formatOf, jsonText, printAnswer } from '../output.ts';
import { printKeys } from './generic.ts';

const policyList: Command = {
  words: 'policy list',
  arguments: '',
  summary: 'List the names of policies.',
  flags: [],
  async run(invocation) {
    expectPositional(invocation.parsed, 0, 0, invocation.usage);
    const { json } = await invocation.api().call('LIST', 'sys/policies/acl');
    printKeys(invocation, json);
    return EXIT.ok;
  },
};

const policyRead: Command = {
  words: 'policy read',
  arguments: 'NAME',
  summary: 'Print a policy.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const { json } = await api().call('GET', `sys/policies/acl/${parsed.positional[0] ?? ''}`);
    if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(json ?? {})}\n`);
    else environment.out(`${String(((json?.['data'] ?? {}) as ValueMap)['policy'] ?? '').trimEnd()}\n`);
    return EXIT.ok;
  },
};

const policyWrite: Command = {
  words: 'policy write',
  arguments: 'NAME FILE|-',
  summary: 'Write a policy from a file (HCL or JSON), or from standard input.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 2, 2, usage);
    const [name = '', source = ''] = parsed.positional;
    const policy = source === '-' ? await readInputText(environment) : readFileText(environment, source, 'the policy');
    const { json } = await api().call('PUT', `sys/policies/acl/${name}`, { body: { policy } });
    printAnswer(environment, parsed, json, `Success! Uploaded policy: ${cell(name)}`);
    return EXIT.ok;
  },
};

const policyDelete: Command = {
  words: 'policy delete',
  arguments: 'NAME',
  summary: 'Delete a policy; tokens that name it lose what it allowed.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 1, 1, usage);
    const [name = ''] = parsed.positional;
    const { json } = await api().call('DELETE', `sys/policies/acl/${name}`);
    printAnswer(environment, parsed, json, `Success! Deleted policy: ${cell(name)}`);
    return EXIT.ok;
  },
};

export const policy: readonly Command[] = [policyList, policyRead, policyWrite, policyDelete];
