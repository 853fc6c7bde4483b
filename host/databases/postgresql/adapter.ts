/** PostgreSQL 12 and later. */
import type { Clock } from '../../ports/clock.ts';
import type {
  ConnectionSettings,
  CredentialType,
  DatabaseAdapter,
  Statements,
  StatementsUse,
} from '../../ports/database.ts';
import type { Random } from '../../ports/random.ts';
import { check } from '../statements.ts';
import { NAME_LENGTH_MAX, PostgresqlDatabase } from './database.ts';
import { POSTGRESQL } from './dialect.ts';
import { parsePostgresql } from './settings.ts';

export function postgresql(parts: { readonly clock: Clock; readonly random: Random }): DatabaseAdapter {
  return {
    plugin: 'postgresql-database-plugin',
    aliases: ['postgresql'],
    credentialTypes: ['password', 'client_certificate'],
    names: {
      lengthMax: NAME_LENGTH_MAX,
      defaultTemplate:
        'v-{{.BoxId}}-{{.DisplayName | truncate 8}}-{{.RoleName | truncate 8}}-{{random 20}}-{{unix_time}}',
    },
    parse: parsePostgresql,
    check: (statements: Statements, use: StatementsUse, credential: CredentialType) =>
      check(statements, use, credential, POSTGRESQL),
    // From its own reader: settings that were stored are checked again.
    open: (settings: ConnectionSettings, limits) =>
      new PostgresqlDatabase(parsePostgresql(settings.stored).target, limits, parts.clock, parts.random),
  };
}
