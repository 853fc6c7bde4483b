import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgresql } from '../../../host/databases/postgresql/adapter.ts';
import type { Database } from '../../../host/ports/database.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { clock, inAnHour, limits, password, secret } from '../../contract/database.ts';
import { type DatabaseServer, startServer } from '../../databases/servers.ts';

/** What PostgreSQL alone has: things that hang on a role, in every database, and how the box logs in. */
const adapter = postgresql({ clock, random: systemRandom });
const TIMEOUT_MS = 10_000;
let server: DatabaseServer;
let database: Database;
const opened: Database[] = [];

const open = (over: ValueMap = {}): Database => {
  const settings = adapter.parse({ connection_url: server.url(), ...server.manager, ...over });
  const one = adapter.open(settings, limits());
  opened.push(one);
  return one;
};
const create = (name: string, statements: readonly string[] = [], by = database): Promise<void> =>
  by.create({ name, credential: password('Pass-word-1'), expirationMs: inAnHour() }, statements, TIMEOUT_MS);
const drop = (name: string, statements: readonly string[] = []) => database.drop([{ name, statements }], TIMEOUT_MS);

beforeAll(async () => {
  server = await startServer('postgresql');
  database = open();
});
afterAll(async () => {
  await Promise.all(opened.map((one) => one.close()));
  await server.close();
});

/** As the login itself. */
async function as(name: string, where: string, ...texts: readonly string[]): Promise<void> {
  const word = name === server.manager.username ? server.manager.password : 'Pass-word-1';
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: name,
    password: word,
    database: where,
  });
  client.on('error', () => undefined);
  await client.connect();
  for (const text of texts) await client.query(text);
  await client.end();
}

const count = async (text: string, where = 'app'): Promise<number> =>
  Number((await server.sql(text, where))[0]?.['count']);

test('all that hangs on a login goes with it, in every database, where the box may do everything', async () => {
  const mighty = open(server.superuser);
  await server.sql('CREATE TABLE kept (n int); CREATE SCHEMA side; CREATE TABLE side.kept (n int)', 'app');
  await server.sql('CREATE TABLE IF NOT EXISTS elsewhere (n int)', 'other');
  await create('v-owner');
  await server.sql(
    `GRANT SELECT ON kept TO "v-owner" WITH GRANT OPTION; GRANT USAGE, CREATE ON SCHEMA side TO "v-owner";
     GRANT SELECT ON side.kept TO "v-owner"; GRANT CONNECT ON DATABASE app TO "v-owner";
     ALTER DEFAULT PRIVILEGES IN SCHEMA side GRANT SELECT ON TABLES TO "v-owner";
     CREATE POLICY readers ON kept TO "v-owner" USING (true)`,
    'app',
  );
  await server.sql('GRANT ALL ON elsewhere TO "v-owner"', 'other');
  await server.sql('CREATE DATABASE owned OWNER "v-owner"');
  await server.sql('ALTER ROLE "v-owner" SET search_path = side; GRANT SET ON PARAMETER log_statement TO "v-owner"');
  await as(
    'v-owner',
    'app',
    'CREATE TABLE public.mine (n int)',
    'CREATE TABLE side.mine (n int)',
    'GRANT SELECT ON public.kept TO holdfast',
    'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC',
  );
  await as('v-owner', 'other', 'CREATE TABLE public.mine (n int)', 'SELECT lo_create(4711)');
  // A database's new owner must be one that may make databases.
  await server.sql('ALTER ROLE holdfast CREATEDB');

  // Others granted it too: only they, or a superuser, can take that back.
  const [kept] = await drop('v-owner');
  expect(kept).toMatchObject({ done: false, fault: expect.stringContaining('privileges for table kept') });
  expect(await mighty.drop([{ name: 'v-owner', statements: [] }], TIMEOUT_MS)).toEqual([{ done: true }]);

  expect(await count(`SELECT count(*) FROM pg_roles WHERE rolname = 'v-owner'`)).toBe(0);
  expect(await count(`SELECT count(*) FROM pg_class WHERE relname = 'mine'`)).toBe(0);
  expect(await count(`SELECT count(*) FROM pg_class WHERE relname = 'mine'`, 'other')).toBe(0);
  expect(await count('SELECT count(*) FROM pg_largeobject_metadata', 'other')).toBe(0);
  expect(await count('SELECT count(*) FROM pg_default_acl')).toBe(0);
  expect(await count(`SELECT count(*) FROM pg_class WHERE relname = 'kept'`)).toBe(2);
  expect(await server.sql(`SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = 'owned'`)).toEqual([
    { owner: 'postgres' },
  ]);
  await server.sql('DROP DATABASE owned');
});

test('what the box granted, in every schema and database, goes with the login, by a box that may make logins alone', async () => {
  const side = open({ connection_url: server.url().replace('/app', '/other') });
  await as('holdfast', 'other', 'CREATE SCHEMA ours', 'CREATE TABLE ours.things (n int)');
  await as('holdfast', 'app', 'CREATE SCHEMA ours', 'CREATE TABLE ours.things (n int)');
  const grants = `GRANT ALL ON SCHEMA ours TO "{{name}}"; GRANT SELECT ON ours.things TO "{{name}}" WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES IN SCHEMA ours GRANT SELECT ON TABLES TO "{{name}}"`;
  await create('v-granted', [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'; ${grants}`]);
  await side.renew('v-granted', inAnHour(), [grants], TIMEOUT_MS);
  await as('v-granted', 'app', 'CREATE TABLE ours.mine (n int)', 'GRANT SELECT ON ours.things TO PUBLIC');
  expect(await count('SELECT count(*) FROM pg_default_acl', 'other')).toBe(1);
  expect(await drop('v-granted')).toEqual([{ done: true }]);
  for (const where of ['app', 'other']) {
    expect(await count('SELECT count(*) FROM pg_default_acl', where)).toBe(0);
    expect(await server.sql(`SELECT relname FROM pg_class WHERE relnamespace = 'ours'::regnamespace`, where)).toEqual([
      { relname: 'things' },
    ]);
  }
});

test('what others built on a login’s table stays, and becomes the box’s; other logins of the call are not kept', async () => {
  await create('v-base');
  await create('v-plain');
  await as('v-base', 'app', 'CREATE TABLE public.base (n int)', 'GRANT SELECT ON public.base TO PUBLIC');
  await server.sql('CREATE VIEW of_base AS SELECT n FROM base', 'app');
  const outcomes = await database.drop(
    [
      { name: 'v-plain', statements: [] },
      { name: 'v-base', statements: [] },
    ],
    TIMEOUT_MS,
  );
  expect(outcomes).toEqual([{ done: true }, { done: true }]);
  expect(await server.sql('SELECT n FROM of_base', 'app')).toEqual([]);
  expect(await server.sql(`SELECT tableowner FROM pg_tables WHERE tablename = 'base'`, 'app')).toEqual([
    { tableowner: 'holdfast' },
  ]);
});

test('a session in the middle of a transaction does not keep its login', async () => {
  await create('v-busy');
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'v-busy',
    password: 'Pass-word-1',
    database: 'app',
  });
  // The driver says it twice: what the server sent, then that the connection is gone.
  const ended = new Promise((resolve) => client.on('error', resolve));
  await client.connect();
  await client.query('BEGIN; CREATE TABLE public.busy (n int)');
  expect(await drop('v-busy')).toEqual([{ done: true }]);
  await ended;
  expect(await count(`SELECT count(*) FROM pg_class WHERE relname = 'busy'`)).toBe(0);
});

test('grants that another transaction is in the middle of: the creation waits its time, and then is made or given up whole', async () => {
  await server.sql('CREATE TABLE contended (n int)', 'app');
  const grant = [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'; GRANT SELECT ON contended TO "{{name}}"`];
  const other = new pg.Client({
    ...{ host: server.host, port: server.port, database: 'app' },
    ...{ user: server.manager.username, password: server.manager.password },
  });
  await other.connect();
  await server.sql(`ALTER TABLE contended OWNER TO holdfast`, 'app');
  for (const end of ['COMMIT', 'stays'] as const) {
    await other.query('BEGIN; GRANT SELECT ON contended TO PUBLIC');
    const made = create(`v-wait-${end}`, grant).then(
      () => 'made',
      ({ code }: { readonly code: string }) => code,
    );
    if (end === 'COMMIT') {
      await clock.sleep(300);
      await other.query('COMMIT');
      expect(await made).toBe('made');
      expect(await drop('v-wait-COMMIT')).toEqual([{ done: true }]);
    } else {
      expect(await made).toBe('database.unreachable');
      await other.query('ROLLBACK');
      expect(await database.present(['v-wait-stays'], TIMEOUT_MS)).toEqual(new Set());
    }
  }
  await other.end();
});

test('a statement that takes too long is given up by the server, and nothing is left of it', async () => {
  const began = clock.bootMs();
  const made = database.create(
    { name: 'v-slow', credential: password('Pass-word-1'), expirationMs: inAnHour() },
    [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'; SELECT pg_sleep(30)`],
    2000,
  );
  await expect(made).rejects.toMatchObject({ code: 'database.unreachable', message: expect.stringContaining('57014') });
  expect(clock.bootMs() - began).toBeLessThan(1900);
  expect(await database.present(['v-slow'], TIMEOUT_MS)).toEqual(new Set());
});

test('the server hears a verifier, never the password; unless it is told so', async () => {
  await database.create(
    { name: 'v-scram', credential: password('CANARY-scram-1'), expirationMs: inAnHour() },
    [],
    TIMEOUT_MS,
  );
  expect(await database.letsIn('v-scram', secret('CANARY-scram-1'), TIMEOUT_MS)).toBe(true);
  const [row] = await server.sql(`SELECT rolpassword FROM pg_authid WHERE rolname = 'v-scram'`);
  expect(String(row?.['rolpassword'])).toMatch(/^SCRAM-SHA-256\$4096:/);
  const early = password('CANARY-scram-2');
  database.prepare?.(early);
  await database.change('v-scram', early, [], TIMEOUT_MS);
  expect(await database.letsIn('v-scram', secret('CANARY-scram-2'), TIMEOUT_MS)).toBe(true);
  const log = readFileSync(server.log, 'utf8');
  expect(log).toContain('CREATE ROLE "v-scram"');
  expect(log).not.toContain('CANARY-scram');
  const plain = open({ password_authentication: 'password' });
  await plain.change('v-scram', password('CANARY-plain-1'), [], TIMEOUT_MS);
  expect(readFileSync(server.log, 'utf8')).toContain('CANARY-plain');
  expect(await plain.letsIn('v-scram', secret('CANARY-plain-1'), TIMEOUT_MS)).toBe(true);
  await drop('v-scram');
});

test('a login by certificate: the server finds it by the common name', async () => {
  const credential = { type: 'client_certificate', commonName: 'v-cert' } as const;
  const statements = [`CREATE ROLE "{{name}}" LOGIN IN ROLE by_certificate`];
  await database.create({ name: 'v-cert', credential, expirationMs: inAnHour() }, statements, TIMEOUT_MS);
  const enter = async (subject: string): Promise<string> => {
    const { certificatePem: cert, keyPem: key } = await server.authority.client(subject);
    const client = new pg.Client({
      ...{ host: '127.0.0.1', port: server.port, database: 'app', user: 'v-cert' },
      ssl: { ca: server.authority.certificatePem, cert, key },
    });
    client.on('error', () => undefined);
    return await client.connect().then(
      async () => {
        await client.end();
        return 'in';
      },
      ({ code }: { readonly code: string }) => code,
    );
  };
  expect(await enter('CN=v-cert')).toBe('in');
  expect(await enter('CN=v-other')).toBe('28000');
  expect(await drop('v-cert')).toEqual([{ done: true }]);
  const other = database.create(
    { name: 'v-cert', credential: { ...credential, commonName: 'x' }, expirationMs: 0 },
    statements,
    TIMEOUT_MS,
  );
  await expect(other).rejects.toMatchObject({ code: 'database.refused' });
});

test('the box itself may log in by a certificate, without a password', async () => {
  await server.sql('CREATE ROLE manager LOGIN CREATEROLE IN ROLE by_certificate, pg_signal_backend');
  const by = open({
    connection_url: `postgresql://{{username}}@127.0.0.1:${server.port}/app?sslmode=verify-full`,
    username: 'manager',
    password: '',
    tls_ca: server.authority.certificatePem,
    tls_certificate: server.clientCertificate.certificatePem,
    private_key: server.clientCertificate.keyPem,
  });
  expect(await by.verify(TIMEOUT_MS)).toEqual([]);
});

test('a server that takes no connection without TLS, and one that has no TLS', async () => {
  const bare = open({ connection_url: server.url().replace('/app', '/tls_only') });
  await expect(bare.verify(TIMEOUT_MS)).rejects.toMatchObject({ code: 'database.refused' });
  const without = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write('N'));
  });
  await new Promise<void>((resolve) => without.listen(0, '127.0.0.1', resolve));
  const { port } = without.address() as { readonly port: number };
  const wants = open({ connection_url: server.url(port).replace('disable', 'require') });
  await expect(wants.verify(TIMEOUT_MS)).rejects.toMatchObject({
    code: 'database.unreachable',
    message: expect.stringContaining('does not support SSL'),
  });
  without.close();
});

test('who asks for the password itself and does not prove who he is does not get it', async () => {
  const heard: Buffer[] = [];
  const thief = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => heard.push(bytes));
    // AuthenticationCleartextPassword (PostgreSQL, 55.7).
    socket.once('data', () => socket.write(Buffer.of(82, 0, 0, 0, 8, 0, 0, 0, 3)));
  });
  await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve));
  const { port } = thief.address() as { readonly port: number };
  const robbed = open({ connection_url: server.url(port), password: 'CANARY-thief-1' });
  await expect(robbed.verify(2000)).rejects.toMatchObject({ code: 'database.refused' });
  await clock.sleep(100);
  expect(heard.length).toBeGreaterThan(0);
  expect(Buffer.concat(heard).includes('CANARY')).toBe(false);
  thief.close();
});

test('what a role’s statements set in a session is gone with it', async () => {
  await server.sql('CREATE ROLE makers NOLOGIN CREATEROLE; GRANT makers TO holdfast');
  await create('v-set', [
    'SET ROLE makers',
    `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`,
    'SET search_path = nowhere',
  ]);
  // A session that had kept the role would not see the grant to its own.
  expect(await database.verify(TIMEOUT_MS)).toEqual([]);
  expect(await drop('v-set')).toEqual([{ done: true }]);
});

test('a session goes on after revocation statements that leave it as it was, and after no others', async () => {
  const all = async (): Promise<readonly number[]> => {
    const rows = await server.sql(`SELECT pid FROM pg_stat_activity WHERE usename = '${server.manager.username}'`);
    return rows.map(({ pid }) => Number(pid));
  };
  const others = new Set(await all());
  const own = open();
  /** The one backend of it; one that said goodbye may be there for a while. */
  const backend = async (): Promise<number | undefined> => {
    for (let looks = 0; looks < 100; looks++) {
      const [pid, ...more] = (await all()).filter((one) => !others.has(one));
      if (more.length === 0) return pid;
      await clock.sleep(20);
    }
    throw new Error('it has more than one session');
  };
  const dropped = async (name: string, statements: readonly string[]) => {
    await create(name, [], own);
    const outcomes = await own.drop([{ name, statements }], TIMEOUT_MS);
    await own.present([name], TIMEOUT_MS);
    return { outcomes, pid: await backend() };
  };
  await own.verify(TIMEOUT_MS);
  const first = await backend();
  const done = [{ done: true }];
  const plain = ['REVOKE ALL ON SCHEMA public FROM "{{name}}"', 'DROP ROLE "{{name}}"'];
  expect(await dropped('v-plain', plain)).toEqual({ outcomes: done, pid: first });
  const setting = await dropped('v-setting', ['DROP ROLE "{{name}}"', 'SET search_path = nowhere']);
  expect(setting.outcomes).toEqual(done);
  expect(setting.pid).not.toBe(first);
  // Refused, and the session was told something all the same.
  const refused = await dropped('v-refused', ['SET search_path = nowhere', 'DROP ROLE "nobody-{{name}}"']);
  expect(refused.outcomes).toMatchObject([{ done: false }]);
  expect(refused.pid).not.toBe(setting.pid);
  expect(await drop('v-refused')).toEqual(done);
});

test('what the box’s login lacks is said', async () => {
  await server.sql(`CREATE ROLE weak LOGIN PASSWORD 'weak-Secret-1'`);
  const warnings = await open({ username: 'weak', password: 'weak-Secret-1' }).verify(TIMEOUT_MS);
  expect(warnings.join('\n')).toMatch(/may not make logins[\s\S]*may not end sessions/);
});
