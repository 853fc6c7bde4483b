/**
 * What the ending of logins costs a machine whatever ends them: PostgreSQL's own load generator drops as many a second, one
 * transaction each. It is a program of its own, in C: what reads feel beside it is the server's work, and no more.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BINARIES } from '../../test/databases/postgresql.ts';
import type { DatabaseServer } from '../../test/databases/servers.ts';

const SCRIPT = `\\set k :k + 1
BEGIN;
REVOKE readers FROM p_:k;
DROP ROLE p_:k;
COMMIT;
`;

/** Logins as the bench's role makes them, all in one transaction. */
async function make(server: DatabaseServer, count: number): Promise<void> {
  await server.sql(`DO $$ BEGIN FOR i IN 1..${count} LOOP
    EXECUTE format('CREATE ROLE p_%s LOGIN', i); EXECUTE format('GRANT readers TO p_%s', i);
  END LOOP; END $$`);
}

/**
 * Drops logins at an even rate while `work` runs, again and again until the last one is gone.
 *
 * @param folder  there, for the script
 * @returns what each run of `work` gave
 */
export async function beside<T>(
  server: DatabaseServer,
  { folder, perSecond, seconds }: { readonly folder: string; readonly perSecond: number; readonly seconds: number },
  work: () => Promise<T>,
): Promise<T[]> {
  const count = Math.ceil(perSecond * seconds);
  await make(server, count);
  const script = join(folder, 'drop.sql');
  writeFileSync(script, SCRIPT);
  const { username, password } = server.superuser;
  const args = ['-n', '-h', server.host, '-p', String(server.port), '-U', username, '-c', '1', '-D', 'k=0'];
  const child = spawn(
    join(BINARIES, 'pgbench'),
    [...args, '-R', String(perSecond), '-t', String(count), '-f', script, 'app'],
    { env: { PGPASSWORD: password }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  let runs = true;
  const ended = once(child, 'exit').finally(() => {
    runs = false;
  });
  const results: T[] = [];
  while (runs) results.push(await work());
  const [code] = (await ended) as [number | null];
  const [left] = await server.sql("SELECT count(*)::int AS n FROM pg_roles WHERE rolname LIKE 'p\\_%'");
  if (code !== 0 || Number(left?.['n']) !== 0) throw new Error(`pgbench left ${left?.['n']} logins: ${said}`);
  return results;
}
