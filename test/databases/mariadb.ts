/** MariaDB from Debian's mariadb-server. */
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { Authority } from './authority.ts';
import { Account, freePort, remove, ServerProcess, standStill } from './process.ts';
import type { DatabaseServer, ServerOptions } from './servers.ts';

const SUPERUSER = { username: 'superuser', password: 'superuser-Secret-1' };
const MANAGER = { username: 'holdfast', password: 'manager-Secret-1' };

/** Nothing that a small machine feels. */
const SMALL = [
  '--innodb-buffer-pool-size=16M',
  '--innodb-log-file-size=8M',
  '--key-buffer-size=1M',
  '--aria-pagecache-buffer-size=4M',
  '--max-connections=120',
  '--performance-schema=OFF',
];
const FAST = ['--innodb-flush-log-at-trx-commit=0', '--debug-no-sync'];

/** Run by the server before it takes its first connection. */
const SETUP = [
  `CREATE USER '${SUPERUSER.username}'@'%' IDENTIFIED BY '${SUPERUSER.password}'`,
  `GRANT ALL ON *.* TO '${SUPERUSER.username}'@'%' WITH GRANT OPTION`,
  `CREATE USER '${MANAGER.username}'@'%' IDENTIFIED BY '${MANAGER.password}'`,
  `GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO '${MANAGER.username}'@'%'`,
  `GRANT SELECT ON mysql.* TO '${MANAGER.username}'@'%'`,
  'CREATE DATABASE app',
  'CREATE DATABASE other',
  `GRANT ALL ON app.* TO '${MANAGER.username}'@'%' WITH GRANT OPTION`,
  `GRANT ALL ON other.* TO '${MANAGER.username}'@'%' WITH GRANT OPTION`,
  'DROP USER root@localhost',
];

export async function startMariaDb(options: ServerOptions): Promise<DatabaseServer> {
  const account = new Account('mysql');
  const folder = account.folder('holdfast-mariadb-');
  const data = join(folder, 'data');
  const log = join(folder, 'log');
  const port = await freePort();
  const authority = await Authority.make('test database authority');
  const certificate = await authority.server(['127.0.0.1', 'db.test']);
  account.write(join(folder, 'ca.pem'), authority.certificatePem);
  account.write(join(folder, 'server.pem'), certificate.certificatePem);
  account.write(join(folder, 'server.key'), certificate.keyPem);
  account.write(join(folder, 'setup.sql'), `${SETUP.join(';\n')};\n`);
  account.run('/usr/bin/mariadb-install-db', [
    ...['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    // A server that starts clears temporary tables out of its folder, and would clear those of this one too.
    `--tmpdir=${folder}`,
    ...SMALL.slice(0, 2),
  ]);

  const base = [
    ...['--no-defaults', `--datadir=${data}`, `--port=${port}`, '--bind-address=127.0.0.1'],
    ...[`--socket=${join(folder, 'socket')}`, `--pid-file=${join(folder, 'pid')}`],
    ...['--skip-name-resolve', '--character-set-server=utf8mb4', `--tmpdir=${folder}`],
    ...[`--ssl-ca=${join(folder, 'ca.pem')}`, `--ssl-cert=${join(folder, 'server.pem')}`],
    `--ssl-key=${join(folder, 'server.key')}`,
    ...[`--general-log-file=${join(folder, 'statements')}`, '--general-log=ON'],
    ...SMALL,
    ...(options.durable === true ? [] : FAST),
    ...(options.settings ?? []),
  ];
  let isNew = true;
  const sql = (text: string, database = '') => run(port, text, database);
  const server = new ServerProcess(
    () => {
      const once = isNew ? [`--init-file=${join(folder, 'setup.sql')}`] : [];
      return account.spawn('/usr/sbin/mariadbd', [...base, ...once], log, 'KILL');
    },
    () =>
      sql('SELECT 1').then(
        () => true,
        () => false,
      ),
    log,
  );
  await server.start();
  isNew = false;
  const clientCertificate = await authority.client('CN=manager');

  return {
    kind: 'mariadb',
    host: '127.0.0.1',
    port,
    superuser: SUPERUSER,
    manager: MANAGER,
    authority,
    clientCertificate,
    folder,
    log: join(folder, 'statements'),
    get pid() {
      return server.pid;
    },
    url: (at = port) => `{{username}}:{{password}}@tcp(127.0.0.1:${at})/`,
    sql,
    kill: () => server.end('SIGKILL'),
    restart: () => server.start(),
    pause: () => standStill(server.pid),
    resume: () => void process.kill(server.pid, 'SIGCONT'),
    close: async () => {
      await server.end('SIGKILL');
      remove(folder);
    },
  };
}

async function run(port: number, text: string, database: string): Promise<readonly Record<string, unknown>[]> {
  const client = await mysql.createConnection({
    ...{ host: '127.0.0.1', port, database, multipleStatements: true, disableEval: true },
    ...{ user: SUPERUSER.username, password: SUPERUSER.password },
  });
  client.on('error', () => undefined);
  try {
    const [done] = await client.query<mysql.RowDataPacket[]>(text);
    const rows = Array.isArray(done) ? done : [];
    const last = rows.at(-1);
    return Array.isArray(last) ? last : rows.filter((row) => !('affectedRows' in row));
  } finally {
    await client.end();
  }
}
