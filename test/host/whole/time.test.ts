/** sys/time on a whole box whose clock nothing holds. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { timeOperations } from '../../../host/engines/sys/time.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

test('says what is believed, to whoever may read it; the word itself is root’s', async () => {
  const { data } = await box.ok('read', 'sys/time');
  expect(data).toMatchObject({ believed: true, reasons: [] });
  expect(String(data?.['time'])).toMatch(/^\d{4}-\d\d-\d\dT/);
  await box.ok('write', 'sys/policies/acl/sudoer', {
    policy: 'path "sys/time*" { capabilities = ["read", "update", "sudo"] }',
  });
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['sudoer'] });
  expect(await box.send('read', 'sys/time', {}, auth?.clientToken)).toMatchObject({ kind: 'answer' });
  expect(await box.send('write', 'sys/time/confirm', {}, auth?.clientToken)).toMatchObject({ status: 403 });
  expect((await box.ok('write', 'sys/time/confirm')).data).toMatchObject({ believed: true });
});

test('the word is taken once, and is a leaf that says what it was against', () => {
  const told: unknown[] = [];
  let believed = false;
  const lease = {
    ...{ nowMs: () => 1000, nowNanos: () => 0, wallOf: (ms: number) => ms, bootMs: () => 0 },
    believed: () => believed,
    reasons: () => (believed ? [] : ['nothing holds the clock']),
    confirm: () => {
      believed = true;
    },
  };
  const confirm = timeOperations({ lease, tell: (...note) => told.push(note) }).find(
    ({ name }) => name === 'time-confirm',
  );
  expect(confirm?.run({} as never)).toMatchObject({ data: { believed: true, reasons: [] } });
  expect(told).toEqual([['time.confirmed', { why: 'nothing holds the clock' }]]);
});
