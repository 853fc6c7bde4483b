/** A box with a connection to one real server and roles on it, over HTTP. */
import type { DatabaseServer } from '../../test/databases/servers.ts';
import { type Running, type Scratch, startBox } from '../box.ts';
import { CREATION, PREPARATION, REVOCATION } from './driver.ts';

const PLUGIN = { postgresql: 'postgresql-database-plugin', mariadb: 'mariadb-database-plugin' } as const;

export interface LeaseBox extends Running {
  /** @throws Error what was answered, unless it is a success */
  ask(method: string, path: string, body?: object): Promise<unknown>;
}

export async function prepared(server: DatabaseServer): Promise<void> {
  for (const statement of PREPARATION[server.kind]) await server.sql(statement);
  if (server.kind === 'postgresql') await server.sql(`GRANT readers TO ${server.manager.username} WITH ADMIN OPTION`);
}

/**
 * @param roles  name → seconds that its logins live
 * @param port   where the box thinks that the server is: a proxy's
 */
export async function leaseBox(
  scratch: Scratch,
  server: DatabaseServer,
  roles: Readonly<Record<string, number>>,
  { program, port }: { readonly program?: string | undefined; readonly port?: number },
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
  await ask('POST', 'database/config/main', {
    plugin_name: PLUGIN[server.kind],
    connection_url: server.url(port),
    ...server.manager,
    allowed_roles: '*',
    max_open_connections: 16,
  });
  for (const [role, ttl] of Object.entries(roles)) {
    await ask('POST', `database/roles/${role}`, {
      db_name: 'main',
      creation_statements: CREATION[server.kind],
      revocation_statements: REVOCATION[server.kind],
      default_ttl: ttl,
      max_ttl: 86_400,
    });
  }
  return { ...box, ask };
}
