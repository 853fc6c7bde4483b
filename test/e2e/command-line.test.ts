/** The executable as a stranger meets it: its version, its help, and a reader that goes away. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Home, type RunningServer } from './server.ts';

const home = new Home();
let server: RunningServer;
beforeAll(async () => {
  server = await home.start();
});
afterAll(() => home.close());

const PROGRAM = [process.execPath, 'host/cli/holdfast.mjs'].join(' ');

function sh(line: string, variables: Record<string, string> = home.variables) {
  const run = spawnSync('bash', ['-o', 'pipefail', '-c', line.replaceAll('holdfast ', `${PROGRAM} `)], {
    env: variables,
    encoding: 'utf8',
  });
  return { code: run.status, out: run.stdout, error: run.stderr };
}

describe('what it says of itself', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string };

  test.each(['version', '--version', '-version', '-v'])('holdfast %s', (word) => {
    const { code, out } = sh(`holdfast ${word}`);
    expect([code, out]).toEqual([0, expect.stringMatching(`^holdfast ${version} \\(Node `)]);
  });

  test('help lists the server too, and help of a command is that of its -help', () => {
    expect(sh('holdfast help').out).toMatch(/^ {2}server {2,}/m);
    for (const command of ['server', 'kv put', 'kv']) {
      const { code, out } = sh(`holdfast help ${command}`);
      expect(code).toBe(0);
      expect(out).toBe(sh(`holdfast ${command} -help`).out);
    }
    expect(sh('holdfast help server').out).toContain('--tls-cert=FILE');
  });
});

describe('a reader that goes away', () => {
  test('ends a command quietly', () => {
    sh('holdfast kv put secret/a b=c');
    // Gone long before the first line is there.
    const { code, error } = sh('holdfast audit export | true');
    expect([code, error]).toEqual([141, '']);
  });

  test('does not end a server', async () => {
    const other = new Home();
    const child = spawn('bash', ['-c', `exec ${PROGRAM} server --init > >(head -n 1)`], {
      env: { HOLDFAST_LISTEN: '127.0.0.1:0', ...other.variables },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.on('close', (code) => resolve(code)));
    const address = await new Promise<string>((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => resolve(/listens at (\S+)/.exec(chunk.toString('utf8'))?.[1] ?? ''));
    });
    const { code, out } = sh(`holdfast status -address=${address}`, other.variables);
    expect([code, out]).toEqual([0, expect.stringMatching(/Sealed\s+false/)]);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    await other.close();
  });
});

describe('what a person reads', () => {
  test('durations and times that are unset, as the vault command shows them', () => {
    expect(sh('holdfast token create -policy=default -ttl=90m').out).toMatch(/token_duration +1h30m\n/);
    expect(sh('cat $XDG_CONFIG_HOME/holdfast/root-token | holdfast login -').out).toMatch(/token_duration +∞\n/);
    expect(sh('holdfast kv get secret/a').out).toMatch(/deletion_time +n\/a\n/);
    expect(sh('holdfast token create -policy=default -ttl=90m -field=token_duration').out).toBe('5400');
    expect(sh('holdfast secrets list -detailed').out).toMatch(/secret\/ .*\{"version":"2"\}/);
  });

  test('a refusal without a token says that there was none', () => {
    const stranger = { ...home.variables, XDG_CONFIG_HOME: home.folder, HOME: home.folder };
    const line = `holdfast kv get -address=${server.address} -ca-cert=${home.config}/ca.pem secret/a`;
    const { code, error } = sh(line, stranger);
    expect([code, error]).toEqual([2, expect.stringContaining('no token was sent: see `holdfast login`')]);
  });
});
