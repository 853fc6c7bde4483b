/** MariaDB 10.6 and later, MySQL 8. Two names, one server's language; their names have different lengths. */
import type { Clock } from '../../ports/clock.ts';
import type {
  ConnectionSettings,
  CredentialType,
  DatabaseAdapter,
  Statements,
  StatementsUse,
} from '../../ports/database.ts';
import { check } from '../statements.ts';
import { MysqlDatabase } from './database.ts';
import { MYSQL } from './dialect.ts';
import { parseMysql } from './settings.ts';

interface Kind {
  readonly plugin: string;
  readonly aliases: readonly string[];
  readonly lengthMax: number;
  readonly defaultTemplate: string;
}

/** Names of 32 characters, which Vault's own template would cut the random part off. */
const MYSQL_KIND: Kind = {
  plugin: 'mysql-database-plugin',
  aliases: ['mysql', 'mysql-aurora-database-plugin', 'mysql-rds-database-plugin', 'mysql-legacy-database-plugin'],
  lengthMax: 32,
  defaultTemplate: 'v-{{.BoxId}}-{{random 14}}-{{.RoleName | truncate 10}}',
};
const MARIADB_KIND: Kind = {
  plugin: 'mariadb-database-plugin',
  aliases: ['mariadb'],
  lengthMax: 80,
  defaultTemplate:
    'v-{{.BoxId}}-{{.DisplayName | truncate 10}}-{{.RoleName | truncate 10}}-{{random 20}}-{{unix_time}}',
};

export function mysql(parts: { readonly clock: Clock }): DatabaseAdapter {
  return adapter(MYSQL_KIND, parts.clock);
}

export function mariadb(parts: { readonly clock: Clock }): DatabaseAdapter {
  return adapter(MARIADB_KIND, parts.clock);
}

function adapter({ plugin, aliases, lengthMax, defaultTemplate }: Kind, clock: Clock): DatabaseAdapter {
  return {
    plugin,
    aliases,
    credentialTypes: ['password', 'client_certificate'],
    names: { lengthMax, defaultTemplate },
    parse: parseMysql,
    check: (statements: Statements, use: StatementsUse, credential: CredentialType) =>
      check(statements, use, credential, MYSQL),
    // From its own reader: settings that were stored are checked again.
    open: (settings: ConnectionSettings, limits) =>
      new MysqlDatabase(parseMysql(settings.stored).target, limits, clock, lengthMax),
  };
}
