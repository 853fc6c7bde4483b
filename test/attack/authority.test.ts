import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Got, Target } from './target.ts';

/** Ways to more than a token has: names of policies, operations that are the box's own, races, lives without end. */
let box: Target;
let weak = '';

const authOf = (got: Got): Record<string, unknown> => (got.json['auth'] ?? {}) as Record<string, unknown>;
const dataOf = (got: Got): Record<string, unknown> => (got.json['data'] ?? {}) as Record<string, unknown>;

beforeAll(async () => {
  box = await Target.start();
  await box.must('POST', 'secret/data/guarded', { body: { data: { value: 1 } } });
  weak = await box.tokenOf('weak', {
    'auth/token/create': ['create', 'update'],
    'auth/token/create/*': ['create', 'update'],
    'auth/token/roles/*': ['create', 'update', 'read'],
    'sys/policies/acl/*': ['create', 'update', 'read'],
    'sys/policy/*': ['create', 'update', 'read'],
    'secret/data/open': ['read'],
  });
});
afterAll(() => box.end());

/** No answer gave a token that reads the guarded record. */
async function opensNothing(got: Got): Promise<void> {
  expect(got.status).toBeLessThan(500);
  const token = authOf(got)['client_token'];
  if (typeof token !== 'string' || token === '') return;
  expect(authOf(got)['policies']).not.toContain('root');
  const read = await box.ask('GET', 'secret/data/guarded', { token });
  expect([read.status, read.text]).toEqual([403, expect.stringContaining('permission denied')]);
}

describe('a batch token of a root token', () => {
  let batch = '';
  beforeAll(async () => {
    // The parent is known to the box: what it keeps of the parent is at hand when the child comes.
    await box.must('GET', 'auth/token/lookup-self');
    const body = { type: 'batch', policies: ['weak', 'default'], ttl: '1h' };
    batch = String(authOf(await box.must('POST', 'auth/token/create', { body }))['client_token']);
    await box.must('GET', 'auth/token/lookup-self');
  });

  test('is itself and not its parent, and its leaves say so', async () => {
    const self = await box.must('GET', 'auth/token/lookup-self', { token: batch });
    expect(dataOf(self)).toMatchObject({ type: 'batch', policies: ['default', 'weak'] });
    const size = Number(dataOf(await box.must('GET', 'sys/audit-log/size'))['size']);
    const log = await box.must('GET', `sys/audit-log/entries?from=${size - 8}&to=${size}`);
    const own = log.text.split('\n').filter((line) => line.includes('"path":"auth/token/lookup-self"'));
    expect(own.at(-1)).toContain('"token_policies":["default","weak"]');
    expect(own.at(-1)).toContain('"token_type":"batch"');
  });

  test('makes no token, of its own or of its parent’s policies', async () => {
    for (const [target, body] of [
      ['auth/token/create', {}],
      ['auth/token/create', { policies: ['root'] }],
      ['auth/token/create', { policies: ['weak'] }],
      ['auth/token/create', { type: 'batch' }],
    ] as const) {
      const got = await box.ask('POST', target, { token: batch, body });
      expect([body, got.status, got.json['errors']]).toEqual([body, 400, ['batch tokens cannot create more tokens']]);
    }
  });

  test('has no cubbyhole, not its parent’s either', async () => {
    await box.must('POST', 'cubbyhole/mine', { body: { a: 1 } });
    const words = ["cubbyhole operations are only supported by 'service' type tokens"];
    for (const [method, body] of [
      ['GET', undefined],
      ['POST', { a: 2 }],
      ['DELETE', undefined],
    ] as const) {
      const got = await box.ask(method, 'cubbyhole/mine', { token: batch, body });
      expect([method, got.status, got.json['errors']]).toEqual([method, 400, words]);
    }
  });
});

describe('names of policies', () => {
  const ROOTS = [
    ...[
      'root',
      'ROOT',
      'Root',
      ' root',
      'root ',
      '\troot',
      'root\n',
      '\u00a0root',
      'root\u200b',
      '\ufeffroot',
      'r\u006fot',
    ],
    ...[
      '../root',
      './root',
      'root/',
      '/root',
      'root/.',
      'default/../root',
      'root\u0000',
      'root,default',
      '\uff52oot',
      'ro\u006f\u0301t',
    ],
    ...['%72oot', '"root"', 'root#', 'roo\u0074', 'RO\u03bfT', 'r\u00f6\u00f6t'],
  ];

  test.each(ROOTS)('%j is not attached to a token by one that is not root', async (name) => {
    for (const policies of [[name], ['weak', name], `weak,${name}`]) {
      await opensNothing(await box.ask('POST', 'auth/token/create', { token: weak, body: { policies } }));
    }
  });

  test.each(ROOTS)('%j does not come by a role', async (name) => {
    for (const role of [
      { allowed_policies: [name] },
      { allowed_policies_glob: ['*'] },
      { allowed_policies: `weak,${name}` },
    ]) {
      const made = await box.ask('POST', 'auth/token/roles/any', { token: weak, body: role });
      expect(made.status).toBeLessThan(500);
      await opensNothing(await box.ask('POST', 'auth/token/create/any', { token: weak, body: { policies: [name] } }));
      await opensNothing(await box.ask('POST', 'auth/token/create/any', { token: weak, body: {} }));
    }
  });

  test.each(ROOTS)('%j is not written or removed as a policy that is root', async (name) => {
    const rules = { policy: 'path "*" { capabilities = ["deny"] }' };
    for (const kind of ['policies/acl', 'policy']) {
      const target = `sys/${kind}/${encodeURIComponent(name)}`;
      expect((await box.ask('PUT', target, { body: rules })).status).toBeLessThan(500);
      expect((await box.ask('DELETE', target)).status).toBeLessThan(500);
    }
    expect((await box.ask('GET', 'secret/data/guarded')).status).toBe(200);
  });

  test('response-wrapping cannot be had', async () => {
    for (const name of ['response-wrapping', ' RESPONSE-WRAPPING ']) {
      expect((await box.ask('POST', 'auth/token/create', { body: { policies: [name] } })).status).toBe(400);
    }
  });
});

describe('operations that are the box’s own', () => {
  const WORDS = [
    'operation',
    'Operation',
    'op',
    'method',
    '_method',
    'verb',
    'internal',
    'revoke',
    'rollback',
    'renew',
    'grant',
    'mount_id',
  ];

  test('named in bodies, queries and headers they do nothing', async () => {
    for (const word of WORDS) {
      for (const value of ['revoke', 'rollback', 'delete', 'list', 'DELETE', 'boot']) {
        const got = await box.ask('GET', `secret/data/guarded?${word}=${value}`, {
          headers: {
            [`X-Vault-${word.replace('_', '-')}`]: value,
            'X-HTTP-Method-Override': 'DELETE',
            'X-Method-Override': 'DELETE',
          },
        });
        expect(got.status).toBe(200);
      }
      const token = await box.token({ policies: ['default'] });
      const body = { data: { value: 1 }, [word]: 'revoke', options: {} };
      expect((await box.ask('POST', 'secret/data/guarded', { token, body })).status).toBe(403);
      expect((await box.ask('GET', 'auth/token/lookup-self', { token })).status).toBe(200);
    }
    expect((await box.ask('GET', 'secret/data/guarded')).status).toBe(200);
  });

  test.each([
    'sys/internal/absent',
    'sys/internal/boot',
    'sys/expire',
    'sys/rollback',
    'sys/raw/core/keyring',
    'sys/rollback/secret',
    'sys/internal',
  ])('%s answers nobody anything', async (path) => {
    for (const method of ['GET', 'POST', 'DELETE', 'PATCH']) {
      for (const token of [box.root, weak, '']) {
        const got = await box.ask(method, path, { token, ...(method === 'GET' ? {} : { body: {} }) });
        expect([400, 403, 404, 405]).toContain(got.status);
      }
    }
  });

  test('who has no token opens, seals, mounts and reads nothing', async () => {
    for (const [method, path] of [
      ...([
        ['PUT', 'sys/seal'],
        ['POST', 'sys/mounts/x'],
        ['DELETE', 'sys/mounts/secret'],
        ['POST', 'sys/rotate'],
        ['GET', 'sys/mounts'],
      ] as const),
      ...([
        ['PUT', 'sys/rekey/init'],
        ['DELETE', 'sys/rekey/init'],
        ['PUT', 'sys/rekey/update'],
        ['PUT', 'sys/rekey/verify'],
        ['DELETE', 'sys/rekey/verify'],
        ['DELETE', 'sys/generate-root/attempt'],
      ] as const),
      ...([
        ['PUT', 'sys/generate-root/attempt'],
        ['GET', 'sys/policy/default'],
        ['GET', 'sys/key-status'],
        ['GET', 'sys/metrics'],
      ] as const),
      ...([
        ['GET', 'sys/audit-log/entries'],
        ['LIST', 'auth/token/accessors'],
        ['PUT', 'sys/step-down'],
        ['GET', 'sys/internal/counters'],
      ] as const),
    ]) {
      for (const token of ['', 'hvs.unknown', box.root.slice(0, -1), `${box.root}A`, ` ${box.root.slice(4)}`]) {
        const answer = await box.raw([
          `${method} /v1/${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Vault-Token: ${token}\r\n${method === 'LIST' ? '' : 'Content-Length: 0\r\n'}\r\n`,
        ]);
        expect([path, token.length, answer.slice(9, 12)]).toEqual([
          path,
          token.length,
          expect.stringMatching(/^40[0345]$/),
        ]);
        expect(answer).not.toContain(box.root);
      }
    }
    expect((await box.ask('GET', 'secret/data/guarded')).status).toBe(200);
    const again = await box.ask('PUT', 'sys/init', { token: '', body: { secret_shares: 1, secret_threshold: 1 } });
    expect([again.status, again.text]).toEqual([400, expect.stringContaining('already initialized')]);
  });

  test('absent and forbidden mounts, records and accessors answer alike', async () => {
    const shape = (got: Got): [number, string] => [got.status, got.text.replace(/"request_id":"[^"]*"/, '')];
    for (const token of ['', 'hvs.unknown', weak]) {
      const of = async (method: string, path: string) => shape(await box.ask(method, path, { token }));
      for (const method of ['GET', 'DELETE']) {
        expect(await of(method, 'secret/data/guarded')).toEqual(await of(method, 'secret/data/absent'));
        expect(await of(method, 'secret/data/guarded')).toEqual(await of(method, 'nowhere/data/guarded'));
        expect(await of(method, 'secret/nothing/guarded')).toEqual(await of(method, 'nowhere/at/all'));
      }
      const strip = ([status, text]: [number, string]) => [status, text.replaceAll('nowhere', 'secret')];
      expect(strip(await of('GET', 'sys/internal/ui/mounts/nowhere'))).toEqual(
        strip(await of('GET', 'sys/internal/ui/mounts/secret')),
      );
    }
  });
});

describe('races', () => {
  test('sixteen creations of one chosen id: one succeeds', async () => {
    for (let round = 0; round < 5; round++) {
      const got = await Promise.all(
        Array.from({ length: 16 }, () =>
          box.ask('POST', 'auth/token/create', { body: { id: `chosen-${round}`, policies: ['default'] } }),
        ),
      );
      expect(got.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(got.filter(({ status }) => status === 400)).toHaveLength(15);
    }
  });

  test('no child that is made while its parent dies outlives it', async () => {
    for (let round = 0; round < 4; round++) {
      const parent = await box.token({ policies: ['weak'] });
      const makes = Array.from({ length: 40 }, () => box.ask('POST', 'auth/token/create', { token: parent, body: {} }));
      const dies = box.ask('POST', 'auth/token/revoke', { body: { token: parent } });
      const made = (await Promise.all(makes))
        .map((got) => authOf(got)['client_token'])
        .filter((one) => typeof one === 'string');
      expect((await dies).status).toBe(204);
      for (const child of made) {
        expect((await box.ask('GET', 'auth/token/lookup-self', { token: child as string })).status).toBe(403);
      }
      expect((await box.ask('GET', 'auth/token/lookup-self', { token: parent })).status).toBe(403);
    }
  });

  test('a hundred unwraps at once: one succeeds', async () => {
    const wrapped = await box.must('GET', 'secret/data/guarded', { headers: { 'X-Vault-Wrap-TTL': '60' } });
    const token = String((wrapped.json['wrap_info'] as Record<string, unknown>)['token']);
    const got = await Promise.all(
      Array.from({ length: 100 }, (_, at) =>
        at % 2 === 0
          ? box.ask('POST', 'sys/wrapping/unwrap', { token })
          : box.ask('POST', 'sys/wrapping/unwrap', { body: { token } }),
      ),
    );
    expect(got.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(got.filter(({ status }) => status >= 500)).toHaveLength(0);
  });

  test('a token of one use is used once, by fifty at once', async () => {
    const token = await box.token({ policies: ['root'], num_uses: 1 });
    const got = await Promise.all(Array.from({ length: 50 }, () => box.ask('GET', 'secret/data/guarded', { token })));
    expect(got.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test('fifty check-and-sets of one version: one succeeds', async () => {
    const got = await Promise.all(
      Array.from({ length: 50 }, (_, at) =>
        box.ask('POST', 'secret/data/cas', { body: { data: { at }, options: { cas: 0 } } }),
      ),
    );
    expect(got.filter(({ status }) => status === 200)).toHaveLength(1);
  });
});

describe('lives without end', () => {
  const ODD = [
    0,
    -1,
    '-1',
    '-1h',
    '0',
    '1e18',
    1e18,
    1e300,
    '999999999999h',
    '9223372036854775807',
    9007199254740992,
    -1e18,
    '0.0000001',
    'forever',
    '1h-1m',
    '',
    null,
    true,
    [],
    {},
    '５',
  ];

  test.each(ODD)('ttl %j gives no token that lives longer than the limit', async (ttl) => {
    for (const fields of [{ ttl }, { explicit_max_ttl: ttl }, { ttl: '1h', explicit_max_ttl: ttl }, { lease: ttl }]) {
      for (const type of ['service', 'batch']) {
        const got = await box.ask('POST', 'auth/token/create', { body: { policies: ['default'], type, ...fields } });
        expect([200, 400]).toContain(got.status);
        if (got.status !== 200) continue;
        const seconds = Number(authOf(got)['lease_duration']);
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(2_764_800);
      }
    }
  });

  test.each(ODD)('an increment of %j does not pass the limit', async (increment) => {
    const token = await box.token({ policies: ['default'], ttl: '10m', explicit_max_ttl: '20m' });
    const got = await box.ask('POST', 'auth/token/renew-self', { token, body: { increment } });
    expect([200, 400]).toContain(got.status);
    expect(Number(dataOf(await box.must('GET', 'auth/token/lookup-self', { token }))['ttl'])).toBeLessThanOrEqual(1200);
  });

  test.each(ODD)('a wrap TTL of %j is a time or 400', async (ttl) => {
    const text = String(ttl);
    if (!/^[\x20-\x7e]*$/.test(text)) return;
    const got = await box.ask('GET', 'secret/data/guarded', { headers: { 'X-Vault-Wrap-TTL': text } });
    expect([200, 400]).toContain(got.status);
  });

  test.each(ODD)('%j as limits of mounts, roles and secrets is a value or 400', async (value) => {
    for (const [path, body] of [
      ['sys/mounts/secret/tune', { default_lease_ttl: value }],
      ['sys/mounts/secret/tune', { max_lease_ttl: value }],
      ['auth/token/roles/odd', { token_period: value, token_explicit_max_ttl: value }],
      ['auth/token/roles/odd', { token_num_uses: value }],
      ['secret/config', { delete_version_after: value, max_versions: value }],
      ['secret/metadata/odd', { delete_version_after: value, max_versions: value }],
      ['secret/data/odd', { data: {}, options: { cas: value } }],
      ['secret/destroy/odd', { versions: [value] }],
      ['secret/undelete/odd', { versions: value }],
      ['auth/token/create', { num_uses: value, policies: ['default'] }],
      ['auth/token/create', { period: value, policies: ['default'] }],
    ] as const) {
      const { status } = await box.ask('POST', path, { body });
      expect([path, status < 500]).toEqual([path, true]);
    }
    await box.ask('POST', 'sys/mounts/secret/tune', { body: { default_lease_ttl: 'system', max_lease_ttl: 'system' } });
  });
});
