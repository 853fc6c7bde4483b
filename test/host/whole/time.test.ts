/** sys/time on a whole box whose clock nothing holds. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { timeOperations } from '../../../host/engines/sys/time.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
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

describe('while the time is not believed', () => {
  const MINUTE_MS = 60_000;
  const TEN_YEARS_MS = 3650 * 24 * 3_600_000;
  let own: WholeBox;
  beforeEach(async () => {
    own = await wholeBox();
    own.still();
    await own.ok('write', 'sys/policies/acl/any', { policy: 'path "*" { capabilities = ["read", "update"] }' });
  });
  afterEach(() => own.end());

  const make = async (body: ValueMap): Promise<string> =>
    (await own.ok('write', 'auth/token/create', { policies: ['any'], ttl: '240h', ...body })).auth?.clientToken ?? '';
  const lookup = async (token: string): Promise<number> => {
    const outbound = await own.send('read', 'auth/token/lookup-self', {}, token);
    return outbound.kind === 'error' ? outbound.status : 200;
  };

  test.each([
    ['service', {}],
    ['batch', { type: 'batch' }],
    ['orphan batch', { type: 'batch', no_parent: true }],
  ])('a %s token is honoured for an hour since its issue, and again when it is believed', async (_kind, body) => {
    const token = await make(body);
    own.jump(-TEN_YEARS_MS);
    own.skip(59 * MINUTE_MS);
    expect(await lookup(token)).toBe(200);
    own.skip(2 * MINUTE_MS);
    expect(await lookup(token)).toBe(403);
    expect(await own.send('read', 'nothing/x', {}, token)).toMatchObject({
      status: 403,
      errors: ['permission denied'],
    });
    expect(await lookup(own.root)).toBe(200);
    await own.ok('write', 'sys/time/confirm');
    expect(await lookup(token)).toBe(200);
  });

  test('the hour begins anew with a renewal, and with the boot of the machine', async () => {
    const token = await make({});
    own.jump(-TEN_YEARS_MS);
    own.skip(50 * MINUTE_MS);
    await own.ok('write', 'auth/token/renew-self', {}, token);
    own.skip(50 * MINUTE_MS);
    expect(await lookup(token)).toBe(200);
    own.skip(20 * MINUTE_MS);
    expect(await lookup(token)).toBe(403);
    await own.restart(MINUTE_MS);
    expect(await lookup(token)).toBe(200);
    own.skip(61 * MINUTE_MS);
    expect(await lookup(token)).toBe(403);
  });

  test('a batch token is honoured as long as its parent is: its own hour is no longer than the parent’s', async () => {
    const parent = await make({});
    own.jump(-TEN_YEARS_MS);
    own.skip(40 * MINUTE_MS);
    const made = await own.ok('write', 'auth/token/create', { type: 'batch', ttl: '200h' }, parent);
    const child = made.auth?.clientToken ?? '';
    own.skip(19 * MINUTE_MS);
    expect(await lookup(child)).toBe(200);
    await own.ok('write', 'auth/token/renew-self', {}, parent);
    own.skip(11 * MINUTE_MS);
    expect([await lookup(parent), await lookup(child)]).toEqual([200, 200]);
    const last = await own.ok('write', 'auth/token/create', { type: 'batch', ttl: '200h' }, parent);
    own.skip(50 * MINUTE_MS);
    const young = last.auth?.clientToken ?? '';
    expect([await lookup(parent), await lookup(child), await lookup(young)]).toEqual([403, 403, 403]);
    await own.ok('write', 'sys/time/confirm');
    expect([await lookup(parent), await lookup(young)]).toEqual([200, 200]);
  });

  test('what is wrapped waits, whoever brings the wrapping token', async () => {
    const { wrapInfo } = await own.ok('write', 'sys/wrapping/wrap', { a: 'b' }, undefined, { wrapTtl: 864_000 });
    own.jump(-TEN_YEARS_MS);
    own.skip(61 * MINUTE_MS);
    const unwrap = (body: ValueMap, token?: string) => own.send('write', 'sys/wrapping/unwrap', body, token);
    expect(await unwrap({ token: wrapInfo?.token ?? '' })).toMatchObject({ status: 400 });
    expect(await unwrap({}, wrapInfo?.token)).toMatchObject({ status: 400 });
    await own.ok('write', 'sys/time/confirm');
    expect(await unwrap({}, wrapInfo?.token)).toMatchObject({ answer: { data: { a: 'b' } } });
  });
});
