/** The database engine as an attacker meets it: a real box before a real server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DatabaseServer, startServer } from '../databases/servers.ts';
import { canary, type Got, Target } from './target.ts';

let box: Target;
let server: DatabaseServer;
const CANARIES = ['root', 'static', 'url', 'statement', 'template', 'role', 'policy', 'key', 'credential'].map(canary);
const answers: string[] = [];
const heard = async (...args: Parameters<Target['ask']>): Promise<Got> => {
  const got = await box.ask(...args);
  answers.push(got.text);
  return got;
};
const errorOf = (got: Got): string => `${got.status} ${got.text}`;
let connection: Readonly<Record<string, unknown>>;

beforeAll(async () => {
  server = await startServer('postgresql');
  await server.sql(`ALTER ROLE ${server.manager.username} PASSWORD '${canary('root')}'`);
  await server.sql(`CREATE ROLE app LOGIN PASSWORD '${canary('static')}'`);
  box = await Target.start();
  await box.must('POST', 'sys/mounts/db', { body: { type: 'database' } });
  connection = {
    plugin_name: 'postgresql-database-plugin',
    connection_url: server.url(),
    username: server.manager.username,
    password: canary('root'),
    allowed_roles: '*',
  };
  await box.must('POST', 'db/config/c', { body: connection });
  await box.must('POST', 'db/roles/r', { body: { db_name: 'c' } });
}, 60_000);
afterAll(async () => {
  await box.end();
  await server.close();
});

describe('secrets', () => {
  /** Passwords that the box made. */
  const made: string[] = [];

  test('malformed and refused requests say nothing of what they held', async () => {
    const requests: readonly Parameters<Target['ask']>[] = [
      ['POST', 'db/config/x', { body: { ...connection, password: `${canary('root')}x` } }],
      ['POST', 'db/config/x', { body: { ...connection, max_open_connections: canary('key') } }],
      ['POST', 'db/config/x', { body: { ...connection, private_key: canary('key') } }],
      ['POST', 'db/config/x', { body: { ...connection, tls_ca: canary('key') } }],
      ['POST', 'db/config/x', { body: { ...connection, connection_url: `postgresql://u:${canary('url')}@[::1/app` } }],
      [
        'POST',
        'db/config/x',
        { body: { ...connection, connection_url: `postgresql://u:${canary('url')}@127.0.0.1:1/a` } },
      ],
      ['POST', 'db/config/x', { body: { ...connection, connection_url: `${canary('url')}` } }],
      ['POST', 'db/config/x', { body: { ...connection, root_rotation_statements: [{ a: canary('statement') }] } }],
      [
        'POST',
        'db/roles/x',
        { body: { db_name: 'c', credential_config: { password_policy: [canary('credential')] } } },
      ],
      ['POST', 'db/roles/x', { body: { db_name: 'c', credential_type: canary('credential') } }],
      ['POST', 'db/roles/x', { body: { db_name: 'c', default_ttl: canary('credential') } }],
      [
        'POST',
        'db/static-roles/x',
        { body: { db_name: 'c', username: 'app', password: canary('key'), rotation_period: 60 } },
      ],
      ['POST', 'sys/policies/password/x', { body: { policy: `length = ${canary('policy')}` } }],
    ];
    for (const [method, path, ask] of requests) {
      const got = await heard(method, path, ask);
      expect([path, got.status >= 400 && got.status < 600, got.text]).toEqual([path, true, got.text]);
    }
  });

  test('a server’s own message comes without what it was sent', async () => {
    await box.must('POST', 'db/roles/odd', {
      body: {
        db_name: 'c',
        creation_statements: `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL 'soon'`,
      },
    });
    const got = await heard('GET', 'db/creds/odd');
    expect(errorOf(got)).toMatch(/^400 .*soon/);
    await box.must('POST', 'db/roles/cast', {
      body: {
        db_name: 'c',
        creation_statements: `SELECT '{{password}}'::int; CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
      },
    });
    const cast = await heard('GET', 'db/creds/cast');
    expect(errorOf(cast)).toMatch(/^400 /);
    // A generated password has 20 of these in a row; no word of the sentence has.
    expect(cast.text).not.toMatch(/[A-Za-z0-9-]{20}/);
  });

  test('an embedded password is shown as xxxxx, and one that does not parse not at all', async () => {
    const url = `postgresql://${server.manager.username}:${canary('root')}@127.0.0.1:${server.port}/app?sslmode=disable`;
    const { username: _, password: __, ...rest } = connection;
    const got = await heard('POST', 'db/config/inside', { body: { ...rest, connection_url: url } });
    expect(errorOf(got)).toMatch(/^200 .*connection_url holds a password/);
    const read = await heard('GET', 'db/config/inside');
    expect(read.text).toContain('xxxxx');
  });

  test('logins are made, rotated and used', async () => {
    await box.must('POST', 'db/rotate-root/c');
    const creds = await box.must('GET', 'db/creds/r');
    made.push(String((creds.json['data'] as Record<string, unknown>)['password']));
    await box.must('POST', 'db/static-roles/s', { body: { db_name: 'c', username: 'app', rotation_period: '1h' } });
    const fixed = await box.must('GET', 'db/static-creds/s');
    made.push(String((fixed.json['data'] as Record<string, unknown>)['password']));
    for (const path of ['db/config/c', 'db/roles/r', 'db/static-roles/s']) await heard('GET', path);
    expect(made.every((one) => one.length === 20)).toBe(true);
  });

  test('are in no answer but their own, no line of output, no entry of the log and no byte of the folder', async () => {
    const { text } = await box.must('GET', 'sys/audit-log/entries?start=0&count=500');
    const said = `${answers.join('\n')}${text}`;
    const written = box.written();
    expect(text).toContain('hmac-sha256:');
    for (const one of [...CANARIES, ...made]) {
      expect([one, said.includes(one)]).toEqual([one, false]);
      expect([one, written.includes(one)]).toEqual([one, false]);
      expect(box.server.printed).not.toContain(one);
    }
  });
});

describe('where it connects to', () => {
  test.each(['169.254.169.254', '[fe80::1]', '[::ffff:169.254.169.254]', '224.0.0.1', '[fd00:ec2::254]'])(
    '%s is refused, verified or not',
    async (host) => {
      const url = `postgresql://{{username}}:{{password}}@${host}:80/app`;
      const checked = await box.ask('POST', 'db/config/m', { body: { ...connection, connection_url: url } });
      expect(errorOf(checked)).toMatch(/^400 .*(link-local, multicast or of a metadata|connection_url)/);
      const unchecked = await box.ask('POST', 'db/config/m', {
        body: { ...connection, connection_url: url, verify_connection: false },
      });
      if (unchecked.status >= 400) return;
      await box.must('POST', 'db/roles/m', { body: { db_name: 'm' } });
      expect(errorOf(await box.ask('GET', 'db/creds/m'))).toMatch(/^400 .*link-local, multicast or of a metadata/);
    },
  );
});

describe('names', () => {
  const HOSTILE = [
    'x"; DROP ROLE app; --',
    "x'; DROP ROLE app; --",
    '$$; DROP ROLE app; $$',
    '\\x"\\',
    '%s%n',
    '{{name}}',
  ];

  test.each(HOSTILE)('%j in every place is a name and nothing else', async (name) => {
    const segment = encodeURIComponent(name);
    await box.must('POST', `db/roles/${segment}`, { body: { db_name: 'c' } });
    const token = await box.token({ display_name: name, policies: ['root'] });
    const got = await box.must('GET', `db/creds/${segment}`, { token });
    const lease = String(got.json['lease_id']);
    const { username } = got.json['data'] as { username: string };
    expect((await server.sql('SELECT rolname FROM pg_roles')).map(({ rolname }) => rolname)).toContain(username);
    await box.must('PUT', 'sys/leases/revoke', { body: { lease_id: lease, sync: true } });
    const left = (await server.sql('SELECT rolname FROM pg_roles')).map(({ rolname }) => rolname);
    expect(left).not.toContain(username);
    expect(left).toContain('app');
    // A static role of a login that is not there changes nobody's password.
    const fixed = await box.ask('POST', `db/static-roles/t${segment}`, {
      body: { db_name: 'c', username: name, rotation_period: 60 },
    });
    expect(fixed.status).toBe(400);
  });

  test('a NUL is refused everywhere', async () => {
    for (const body of [
      { db_name: 'c', username: 'a\u0000b', rotation_period: 60 },
      { db_name: 'c\u0000', username: 'app', rotation_period: 60 },
    ]) {
      const { status } = await box.ask('POST', 'db/static-roles/nul', { body });
      expect(status).toBeGreaterThanOrEqual(400);
    }
    expect((await box.ask('POST', 'db/roles/a%00b', { body: { db_name: 'c' } })).status).toBe(400);
    const template = { ...connection, username_template: 'a\u0000{{random 20}}' };
    expect(errorOf(await box.ask('POST', 'db/config/nul', { body: template }))).toMatch(/^400 .*control/);
    const statements = { db_name: 'c', creation_statements: `CREATE ROLE "{{name}}" LOGIN; \u0000` };
    await box.ask('POST', 'db/roles/nul', { body: statements });
    expect((await box.ask('GET', 'db/creds/nul')).status).toBe(400);
  });
});
