/** The engine over real servers: PostgreSQL and MariaDB. */
import mysql from 'mysql2/promise';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mariadb } from '../../../../host/databases/mysql/adapter.ts';
import { postgresql } from '../../../../host/databases/postgresql/adapter.ts';
import type { ValueMap } from '../../../../host/ports/value.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { NetworkProxy } from '../../../databases/proxy.ts';
import { type DatabaseServer, startServer } from '../../../databases/servers.ts';
import type { WholeBox } from '../../whole/box.ts';
import { databaseBox, refusal, until } from './box.ts';

const KINDS = {
  postgresql: {
    plugin: 'postgresql-database-plugin',
    create: `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
    wrong: `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' NONSENSE`,
    names: "SELECT rolname AS name FROM pg_roles WHERE rolname LIKE 'v-%'",
    own: (name: string) => `CREATE ROLE "${name}" WITH LOGIN PASSWORD 'first-password'`,
    byCertificate: `CREATE ROLE "{{name}}" LOGIN IN ROLE by_certificate`,
  },
  mariadb: {
    plugin: 'mariadb-database-plugin',
    create: `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
    wrong: `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}' NONSENSE`,
    names: "SELECT User AS name FROM mysql.user WHERE User LIKE 'v-%'",
    own: (name: string) => `CREATE USER '${name}'@'%' IDENTIFIED BY 'first-password'`,
    byCertificate: `CREATE USER '{{name}}'@'%' REQUIRE SUBJECT '{{subject}}'`,
  },
} as const;

/** @param proof  a password, or a client certificate and its key */
async function logsIn(
  server: DatabaseServer,
  username: string,
  proof: string | { readonly cert: string; readonly key: string },
): Promise<boolean> {
  const ssl = typeof proof === 'string' ? undefined : { ca: server.authority.certificatePem, ...proof };
  const at = {
    ...{ host: server.host, port: server.port, user: username, password: typeof proof === 'string' ? proof : '' },
    ...(ssl === undefined ? {} : { ssl }),
  };
  try {
    if (server.kind === 'postgresql') {
      const client = new pg.Client({ ssl: false, ...at, database: 'app' });
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
    } else {
      await (await mysql.createConnection({ ...at, disableEval: true })).end();
    }
    return true;
  } catch {
    return false;
  }
}

describe.each(['postgresql', 'mariadb'] as const)('over %s', (kind) => {
  const words = KINDS[kind];
  let server: DatabaseServer;
  let proxy: NetworkProxy;
  let box: WholeBox;
  let connection: ValueMap;
  beforeAll(async () => {
    server = await startServer(kind);
    proxy = await NetworkProxy.before(server);
    box = await databaseBox({
      adapters: (clock) => [postgresql({ clock, random: systemRandom }), mariadb({ clock })],
      parts: { leaseTimeoutMs: 3000 },
    });
    connection = {
      plugin_name: words.plugin,
      connection_url: server.url(),
      username: server.manager.username,
      password: server.manager.password,
      allowed_roles: '*',
    };
    await box.ok('write', 'sys/mounts/db', { type: 'database' });
    await box.ok('write', 'db/config/c', connection);
    await box.ok('write', 'db/roles/r', { db_name: 'c', creation_statements: words.create, default_ttl: '1h' });
  }, 60_000);
  afterAll(async () => {
    await box.end();
    await proxy.close();
    await server.close();
  });
  const names = async (): Promise<unknown[]> => (await server.sql(words.names)).map(({ name }) => name);
  const issue = async (role = 'r') => {
    const { data, lease } = await box.ok('read', `db/creds/${role}`);
    return { username: String(data?.['username']), password: String(data?.['password']), id: lease?.id ?? '' };
  };

  test('a login works, is renewed, and is gone when it is revoked', async () => {
    const { username, password, id } = await issue();
    expect(username).toMatch(/^v-[0-9a-f]{4}-/);
    expect(await logsIn(server, username, password)).toBe(true);
    await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: '2h' });
    await box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: true });
    expect(await logsIn(server, username, password)).toBe(false);
    expect(await names()).not.toContain(username);
  });

  test.each(['rsa', 'ec', 'ed25519'])('a client certificate (%s) lets in its own login and no other', async (type) => {
    await box.ok('write', `db/roles/cert-${type}`, {
      db_name: 'c',
      creation_statements: words.byCertificate,
      default_ttl: '1h',
      credential_type: 'client_certificate',
      credential_config: {
        ca_cert: server.authority.certificatePem,
        ca_private_key: await server.authority.keyPem(),
        key_type: type,
      },
    });
    const certified = async () => {
      const { data, lease } = await box.ok('read', `db/creds/cert-${type}`);
      const proof = { cert: String(data?.['client_certificate']), key: String(data?.['private_key']) };
      return { username: String(data?.['username']), proof, id: lease?.id ?? '' };
    };
    const [one, other] = [await certified(), await certified()];
    expect(await logsIn(server, one.username, one.proof)).toBe(true);
    expect(await logsIn(server, one.username, other.proof)).toBe(false);
    expect(await logsIn(server, one.username, '')).toBe(false);
    await box.ok('write', 'sys/leases/revoke', { lease_id: one.id, sync: true });
    expect(await logsIn(server, one.username, one.proof)).toBe(false);
    expect(await logsIn(server, other.username, other.proof)).toBe(true);
  });

  test('it dies by itself when its lease ends', async () => {
    await box.ok('write', 'db/roles/short', { db_name: 'c', creation_statements: words.create, default_ttl: '30s' });
    const { username, password } = await issue('short');
    expect(await logsIn(server, username, password)).toBe(true);
    box.skip(31_000);
    await until(async () => !(await names()).includes(username));
    expect(await logsIn(server, username, password)).toBe(false);
  });

  test('two dozen at once are two dozen logins, and a prefix ends them all', async () => {
    await box.ok('write', 'db/roles/many', { db_name: 'c', creation_statements: words.create });
    const made = await Promise.all(Array.from({ length: 24 }, () => issue('many')));
    expect(new Set(made.map(({ username }) => username)).size).toBe(24);
    expect(new Set(made.map(({ password }) => password)).size).toBe(24);
    const [first] = made;
    expect(await logsIn(server, first?.username ?? '', first?.password ?? '')).toBe(true);
    await box.ok('write', 'sys/leases/revoke-prefix/db/creds/many', { sync: true });
    const left = new Set(await names());
    expect(made.filter(({ username }) => left.has(username))).toEqual([]);
  });

  test.each(['x"; DROP TABLE t; --', "a'' OR 1=1", '$$a$$', '`b`', 'naïve ☃'])(
    'a role named %j makes and drops a login',
    async (role) => {
      await box.ok('write', `db/roles/${role}`, { db_name: 'c', creation_statements: words.create });
      const { username, password, id } = await issue(role);
      expect(await logsIn(server, username, password)).toBe(true);
      await box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: true });
      expect(await names()).not.toContain(username);
    },
  );

  test('wrong statements are 400 with the server’s message, no password, and no login', async () => {
    await box.ok('write', 'db/roles/wrong', { db_name: 'c', creation_statements: words.wrong });
    const before = await names();
    const answer = refusal(await box.send('read', 'db/creds/wrong'));
    expect(answer).toMatch(/^400 .*NONSENSE/is);
    expect(answer).not.toMatch(/PASSWORD '[^']{8,}|BY '[^'{*]{8,}/);
    expect(await names()).toEqual(before);
  });

  test('a wrong password, a wrong port, and a server that says nothing are told without a secret', async () => {
    const bad = refusal(await box.send('write', 'db/config/bad', { ...connection, password: 'canary-password' }));
    expect(bad).toMatch(/^400 error creating database object: /);
    const closed = { ...connection, connection_url: server.url(1) };
    const away = refusal(await box.send('write', 'db/config/bad', closed));
    expect(away).toMatch(/^502 error creating database object: /);
    for (const answer of [bad, away]) expect(answer).not.toMatch(/canary|manager-Secret/);
    expect(refusal(await box.send('read', 'db/config/bad'))).toBe('404 ');
  });

  test('revocations wait for a server that is away, and for a connection that was deleted', async () => {
    await box.ok('write', 'db/config/far', { ...connection, connection_url: server.url(proxy.port) });
    await box.ok('write', 'db/roles/far', { db_name: 'far', creation_statements: words.create });
    const { username, id } = await issue('far');
    await box.ok('delete', 'db/config/far');
    await box.send('write', 'sys/leases/revoke', { lease_id: id });
    expect(await names()).toContain(username);
    proxy.cut();
    await box.ok('write', 'db/config/far', { ...connection, connection_url: server.url(proxy.port) });
    for (let i = 0; i < 50 && (await names()).includes(username); i++) {
      box.skip(10_000);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(await names()).not.toContain(username);
  }, 30_000);

  test('a static role: its password works, the one before does not', async () => {
    await server.sql(words.own('app-user'));
    await box.ok('write', 'db/static-roles/s', { db_name: 'c', username: 'app-user', rotation_period: '1h' });
    const password = async (): Promise<string> =>
      String((await box.ok('read', 'db/static-creds/s')).data?.['password']);
    const first = await password();
    expect(await logsIn(server, 'app-user', 'first-password')).toBe(false);
    expect(await logsIn(server, 'app-user', first)).toBe(true);
    box.skip(3_601_000);
    await until(async () => (await password()) !== first);
    expect(await logsIn(server, 'app-user', first)).toBe(false);
    expect(await logsIn(server, 'app-user', await password())).toBe(true);
  });

  test.each(['x"y', "o'neil", 'do$$lar', 'naïve'])('a static login named %j', async (name) => {
    const quoted = kind === 'postgresql' ? name.replaceAll('"', '""') : name.replaceAll("'", "''");
    await server.sql(words.own(quoted));
    await box.ok('write', 'db/static-roles/odd', { db_name: 'c', username: name, rotation_period: '1h' });
    const { data } = await box.ok('read', 'db/static-creds/odd');
    expect(await logsIn(server, name, String(data?.['password']))).toBe(true);
    await box.ok('delete', 'db/static-roles/odd');
  });

  test('a login changes its own password where the connection has none', async () => {
    await server.sql(words.own('own-user'));
    const { username: _, password: __, ...rest } = connection;
    await box.ok('write', 'db/config/self', { ...rest, self_managed: true });
    const body = { db_name: 'self', username: 'own-user', password: 'first-password', rotation_period: '1h' };
    const answer = refusal(await box.send('write', 'db/static-roles/self', body));
    expect(answer).toBe('answered');
    const { data } = await box.ok('read', 'db/static-creds/self');
    const first = String(data?.['password']);
    expect(await logsIn(server, 'own-user', first)).toBe(true);
    expect(await logsIn(server, 'own-user', 'first-password')).toBe(false);
    await box.ok('write', 'db/rotate-role/self');
    expect(await logsIn(server, 'own-user', first)).toBe(false);
    // It changes itself and nobody else.
    await server.sql(words.own('other-user'));
    const other = { ...body, username: 'other-user', password: 'wrong' };
    expect(refusal(await box.send('write', 'db/static-roles/other-self', other))).toMatch(/^40[0-9] /);
    expect(await logsIn(server, 'other-user', 'first-password')).toBe(true);
  });

  test('the box’s own password is rotated, and nobody else knows it', async () => {
    const login = 'box-user';
    await server.sql(words.own(login));
    await server.sql(
      kind === 'postgresql'
        ? `ALTER ROLE "${login}" CREATEROLE`
        : `GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO '${login}'@'%'; GRANT SELECT ON mysql.* TO '${login}'@'%'`,
    );
    await box.ok('write', 'db/config/root', { ...connection, username: login, password: 'first-password' });
    await box.ok('write', 'db/roles/root', { db_name: 'root', creation_statements: words.create });
    await issue('root');
    await box.ok('write', 'db/rotate-root/root');
    expect(await logsIn(server, login, 'first-password')).toBe(false);
    const { id } = await issue('root');
    await box.ok('write', 'db/rotate-root/root');
    await box.restart();
    await issue('root');
    await box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: true });
  });

  test('what no lease explains is listed, by every prefix that names had', async () => {
    const { username } = await issue();
    const box4 = /^v-([0-9a-f]{4})-/.exec(username)?.[1] ?? '';
    await box.ok('write', 'db/config/c', { username_template: 'hf_{{.BoxId}}_{{random 20}}' });
    expect((await issue()).username).toMatch(new RegExp(`^hf_${box4}_[A-Za-z0-9]{20}$`));
    for (const name of [`v-${box4}-left-behind`, `hf_${box4}_left`, `v-zzzz-not-ours`])
      await server.sql(words.own(name));
    const { data } = await box.ok('read', 'sys/leases/reconcile');
    const found = JSON.stringify(data);
    expect(found).toContain(`v-${box4}-left-behind`);
    expect(found).toContain(`hf_${box4}_left`);
    expect(found).not.toContain('v-zzzz');
    expect(found).not.toContain(username);
    await box.ok('write', 'db/config/c', { username_template: '' });
    for (const name of [`v-${box4}-left-behind`, `hf_${box4}_left`, 'v-zzzz-not-ours'])
      await server.sql(kind === 'postgresql' ? `DROP ROLE "${name}"` : `DROP USER '${name}'@'%'`);
  });

  test('a server that hangs does not delay others', async () => {
    await box.ok('write', 'db/config/hangs', { ...connection, connection_url: server.url(proxy.port) });
    await box.ok('write', 'db/roles/hangs', { db_name: 'hangs', creation_statements: words.create });
    proxy.hold();
    const hanging = box.send('read', 'db/creds/hangs');
    const began = Date.now();
    await issue();
    await box.ok('write', 'secret/data/a', { data: { k: 'v' } });
    expect(Date.now() - began).toBeLessThan(3000);
    proxy.cut();
    proxy.resume();
    expect(refusal(await hanging)).toMatch(/^502 /);
  }, 30_000);

  test('removing the mount drops what it made', async () => {
    await issue();
    await issue();
    expect((await names()).length).toBeGreaterThan(1);
    for (let i = 0; i < 20; i++) {
      if (refusal(await box.send('delete', 'sys/mounts/db')) === 'answered') break;
      box.skip(15_000);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(await names()).toEqual([]);
  }, 30_000);
});
