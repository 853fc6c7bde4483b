import pg from 'pg';
import { postgresql } from '../../../host/databases/postgresql/adapter.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { clock, databaseContract } from '../../contract/database.ts';

databaseContract({
  plugin: 'postgresql-database-plugin',
  server: 'postgresql',
  adapter: postgresql({ clock, random: systemRandom }),
  isTransactional: true,
  expiryOf: async (server, name) => {
    const [row] = await server.sql(
      `SELECT extract(epoch FROM rolvaliduntil)::int AS until FROM pg_authid WHERE rolname = '${name}'`,
    );
    return Number(row?.['until']) * 1000;
  },
  creation: [
    `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
     GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}"; -- {{name}}
     GRANT USAGE ON SCHEMA public TO "{{name}}"`,
  ],
  spellings: [
    [`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}'`],
    [`CREATE ROLE {{name}} LOGIN PASSWORD {{password}};`, `COMMENT ON ROLE {{username}} IS '{{username}}'`],
    [`CREATE ROLE "{{name}}" LOGIN PASSWORD E'{{password}}'; COMMENT ON ROLE "{{name}}" IS E'{{name}}'`],
  ],
  failingCreation: [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`, 'GRANT SELECT ON nowhere TO "{{name}}"'],
  customRevocation: [
    'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "{{name}}"',
    'REVOKE ALL ON SCHEMA public FROM {{name}}; DROP ROLE "{{name}}"',
  ],
  failingRevocation: ['DROP ROLE "{{name}}"; SELECT 1/0'],
  badTemplates: [
    `CREATE ROLE "{{name}}" PASSWORD U&'{{password}}'`,
    `CREATE ROLE U&"{{name}}"`,
    `CREATE ROLE app_{{name}}`,
    `CREATE ROLE {{name}}_app`,
    `CREATE ROLE "{{nome}}"`,
    `CREATE ROLE "{{ name }}"`,
    `CREATE ROLE "{{name}}`,
    `CREATE ROLE '{{name}}`,
    `DO $a$ BEGIN $b$ END`,
    `CREATE ROLE x /* {{name}}`,
    `BEGIN; CREATE ROLE "{{name}}"; COMMIT`,
    `CREATE ROLE "{{name}}"; /* */ commit`,
    `CREATE ROLE "{{name}}"; rollback`,
    `CREATE ROLE "{{name}}" PASSWORD '{{public_key}}'`,
  ],
  badUrls: [
    'postgresql://x:CANARY%ZZ@127.0.0.1/app',
    'postgresql://x:CANARY/#@127.0.0.1/app',
    'postgresql://x:CANARY@127.0.0.1:99999/app',
    'postgresql://x:CANARY@127.0.0.1:port/app',
    'postgresql://x:CANARY@a,b/app?sslmode=disable',
    'postgresql://x:CANARY@%2Frun%2FCANARY/app',
    'postgresql://x:CANARY@127.0.0.1/app?sslmode=prefer',
    'postgresql://x:CANARY@127.0.0.1/app?sslrootcert=/CANARY',
    'postgresql://x:CANARY@127.0.0.1/app?options=-cCANARY',
    'host=/run/CANARY user=x password=CANARY',
    "host=a user=x password='CANARY",
    'host=a user=x password=CANARY password=CANARY',
    'host=a user=x password=CANARY service=CANARY',
  ],
  refusedNames: [],
  allLogins: 'SELECT rolname AS name FROM pg_roles ORDER BY rolname COLLATE "C"',
  session: async (server, name, password) => {
    const client = new pg.Client({ host: server.host, port: server.port, user: name, password, database: 'app' });
    client.on('error', () => undefined);
    const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
    await client.connect();
    return { ended };
  },
  tls: (server, host, ca) => ({
    connection_url: `postgresql://{{username}}:{{password}}@${host}:${server.port}/app?sslmode=verify-full`,
    tls_ca: ca,
  }),
});
