/** `holdfast login` and `holdfast token …`. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { ApiClient } from '../http.ts';
import { readData, readSecret } from '../input.ts';
import { formatOf, jsonText, printAnswer } from '../output.ts';
import { saveLogin } from '../server.ts';
import { wrapOf } from './generic.ts';

const login: Command = {
  words: 'login',
  arguments: '[-]',
  summary: 'Check a token and keep it for this address; it is asked for, or read from standard input.',
  flags: [{ name: 'no-store', type: 'bool', help: 'Only check the token.' }],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    if (parsed.positional.length > 1 || (parsed.positional.length === 1 && parsed.positional[0] !== '-')) {
      throw new LocalError(
        'a token is never an argument: every user of this machine could read it. It is asked for, or read from standard input',
      );
    }
    const token = await readSecret(environment, 'Token (it is not shown): ');
    const { access } = api();
    const { json } = await new ApiClient({ ...access, token }).call('GET', 'auth/token/lookup-self');
    const data = (json?.['data'] ?? {}) as ValueMap;
    if (!parsed.bool('no-store')) {
      const file = saveLogin(environment, access.address, token);
      environment.error(`The token is kept in ${file} for ${access.address}.\n`);
    }
    const shown: ValueMap = {
      data: {
        token_accessor: data['accessor'] ?? '',
        token_duration: data['ttl'] ?? 0,
        token_renewable: data['renewable'] ?? false,
        policies: data['policies'] ?? [],
      },
    };
    printAnswer(environment, parsed, shown);
    return EXIT.ok;
  },
};

const CREATE_FLAGS: readonly FlagDeclaration[] = [
  { name: 'policy', type: 'texts', value: 'NAME', help: 'A policy of the token; may be repeated.' },
  { name: 'ttl', type: 'text', value: 'DURATION', help: 'How long it lives.' },
  { name: 'period', type: 'text', value: 'DURATION', help: 'Each renewal gives it this long again, without end.' },
  { name: 'explicit-max-ttl', type: 'text', value: 'DURATION', help: 'The end that no renewal passes.' },
  { name: 'use-limit', type: 'text', value: 'N', help: 'How many requests it is good for.' },
  { name: 'display-name', type: 'text', value: 'NAME', help: 'A name in the audit log.' },
  { name: 'type', type: 'text', value: 'service|batch', help: 'Kind of the token.' },
  { name: 'role', type: 'text', value: 'NAME', help: 'Make it by a token role.' },
  { name: 'orphan', type: 'bool', help: 'Without a parent: it outlives the token that makes it.' },
  { name: 'no-default-policy', type: 'bool', help: 'Without the policy default.' },
  { name: 'renewable', type: 'text', value: 'true|false', help: 'Whether it can be renewed (true).' },
  { name: 'metadata', type: 'texts', value: 'name=value', help: 'A note in the audit log; may be repeated.' },
];

const tokenCreate: Command = {
  words: 'token create',
  arguments: '',
  summary: 'Make a token. It is printed once.',
  flags: CREATE_FLAGS,
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    const texts: [string, string | undefined][] = [
      ['ttl', parsed.text('ttl')],
      ['period', parsed.text('period')],
      ['explicit_max_ttl', parsed.text('explicit-max-ttl')],
      ['num_uses', parsed.text('use-limit')],
      ['display_name', parsed.text('display-name')],
      ['type', parsed.text('type')],
      ['renewable', parsed.text('renewable')],
    ];
    const meta = await readData(environment, parsed.texts('metadata'));
    const policies = parsed.texts('policy');
    const body: ValueMap = {
      ...Object.fromEntries(texts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))),
      ...(policies.length === 0 ? {} : { policies }),
      ...(Object.keys(meta).length === 0 ? {} : { meta }),
      ...(parsed.bool('no-default-policy') ? { no_default_policy: true } : {}),
    };
    const role = parsed.text('role');
    const path =
      role !== undefined
        ? `auth/token/create/${role}`
        : parsed.bool('orphan')
          ? 'auth/token/create-orphan'
          : 'auth/token/create';
    const { json } = await api().call('POST', path, { body, ...wrapOf(invocation) });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const ACCESSOR: FlagDeclaration = {
  name: 'accessor',
  type: 'text',
  value: 'ACCESSOR',
  help: 'Name the token by its accessor.',
};

/** The token that a command is about: by accessor, `-` from standard input, or the caller's own. */
async function subject(invocation: Invocation): Promise<{ kind: 'accessor' | 'given' | 'self'; body: ValueMap }> {
  const { environment, parsed, usage } = invocation;
  expectPositional(parsed, 0, 1, usage);
  const accessor = parsed.text('accessor');
  if (accessor !== undefined) return { kind: 'accessor', body: { accessor } };
  if (parsed.positional.length === 0) return { kind: 'self', body: {} };
  if (parsed.positional[0] !== '-') {
    throw new LocalError('a token is never an argument: use -accessor, or - to read the token from standard input');
  }
  return { kind: 'given', body: { token: await readSecret(environment, 'Token (it is not shown): ') } };
}

const tokenLookup: Command = {
  words: 'token lookup',
  arguments: '[-]',
  summary: 'Show what is known of a token: one’s own, that of an accessor, or one from standard input.',
  flags: [ACCESSOR],
  async run(invocation) {
    const { kind, body } = await subject(invocation);
    const paths = {
      accessor: 'auth/token/lookup-accessor',
      given: 'auth/token/lookup',
      self: 'auth/token/lookup-self',
    };
    const { json } = await invocation
      .api()
      .call(kind === 'self' ? 'GET' : 'POST', paths[kind], kind === 'self' ? {} : { body });
    printAnswer(invocation.environment, invocation.parsed, json);
    return EXIT.ok;
  },
};

const tokenRenew: Command = {
  words: 'token renew',
  arguments: '[-]',
  summary: 'Renew a token: one’s own, that of an accessor, or one from standard input.',
  flags: [ACCESSOR, { name: 'increment', type: 'text', value: 'DURATION', help: 'How long it should live from now.' }],
  async run(invocation) {
    const { kind, body } = await subject(invocation);
    const increment = invocation.parsed.text('increment');
    const paths = { accessor: 'auth/token/renew-accessor', given: 'auth/token/renew', self: 'auth/token/renew-self' };
    const { json } = await invocation
      .api()
      .call('POST', paths[kind], { body: { ...body, ...(increment === undefined ? {} : { increment }) } });
    printAnswer(invocation.environment, invocation.parsed, json);
    return EXIT.ok;
  },
};

const tokenRevoke: Command = {
  words: 'token revoke',
  arguments: '[-]',
  summary: 'Revoke a token with all that it made: -self, that of an accessor, or one from standard input.',
  flags: [
    ACCESSOR,
    { name: 'self', type: 'bool', help: 'Revoke one’s own token.' },
    { name: 'mode', type: 'text', value: 'orphan', help: 'orphan: its children live on.' },
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    const { kind, body } = await subject(invocation);
    if (kind === 'self' && !parsed.bool('self'))
      throw new LocalError('say which token: -self, -accessor, or - for standard input');
    const mode = parsed.text('mode');
    if (mode !== undefined && (mode !== 'orphan' || kind !== 'given'))
      throw new LocalError('-mode=orphan goes with a token from standard input');
    const paths = {
      accessor: 'auth/token/revoke-accessor',
      given: mode === 'orphan' ? 'auth/token/revoke-orphan' : 'auth/token/revoke',
      self: 'auth/token/revoke-self',
    };
    const { json } = await api().call('POST', paths[kind], { body });
    printAnswer(environment, parsed, json, 'Success! Revoked token (if it existed)');
    return EXIT.ok;
  },
};

const tokenCapabilities: Command = {
  words: 'token capabilities',
  arguments: 'PATH',
  summary: 'Show what a token may do at a path: one’s own, or that of an accessor.',
  flags: [ACCESSOR],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 1, 1, invocation.usage);
    const accessor = parsed.text('accessor');
    const path = parsed.positional[0] ?? '';
    const { json } =
      accessor === undefined
        ? await api().call('POST', 'sys/capabilities-self', { body: { paths: [path] } })
        : await api().call('POST', 'sys/capabilities-accessor', { body: { accessor, paths: [path] } });
    const capabilities = (((json?.['data'] ?? {}) as ValueMap)[path] ?? []) as readonly string[];
    environment.out(
      formatOf(environment, parsed) === 'json' ? `${jsonText(capabilities)}\n` : `${capabilities.join(', ')}\n`,
    );
    return EXIT.ok;
  },
};

export const token: readonly Command[] = [login, tokenCreate, tokenLookup, tokenRenew, tokenRevoke, tokenCapabilities];
