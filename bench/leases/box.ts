/** A box with connections to one real server and roles on them, over HTTP. */
import type { DatabaseServer, ServerKind } from '../../test/databases/servers.ts';
import { type Running, type Scratch, startBox } from '../box.ts';
import { CREATION, PREPARATION, REVOCATION } from './driver.ts';

const PLUGIN = { postgresql: 'postgresql-database-plugin', mariadb: 'mariadb-database-plugin' } as const;
/** Logins under way at once, at most: each side has as many connections. */
export const IN_FLIGHT_MAX = 16;

export interface LeaseBox extends Running {
  /** @throws Error what was answered, unless it is a success */
  ask(method: string, path: string, body?: object): Promise<unknown>;
  /** Writes a role. @param ttlS  seconds that its logins live @param connection  `main` if absent */
  role(name: string, ttlS: number, connection?: string): Promise<void>;
}

/**
 * The settings of each connection by its name, beside where the server is. Sessions are opened as they are needed: of two
 * connections that are used in turns each has up to sixteen, and those of the other idle.
 */
const CONNECTIONS: Readonly<Record<ServerKind, Readonly<Record<string, object>>>> = {
  postgresql: { main: {}, 'main-clear': { password_authentication: 'password' } },
  mariadb: { main: {} },
};

export async function prepared(server: DatabaseServer): Promise<void> {
  for (const statement of PREPARATION[server.kind]) await server.sql(statement);
  if (server.kind === 'postgresql') await server.sql(`GRANT readers TO ${server.manager.username} WITH ADMIN OPTION`);
}

export async function leaseBox(
  scratch: Scratch,
  server: DatabaseServer,
  program: string | undefined,
): Promise<LeaseBox> {
  const folder = `${scratch.folder}/box-${server.kind}`;
  const box = await startBox({ folder, ...(program === undefined ? {} : { program }) });
  const ask = async (method: string, path: string, body?: object): Promise<unknown> => {
    const answer = await fetch(`${box.target}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': box.token ?? '' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  await ask('POST', 'sys/mounts/database', { type: 'database' });
  for (const [name, settings] of Object.entries(CONNECTIONS[server.kind])) {
    await ask('POST', `database/config/${name}`, {
      plugin_name: PLUGIN[server.kind],
      connection_url: server.url(),
      ...server.manager,
      ...settings,
      allowed_roles: '*',
      max_open_connections: IN_FLIGHT_MAX,
    });
  }
  const role = async (name: string, ttlS: number, connection = 'main'): Promise<void> => {
    await ask('POST', `database/roles/${name}`, {
      db_name: connection,
      creation_statements: CREATION[server.kind],
      revocation_statements: REVOCATION[server.kind],
      default_ttl: ttlS,
      max_ttl: 86_400,
    });
  };
  return { ...box, ask, role };
}
