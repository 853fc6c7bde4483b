import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseArguments } from '../../../host/cli/arguments.ts';
import { run } from '../../../host/cli/index.ts';
import { readData } from '../../../host/cli/input.ts';
import { cell, table } from '../../../host/cli/output.ts';
import { findServer } from '../../../host/cli/server.ts';
import { type FakeEnvironment, fakeEnvironment } from './environment.ts';

/** A server that keeps what it was asked and answers what it is told to. */
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}
let server: Server;
let address: string;
let asked: Asked[] = [];
/** Bodies as they came. */
let sent: string[] = [];
/** A body that is a text goes as it is. */
let answers: Record<string, { status?: number; body?: unknown; type?: string }> = {};

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      sent.push(text);
      const { method = '', url = '', headers } = request;
      asked.push({ method, url, headers, body: text === '' ? undefined : JSON.parse(text) });
      const answer = answers[`${method} ${url}`] ?? { status: 404, body: { errors: [] } };
      response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json' });
      const { body } = answer;
      response.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));
beforeEach(() => {
  asked = [];
  sent = [];
  answers = {};
});

const TOKEN = 'hvs.canary000000000000000000';
const env = (more: Parameters<typeof fakeEnvironment>[0] = {}): ReturnType<typeof fakeEnvironment> =>
  fakeEnvironment({ ...more, variables: { HOLDFAST_ADDR: address, HOLDFAST_TOKEN: TOKEN, ...more.variables } });
const v2 = { body: { data: { path: 'secret/', options: { version: '2' } } } };

describe('which server and which token', () => {
  const files = {
    '/home/person/.config/holdfast/address': 'https://127.0.0.1:8200\n',
    '/home/person/.config/holdfast/root-token': `${TOKEN}\n`,
    '/home/person/.config/holdfast/ca.pem': 'CERTIFICATE',
  };
  const find = (environment: ReturnType<typeof fakeEnvironment>, ...args: string[]) =>
    findServer(environment, parseArguments(args, []));

  test('address, authority and token of this box are found together', () => {
    const access = find(fakeEnvironment({ files }));
    expect(access).toMatchObject({ address: 'https://127.0.0.1:8200', token: TOKEN });
    expect(Buffer.from(access.ca ?? []).toString()).toBe('CERTIFICATE');
  });

  test('a token of this folder goes to no other address', () => {
    for (const variables of [{ VAULT_ADDR: 'https://example.com:8200' }, { HOLDFAST_ADDR: 'https://127.0.0.1:8201' }]) {
      expect(find(fakeEnvironment({ files, variables }))).toMatchObject({ token: undefined, ca: undefined });
    }
    expect(find(fakeEnvironment({ files }), '-address=http://127.0.0.1:8200').token).toBeUndefined();
  });

  test('the same address in another spelling is this box', () => {
    expect(find(fakeEnvironment({ files, variables: { VAULT_ADDR: 'https://127.0.0.1:8200/' } })).token).toBe(TOKEN);
  });

  test('a saved login goes to the address it was made for only', () => {
    const login = {
      '/home/person/.config/holdfast/login.json': JSON.stringify({ address: 'https://a:1', token: 'mine' }),
    };
    expect(find(fakeEnvironment({ files: login }), '-address=https://a:1').token).toBe('mine');
    expect(find(fakeEnvironment({ files: login }), '-address=https://b:1').token).toBeUndefined();
  });

  test('HOLDFAST_ comes before VAULT_, a flag before both', () => {
    const variables = {
      HOLDFAST_ADDR: 'https://h:1',
      VAULT_ADDR: 'https://v:1',
      VAULT_TOKEN: 'v',
      HOLDFAST_TOKEN: 'h',
    };
    expect(find(fakeEnvironment({ variables }))).toMatchObject({ address: 'https://h:1', token: 'h' });
    expect(find(fakeEnvironment({ variables }), '-address', 'https://f:1').address).toBe('https://f:1');
    expect(find(fakeEnvironment({ variables: { VAULT_ADDR: 'https://v:1', VAULT_TOKEN: 'v' } }))).toMatchObject({
      address: 'https://v:1',
      token: 'v',
    });
  });

  test.each(['ftp://x', 'nonsense', 'https://user:pw@host', 'unix:relative'])('%s is refused as an address', (text) => {
    expect(() => find(fakeEnvironment(), '-address', text)).toThrow();
  });
});

describe('secrets and arguments', () => {
  test.each([
    ['unseal', 'c2hhcmU='],
    ['login', TOKEN],
    ['token', 'lookup', TOKEN],
    ['token', 'revoke', TOKEN],
    ['token', 'renew', TOKEN],
  ])('%s %s refuses a secret as an argument and does not repeat it', async (...args) => {
    const environment = env();
    expect(await run(args, environment)).toBe(1);
    expect(asked).toEqual([]);
    expect(environment.errors()).toContain('never an argument');
    expect(environment.errors() + environment.output()).not.toContain(args.at(-1));
  });

  test('a share is asked for on a terminal, and read from standard input else', async () => {
    answers['PUT /v1/sys/unseal'] = { body: { sealed: true, t: 3, n: 5, progress: 1 } };
    const typed = env({ typed: 'typed-share' });
    await run(['unseal'], typed);
    expect(typed.asked).toHaveLength(1);
    await run(['unseal'], env({ input: 'piped-share\n' }));
    expect(asked.map(({ body }) => body)).toEqual([{ key: 'typed-share' }, { key: 'piped-share' }]);
    for (const { headers } of asked) expect(headers['x-vault-token']).toBeUndefined();
  });

  test('the word that takes a rolled back box as it is goes with its share, and no other word does', async () => {
    answers['PUT /v1/sys/unseal'] = { body: { sealed: true, t: 3, n: 5, progress: 1 } };
    await run(['unseal', '-accept=rolled-back'], env({ input: 'share\n' }));
    expect(asked.map(({ body }) => body)).toEqual([{ key: 'share', accept: 'rolled-back' }]);
    const other = env({ input: 'share\n' });
    expect(await run(['unseal', '-accept=yes'], other)).toBe(1);
    expect(other.errors()).toContain('rolled-back');
    expect(asked).toHaveLength(1);
  });

  test('data comes in the forms of the vault command', async () => {
    const environment = env({ input: 'from input', files: { '/f': 'from file', '/j': '{"x":{"y":1}}' } });
    expect(await readData(environment, ['a=b=c', 'f=@/f', 'i=-', '@/j', 'n=', 'l=1', 'l=2', 't=\\@home'])).toEqual({
      a: 'b=c',
      f: 'from file',
      i: 'from input',
      x: { y: 1 },
      n: '',
      l: ['1', '2'],
      t: '@home',
    });
  });

  test('a file that cannot be read is a sentence that does not repeat its name: it may be a value that begins with @', async () => {
    const environment = env();
    expect(await run(['write', 'secret/x', 'password=@hunter2'], environment)).toBe(1);
    expect(environment.errors()).toContain('password=@FILE');
    expect(environment.errors()).not.toContain('hunter2');
    for (const args of [
      ['policy', 'write', 'p', '/none'],
      ['read', '-ca-cert=/none', 'x'],
      ['write', 'x', '@/none'],
    ]) {
      expect(await run(args, env())).toBe(1);
    }
  });

  test.each([['hunter2'], ['=hunter2'], ['-', 'x=-']])('%j is refused without being repeated', async (...items) => {
    const failed = await readData(env({ input: '{}' }), items).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(failed).not.toBe('');
    expect(failed).not.toContain('hunter2');
  });

  test('a name such as __proto__ is a name like others', async () => {
    const data = await readData(env(), ['__proto__=x']);
    expect(Object.entries(data)).toEqual([['__proto__', 'x']]);
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
  });
});

describe('exit codes are those of the vault command', () => {
  test('status: 0 open, 2 sealed, 1 no answer', async () => {
    answers['GET /v1/sys/seal-status'] = { body: { type: 'shamir', initialized: true, sealed: false, t: 1, n: 1 } };
    expect(await run(['status'], env())).toBe(0);
    answers['GET /v1/sys/seal-status'] = { body: { type: 'shamir', initialized: true, sealed: true, t: 1, n: 1 } };
    expect(await run(['status'], env())).toBe(2);
    expect(await run(['status', '-address=http://127.0.0.1:1'], env())).toBe(1);
  });

  test('2 for what the server refuses, with its words', async () => {
    answers['GET /v1/secret/x'] = { status: 403, body: { errors: ['permission denied'] } };
    const environment = env();
    expect(await run(['read', 'secret/x'], environment)).toBe(2);
    expect(environment.errors()).toContain('permission denied');
    expect(environment.errors()).not.toContain(TOKEN);
  });

  test.each([[['fly']], [['read']], [['read', 'a', '-nope']], [['kv', 'put', 'x']], [['kv']]])(
    '1 for %j',
    async (args) => {
      expect(await run(args, env())).toBe(1);
    },
  );

  test('an unknown flag that holds a secret is named without its value', async () => {
    const environment = env();
    await run(['read', 'x', '-tokn=hunter2'], environment);
    expect(environment.errors()).not.toContain('hunter2');
  });
});

describe('kv', () => {
  test('asks the server which version a mount has, and writes the body of version 2', async () => {
    answers['GET /v1/sys/internal/ui/mounts/secret/app/db'] = v2;
    answers['PUT /v1/secret/data/app/db'] = { body: { data: { version: 1 } } };
    const environment = env({ input: 's3cret' });
    expect(await run(['kv', 'put', '-cas=0', 'secret/app/db', 'password=-'], environment)).toBe(0);
    expect(asked.at(-1)).toMatchObject({ body: { data: { password: 's3cret' }, options: { cas: 0 } } });
    expect(asked.at(-1)?.headers['x-vault-token']).toBe(TOKEN);
    expect(environment.output()).not.toContain('s3cret');
  });

  test('-field prints one value and nothing else; -mount names the mount', async () => {
    answers['GET /v1/sys/internal/ui/mounts/secret/app'] = v2;
    answers['GET /v1/secret/data/app?version=2'] = { body: { data: { data: { k: 'v' }, metadata: { version: 2 } } } };
    const environment = env();
    expect(await run(['kv', 'get', '-mount=secret', '-version=2', '-field=k', 'app'], environment)).toBe(0);
    expect(environment.output()).toBe('v');
  });

  test('a deleted version is shown and is an error', async () => {
    answers['GET /v1/sys/internal/ui/mounts/secret/app'] = v2;
    answers['GET /v1/secret/data/app'] = {
      status: 404,
      body: { data: { data: null, metadata: { version: 1, deletion_time: 'yesterday' } } },
    };
    const environment = env();
    expect(await run(['kv', 'get', 'secret/app'], environment)).toBe(2);
    expect(environment.output()).toContain('yesterday');
  });

  test('version 1 has the whole body for a secret', async () => {
    answers['GET /v1/sys/internal/ui/mounts/old/app'] = { body: { data: { path: 'old/', options: {} } } };
    answers['PUT /v1/old/app'] = { status: 204 };
    expect(await run(['kv', 'put', 'old/app', 'k=v'], env())).toBe(0);
    expect(asked.at(-1)?.body).toEqual({ k: 'v' });
    expect(await run(['kv', 'undelete', '-versions=1', 'old/app'], env())).toBe(1);
  });

  test('rollback writes only over the version that it saw', async () => {
    answers['GET /v1/sys/internal/ui/mounts/secret/app'] = v2;
    answers['GET /v1/secret/metadata/app'] = { body: { data: { current_version: 7 } } };
    answers['GET /v1/secret/data/app?version=3'] = { body: { data: { data: { old: 'x' } } } };
    answers['PUT /v1/secret/data/app'] = { body: { data: { version: 8 } } };
    expect(await run(['kv', 'rollback', '-version=3', 'secret/app'], env())).toBe(0);
    expect(asked.at(-1)?.body).toEqual({ data: { old: 'x' }, options: { cas: 7 } });
  });
});

describe('what is printed', () => {
  test('no cell can move the cursor of a terminal', () => {
    expect(cell('a\u001b[2Jb\r\n\u202ec')).toBe('a\\u001b[2Jb\\u000d\\u000a\\u202ec');
  });

  test('columns stand under each other', () => {
    expect(
      table(
        ['Key', 'Value'],
        [
          ['a', '1'],
          ['longer', '2'],
        ],
      ),
    ).toBe('Key       Value\n---       -----\na         1\nlonger    2');
  });

  test('JSON is the answer as it came', async () => {
    const body = { data: { keys: ['a'] }, warnings: ['careful'] };
    answers['GET /v1/x/y'] = { body };
    const environment = env();
    await run(['read', '-format=json', 'x/y'], environment);
    expect(JSON.parse(environment.output())).toEqual(body);
    expect(environment.errors()).toContain('careful');
  });

  test('integers keep all their digits, there and back', async () => {
    const digits = '9223372036854775807';
    answers['GET /v1/sys/internal/ui/mounts/secret/n'] = v2;
    answers['PUT /v1/secret/data/n'] = { body: { data: { version: 1 } } };
    await run(['kv', 'put', 'secret/n', '-'], env({ input: `{"n":${digits},"in":[{"n":-${digits}}]}` }));
    expect(sent.at(-1)).toBe(`{"data":{"n":${digits},"in":[{"n":-${digits}}]}}`);
    answers['GET /v1/secret/data/n'] = {
      body: `{"data":{"data":{"n":${digits},"in":[{"n":-${digits}}]},"metadata":{}}}`,
    };
    const printed = async (...flags: string[]): Promise<string> => {
      const environment = env();
      expect(await run(['kv', 'get', ...flags, 'secret/n'], environment)).toBe(0);
      return environment.output();
    };
    expect(await printed('-field=n')).toBe(digits);
    expect(await printed()).toContain(`in     [{"n":-${digits}}]\nn      ${digits}`);
    expect(await printed('-format=json')).toContain(
      `"n": ${digits},\n      "in": [\n        {\n          "n": -${digits}`,
    );
  });

  test('an answer without envelope is shown as it is, and text as text', async () => {
    answers['GET /v1/sys/health'] = { body: { initialized: true, sealed: false } };
    const health = env();
    await run(['read', 'sys/health'], health);
    expect(health.output()).toMatch(/initialized +true\nsealed +false/);
    answers['GET /v1/sys/metrics'] = { body: 'holdfast_up 1\n', type: 'text/plain' };
    const metrics = env();
    await run(['read', 'sys/metrics'], metrics);
    expect(metrics.output()).toBe('holdfast_up 1\n');
  });

  test('a new token is shown first, before what is known of it', async () => {
    answers['POST /v1/auth/token/create'] = { body: { data: null, auth: { client_token: 'hvs.new', accessor: 'a' } } };
    const environment = env();
    await run(['token', 'create'], environment);
    expect(environment.output()).toMatch(/-----\ntoken +hvs\.new\ntoken_accessor +a\n/);
  });

  test('an unknown command of a group is named with its group', async () => {
    const environment = env();
    expect(await run(['kv', 'fly'], environment)).toBe(1);
    expect(environment.errors()).toBe('holdfast: there is no command "kv fly"; `holdfast kv` lists them\n');
  });

  test('trouble of the machine is a sentence, a broken-off prompt too', async () => {
    answers['GET /v1/auth/token/lookup-self'] = { body: { data: { accessor: 'acc' } } };
    const full: FakeEnvironment = {
      ...env({ input: TOKEN }),
      writePrivateFile() {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC', syscall: 'write' });
      },
    };
    expect(await run(['login'], full)).toBe(1);
    expect(full.errors()).toBe('holdfast: this machine refused: ENOSPC at write\n');
    const interrupted: FakeEnvironment = {
      ...env({ typed: '' }),
      prompt: () => Promise.reject(new Error('interrupted')),
    };
    expect(await run(['unseal'], interrupted)).toBe(1);
    expect(interrupted.errors()).toBe('holdfast: interrupted\n');
  });

  test('login keeps the token for its address in a private file and does not print it', async () => {
    answers['GET /v1/auth/token/lookup-self'] = { body: { data: { accessor: 'acc', policies: ['default'], ttl: 5 } } };
    const environment = fakeEnvironment({ variables: { VAULT_ADDR: address }, input: `${TOKEN}\n` });
    expect(await run(['login'], environment)).toBe(0);
    expect(JSON.parse(environment.files.get('/home/person/.config/holdfast/login.json') ?? '')).toEqual({
      address,
      token: TOKEN,
    });
    expect(environment.output() + environment.errors()).not.toContain(TOKEN);
  });

  test('every command has help that names its flags, and all are listed', async () => {
    const all = fakeEnvironment();
    expect(await run(['help'], all)).toBe(0);
    const listed = [...all.output().matchAll(/^ {2}([a-z]+(?: [a-z]+)*)(?: {2}|$)/gm)].map((match) => match[1] ?? '');
    expect(listed.length).toBeGreaterThan(35);
    for (const words of listed) {
      const one = fakeEnvironment();
      expect(await run([...words.split(' '), '-help'], one)).toBe(0);
      expect(one.output()).toContain(`usage: holdfast ${words}`);
    }
  });
});
