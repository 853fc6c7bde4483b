/** Starts that cannot be: a sentence that says what to do, no stack, and nothing lost that was made before. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Home, type RunningServer } from './server.ts';

const homes: Home[] = [];
const newHome = (): Home => {
  const home = new Home();
  homes.push(home);
  return home;
};
afterAll(() => Promise.all(homes.map((home) => home.close())));

let busy: RunningServer;
beforeAll(async () => {
  busy = await newHome().start();
});
const taken = (): string => busy.address.replace('https://', '');

async function refused(home: Home, ...args: readonly string[]): Promise<string> {
  const server = home.spawn(args);
  expect([args, await server.ended]).toEqual([args, 1]);
  expect(server.stdout).toBe('');
  expect(server.stderr).toMatch(/^holdfast: [^\n]+\n$/);
  expect(server.stderr).not.toContain('internal error');
  return server.stderr;
}

describe('an address that cannot be listened at', () => {
  test('a port that another process has', async () => {
    const said = await refused(newHome(), '--init', `--listen=${taken()}`);
    expect(said).toContain(`cannot listen at ${taken()}: another process listens there`);
    expect(said).toContain('HOLDFAST_LISTEN');
  });

  test('an address that is not this machine’s', async () => {
    expect(await refused(newHome(), '--init', '--listen=192.0.2.1:0')).toContain('this machine has no such address');
  });

  test('a socket in a folder that is not there, or with a path that no socket can have', async () => {
    const home = newHome();
    const lost = join(home.folder, 'none', 'h.sock');
    expect(await refused(home, '--init', '--tls=off', `--listen=unix:${lost}`)).toContain('its folder is not there');
    const long = join(home.folder, 'x'.repeat(120));
    expect(await refused(home, '--init', '--tls=off', `--listen=unix:${long}`)).toContain('at most 107 bytes');
  });

  test('the box is made all the same, and the next start opens it and names where its share lies', async () => {
    const home = newHome();
    await refused(home, '--init', `--listen=${taken()}`);
    const server = await home.start();
    expect(server.stdout).toContain(join(home.config, 'recovery-share'));
    expect((await server.call('GET', 'auth/token/lookup-self')).status).toBe(200);
  });
});

describe('a folder that cannot be used', () => {
  // Below /proc the system says ENOENT of folders that are there: Node's own `recursive` never comes back.
  test.each([
    ['--data=/proc/holdfast', 'there is no such file or folder'],
    ['--config=/proc/holdfast', 'there is no such file or folder'],
    ['--data=/dev/null', 'a part of the path is a file'],
    ['--data=/dev/null/holdfast', 'a part of the path is a file'],
  ])('%s', async (flag, why) => {
    expect(await refused(newHome(), '--init', flag)).toContain(why);
  });

  test('a certificate and key that are none', async () => {
    const home = newHome();
    const file = join(home.folder, 'no.pem');
    writeFileSync(file, 'no');
    expect(await refused(home, '--init', `--tls-cert=${file}`, `--tls-key=${file}`)).toContain('no PEM');
    expect(await refused(home, '--init', `--tls-cert=${file}`)).toContain('both');
  });
});

test.each([
  ['{"bogus":1}', 'there is no setting "bogus"'],
  ['{"listen":1}', 'listen must be'],
  ['{"listen":"127.0.0.1:8200"', 'is not well-formed JSON'],
  ['{"limits":{"requestTimeoutMs":"abc"}}', 'limits.requestTimeoutMs must be a whole number from'],
])('holdfast.json %s is refused', async (text, why) => {
  const home = newHome();
  mkdirSync(home.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(home.config, 'holdfast.json'), text);
  expect(await refused(home, '--init')).toContain(why);
});

/** Runs the server on a terminal of its own, until it says `until` or ends. */
async function onTerminal(home: Home, args: readonly string[], until: string): Promise<string> {
  const line = [process.execPath, 'host/cli/holdfast.mjs', 'server', ...args].join(' ');
  const child = spawn('script', ['--quiet', '--return', '--flush', '--command', `exec ${line}`, '/dev/null'], {
    env: { HOLDFAST_LISTEN: '127.0.0.1:0', ...home.variables },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  let shown = '';
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      shown += chunk.toString('utf8');
      if (shown.includes(until)) resolve();
    });
    void ended.then(() => resolve());
  });
  // Control-C, as a person would.
  child.stdin.write('\u0003');
  await ended;
  return shown;
}

describe('on a terminal', () => {
  const share = /^ {2}([A-Za-z0-9+/]{40,}=*)\r?$/m;

  test('the recovery share is shown once and stays in no file', async () => {
    const home = newHome();
    const first = await onTerminal(home, ['--init'], 'audit verify');
    expect(first).toMatch(share);
    expect(existsSync(join(home.config, 'recovery-share'))).toBe(false);
    const second = await onTerminal(home, ['--init'], 'audit verify');
    expect(second).toContain('opened by:       keyfile');
    expect(second).not.toMatch(share);
    const shown = share.exec(first)?.[1] ?? '';
    const server = await home.start([]);
    await server.call('PUT', 'sys/seal');
    expect((await server.call('PUT', 'sys/unseal', { key: shown }, '')).json).toMatchObject({ sealed: false });
  });

  test('a start that fails before it was shown keeps it in its file', async () => {
    const home = newHome();
    const shown = await onTerminal(home, ['--init', `--listen=${taken()}`], 'cannot listen');
    expect(shown).not.toMatch(share);
    expect(home.read('recovery-share')).toMatch(/^[A-Za-z0-9+/]{40,}=*$/);
  });
});
