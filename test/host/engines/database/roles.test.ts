import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeAuthority } from '../../../../host/api/certificates.ts';
import { Fault } from '../../../../host/fault.ts';
import { dateOf } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { Authority } from '../../../databases/authority.ts';
import { CONNECTION, CREATION, type FakeBox, fakeBox, refusal, until } from './box.ts';

let box: FakeBox;
beforeAll(async () => {
  box = await fakeBox();
});
afterAll(() => box.end());
beforeEach(() => {
  box.server.before = () => {};
  box.server.after = () => {};
});
const known = (): string[] => [...box.server.logins.keys()].filter((name) => name.startsWith('v-'));

describe('roles', () => {
  test('are read back as they were written, with everything that was not', async () => {
    await box.ok('write', 'db/roles/full', {
      db_name: 'c',
      creation_statements: ['A', 'B'],
      revocation_statements: 'R',
      rollback_statements: ['K'],
      renew_statements: JSON.stringify(['N1', 'N2']),
      default_ttl: '90s',
      max_ttl: 3600,
    });
    expect((await box.ok('read', 'db/roles/full')).data).toEqual({
      db_name: 'c',
      creation_statements: ['A', 'B'],
      revocation_statements: ['R'],
      rollback_statements: ['K'],
      renew_statements: ['N1', 'N2'],
      default_ttl: 90,
      max_ttl: 3600,
      credential_type: 'password',
    });
    await box.ok('write', 'db/roles/full', { default_ttl: 5 });
    expect((await box.ok('read', 'db/roles/full')).data).toMatchObject({
      creation_statements: ['A', 'B'],
      default_ttl: 5,
    });
    expect((await box.ok('list', 'db/roles')).data).toEqual({ keys: ['full', 'r'] });
    await box.ok('delete', 'db/roles/full');
    await box.ok('delete', 'db/roles/full');
    expect(refusal(await box.send('read', 'db/roles/full'))).toBe('404 ');
  });

  test.each([
    [{ creation_statements: 'X' }, '400 database name is required'],
    [{ db_name: 'c', creation_statements: 7 }, '400 statements are a text or a list of texts'],
    [{ db_name: 'c', creation_statements: 'x'.repeat(40_000) }, /^400 a role has at most/],
    [{ db_name: 'c', creation_statements: 'X {{nonsense}}' }, /^400 .*nonsense/],
    [{ db_name: 'c', default_ttl: '-1' }, /^400 .*negative/],
    [{ db_name: 'c', default_ttl: 'soon' }, /^400 error converting input for field "default_ttl"/],
    [{ db_name: 'c', credential_type: 'magic' }, /^400 invalid credential_type/],
    [{ db_name: 'c', credential_config: { nothing: 'x' } }, /^400 invalid credential_config/],
    [{ db_name: 'c', credential_type: 'rsa_private_key', credential_config: { key_bits: 512 } }, /^400 .*key_bits/],
    [{ db_name: 'c', credential_type: 'client_certificate' }, /^400 .*ca_cert/],
  ] as const)('%j is refused', async (body, why) => {
    const answer = refusal(await box.send('write', 'db/roles/bad', body));
    if (typeof why === 'string') expect(answer).toBe(why);
    else expect(answer).toMatch(why);
  });

  test('may be written before their connection', async () => {
    await box.ok('write', 'db/roles/early', { db_name: 'later', creation_statements: CREATION });
    expect(refusal(await box.send('read', 'db/creds/early'))).toContain('failed to find entry for connection');
    await box.ok('write', 'db/config/later', CONNECTION);
    await box.ok('read', 'db/creds/early');
  });
});

describe('creds', () => {
  test('makes a login with its own end 5 s behind the lease’s, and drops it with the lease', async () => {
    const before = Date.now();
    const { data, lease } = await box.ok('read', 'db/creds/r');
    const username = String(data?.['username']);
    expect(username).toMatch(/^v-[0-9a-f]{4}-root-r-[A-Za-z0-9]{20}$/);
    expect(data?.['password']).toMatch(/^[A-Za-z0-9-]{20}$/);
    expect(lease).toMatchObject({ renewable: true, durationSeconds: 3600 });
    expect(lease?.id).toMatch(/^db\/creds\/r\/[A-Za-z0-9]{24}$/);
    const made = box.server.logins.get(username);
    expect(made?.password).toBe(data?.['password']);
    expect(made?.expirationMs).toBeGreaterThanOrEqual(before + 3_605_000);
    expect(made?.expirationMs).toBeLessThan(Date.now() + 3_606_000);
    expect(box.server.lastStatements).toEqual([CREATION]);
    await box.ok('write', 'sys/leases/renew', { lease_id: lease?.id ?? '', increment: '30m' });
    expect(box.server.logins.get(username)?.expirationMs).toBeLessThan(Date.now() + 1_806_000);
    await box.ok('write', 'sys/leases/revoke', { lease_id: lease?.id ?? '', sync: true });
    expect(box.server.logins.has(username)).toBe(false);
  });

  test('statements of a lease are those of its issue', async () => {
    await box.ok('write', 'db/roles/then', { db_name: 'c', revocation_statements: 'OLD', renew_statements: 'OLDR' });
    const { lease } = await box.ok('read', 'db/creds/then');
    await box.ok('write', 'db/roles/then', { db_name: 'c', revocation_statements: 'NEW', renew_statements: 'NEWR' });
    await box.ok('write', 'sys/leases/renew', { lease_id: lease?.id ?? '' });
    expect(box.server.lastStatements).toEqual(['OLDR']);
    await box.ok('delete', 'db/roles/then');
    await box.ok('write', 'sys/leases/revoke', { lease_id: lease?.id ?? '', sync: true });
    expect(box.server.lastStatements).toEqual(['OLD']);
  });

  test('a role or a template that was rewritten counts from the next login on, however fast they follow each other', async () => {
    const login = async () => {
      const { data, lease } = await box.ok('read', 'db/creds/fast');
      return { name: String(data?.['username']), id: lease?.id ?? '' };
    };
    const ended = async (id: string) => {
      await box.ok('write', 'sys/leases/renew', { lease_id: id });
      const renewal = box.server.lastStatements;
      await box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: true });
      return [renewal, box.server.lastStatements];
    };
    await box.ok('write', 'db/config/fast', { ...CONNECTION, allowed_roles: '*' });
    await box.ok('write', 'db/roles/fast', { db_name: 'fast', revocation_statements: 'OLD', renew_statements: 'OLDR' });
    const before = [await login(), await login(), await login()];
    await box.ok('write', 'db/roles/fast', { revocation_statements: 'NEW' });
    const revoked = [await login(), await login(), await login()];
    await box.ok('write', 'db/roles/fast', { renew_statements: 'NEWR' });
    const renewed = [await login(), await login()];
    await box.ok('write', 'db/config/fast', { username_template: 'hf_{{.BoxId}}_{{random 20}}' });
    const named = [await login(), await login()];
    expect([...before, ...revoked, ...renewed].every(({ name }) => name.startsWith('v-'))).toBe(true);
    expect(named.every(({ name }) => name.startsWith('hf_'))).toBe(true);
    for (const { id } of before) expect(await ended(id)).toEqual([['OLDR'], ['OLD']]);
    for (const { id } of revoked) expect(await ended(id)).toEqual([['OLDR'], ['NEW']]);
    for (const { id } of [...renewed, ...named]) expect(await ended(id)).toEqual([['NEWR'], ['NEW']]);
  });

  test('the name of a login is that of its own token, however fast they follow each other', async () => {
    const tokenOf = async (name: string): Promise<string> => {
      const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], display_name: name });
      return auth?.clientToken ?? '';
    };
    const [an, be] = [await tokenOf('an'), await tokenOf('be')];
    for (let turn = 0; turn < 3; turn++) {
      for (const [token, name] of [
        [an, 'an'],
        [be, 'be'],
      ] as const) {
        const { data } = await box.ok('read', 'db/creds/r', {}, token);
        expect(String(data?.['username'])).toContain(`-token-${name}-`);
      }
    }
  });

  test('who may use a connection is said by it', async () => {
    await box.ok('write', 'db/config/few', { ...CONNECTION, allowed_roles: ['one', 'two-*'] });
    for (const [role, may] of [
      ['one', true],
      ['two-x', true],
      ['two', false],
      ['oneone', false],
      ['"; DROP ROLE root; --', false],
    ] as const) {
      await box.ok('write', `db/roles/${role}`, { db_name: 'few' });
      const answer = refusal(await box.send('read', `db/creds/${role}`));
      if (may) expect(answer).toBe('answered');
      else expect(answer).toBe(`500 1 error occurred:\n\t* ${JSON.stringify(role)} is not an allowed role\n\n`);
    }
    expect(refusal(await box.send('read', 'db/creds/nothere'))).toBe('400 unknown role: nothere');
  });

  test.each([`x"; DROP ROLE root; --`, `a''b`, '$$x$$', 'naïve ☃', '{{random 3}}', '%s'])(
    'a role named %j is a name and nothing else',
    async (role) => {
      await box.ok('write', `db/roles/${role}`, { db_name: 'c' });
      const { data } = await box.ok('read', `db/creds/${role}`);
      expect(data?.['username']).toMatch(/^v-[0-9a-f]{4}-root-.{1,8}-[A-Za-z0-9]{20}$/u);
      expect(box.server.lastStatements).toEqual([]);
    },
  );

  test('a login whose making fails leaves none, and the rollback statements run', async () => {
    await box.ok('write', 'db/roles/fails', { db_name: 'c', creation_statements: 'X', rollback_statements: 'UNDO' });
    const before = known();
    box.server.after = (call) => {
      if (call === 'create') throw new Fault('database.refused', 'syntax error near canary');
    };
    expect(refusal(await box.send('read', 'db/creds/fails'))).toMatch(/^400 syntax error/);
    expect(known()).toEqual(before);
  });

  test('a dead server costs a few deadlines and then nothing, and comes back', async () => {
    box.server.add('other', 'other-password');
    await box.ok('write', 'db/config/dead', { ...CONNECTION, username: 'other', password: 'other-password' });
    await box.ok('write', 'db/roles/dead', { db_name: 'dead' });
    box.server.before = (_call, _names, as) => {
      if (as === 'other') throw new Fault('database.unreachable', 'no route');
    };
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push(refusal(await box.send('read', 'db/creds/dead')));
    expect(answers[0]).toMatch(/^502 no route/);
    expect(answers.at(-1)).toMatch(/^502 the database of connection "dead" did not answer [3-9] times in a row/);
    // Its neighbour does not notice.
    await box.ok('read', 'db/creds/r');
    const made = box.server.count('create');
    await box.send('read', 'db/creds/dead');
    expect(box.server.count('create')).toBe(made);
    box.server.before = () => {};
    box.skip(31_000);
    await box.ok('read', 'db/creds/dead');
  });

  test('a policy of passwords is that of the role, else of the connection', async () => {
    const rule = (charset: string): string => `length = 30\nrule "charset" { charset = "${charset}" }`;
    await box.ok('write', 'sys/policies/password/digits', { policy: rule('0123456789') });
    await box.ok('write', 'sys/policies/password/letters', { policy: rule('abcdefghij') });
    await box.ok('write', 'db/config/pp', { ...CONNECTION, password_policy: 'digits' });
    await box.ok('write', 'db/roles/p1', { db_name: 'pp' });
    await box.ok('write', 'db/roles/p2', { db_name: 'pp', credential_config: { password_policy: 'letters' } });
    await box.ok('write', 'db/roles/p3', { db_name: 'pp', credential_config: { password_policy: 'nothere' } });
    expect((await box.ok('read', 'db/creds/p1')).data?.['password']).toMatch(/^\d{30}$/);
    expect((await box.ok('read', 'db/creds/p2')).data?.['password']).toMatch(/^[a-j]{30}$/);
    const before = known();
    expect(refusal(await box.send('read', 'db/creds/p3'))).toMatch(/^400 policy does not exist/);
    expect(known()).toEqual(before);
  });

  test('what is rewritten counts from the next login on: statements, the template of names, the policy', async () => {
    const policy = (charset: string) => ({ policy: `length = 30\nrule "charset" { charset = "${charset}" }` });
    const connection = { ...CONNECTION, password_policy: 'now' };
    await box.ok('write', 'sys/policies/password/now', policy('0123456789'));
    await box.ok('write', 'db/config/now', { ...connection, username_template: 'old-{{.BoxId}}-{{random 20}}' });
    await box.ok('write', 'db/roles/now', { db_name: 'now', creation_statements: ['OLD {{name}}', 'X'] });
    const made = async (): Promise<readonly string[]> => {
      const { data } = await box.ok('read', 'db/creds/now');
      return [String(data?.['username']).slice(0, 4), String(data?.['password']), ...box.server.lastStatements];
    };
    const digits = expect.stringMatching(/^\d{30}$/);
    const letters = expect.stringMatching(/^[a-j]{30}$/);
    for (let i = 0; i < 2; i++) expect(await made()).toEqual(['old-', digits, 'OLD {{name}}', 'X']);
    await box.ok('write', 'db/roles/now', { creation_statements: 'NEW {{name}}' });
    expect(await made()).toEqual(['old-', digits, 'NEW {{name}}']);
    await box.ok('write', 'db/config/now', { ...connection, username_template: 'new-{{.BoxId}}-{{random 20}}' });
    expect(await made()).toEqual(['new-', digits, 'NEW {{name}}']);
    // One is in reserve, its password made by the old one.
    expect(await made()).toEqual(['new-', digits, 'NEW {{name}}']);
    await box.ok('write', 'sys/policies/password/now', policy('abcdefghij'));
    expect(await made()).toEqual(['new-', letters, 'NEW {{name}}']);
    await box.ok('write', 'db/config/now', { ...connection, allowed_roles: 'others' });
    expect(refusal(await box.send('read', 'db/creds/now'))).toMatch(/not an allowed role/);
    await box.ok('write', 'db/config/now', { ...connection, password_policy: '', username_template: '' });
    expect(await made()).toEqual([
      expect.stringMatching(/^v-/),
      expect.stringMatching(/^[A-Za-z0-9-]{20}$/),
      'NEW {{name}}',
    ]);
    await box.ok('delete', 'sys/policies/password/now');
    await box.ok('write', 'db/config/now', connection);
    expect(refusal(await box.send('read', 'db/creds/now'))).toMatch(/policy does not exist/);
  });

  test('an RSA key: the server gets the public half', async () => {
    await box.ok('write', 'db/roles/key', { db_name: 'c', credential_type: 'rsa_private_key' });
    const { data } = await box.ok('read', 'db/creds/key');
    expect(data?.['rsa_private_key']).toContain('BEGIN PRIVATE KEY');
    expect(box.server.logins.get(String(data?.['username']))?.publicKey).toContain('BEGIN PUBLIC KEY');
  });

  test('a client certificate is the login’s, and ends with it', async () => {
    const authority = await Authority.make('clients');
    const { keyPem: foreign } = await authority.client('CN=x');
    const own = { ca_cert: authority.certificatePem };
    expect(
      refusal(
        await box.send('write', 'db/roles/cert', {
          db_name: 'c',
          credential_type: 'client_certificate',
          credential_config: { ...own, ca_private_key: foreign },
        }),
      ),
    ).toMatch(/^400 .*its own key/);
    const ca = await makeAuthority({
      nowMs: Date.now(),
      date: dateOf,
      randomBytes: (length) => systemRandom.bytes(length),
    });
    await box.ok('write', 'db/roles/cert', {
      db_name: 'c',
      default_ttl: '1h',
      credential_type: 'client_certificate',
      credential_config: { ca_cert: ca.certificatePem, ca_private_key: ca.keyPem, key_type: 'ec' },
    });
    expect(JSON.stringify((await box.ok('read', 'db/roles/cert')).data)).not.toContain('PRIVATE KEY');
    const { data } = await box.ok('read', 'db/creds/cert');
    const certificate = new X509Certificate(String(data?.['client_certificate']));
    expect(certificate.subject).toBe(`CN=${String(data?.['username'])}`);
    expect(certificate.verify(new X509Certificate(ca.certificatePem).publicKey)).toBe(true);
    // As long as the login: the clock of this box was moved on before.
    const until = box.server.logins.get(String(data?.['username']))?.expirationMs ?? 0;
    expect(Math.abs(Date.parse(certificate.validTo) - until)).toBeLessThan(1000);
    expect(data?.['private_key_type']).toBe('ec');
    expect(box.server.logins.get(String(data?.['username']))?.commonName).toBe(data?.['username']);
  });

  test('a certificate that takes too long to make makes no login, however late it comes', async () => {
    let begun = false;
    let finish: () => void = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const own = await fakeBox({
      certifying: async () => {
        begun = true;
        await slow;
      },
    });
    try {
      const ca = await makeAuthority({
        nowMs: Date.now(),
        date: dateOf,
        randomBytes: (length) => systemRandom.bytes(length),
      });
      await own.ok('write', 'db/roles/cert', {
        db_name: 'c',
        credential_type: 'client_certificate',
        credential_config: { ca_cert: ca.certificatePem, ca_private_key: ca.keyPem, key_type: 'ec' },
      });
      const asked = own.send('read', 'db/creds/cert');
      await until(() => begun);
      own.skip(21_000);
      expect(refusal(await asked)).toMatch(/^502 .*did not answer within/);
      const intents = (): number => [...own.store.range('lease', { prefix: Buffer.from('I') })].length;
      await until(() => {
        own.skip(5000);
        return intents() === 0;
      });
      finish();
      // What was asked for goes on by itself: it has come to its end before this login, which is made later, is there.
      await own.ok('read', 'db/creds/r');
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect([own.server.count('create'), own.server.logins.size]).toEqual([1, 2]);
    } finally {
      await own.end();
    }
  });
});
