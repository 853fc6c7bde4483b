/** Leases over HTTP: the command line and clients of the field, as they are, against a box with a fake server behind it. */
import { execFile } from 'node:child_process';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Api, startApi } from '../../../host/api/server.ts';
import { run } from '../../../host/cli/index.ts';
import { systemClock } from '../../../host/system/clock.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { fakeEnvironment } from '../cli/environment.ts';
import { type LeaseBox, leaseBox } from './rig.ts';

let box: LeaseBox;
let api: Api;
let address = '';
beforeAll(async () => {
  box = await leaseBox();
  api = await startApi({
    ...{ dispatcher: box.services.dispatch, appliance: box.box, clock: systemClock(), random: systemRandom },
    ...{ version: '0.1.0', buildDate: '', listeners: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }] },
    limits: { bodyBytes: 65_536, headBytes: 8192, headMs: 5000, requestMs: 30_000, inFlight: 16, connections: 64 },
  });
  address = api.addresses[0] ?? '';
});
afterAll(async () => {
  await api.close();
  await box.end();
});

describe('holdfast lease', () => {
  const cli = async (...args: string[]): Promise<readonly [number, string, string]> => {
    const environment = fakeEnvironment({ variables: { HOLDFAST_ADDR: address, HOLDFAST_TOKEN: box.root } });
    const code = await run(args, environment);
    return [code, environment.output(), environment.errors()];
  };

  test('lookup, list, renew and revoke', async () => {
    const { id, name } = await box.creds('cli', { ttl: 600 });
    const [code, shown] = await cli('lease', 'lookup', '-format=json', id);
    expect([code, JSON.parse(shown)]).toMatchObject([0, { data: { id, path: 'fake/creds/cli' } }]);
    expect(await cli('lease', 'list', 'fake/creds/')).toEqual([0, expect.stringMatching(/^Keys\s+-+\s+cli\/$/m), '']);
    const [, renewed] = await cli('lease', 'renew', '-increment=20m', id);
    expect(renewed).toMatch(/lease_duration\s+20m/);
    expect(await cli('lease', 'revoke', '-sync', id)).toEqual([0, `Success! Revoked lease: ${id}\n`, '']);
    expect(box.server.logins.has(name)).toBe(false);
    expect(await cli('lease', 'lookup', id)).toEqual([2, '', expect.stringContaining('invalid lease')]);
  });

  test('revoke of a prefix queues, and waits with -sync', async () => {
    const made = [await box.creds('p'), await box.creds('p')];
    expect(await cli('lease', 'revoke', '-prefix', 'fake/creds/p')).toEqual([
      0,
      'Success! Queued to be revoked.\n',
      '',
    ]);
    expect(await cli('lease', 'revoke', '-prefix', '-sync', 'fake/creds/p')).toEqual([
      0,
      'Success! Revoked any leases below: fake/creds/p\n',
      '',
    ]);
    for (const { name } of made) expect(box.server.logins.has(name)).toBe(false);
    const [code, , error] = await cli('lease', 'revoke', '-force', 'fake/creds/p');
    expect([code, error]).toEqual([1, expect.stringContaining('-force goes with -prefix')]);
  });

  test('stuck says what and why, and force with reconcile what it left', async () => {
    expect(await cli('lease', 'stuck')).toEqual([0, 'Nothing is stuck.\n', '']);
    const { id, name } = await box.creds('stuck');
    box.server.refused.set(name, 'it owns a table');
    const [code, , error] = await cli('lease', 'revoke', '-sync', id);
    expect([code, error]).toEqual([2, expect.stringContaining('it owns a table')]);
    expect((await cli('lease', 'stuck'))[1]).toMatch(new RegExp(`${id} +\\S+ +\\d+ +it owns a table`));
    await cli('lease', 'revoke', '-prefix', '-force', 'fake/creds/stuck');
    expect((await cli('lease', 'reconcile'))[1]).toMatch(new RegExp(`fake/ +one +${name}`));
    box.server.logins.delete(name);
    box.server.refused.clear();
    expect(await cli('lease', 'reconcile')).toEqual([0, 'Every name is explained.\n', '']);
  });
});

test('a client that is gone before its answer leaves a lease that can be found, and ends', async () => {
  let go = (): void => {};
  const slow = new Promise<void>((resolve) => {
    go = resolve;
  });
  box.server.before = (call) => (call === 'create' ? slow : undefined);
  const asked = request(`${address}/v1/fake/creds/gone`, { headers: { 'x-vault-token': box.root } });
  asked.on('error', () => undefined);
  asked.end();
  await box.until(() => box.rows('I') === 1);
  asked.destroy();
  box.server.before = () => {};
  go();
  await box.until(() => box.server.logins.size === 1 && box.rows('I') === 0);
  const { data } = await box.ok('list', 'sys/leases/lookup/fake/creds/gone');
  expect(data?.['keys']).toHaveLength(1);
  await box.ok('write', 'sys/leases/revoke-prefix/fake/creds/gone');
  expect(box.server.names()).toEqual([]);
});

test('node-vault renews and revokes', async () => {
  const make = createRequire(import.meta.url)('node-vault') as (
    options: object,
  ) => Record<'renew' | 'revoke' | 'revokePrefix', (args: object) => Promise<Record<string, unknown>>>;
  const vault = make({ endpoint: address, token: box.root });
  const { id } = await box.creds('nv', { ttl: 60 });
  expect(await vault.renew({ lease_id: id, increment: 600 })).toMatchObject({ lease_id: id, lease_duration: 600 });
  await vault.revoke({ lease_id: id });
  await expect(vault.renew({ lease_id: id })).rejects.toThrow('lease not found');
  await box.creds('nv');
  await vault.revokePrefix({ path_prefix: 'fake/creds/nv' });
  await box.until(() => box.server.logins.size === 0);
});

const HVAC = `
import json, sys, hvac
client = hvac.Client(url=sys.argv[1], token=sys.stdin.read().strip())
made = client.read("fake/creds/hvac")
lease = made["lease_id"]
seen = [made["renewable"], client.sys.read_lease(lease)["data"]["path"]]
seen.append(client.sys.list_leases("fake/creds/hvac")["data"]["keys"] == [lease.split("/")[-1]])
seen.append(client.sys.renew_lease(lease, increment=600)["lease_duration"])
seen.append(client.sys.revoke_lease(lease).status_code)
client.read("fake/creds/hvac")
seen.append(client.sys.revoke_prefix("fake/creds/hvac").status_code)
seen.append(client.sys.revoke_force("fake/creds/hvac").status_code)
print(json.dumps(seen))
`;

test('hvac reads, lists, renews and revokes', async () => {
  // Not in line: the server answers from this process.
  const output = new Promise<string>((resolve, reject) => {
    const child = execFile('/usr/bin/python3', ['-c', HVAC, address], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(box.root);
  });
  expect(JSON.parse(await output)).toEqual([true, 'fake/creds/hvac', true, 600, 204, 204, 204]);
  await box.until(() => box.server.logins.size === 0);
});
