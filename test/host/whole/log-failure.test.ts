/** The log takes nothing any more while a request is under way: nothing is stored, and nobody outside hears of it. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Verb } from '../../../core/types.ts';
import type { Inbound } from '../../../host/ports/dispatch.ts';
import type { LogFiles } from '../../../host/ports/log-files.ts';
import { TABLES, type Table } from '../../../host/ports/store.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { FakeServer, fakeEngine } from '../leases/fake.ts';
import { type WholeBox, wholeBox } from './box.ts';

let dead = false;
const check = (): void => {
  if (dead) throw Object.assign(new Error('EIO'), { code: 'EIO' });
};
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** A disk of the log that fails some time after it was asked: what does not wait for it is seen to go on. */
const failing: LogFiles = {
  ...logFiles,
  open(path) {
    check();
    const file = logFiles.open(path);
    return {
      write: (bytes, offset) => file.write(bytes, offset),
      truncate: (bytes) => file.truncate(bytes),
      close: () => file.close(),
      async sync() {
        if (dead) await pause(5);
        check();
        await file.sync();
      },
    };
  },
  reserve(path, bytes) {
    check();
    logFiles.reserve(path, bytes);
  },
};

const server = new FakeServer();
const given: { [name: string]: string } = {};
let box: WholeBox;
beforeAll(async () => {
  const more = { engines: fakeEngine(server, 50), leaseTimeoutMs: 3000 };
  box = await wholeBox(failing, undefined, undefined, more);
  await box.ok('write', 'sys/mounts/fake', { type: 'fake' });
  await box.ok('write', 'secret/data/a', { data: { x: 1 } });
  await box.ok('write', 'sys/policies/acl/p', { policy: 'path "x" { capabilities = ["read"] }' });
  const token = async (body: ValueMap): Promise<string> =>
    (await box.ok('write', 'auth/token/create', body)).auth?.clientToken ?? '';
  given['token'] = await token({ ttl: '1h' });
  given['limited'] = await token({ num_uses: 100 });
  const { wrapInfo } = await box.ok('write', 'sys/wrapping/wrap', { a: 1 }, undefined, { wrapTtl: 600 });
  given['wrapped'] = wrapInfo?.token ?? '';
  given['lease'] = (await box.ok('read', 'fake/creds/r')).lease?.id ?? '';
  const slots = (await box.ok('list', 'sys/slots')).data?.['keys'] as readonly string[];
  [given['slot'] = '', given['other'] = ''] = slots;
});
afterAll(() => box.end());

/** A digest of each table, but for what the box keeps of itself. */
function stored(): ReadonlyMap<Table, string> {
  const digests = new Map<Table, string>();
  for (const table of Object.keys(TABLES) as Table[]) {
    if (table === 'freshness' || table === 'job') continue;
    const hash = createHash('sha256');
    for (const { key, value } of box.store.range(table)) hash.update(key).update(value);
    digests.set(table, hash.digest('hex'));
  }
  return digests;
}

/** The log is tried again each second. */
async function healed(): Promise<void> {
  for (let looks = 0; box.audit.state !== 'open'; looks++) {
    if (looks > 1000) throw new Error('the log does not come back');
    box.skip(1000);
    await pause(5);
  }
}

const RULE = 'path "x" { capabilities = ["read"] }';
const PASSWORD = 'length = 20\nrule "charset" { charset = "abcdefghij" }';

/** `<name>` stands for what the box was given above. */
const REQUESTS: readonly (readonly [Verb, string, ValueMap?, (string | undefined)?, Partial<Inbound>?])[] = [
  ['write', 'secret/data/a', { data: { x: 2 } }],
  ['write', 'secret/data/new', { data: { x: 2 } }],
  ['delete', 'secret/data/a'],
  ['delete', 'secret/metadata/a'],
  ['write', 'secret/metadata/a', { max_versions: 3 }],
  ['read', 'secret/data/a', {}, '<limited>'],
  ['read', 'nothing/x', {}, '<limited>'],
  ['write', 'cubbyhole/a', { x: 1 }],
  ['write', 'auth/token/create'],
  ['write', 'auth/token/renew-self', {}, '<token>'],
  ['write', 'auth/token/revoke', { token: '<token>' }],
  ['write', 'auth/token/revoke-self', {}, '<limited>'],
  ['write', 'auth/token/roles/r', { orphan: true }],
  ['write', 'sys/wrapping/wrap', { a: 1 }, undefined, { wrapTtl: 60 }],
  ['write', 'sys/wrapping/unwrap', { token: '<wrapped>' }],
  ['write', 'sys/wrapping/unwrap', {}, '<wrapped>'],
  ['write', 'sys/wrapping/rewrap', { token: '<wrapped>' }],
  ['write', 'sys/mounts/more', { type: 'kv' }],
  ['write', 'sys/mounts/secret/tune', { description: 'x' }],
  ['write', 'sys/remount', { from: 'secret', to: 'other' }],
  ['delete', 'sys/mounts/secret'],
  ['delete', 'sys/mounts/fake'],
  ['write', 'sys/policies/acl/q', { policy: RULE }],
  ['delete', 'sys/policies/acl/p'],
  ['write', 'sys/policies/password/x', { policy: PASSWORD }],
  ['write', 'sys/rotate'],
  ['write', 'sys/rotate', { erase: true }],
  ['write', 'sys/slots', { kind: 'keyfile' }],
  ['delete', 'sys/slots/<slot>'],
  ['delete', 'sys/slots/<other>'],
  ['write', 'sys/slots/<slot>/test'],
  ['write', 'sys/slots/<other>/test'],
  ['write', 'sys/leases/renew', { lease_id: '<lease>' }],
  ['write', 'sys/leases/revoke', { lease_id: '<lease>' }],
  ['write', 'sys/leases/revoke-prefix/fake'],
  ['write', 'sys/leases/revoke-force/fake'],
  ['write', 'sys/leases/tidy'],
  ['read', 'fake/creds/r'],
  ['write', 'sys/lives', { lives: true }],
  ['write', 'sys/seal'],
];

const filled = (text: string): string => text.replace(/<(\w+)>/, (_, name: string) => given[name] ?? '');

const named = REQUESTS.map((request) => {
  const [verb, path, body = {}, token = ''] = request;
  return { name: `${verb} ${path} ${JSON.stringify(body)} ${token}`, request };
});

test.each(named)('$name', async ({ request }) => {
  const [verb, path, body = {}, token, more] = request;
  await healed();
  const before = stored();
  const calls = server.calls.length;
  const sent = JSON.parse(filled(JSON.stringify(body))) as ValueMap;
  dead = true;
  try {
    const outbound = await box.send(verb, filled(path), sent, token === undefined ? undefined : filled(token), more);
    expect(outbound).toMatchObject({ kind: 'error', status: 503 });
    // What would go on behind the answer has its time.
    await pause(20);
    expect(stored()).toEqual(before);
    expect(server.calls.length).toBe(calls);
  } finally {
    dead = false;
  }
});

test('a login whose intent lies in the reserve', async () => {
  await healed();
  const login = () => box.send('read', 'fake/creds/r', { like: 'others' });
  const intents = (): number => [...box.store.range('lease', { prefix: Buffer.from('I') })].length;
  await login();
  await login();
  const [before, calls, logins] = [stored(), server.calls.length, server.names()];
  expect(intents()).toBe(1);
  dead = true;
  try {
    expect(await login()).toMatchObject({ kind: 'error', status: 503 });
    await pause(20);
    expect(stored()).toEqual(before);
    expect(server.calls.length).toBe(calls);
  } finally {
    dead = false;
  }
  await healed();
  // Nobody knows that nothing was asked under it: it is looked for at its deadline, and nothing of it is found.
  for (let looks = 0; intents() > 0 && looks < 200; looks++) {
    box.skip(10_000);
    await box.services.leases.sweep();
    await pause(5);
  }
  expect([intents(), server.names()]).toEqual([0, logins]);
});

test('and it goes on when the log is back, and after a restart', async () => {
  await healed();
  expect((await box.ok('read', 'secret/data/a')).data).toMatchObject({ data: { x: 1 } });
  await box.restart();
  expect((await box.ok('read', 'secret/data/a')).data).toMatchObject({ data: { x: 1 } });
});
