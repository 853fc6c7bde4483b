/** Logins as a server's catalogue and its door have them, by the bare driver: nothing of the box is asked. */
import mysql from 'mysql2/promise';
import pg from 'pg';
import { pause } from '../../databases/process.ts';
import type { DatabaseServer } from '../../databases/servers.ts';

const NAMES = {
  postgresql: "SELECT rolname AS name FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%'",
  mariadb: "SELECT User AS name FROM mysql.user WHERE User NOT IN ('mariadb.sys', 'PUBLIC')",
} as const;

/** Logins that static roles take over, and one that a role never gets. */
export const STATIC_LOGINS = ['static_one', 'static_two', 'static_three', 'static_four'] as const;

export async function makeStaticLogins(server: DatabaseServer): Promise<void> {
  for (const name of STATIC_LOGINS) {
    if (server.kind === 'postgresql') await server.sql(`CREATE ROLE ${name} LOGIN PASSWORD 'first-Secret-1'`);
    else await server.sql(`CREATE USER '${name}'@'%' IDENTIFIED BY 'first-Secret-1'`);
  }
}

export async function namesOn(server: DatabaseServer): Promise<ReadonlySet<string>> {
  const rows = await server.sql(NAMES[server.kind]);
  return new Set(rows.map((row) => String(row['name'])));
}

/** When PostgreSQL itself ends a login, ms; undefined: never, or the server keeps no such thing. */
export async function endOf(server: DatabaseServer, name: string): Promise<number | undefined> {
  if (server.kind !== 'postgresql') return undefined;
  const [row] = await server.sql(`SELECT rolvaliduntil AS at FROM pg_roles WHERE rolname = '${name}'`);
  return row?.['at'] instanceof Date ? row['at'].getTime() : undefined;
}

export async function letsIn(server: DatabaseServer, name: string, password: string): Promise<boolean> {
  const { host, port, kind } = server;
  if (kind === 'postgresql') {
    const client = new pg.Client({ host, port, user: name, password, database: 'app', ssl: false });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return true;
    } catch {
      return false;
    } finally {
      await client.end();
    }
  }
  try {
    const connection = await mysql.createConnection({ host, port, user: name, password, disableEval: true });
    await connection.end();
    return true;
  } catch {
    return false;
  }
}

export async function until(holds: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(10)) if (await holds()) return true;
  return false;
}
