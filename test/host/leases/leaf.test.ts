/** No backend hears of a request whose leaf is not on the medium (formats.md, audit). */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { HeldLog } from '../whole/held-log.ts';
import { type LeaseBox, leaseBox, pause } from './rig.ts';

let log: HeldLog;
let box: LeaseBox;

beforeEach(async () => {
  log = new HeldLog();
  box = await leaseBox({}, { log: log.files });
});
afterEach(() => box.end());

/** What the server heard while the medium stood still, and after. */
async function heard(work: () => Promise<Outbound>): Promise<readonly [readonly string[], readonly string[]]> {
  box.server.calls.length = 0;
  const calls = (): readonly string[] => box.server.calls.map(({ call }) => call);
  const [working, before] = await log.during(async () => {
    const own = work();
    await pause(60);
    return [own, calls()] as const;
  });
  expect(await working).toMatchObject({ kind: 'answer' });
  return [before, calls()];
}

const issue = () => box.send('read', 'fake/creds/r', { like: 'others' });

test('making a credential waits, the first one and one from the reserve', async () => {
  expect(await heard(issue)).toEqual([[], ['create']]);
  await issue();
  // The intent of this one is durable already.
  expect(box.rows('I')).toBe(1);
  expect(await heard(issue)).toEqual([[], ['create']]);
});

test('a renewal waits', async () => {
  const { id } = await box.creds('r');
  expect(await heard(() => box.send('write', 'sys/leases/renew', { lease_id: id }))).toEqual([[], ['renew']]);
});

test('a revocation waits', async () => {
  const { id } = await box.creds('r');
  const revoking = () => box.send('write', 'sys/leases/revoke', { lease_id: id });
  expect(await heard(revoking)).toEqual([[], ['end', 'remains']]);
});

test('a look for strangers waits', async () => {
  await box.creds('r');
  expect(await heard(() => box.send('read', 'sys/leases/reconcile'))).toEqual([[], ['strangers']]);
});
