/** PostgreSQL from Debian's postgresql-15. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { Authority } from './authority.ts';
import { Account, freePort, remove, ServerProcess, standStill } from './process.ts';
import type { DatabaseServer, ServerOptions } from './servers.ts';

export const BINARIES = '/usr/lib/postgresql/15/bin';
const SUPERUSER = { username: 'postgres', password: 'superuser-Secret-1' };
const MANAGER = { username: 'holdfast', password: 'manager-Secret-1' };

/** No syncs, and nothing that a small machine feels. */
const SMALL = ['shared_buffers = 16MB', 'max_connections = 120', 'autovacuum = off', 'max_wal_size = 256MB'];
const FAST = ['fsync = off', 'synchronous_commit = off', 'full_page_writes = off'];

/**
 * `app` is an ordinary database, `other` another one, `tls_only` takes no connection without TLS. Members of
 * `by_certificate` log in by a client certificate whose common name is theirs; everybody else by password.
 */
const ACCESS = `
hostssl all +by_certificate 127.0.0.1/32 cert
hostnossl tls_only all 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
`;

const SETUP = [
  `CREATE ROLE ${MANAGER.username} LOGIN CREATEROLE PASSWORD '${MANAGER.password}'`,
  `GRANT pg_signal_backend TO ${MANAGER.username}`,
  'CREATE ROLE by_certificate NOLOGIN',
  `CREATE DATABASE app OWNER ${MANAGER.username}`,
  `CREATE DATABASE other OWNER ${MANAGER.username}`,
  'CREATE DATABASE tls_only',
];

export async function startPostgresql(options: ServerOptions): Promise<DatabaseServer> {
  const account = new Account('postgres');
  const folder = account.folder('holdfast-postgresql-');
  const data = join(folder, 'data');
  const log = join(folder, 'log');
  const port = await freePort();
  const authority = await Authority.make('test database authority');
  const certificate = await authority.server(['127.0.0.1', 'db.test']);
  account.write(join(folder, 'password'), SUPERUSER.password);
  account.write(join(folder, 'ca.pem'), authority.certificatePem);
  account.write(join(folder, 'server.pem'), certificate.certificatePem);
  account.write(join(folder, 'server.key'), certificate.keyPem);
  account.run(join(BINARIES, 'initdb'), [
    ...['-D', data, '-U', SUPERUSER.username, '-A', 'scram-sha-256', '-E', 'UTF8', '--locale=C'],
    ...[`--pwfile=${join(folder, 'password')}`, '--no-sync', '--no-instructions'],
  ]);
  account.write(join(data, 'pg_hba.conf'), ACCESS);
  const settings = [
    ...SMALL,
    ...(options.durable === true ? [] : FAST),
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    "unix_socket_directories = ''",
    'ssl = on',
    ...['ca_file = ', 'cert_file = ', 'key_file = '].map(
      (name, index) => `ssl_${name}'${join(folder, ['ca.pem', 'server.pem', 'server.key'][index] ?? '')}'`,
    ),
    "log_statement = 'all'",
    "log_line_prefix = '%m [%p] %u@%d '",
    ...(options.settings ?? []),
  ];
  account.write(join(data, 'postgresql.auto.conf'), `${settings.join('\n')}\n`);

  const server = new ServerProcess(
    () => account.spawn(join(BINARIES, 'postgres'), ['-D', data], log, 'QUIT'),
    () => accepts(port),
    log,
  );
  const sql = (text: string, database = 'postgres') => run(port, text, database);
  await server.start();
  for (const statement of SETUP) await sql(statement);
  // As it was before PostgreSQL 15, and as many servers still have it: every login may make tables.
  for (const database of ['app', 'other']) await sql('GRANT CREATE ON SCHEMA public TO PUBLIC', database);
  const clientCertificate = await authority.client('CN=manager');

  return {
    kind: 'postgresql',
    host: '127.0.0.1',
    port,
    superuser: SUPERUSER,
    manager: MANAGER,
    authority,
    clientCertificate,
    folder,
    log,
    get pid() {
      return server.pid;
    },
    url: (at = port) => `postgresql://{{username}}:{{password}}@127.0.0.1:${at}/app?sslmode=disable`,
    sql,
    kill: () => server.end('SIGKILL'),
    restart: () => server.start(),
    pause: () => stopAll(server.pid),
    resume: () => signalAll(server.pid, 'SIGCONT'),
    close: async () => {
      const memory = sharedMemory(data);
      await server.end('SIGQUIT');
      // Left behind by a server that was killed and not started again.
      if (memory !== undefined) spawnSync('ipcrm', ['-m', memory], { stdio: 'ignore' });
      remove(folder);
    },
  };
}

async function run(port: number, text: string, database: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port, database, ssl: false },
    ...{ user: SUPERUSER.username, password: SUPERUSER.password },
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const done: unknown = await client.query(text);
    const last = (Array.isArray(done) ? done.at(-1) : done) as { readonly rows: Record<string, unknown>[] };
    return last.rows;
  } finally {
    await client.end();
  }
}

/** Asks as drivers do; a server that is starting up answers with an error, one that is up asks for a password. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const parameters = Buffer.from(`user\0${SUPERUSER.username}\0database\0postgres\0\0`);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(head.length + parameters.length, 0);
    head.writeUInt32BE(3 << 16, 4);
    const end = (isUp: boolean): void => {
      socket.destroy();
      resolve(isUp);
    };
    socket.once('connect', () => socket.write(Buffer.concat([head, parameters])));
    socket.once('data', (answer) => end(answer[0] === 'R'.charCodeAt(0)));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
  });
}

/** A server is a process and one for each connection, each stopped for itself; the first one first, so that it makes no more. */
function signalAll(pid: number, signal: NodeJS.Signals): void {
  process.kill(pid, signal);
  for (const child of children(pid)) {
    try {
      process.kill(child, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

function stopAll(pid: number): void {
  for (const one of [pid, ...children(pid)]) {
    try {
      standStill(one);
    } catch (error) {
      // It ended meanwhile.
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
}

function children(pid: number): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((one) => {
      try {
        return (
          Number(
            readFileSync(`/proc/${one}/stat`, 'latin1')
              .replace(/^.*\) /s, '')
              .split(' ')[1],
          ) === pid
        );
      } catch {
        return false;
      }
    });
}

function sharedMemory(data: string): string | undefined {
  try {
    return readFileSync(join(data, 'postmaster.pid'), 'latin1').split('\n')[6]?.trim().split(/\s+/)[1];
  } catch {
    return undefined;
  }
}
