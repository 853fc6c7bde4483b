import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Home, type Reply, type RunningServer } from './server.ts';

const homes: Home[] = [];
const newHome = (): Home => {
  const home = new Home();
  homes.push(home);
  return home;
};
afterAll(() => Promise.all(homes.map((home) => home.close())));

const data = (reply: Reply): Record<string, unknown> => (reply.json?.['data'] ?? {}) as Record<string, unknown>;
const kvData = (reply: Reply): unknown => data(reply)['data'];
const sealStatus = (server: RunningServer) => server.call('GET', 'sys/seal-status', undefined, '');

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

describe('holdfast server --init', () => {
  const home = newHome();
  let server: RunningServer;
  beforeAll(async () => {
    server = await home.start();
  });

  test('on an empty folder it initialises, opens by its key file and says so', async () => {
    expect(server.stdout).toMatch(/^holdfast \S+ listens at https:\/\/127\.0\.0\.1:\d+\n/);
    expect(server.stdout).toContain('opened by:       keyfile');
    expect(server.stdout).toContain(`weakest way in:  keyfile: whoever reads ${join(home.config, 'keyfile')}`);
    for (const line of ['kv put secret/hello greeting=world', 'kv get secret/hello', 'audit verify']) {
      expect(server.stdout).toContain(`  npx holdfast ${line}\n`);
    }
    expect((await sealStatus(server)).json).toMatchObject({
      initialized: true,
      sealed: false,
      t: 1,
      n: 1,
      progress: 0,
    });
  });

  test('without a terminal it prints no secret, but the names of the files that hold them', () => {
    expect(server.stdout).toContain(join(home.config, 'root-token'));
    expect(server.stdout).toContain(join(home.config, 'recovery-share'));
    const keyfile = home.read('keyfile').split(' ')[1] ?? '';
    for (const secret of [home.read('root-token'), home.read('recovery-share'), keyfile]) {
      expect(secret.length).toBeGreaterThan(20);
      expect(server.printed).not.toContain(secret);
    }
  });

  test('folders are 0700, files 0600', () => {
    for (const folder of [home.config, home.data]) {
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        expect([path, statSync(path).mode & 0o777]).toEqual([path, entry.isDirectory() ? 0o700 : 0o600]);
      }
    }
  });

  test('the root token writes and reads at secret/, which is KV version 2', async () => {
    const written = await server.call('POST', 'secret/data/hello', { data: { greeting: 'world' } });
    expect(written.status).toBe(200);
    expect(data(written)).toMatchObject({ version: 1 });
    expect(kvData(await server.call('GET', 'secret/data/hello'))).toEqual({ greeting: 'world' });
    expect((await server.call('GET', 'secret/data/hello', undefined, '')).status).toBe(403);
  });

  test('a second process is told which pid holds the data, and ends', async () => {
    const second = home.spawn(['--init']);
    expect(await second.ended).toBe(1);
    expect(second.stderr).toContain(`pid ${server.pid}`);
    expect((await server.call('GET', 'secret/data/hello')).status).toBe(200);
  });

  test('SIGTERM ends it in order, and a second start finds its data', async () => {
    const before = (await sealStatus(server)).json;
    const token = home.read('root-token');
    expect(await server.stop('SIGTERM')).toBe(0);
    server = await home.start();
    expect(home.read('root-token')).toBe(token);
    expect(kvData(await server.call('GET', 'secret/data/hello'))).toEqual({ greeting: 'world' });
    expect((await sealStatus(server)).json?.['cluster_id']).toBe(before?.['cluster_id']);
  });

  test('SIGTERM in the moment in which it says that it listens ends it in order too', async () => {
    for (let round = 0; round < 6; round++) {
      expect(await server.stop('SIGTERM')).toBe(0);
      server = await home.start();
    }
  });

  test('SIGINT ends it in order too', async () => {
    expect(await server.stop('SIGINT')).toBe(0);
    server = await home.start([]);
    expect((await sealStatus(server)).json).toMatchObject({ sealed: false });
  });
});

describe('a killed server', () => {
  const home = newHome();

  test('has every write that it acknowledged after the next start', async () => {
    let server = await home.start();
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round++) {
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let number = 0; ; number++) {
          const path = `r${round}-w${writer}-n${number}`;
          const reply = await server.call('POST', `secret/data/${path}`, { data: { path } }).catch(() => undefined);
          if (reply === undefined) return;
          expect(reply.status).toBe(200);
          acknowledged.push(path);
        }
      });
      while (acknowledged.length < 40 * (round + 1)) await new Promise((resolve) => setTimeout(resolve, 5));
      await server.kill();
      await Promise.all(writers);
      server = await home.start();
      for (const path of acknowledged) {
        expect(kvData(await server.call('GET', `secret/data/${path}`))).toEqual({ path });
      }
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(120);
  });
});

describe('sys/seal', () => {
  const home = newHome();

  test('shuts the box until a person unseals: over a restart too, and then a share opens it', async () => {
    let server = await home.start();
    await server.call('POST', 'secret/data/a', { data: { b: 'c' } });
    expect((await server.call('PUT', 'sys/seal')).status).toBe(204);
    expect((await sealStatus(server)).json).toMatchObject({ sealed: true });
    expect((await server.call('GET', 'secret/data/a')).status).toBe(503);
    await server.stop();

    server = await home.start();
    expect(server.stdout).toContain('sealed');
    expect((await sealStatus(server)).json).toMatchObject({ sealed: true, t: 1, n: 1 });
    const key = home.read('recovery-share');
    const opened = await server.call('PUT', 'sys/unseal', { key }, '');
    expect(opened.json).toMatchObject({ sealed: false });
    expect(kvData(await server.call('GET', 'secret/data/a'))).toEqual({ b: 'c' });
    await server.stop();

    server = await home.start();
    expect((await sealStatus(server)).json).toMatchObject({ sealed: false });
  });
});

describe('holdfast server on an empty folder', () => {
  const home = newHome();
  let server: RunningServer;
  let keys: string[];
  let token: string;

  test('waits, uninitialised, for sys/init', async () => {
    server = await home.start([]);
    expect(server.stdout).toContain('waits for sys/init');
    expect((await sealStatus(server)).json).toMatchObject({ initialized: false, sealed: true });
    expect((await server.call('GET', 'sys/health', undefined, '')).status).toBe(501);
    expect((await server.call('GET', 'sys/init', undefined, '')).json).toMatchObject({ initialized: false });
    expect(existsSync(join(home.config, 'root-token'))).toBe(false);
    expect(existsSync(join(home.config, 'keyfile'))).toBe(false);
  });

  test('is initialised with 3 of 5 shares, once, and stays sealed', async () => {
    const bad = await server.call('PUT', 'sys/init', { secret_shares: 2, secret_threshold: 3 }, '');
    expect(bad.status).toBe(400);
    const reply = await server.call('PUT', 'sys/init', { secret_shares: 5, secret_threshold: 3 }, '');
    expect(reply.status).toBe(200);
    keys = reply.json?.['keys'] as string[];
    token = reply.json?.['root_token'] as string;
    expect(keys).toHaveLength(5);
    expect(reply.json?.['keys_base64']).toEqual(keys.map((key) => Buffer.from(key, 'hex').toString('base64')));
    expect(token).toMatch(/^hvs\.[0-9A-Za-z]{24}$/);
    expect((await sealStatus(server)).json).toMatchObject({ initialized: true, sealed: true, t: 3, n: 5, progress: 0 });
    const again = await server.call('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 }, '');
    expect([again.status, again.json]).toEqual([400, { errors: ['Vault is already initialized'] }]);
  });

  test('counts shares, ignores a repeated one, and clears what is wrong', async () => {
    const offer = (key: string | undefined) => server.call('PUT', 'sys/unseal', { key }, '');
    const first = await offer(keys[0]);
    expect(first.json).toMatchObject({ sealed: true, progress: 1 });
    expect(first.json?.['nonce']).toMatch(/^[0-9a-f-]{36}$/);
    expect((await offer(keys[0])).json).toMatchObject({ progress: 1, nonce: first.json?.['nonce'] });
    expect((await server.call('PUT', 'sys/unseal', { reset: true }, '')).json).toMatchObject({
      progress: 0,
      nonce: '',
    });
    await offer(keys[0]);
    await offer(keys[1]);
    const wrong = `${keys[2]?.startsWith('00') ? '01' : '00'}${keys[2]?.slice(2)}`;
    expect((await offer(wrong)).status).toBe(400);
    expect((await sealStatus(server)).json).toMatchObject({ sealed: true, progress: 0, nonce: '' });
  });

  test('any three of them open it', async () => {
    for (const key of [keys[4], keys[1]]) await server.call('PUT', 'sys/unseal', { key }, '');
    const opened = await server.call(
      'PUT',
      'sys/unseal',
      { key: Buffer.from(keys[3] ?? '', 'hex').toString('base64') },
      '',
    );
    expect(opened.json).toMatchObject({ sealed: false, progress: 0 });
    expect((await server.call('GET', 'auth/token/lookup-self', undefined, token)).status).toBe(200);
    expect((await server.call('PUT', 'sys/unseal', { key: keys[0] }, '')).status).toBe(200);
    const reset = await server.call('PUT', 'sys/unseal', { reset: true }, '');
    expect([reset.status, reset.json]).toEqual([400, { errors: ['vault is unsealed'] }]);
  });

  test('after a restart it is sealed, and opens by shares alone', async () => {
    await server.stop();
    server = await home.start([]);
    expect((await sealStatus(server)).json).toMatchObject({ initialized: true, sealed: true });
    for (const key of keys.slice(0, 3)) await server.call('PUT', 'sys/unseal', { key }, '');
    expect((await server.call('GET', 'auth/token/lookup-self', undefined, token)).status).toBe(200);
  });
});

describe('other ways to listen', () => {
  let server: RunningServer | undefined;
  afterEach(async () => {
    await server?.stop();
  });

  test('a unix socket of mode 0600, without TLS', async () => {
    const home = newHome();
    const socket = join(home.folder, 'h.sock');
    server = await home.start(['--init', `--listen=unix:${socket}`, '--tls=off']);
    expect(server.address).toBe(`unix:${socket}`);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect((await sealStatus(server)).json).toMatchObject({ sealed: false });
    expect(await server.stop()).toBe(0);
    expect(existsSync(socket)).toBe(false);
  });

  test('loopback without TLS', async () => {
    server = await newHome().start(['--init'], { HOLDFAST_TLS: 'off' });
    expect(server.address).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await sealStatus(server)).json).toMatchObject({ sealed: false });
  });

  test('elsewhere without TLS is refused', async () => {
    const refused = newHome().spawn(['--init', '--listen=0.0.0.0:0', '--tls=off']);
    expect(await refused.ended).toBe(1);
    expect(refused.stderr).toContain('loopback');
    expect(refused.stdout).toBe('');
  });
});

describe('what lies on the disk', () => {
  test('names nothing that was stored: no path, policy, user or value, in files and free pages', async () => {
    const home = newHome();
    let server = await home.start();
    const canaries = {
      path: 'canarypathalpha',
      deeper: 'canarypathbeta',
      value: 'canaryvaluegamma',
      key: 'canarykeydelta',
      policy: 'canarypolicyepsilon',
      user: 'canaryuserzeta',
      metadata: 'canarymetadataeta',
    };
    for (let round = 0; round < 20; round++) {
      await server.call('POST', `secret/data/${canaries.path}/${canaries.deeper}${round}`, {
        data: { [canaries.key]: canaries.value },
      });
    }
    const rules = `path "secret/data/${canaries.path}/*" { capabilities = ["read"] }`;
    expect((await server.call('PUT', `sys/policies/acl/${canaries.policy}`, { policy: rules })).status).toBe(204);
    const created = await server.call('POST', 'auth/token/create', {
      policies: [canaries.policy],
      display_name: canaries.user,
      meta: { [canaries.metadata]: canaries.metadata },
    });
    expect(created.status).toBe(200);
    const token = ((created.json?.['auth'] ?? {}) as Record<string, string>)['client_token'] ?? '';
    expect(
      (await server.call('GET', `secret/data/${canaries.path}/${canaries.deeper}1`, undefined, token)).status,
    ).toBe(200);
    // Deleted rows leave free pages.
    for (let round = 0; round < 20; round++) {
      await server.call('DELETE', `secret/metadata/${canaries.path}/${canaries.deeper}${round}`);
    }
    await server.stop();
    server = await home.start();
    await server.stop();
    const files = filesBelow(home.data);
    expect(files.length).toBeGreaterThan(2);
    const root = home.read('root-token');
    for (const file of files) {
      const bytes = readFileSync(file);
      for (const canary of [...Object.values(canaries), token, root]) {
        expect([file, canary, bytes.includes(canary)]).toEqual([file, canary, false]);
      }
    }
  });
});
