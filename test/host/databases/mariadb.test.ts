import mysql from 'mysql2/promise';
import { mariadb } from '../../../host/databases/mysql/adapter.ts';
import { clock, databaseContract } from '../../contract/database.ts';

databaseContract({
  plugin: 'mariadb-database-plugin',
  server: 'mariadb',
  adapter: mariadb({ clock }),
  isTransactional: false,
  expiryOf: undefined,
  creation: [
    `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; GRANT SELECT ON app.* TO '{{name}}'@'%'; # {{name}}`,
  ],
  spellings: [
    [`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`],
    [`CREATE USER {{name}}@'%' IDENTIFIED BY {{password}};`, 'GRANT SELECT ON app.* TO {{username}}'],
    ['CREATE USER "{{name}}" IDENTIFIED BY "{{password}}"; GRANT SELECT ON app.* TO `{{name}}`@`%`'],
  ],
  failingCreation: [
    `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
    `GRANT SELECT ON nowhere.x TO '{{name}}'@'%'`,
  ],
  customRevocation: [`REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{{name}}'@'%'`, `DROP USER {{name}}@'%'`],
  failingRevocation: [`REVOKE SELECT ON nowhere.x FROM '{{name}}'@'%'`],
  badTemplates: [
    `CREATE USER app_{{name}}`,
    `CREATE USER {{name}}_app`,
    `CREATE USER '{{nome}}'`,
    `CREATE USER '{{ name }}'`,
    `CREATE USER '{{name}}`,
    `CREATE USER '{{name}}\\'`,
    'CREATE USER `{{name}}',
    `CREATE USER x /* {{name}}`,
    `CREATE USER x /*! IDENTIFIED BY '{{password}}' */`,
    `CREATE USER x /*M!100 IDENTIFIED BY '{{password}}' */`,
    `START TRANSACTION; CREATE USER '{{name}}'; COMMIT`,
    `CREATE USER '{{name}}' IDENTIFIED BY '{{public_key}}'`,
  ],
  badUrls: [
    'x:CANARY@unix(/run/CANARY)/',
    'x:CANARY@tcp(127.0.0.1:99999)/',
    'x:CANARY@tcp(127.0.0.1:1)/?tls=preferred&CANARY',
    'x:CANARY@tcp(127.0.0.1:1)',
    'x:CANARY@tcp(127.0.0.1:1)/?allowAllFiles=CANARY',
    'x:CANARY@tcp(127.0.0.1:1)/?allowCleartextPasswords=CANARY',
  ],
  refusedNames: [],
  allLogins: "SELECT User AS name FROM mysql.user WHERE Host <> '' ORDER BY BINARY User",
  session: async (server, name, password) => {
    const client = await mysql.createConnection({ host: server.host, port: server.port, user: name, password });
    const ended = new Promise<void>((resolve) => client.on('error', () => resolve()));
    return { ended };
  },
  tls: (server, host, ca) => ({
    connection_url: `{{username}}:{{password}}@tcp(${host}:${server.port})/?tls=true`,
    tls_ca: ca,
  }),
});
