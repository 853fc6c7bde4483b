/**
 * The rival of a lease's two outside halves: the bare driver doing the same statements, on connections that are open before
 * the clock starts. It keeps no lease, checks nothing and forgets what fails; it is the least that anybody can do.
 */
import mysql from 'mysql2/promise';
import pg from 'pg';
import type { DatabaseServer } from '../../test/databases/servers.ts';

export interface BareLogin {
  readonly name: string;
  /** As it stands in the statement: in clear, or a verifier of it. */
  readonly password: string;
  /** As the server reads it. */
  readonly expiration: string;
}

export interface BareDriver {
  /** The statements of `creation`, as one client after another would send them. */
  create(login: BareLogin): Promise<void>;
  drop(name: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Of a role as operators write it; both sides of the bench run these. PostgreSQL keeps all grants on a table in one row of
 * 8 kB, which is full after some 600 logins: thousands get their rights by a role that they are in.
 */
export const CREATION = {
  postgresql: [
    `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
    'GRANT readers TO "{{name}}"',
  ],
  mariadb: [`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`, `GRANT SELECT ON app.* TO '{{name}}'@'%'`],
} as const;

/** Before the first of them, as the superuser. */
export const PREPARATION = {
  postgresql: ['CREATE ROLE readers NOLOGIN'],
  mariadb: [],
} as const;

export const REVOCATION = {
  postgresql: ['REVOKE readers FROM "{{name}}"', 'DROP ROLE "{{name}}"'],
  mariadb: [`DROP USER '{{name}}'@'%'`],
} as const;

/** @param count  connections, each for one caller at a time */
export function bareDriver(server: DatabaseServer, count: number): Promise<BareDriver> {
  return server.kind === 'postgresql' ? barePostgresql(server, count) : bareMariaDb(server, count);
}

/** Free ones first come, first served; the bench asks with no more callers than there are. */
class Free<C> {
  readonly #free: C[];

  constructor(all: readonly C[]) {
    this.#free = [...all];
  }

  async use(work: (one: C) => Promise<void>): Promise<void> {
    const one = this.#free.pop();
    if (one === undefined) throw new Error('more callers than connections');
    try {
      await work(one);
    } finally {
      this.#free.push(one);
    }
  }
}

async function barePostgresql(server: DatabaseServer, count: number): Promise<BareDriver> {
  const clients = Array.from(
    { length: count },
    () =>
      new pg.Client({
        ...{ host: server.host, port: server.port, database: 'app', ssl: false },
        ...{ user: server.manager.username, password: server.manager.password },
      }),
  );
  await Promise.all(clients.map((client) => client.connect()));
  const free = new Free(clients);
  const whole = (texts: readonly string[]): Promise<void> =>
    free.use(async (client) => {
      for (const text of ['BEGIN', ...texts, 'COMMIT']) await client.query(text);
    });
  return {
    create: (login) => whole(CREATION.postgresql.map((text) => filled(text, login))),
    drop: (name) => whole(REVOCATION.postgresql.map((text) => text.replaceAll('{{name}}', name))),
    close: async () => {
      await Promise.all(clients.map((client) => client.end()));
    },
  };
}

async function bareMariaDb(server: DatabaseServer, count: number): Promise<BareDriver> {
  const connections = await Promise.all(
    Array.from({ length: count }, () =>
      mysql.createConnection({
        ...{ host: server.host, port: server.port, disableEval: true },
        ...{ user: server.manager.username, password: server.manager.password },
      }),
    ),
  );
  const free = new Free(connections);
  const each = (texts: readonly string[]): Promise<void> =>
    free.use(async (connection) => {
      for (const text of texts) await connection.query(text);
    });
  return {
    create: (login) => each(CREATION.mariadb.map((text) => filled(text, login))),
    drop: (name) => each(REVOCATION.mariadb.map((text) => text.replaceAll('{{name}}', name))),
    close: async () => {
      await Promise.all(connections.map((connection) => connection.end()));
    },
  };
}

/** The bench makes names and passwords itself: nothing in them needs quoting. */
function filled(text: string, { name, password, expiration }: BareLogin): string {
  return text
    .replaceAll('{{name}}', name)
    .replaceAll('{{password}}', password)
    .replaceAll('{{expiration}}', expiration);
}
