/** The README's database login, line by line as it is written; only ports and the superuser's password are this run's own. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DatabaseServer, startServer } from '../databases/servers.ts';
import { Home } from './server.ts';

const PSQL = '/usr/lib/postgresql/15/bin';
const lines = ([...readFileSync('README.md', 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)]
  .map(([, text = '']) => text.trim())
  .find((text) => text.includes('psql'))
  ?.split('\n') ?? []) as readonly string[];

const home = new Home();
let database: DatabaseServer;
beforeAll(async () => {
  database = await startServer('postgresql');
  await home.start();
}, 60_000);
afterAll(async () => {
  await home.close();
  await database.close();
});

function sh(line: string): string {
  const own = line
    .replaceAll('npx holdfast', `${process.execPath} ${join(process.cwd(), 'host/cli/holdfast.mjs')}`)
    .replaceAll('127.0.0.1:5432', `127.0.0.1:${database.port}`);
  const { username, password } = database.superuser;
  const postgres = { PGHOST: '127.0.0.1', PGPORT: `${database.port}`, PGUSER: username, PGPASSWORD: password };
  const env = { ...home.variables, PATH: `${PSQL}:${home.variables['PATH']}`, PGDATABASE: 'postgres', ...postgres };
  const run = spawnSync('sh', ['-c', own], { env, encoding: 'utf8' });
  expect([line, run.status, run.stderr.slice(0, 300)]).toEqual([line, 0, '']);
  return run.stdout;
}

async function logsIn(user: string, password: string): Promise<boolean> {
  const client = new pg.Client({ host: '127.0.0.1', port: database.port, database: 'postgres', user, password });
  client.on('error', () => undefined);
  return await client.connect().then(
    async () => {
      await client.end();
      return true;
    },
    () => false,
  );
}

test('ten lines lead from nothing to a login that dies after 30 seconds', async () => {
  expect(lines).toHaveLength(10);
  const said = new Map<string, string>();
  let login: readonly [string, string] | undefined;
  for (const line of lines) {
    if (line.startsWith('sleep') && login !== undefined) expect(await logsIn(...login)).toBe(true);
    const out = sh(line);
    said.set(line, out);
    if (!line.includes('database/creds/app') || !line.includes('read')) continue;
    const field = (name: string): string => new RegExp(`^${name}\\s+(\\S+)$`, 'm').exec(out)?.[1] ?? '';
    login = [field('username'), field('password')];
    expect(field('lease_duration')).toBe('30s');
  }
  const outputs = [...said.values()];
  expect(outputs[5]).toContain('lease_id');
  expect(outputs[6]).toContain(login?.[0] ?? 'no login');
  expect(outputs[7]?.trim().split('\n').at(-1)).toMatch(/^[A-Za-z0-9]{24}$/);
  expect(outputs[9]).toMatch(/^\s+0$/m);
  expect(login?.[0]).toMatch(/^v-/);
  expect(await logsIn(...(login ?? ['', '']))).toBe(false);
  expect(await logsIn('box', 'until it is rotated')).toBe(false);
}, 120_000);
