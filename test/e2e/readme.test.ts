import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Home, type RunningServer } from './server.ts';

/** The shell lines of the README, run as they are written; only the port is this run's own. */
const blocks = [...readFileSync('README.md', 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)]
  .map(([, text = '']) => text.trim())
  // Need a database server, a TPM, an HSM: readme-database.test.ts, readme-slots.test.ts.
  .filter((text) => !/psql|softtpm|softhsm/.test(text));

const home = new Home();
let server: RunningServer;
beforeAll(async () => {
  server = await home.start();
  // `~/.config/holdfast` of a user without XDG variables.
  mkdirSync(join(home.folder, '.config'));
  symlinkSync(home.config, join(home.folder, '.config', 'holdfast'));
}, 60_000);
afterAll(() => home.close());

function sh(line: string): { readonly status: number | null; readonly out: string } {
  const own = line
    .replaceAll('npx holdfast', `${process.execPath} ${join(process.cwd(), 'host/cli/holdfast.mjs')}`)
    .replaceAll('https://127.0.0.1:8200', server.address);
  const run = spawnSync('sh', ['-c', own], { env: home.variables, encoding: 'utf8' });
  return { status: run.status, out: `${run.stdout}${run.stderr}` };
}

test('the README has a first ten minutes and a line for curl', () => {
  expect(blocks.length).toBe(3);
  expect(blocks[0]?.split('\n').length).toBeGreaterThan(8);
});

test('every line of the first ten minutes does what it says', () => {
  const outputs = (blocks[0] ?? '').split('\n').map((line) => {
    const { status, out } = sh(line);
    expect([line, status, out.slice(0, 300)]).toEqual([line, 0, out.slice(0, 300)]);
    return out;
  });
  const all = outputs.join('\n');
  expect(all).toContain('correct horse');
  expect(all).toContain('The log agrees');
  expect(all).toContain('"phase":"response"');
});

test('curl reads the secret', () => {
  const { status, out } = sh(blocks[1] ?? '');
  expect(status).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ data: { data: { username: 'app', password: 'correct horse' } } });
});

test('every line about keys does what it says', () => {
  for (const line of (blocks[2] ?? '').split('\n')) {
    const { status, out } = sh(line);
    expect([line, status, out.slice(0, 300)]).toEqual([line, 0, out.slice(0, 300)]);
  }
});
