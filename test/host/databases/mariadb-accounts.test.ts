import mysql from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mariadb, mysql as mysqlAdapter } from '../../../host/databases/mysql/adapter.ts';
import type { Database } from '../../../host/ports/database.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { clock, inAnHour, limits, password, secret } from '../../contract/database.ts';
import { type DatabaseServer, startServer } from '../../databases/servers.ts';

/** What MariaDB alone has: accounts by host, modes that change how quotes are read, sessions that outlive their login. */
const adapter = mariadb({ clock });
const TIMEOUT_MS = 10_000;
let server: DatabaseServer;
let database: Database;
const opened: Database[] = [];

const open = (over: ValueMap = {}): Database => {
  const one = adapter.open(adapter.parse({ connection_url: server.url(), ...server.manager, ...over }), limits());
  opened.push(one);
  return one;
};
const create = (name: string, statements: readonly string[], word = 'Pass-word-1'): Promise<void> =>
  database.create({ name, credential: password(word), expirationMs: inAnHour() }, statements, TIMEOUT_MS);
const drop = (name: string) => database.drop([{ name, statements: [] }], TIMEOUT_MS);

beforeAll(async () => {
  // An operator's own modes, in which a backslash is a backslash and double quotes hold names.
  server = await startServer('mariadb', { settings: ['--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES'] });
  database = open();
});
afterAll(async () => {
  await Promise.all(opened.map((one) => one.close()));
  await server.close();
});

test('the server’s own modes do not change how a value is read', async () => {
  for (const word of [`a\\`, `a\\'b`, `a"b\\"c`, `''\\`, `x'; DROP USER holdfast; -- `]) {
    await create('v-mode', [`CREATE USER "{{name}}"@'%' IDENTIFIED BY "{{password}}"`], word);
    expect(await database.letsIn('v-mode', secret(word), TIMEOUT_MS)).toBe(true);
    await database.change('v-mode', password(`${word}\\`), [], TIMEOUT_MS);
    expect(await database.letsIn('v-mode', secret(`${word}\\`), TIMEOUT_MS)).toBe(true);
    expect(await drop('v-mode')).toEqual([{ done: true }]);
  }
});

test('a login goes with every host that it may come from; a role of the same name is somebody else', async () => {
  await server.sql(`CREATE ROLE 'v-hosts'`);
  await create('v-hosts', [
    `CREATE USER '{{name}}'@'localhost' IDENTIFIED BY '{{password}}', '{{name}}'@'10.%' IDENTIFIED BY '{{password}}'`,
    `CREATE USER {{name}} IDENTIFIED BY {{password}}`,
  ]);
  await database.change('v-hosts', password('next-Word-1'), [], TIMEOUT_MS);
  expect(await database.letsIn('v-hosts', secret('next-Word-1'), TIMEOUT_MS)).toBe(true);
  expect(await drop('v-hosts')).toEqual([{ done: true }]);
  expect(await server.sql(`SELECT User, Host FROM mysql.user WHERE User = 'v-hosts'`)).toEqual([
    { User: 'v-hosts', Host: '' },
  ]);
  expect(await database.present(['v-hosts'], TIMEOUT_MS)).toEqual(new Set());
});

test('a fixed account that is there already is not taken for the login: what was made is dropped', async () => {
  await server.sql(`CREATE USER fixed@'%'`);
  for (const statements of [
    [`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`, `CREATE USER fixed@'%'`],
    [`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}', fixed@'%'`],
    [`CREATE USER fixed@'%', '{{name}}'@'%' IDENTIFIED BY '{{password}}'`],
    [`CREATE ROLE '{{name}}'`],
  ]) {
    await expect(create('v-fixed', statements)).rejects.toMatchObject({ code: 'database.refused' });
    expect(await database.present(['v-fixed', 'fixed'], TIMEOUT_MS)).toEqual(new Set(['fixed']));
    await server.sql(`DROP ROLE IF EXISTS 'v-fixed'`);
  }
});

test('a login by certificate: the server compares the subject', async () => {
  const credential = { type: 'client_certificate', commonName: 'v-cert' } as const;
  await database.create({ name: 'v-cert', credential, expirationMs: inAnHour() }, [], TIMEOUT_MS);
  const enter = async (subject: string): Promise<string> => {
    const { certificatePem: cert, keyPem: key } = await server.authority.client(subject);
    return await mysql
      .createConnection({
        ...{ host: '127.0.0.1', port: server.port, user: 'v-cert', disableEval: true },
        ssl: { ca: server.authority.certificatePem, cert, key },
      })
      .then(
        async (connection) => {
          await connection.end();
          return 'in';
        },
        ({ code }: { readonly code: string }) => code,
      );
  };
  expect(await enter('CN=v-cert')).toBe('in');
  expect(await enter('CN=v-other')).toBe('ER_ACCESS_DENIED_ERROR');
  await database.change('v-cert', { ...credential, commonName: 'v-other' }, [], TIMEOUT_MS);
  expect(await enter('CN=v-other')).toBe('in');
  expect(await drop('v-cert')).toEqual([{ done: true }]);
  const odd = { ...credential, commonName: 'a/O=b' };
  const made = database.create({ name: 'v-odd', credential: odd, expirationMs: 0 }, [], TIMEOUT_MS);
  await expect(made).rejects.toMatchObject({ code: 'database.refused' });
});

test('a session that outlived its login is ended when the login is dropped again', async () => {
  await create('v-stays', []);
  const client = await mysql.createConnection({
    host: '127.0.0.1',
    port: server.port,
    user: 'v-stays',
    password: 'Pass-word-1',
  });
  const ended = new Promise((resolve) => client.on('error', resolve));
  await server.sql(`DROP USER 'v-stays'@'%'`);
  expect(await client.query('SELECT 1')).toBeDefined();
  expect(await drop('v-stays')).toEqual([{ done: true }]);
  await ended;
});

test('a statement that takes too long is given up by the server, and what was made before it is dropped', async () => {
  const began = clock.bootMs();
  const made = database.create(
    { name: 'v-slow', credential: password('Pass-word-1'), expirationMs: inAnHour() },
    [`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`, 'SELECT SLEEP(30)'],
    5000,
  );
  await expect(made).rejects.toMatchObject({ code: 'database.unreachable' });
  expect(clock.bootMs() - began).toBeLessThan(4900);
  expect(await database.present(['v-slow'], TIMEOUT_MS)).toEqual(new Set());
});

test('names that the catalogue would fold are refused', async () => {
  for (const name of ['v-blank ', 'v-😀']) {
    await expect(create(name, [])).rejects.toMatchObject({ code: 'database.refused' });
  }
});

test('what the box’s login lacks is said', async () => {
  await server.sql(`CREATE USER weak@'%' IDENTIFIED BY 'weak-Secret-1'`);
  const warnings = await open({ username: 'weak', password: 'weak-Secret-1' }).verify(TIMEOUT_MS);
  expect(warnings.join('\n')).toMatch(/may not make logins[\s\S]*does not see sessions[\s\S]*may not end sessions/);
});

test('MySQL’s names are 32 characters, and its random part comes first', () => {
  const { names, plugin, aliases } = mysqlAdapter({ clock });
  expect([plugin, names.lengthMax]).toEqual(['mysql-database-plugin', 32]);
  expect(aliases).toContain('mysql-rds-database-plugin');
  expect(names.defaultTemplate.indexOf('random')).toBeLessThan(names.defaultTemplate.indexOf('RoleName'));
});
