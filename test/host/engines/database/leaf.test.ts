/** No server hears of a request whose leaf is not on the medium (formats.md, audit): every operation that asks one. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Outbound } from '../../../../host/ports/dispatch.ts';
import { HeldLog } from '../../whole/held-log.ts';
import { CONNECTION, type FakeBox, fakeBox } from './box.ts';

let log: HeldLog;
let box: FakeBox;

beforeEach(async () => {
  log = new HeldLog();
  box = await fakeBox({ log: log.files });
  box.server.add('app', 'app-password');
  box.server.add('other', 'other-password');
  await box.ok('write', 'db/static-roles/app', { db_name: 'c', username: 'app', rotation_period: '1h' });
});
afterEach(() => box.end());

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const OTHER = { db_name: 'c', username: 'other', rotation_period: '1h' };
const login = async (): Promise<string> => (await box.ok('read', 'db/creds/r')).lease?.id ?? '';

const OPERATIONS: Readonly<Record<string, () => Promise<() => Promise<Outbound>>>> = {
  'write of a connection, which is verified': async () => () => box.send('write', 'db/config/d', CONNECTION),
  'rotation of the root password': async () => () => box.send('write', 'db/rotate-root/c'),
  'static role, which must be there': async () => () => box.send('write', 'db/static-roles/other', OTHER),
  'static role with its password': async () => () =>
    box.send('write', 'db/static-roles/other', { ...OTHER, password: 'other-password', skip_import_rotation: true }),
  'rotation of a static role': async () => () => box.send('write', 'db/rotate-role/app'),
  login: async () => () => box.send('read', 'db/creds/r'),
  'login from the reserve': async () => {
    await login();
    await login();
    return () => box.send('read', 'db/creds/r');
  },
  renewal: async () => {
    const id = await login();
    return () => box.send('write', 'sys/leases/renew', { lease_id: id });
  },
  revocation: async () => {
    const id = await login();
    return () => box.send('write', 'sys/leases/revoke', { lease_id: id });
  },
  'look for strangers': async () => () => box.send('read', 'sys/leases/reconcile'),
};

test.each(Object.keys(OPERATIONS))('%s', async (name) => {
  const operation = await OPERATIONS[name]?.();
  if (operation === undefined) throw new Error('there is no such operation');
  box.server.calls.length = 0;
  const [working] = await log.during(async () => {
    const own = operation();
    await pause(60);
    expect(box.server.calls).toEqual([]);
    return [own];
  });
  expect(await working).toMatchObject({ kind: 'answer' });
  expect(box.server.calls.length).toBeGreaterThan(0);
});
