import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Client } from '@litehex/node-vault';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DatabaseServer, startServer } from '../databases/servers.ts';
import { Home, type RunningServer } from '../e2e/server.ts';

/** Unmodified clients of the field. Every public method of theirs is driven, or listed with the reason why not. */
/** Each client rotates the password of the login that it is given. */
const LOGINS = [
  ['for_hvac', 'hvac-password'],
  ['for_node_vault', 'node-vault-password'],
  ['ordinary', 'ordinary-password'],
] as const;
const home = new Home();
const homes = [home];
let server: RunningServer;
let database: DatabaseServer;
beforeAll(async () => {
  database = await startServer('postgresql');
  for (const [name, password] of LOGINS) {
    await database.sql(`CREATE ROLE ${name} LOGIN CREATEROLE IN ROLE pg_signal_backend PASSWORD '${password}'`);
  }
  // The clients take no authority of their own: plain HTTP on loopback for them.
  server = await home.start(['--init', '--tls=off']);
}, 60_000);
afterAll(async () => {
  await Promise.all(homes.map((one) => one.close()));
  await database.close();
});

/** An empty box, not initialised, whose quorum may rekey and make root tokens. */
async function emptyBox(): Promise<RunningServer> {
  const own = new Home();
  homes.push(own);
  mkdirSync(own.config, { recursive: true, mode: 0o700 });
  writeFileSync(join(own.config, 'holdfast.json'), JSON.stringify({ seal: { ceremonies: 'on' } }), { mode: 0o600 });
  return own.start(['--tls=off']);
}

const unsupported = JSON.parse(readFileSync('test/conformance/unsupported.json', 'utf8')) as Record<
  string,
  Record<string, readonly string[]>
>;

/** All methods are in exactly one of the two lists. */
function account(client: string, methods: readonly string[], passed: Iterable<string>): void {
  const reasons = Object.entries(unsupported[client] ?? {});
  for (const [reason] of reasons) expect(reason.length).toBeGreaterThan(15);
  const listed = reasons.flatMap(([, names]) => names);
  expect(new Set(listed).size).toBe(listed.length);
  expect(new Set([...passed, ...listed])).toEqual(new Set(methods));
  expect([...passed].filter((name) => listed.includes(name))).toEqual([]);
}

describe('hvac', () => {
  test('every method of its client, and of its system, KV, token and database classes, is driven or listed', async () => {
    const [empty, second] = [await emptyBox(), await emptyBox()];
    const output = execFileSync(
      '/usr/bin/python3',
      [
        'test/conformance/hvac_methods.py',
        ...[server.address, join(home.config, 'root-token'), empty.address, second.address],
        ...[database.url(), ...LOGINS[0], 'ordinary'],
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const { methods, passed } = JSON.parse(output.trim().split('\n').at(-1) ?? '') as {
      methods: string[];
      passed: string[];
    };
    expect(methods.length).toBeGreaterThan(180);
    account('hvac', methods, passed);
  });
});

type Command = (args?: object) => Promise<Record<string, unknown>>;

describe('node-vault', () => {
  test('every command is driven or listed', async () => {
    const load = createRequire(import.meta.url);
    const commands = Object.keys(load('node-vault/src/commands.js') as object);
    const make = load('node-vault') as (options: object) => Record<string, Command> & {
      write: (path: string, data: object, options?: object) => Promise<unknown>;
      read: (path: string) => Promise<{ data: unknown }>;
    };
    // A client takes over the token of some answers: each command has one of its own.
    const fresh = () => make({ endpoint: server.address, token: home.read('root-token') });
    const vault = fresh();
    const passed = new Set<string>();
    const run = async (name: string, args?: object, by = fresh()): Promise<Record<string, unknown>> => {
      const answer = await by[name]?.(args);
      passed.add(name);
      return answer ?? {};
    };
    /** An empty box, from its first share to a rotated key. */
    const rule = async (): Promise<void> => {
      const empty = await emptyBox();
      const by = (token?: string) => make({ endpoint: empty.address, ...(token === undefined ? {} : { token }) });
      const made = (await run('init', { secret_shares: 3, secret_threshold: 2 }, by())) as {
        keys: string[];
        root_token: string;
      };
      const root = by(made.root_token);
      const open = async (): Promise<void> => {
        expect(await run('unseal', { key: made.keys[0] }, by())).toMatchObject({ sealed: true, progress: 1 });
        expect(await run('unseal', { key: made.keys[1] }, by())).toMatchObject({ sealed: false });
      };
      await open();
      await run('seal', {}, root);
      expect(await by()['status']?.()).toMatchObject({ sealed: true });
      await open();
      await run('rotate', {}, root);
      expect(await root.read('sys/key-status')).toMatchObject({ data: { term: 2 } });
      const begun = (await run('generateRootInit', {}, by())) as { nonce: string };
      let last: Record<string, unknown> = {};
      for (const key of made.keys.slice(1)) {
        last = await run('generateRootUpdate', { key, nonce: begun.nonce }, by());
      }
      expect(last).toMatchObject({ complete: true });
      await by()['generateRootInit']?.({});
      await expect(by()['generateRootCancel']?.()).rejects.toThrow();
      await run('generateRootCancel', {}, root);
      expect(await by().read('sys/generate-root/attempt')).toMatchObject({ started: false });
    };
    expect(await run('status')).toMatchObject({ sealed: false });
    expect(await run('initialized')).toMatchObject({ initialized: true });
    expect(await run('health')).toMatchObject({ sealed: false });
    expect(await run('leader')).toMatchObject({ ha_enabled: false });
    await rule();
    expect(await run('mounts')).toHaveProperty('secret/');
    await run('mount', { mount_point: 'nv', type: 'kv' });
    await vault.write('nv/a', { k: 'v' });
    expect((await vault.read('nv/a')).data).toEqual({ k: 'v' });
    await run('remount', { from: 'nv', to: 'nv2' });
    await run('unmount', { mount_point: 'nv2' });
    await run('addPolicy', { name: 'p', rules: 'path "secret/*" { capabilities = ["read"] }' });
    expect(await run('policies')).toMatchObject({ policies: expect.arrayContaining(['p']) as string[] });
    expect(await run('getPolicy', { name: 'p' })).toMatchObject({ rules: expect.stringContaining('secret') as string });
    await run('removePolicy', { name: 'p' });
    expect(await run('auths')).toHaveProperty('token/');
    expect(await run('audits')).toHaveProperty('log/');
    const made = (await run('tokenCreate', { policies: ['default'], ttl: '1h' })) as {
      auth: { client_token: string; accessor: string };
    };
    await run('tokenCreateOrphan', { policies: ['default'] });
    await run('addTokenRole', { role_name: 'r', allowed_policies: 'default' });
    expect(await run('getTokenRole', { role_name: 'r' })).toMatchObject({ data: { name: 'r' } });
    await run('tokenCreateRole', { role_name: 'r' });
    expect(await run('tokenRoles')).toMatchObject({ data: { keys: ['r'] } });
    await run('removeTokenRole', { role_name: 'r' });
    expect(await run('tokenLookup', { token: made.auth.client_token })).toMatchObject({
      data: { accessor: made.auth.accessor },
    });
    await run('tokenLookupAccessor', { accessor: made.auth.accessor });
    await run('tokenLookupSelf');
    expect(await run('tokenAccessors')).toMatchObject({
      data: { keys: expect.arrayContaining([made.auth.accessor]) as string[] },
    });
    await run('tokenRenew', { token: made.auth.client_token });
    await run('tokenRevoke', { token: made.auth.client_token });
    const next = async () => {
      const made = await fresh()['tokenCreate']?.({ policies: ['default'] });
      return (made as { auth: { client_token: string; accessor: string } }).auth;
    };
    await run('tokenRevokeAccessor', { accessor: (await next()).accessor });
    await run('tokenRevokeOrphan', { token: (await next()).client_token });
    const own = make({ endpoint: server.address, token: (await next()).client_token });
    expect(await own['tokenRenewSelf']?.({})).toMatchObject({ auth: { renewable: true } });
    passed.add('tokenRenewSelf');
    await own['tokenRevokeSelf']?.();
    passed.add('tokenRevokeSelf');
    await expect(vault.write('sys/wrapping/wrap', { a: 1 })).rejects.toThrow('response wrapping');
    const headers = { 'X-Vault-Wrap-TTL': '60' };
    const { wrap_info: wrapped } = (await vault.write('sys/wrapping/wrap', { a: 1 }, { headers })) as {
      wrap_info: { token: string };
    };
    expect(await run('unwrap', { token: wrapped.token })).toMatchObject({ data: { a: 1 } });
    await vault.write('secret/data/nv', { data: { k: 'v' } });
    await run('destroySecretVersions', {
      mountPoint: 'secret',
      path: 'nv',
      name: 'nv',
      mount_point: 'secret',
      versions: [1],
    });
    await run('mount', { mount_point: 'nvdb', type: 'database' });
    const [username, password] = LOGINS[1];
    const connection = {
      plugin_name: 'postgresql-database-plugin',
      connection_url: database.url(),
      username,
      password,
    };
    await vault.write('nvdb/config/c', { ...connection, allowed_roles: 'r' });
    await vault.write('nvdb/roles/r', { db_name: 'c', default_ttl: '1h' });
    const issue = async () =>
      (await run('generateDatabaseCredentials', { databasePath: 'nvdb', name: 'r' })) as {
        lease_id: string;
        data: { username: string };
      };
    const { lease_id, data } = await issue();
    const there = async (): Promise<unknown[]> =>
      (await database.sql('SELECT rolname FROM pg_roles')).map((row) => row['rolname']);
    expect(await there()).toContain(data.username);
    expect(await run('renew', { lease_id, increment: 900 })).toMatchObject({ lease_duration: 900 });
    await run('revoke', { lease_id });
    const prefixed = await issue();
    await run('revokePrefix', { path_prefix: 'nvdb/creds/r' });
    for (let round = 0; round < 100 && (await there()).includes(prefixed.data.username); round++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await there()).not.toContain(data.username);
    expect(await there()).not.toContain(prefixed.data.username);
    account('node-vault', commands, passed);
  });
});

describe('@litehex/node-vault', () => {
  test('every method of its client and KV classes is driven or listed', async () => {
    const vault = new Client({ endpoint: server.address, token: home.read('root-token') });
    const namesOf = (prefix: string, value: object): string[] =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(value))
        .filter((name) => name !== 'constructor')
        .map((name) => `${prefix}${name}`);
    const methods = [...namesOf('', vault), ...namesOf('kv.', vault.kv), ...namesOf('kv2.', vault.kv2)].filter(
      (name) => !['kv', 'kv2', 'aws', 'kubernetes', 'transit'].includes(name),
    );
    const passed = new Set<string>();
    const good = (name: string, answer: unknown): Record<string, unknown> => {
      const { data, error } = answer as { data?: Record<string, unknown>; error?: { message: string } };
      expect([name, error?.message]).toEqual([name, undefined]);
      passed.add(name);
      return data ?? {};
    };
    const empty = await emptyBox();
    const by = (token?: string) => new Client({ endpoint: empty.address, ...(token === undefined ? {} : { token }) });
    const made = good('init', await by().init({ secret_shares: 3, secret_threshold: 2 })) as {
      keys: string[];
      root_token: string;
    };
    expect(good('unseal', await by().unseal({ key: made.keys[0] ?? '' }))).toMatchObject({ progress: 1 });
    expect(good('unseal', await by().unseal({ key: made.keys[1] ?? '' }))).toMatchObject({ sealed: false });
    const otp = 'A'.repeat(28);
    const begun = good('startRootGeneration', await by().startRootGeneration({ otp })) as { nonce: string };
    expect(good('getRootGenerationProgress', await by().getRootGenerationProgress())).toMatchObject({ started: true });
    const give = async (key = '') => good('provideKeyShare', await by().provideKeyShare({ key, nonce: begun.nonce }));
    await give(made.keys[0]);
    expect(await give(made.keys[2])).toMatchObject({ complete: true });
    await by().startRootGeneration({ otp });
    good('cancelRootGeneration', await by(made.root_token).cancelRootGeneration());
    expect((await by().getRootGenerationProgress()).data).toMatchObject({ started: false });
    good('seal', await by(made.root_token).seal());
    expect((await by().sealStatus()).data).toMatchObject({ sealed: true });
    good('sealStatus', await vault.sealStatus());
    good('initialized', await vault.initialized());
    good('health', await vault.health());
    good('mounts', await vault.mounts());
    good(
      'mount',
      await vault.mount({ mountPath: 'lh', type: 'kv-v2', description: '', options: { version: '2' } } as never),
    );
    good('tuneMount', await vault.tuneMount({ mountPath: 'lh', description: 'tuned' } as never));
    expect(good('tune', await vault.tune({ mountPath: 'lh' } as never))).toMatchObject({ max_lease_ttl: 2764800 });
    expect(good('listDevices', await vault.listDevices())).toMatchObject({ data: { 'log/': { type: 'holdfast' } } });
    good('engineInfo', await vault.engineInfo({ mountPath: 'lh' } as never));
    const at = { mountPath: 'lh', path: 'a' };
    good(
      'kv2.config',
      await vault.kv2.config({
        mountPath: 'lh',
        max_versions: 5,
        cas_required: false,
        delete_version_after: '0s',
      } as never),
    );
    good('kv2.readConfig', await vault.kv2.readConfig({ mountPath: 'lh' } as never));
    good('kv2.write', await vault.kv2.write({ ...at, data: { k: 'v' } } as never));
    expect(good('kv2.read', await vault.kv2.read(at as never))).toMatchObject({ data: { data: { k: 'v' } } });
    good('kv2.patch', await vault.kv2.patch({ ...at, data: { l: 'w' } } as never));
    good('kv2.subKeys', await vault.kv2.subKeys(at as never));
    good('kv2.list', await vault.kv2.list({ mountPath: 'lh', path: '' } as never));
    good('kv2.readMetadata', await vault.kv2.readMetadata(at as never));
    good('kv2.writeMetadata', await vault.kv2.writeMetadata({ ...at, max_versions: 4 } as never));
    good('kv2.patchMetadata', await vault.kv2.patchMetadata({ ...at, max_versions: 3 } as never));
    good('kv2.deleteLatest', await vault.kv2.deleteLatest(at as never));
    good('kv2.undelete', await vault.kv2.undelete({ ...at, versions: [2] } as never));
    good('kv2.delete', await vault.kv2.delete({ ...at, versions: [1] } as never));
    good('kv2.destroy', await vault.kv2.destroy({ ...at, versions: [1] } as never));
    good('kv2.deleteMetadata', await vault.kv2.deleteMetadata(at as never));
    good('kv2.info', await vault.kv2.info({ mountPath: 'lh' } as never));
    good('unmount', await vault.unmount({ mountPath: 'lh' } as never));
    await vault.mount({ mountPath: 'lh1', type: 'kv', description: '', options: { version: '1' } } as never);
    const one = { mountPath: 'lh1', path: 'a' };
    good('kv.write', await vault.kv.write({ ...one, data: { k: 'v' } } as never));
    expect(good('kv.read', await vault.kv.read(one as never))).toMatchObject({ data: { k: 'v' } });
    good('kv.list', await vault.kv.list({ mountPath: 'lh1', path: '' } as never));
    good('kv.delete', await vault.kv.delete(one as never));
    good('kv.info', await vault.kv.info({ mountPath: 'lh1' } as never));
    account('@litehex/node-vault', methods, passed);
  });
});
