/** Leases of a whole box, with a fake server in place of a database. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { type LeaseBox, leaseBox } from './rig.ts';

let box: LeaseBox;
beforeAll(async () => {
  box = await leaseBox();
});
afterAll(() => box.end());

const refusal = (outbound: Outbound): readonly [number, string] =>
  outbound.kind === 'error' ? [outbound.status, outbound.errors.join('; ')] : [outbound.answer.status ?? 200, ''];

describe('a lease', () => {
  test('is answered with its id, and shown by lookup', async () => {
    const { id, name, answer } = await box.creds('r', { ttl: 600 });
    expect(id).toMatch(/^fake\/creds\/r\/[0-9A-Za-z]{24}$/);
    expect(answer.lease).toEqual({ id, renewable: true, durationSeconds: 600 });
    expect(box.server.logins.has(name)).toBe(true);
    const shown = await box.lookup(id);
    expect(shown).toMatchObject({ id, path: 'fake/creds/r', renewable: true, last_renewal: null });
    expect(shown?.['ttl']).toBeGreaterThan(597);
  });

  test('is listed one level, sorted, and folders with a slash', async () => {
    const made = [await box.creds('list/a'), await box.creds('list/a'), await box.creds('list/b')];
    const keys = async (path: string) => (await box.ok('list', path)).data?.['keys'];
    expect(await keys('sys/leases/lookup/fake/creds/list/')).toEqual(['a/', 'b/']);
    expect(await keys('sys/leases/lookup/fake')).toEqual(['creds/']);
    expect([await keys('sys/leases/lookup'), await keys('sys/leases/lookup/')]).toEqual([['fake/'], ['fake/']]);
    const tails = made.slice(0, 2).map(({ id }) => id.split('/').at(-1) ?? '');
    expect(await keys('sys/leases/lookup/fake/creds/list/a')).toEqual(tails.sort((a, b) => (a < b ? -1 : 1)));
    expect(refusal(await box.send('list', 'sys/leases/lookup/nothing'))[0]).toBe(404);
  });

  test('ends when it is revoked, and its folders with the last one', async () => {
    const { id, name } = await box.creds('gone');
    const folders = async () => (await box.ok('list', 'sys/leases/lookup/fake/creds')).data?.['keys'];
    expect(await folders()).toContain('gone/');
    expect(await box.ok('write', 'sys/leases/revoke', { lease_id: id })).toEqual({});
    expect(box.server.logins.has(name)).toBe(false);
    expect(await box.lookup(id)).toBeUndefined();
    expect(await folders()).not.toContain('gone/');
    expect(refusal(await box.send('list', 'sys/leases/lookup/fake/creds/gone'))[0]).toBe(404);
    expect(refusal(await box.send('write', 'sys/leases/renew', { lease_id: id }))).toEqual([400, 'lease not found']);
    expect(await box.ok('write', 'sys/leases/revoke', { lease_id: id })).toEqual({});
  });

  test('ends when its time is over', async () => {
    const { id, name } = await box.creds('short', { ttl: 30 });
    box.skip(31_000);
    expect(await box.lookup(id)).toBeUndefined();
    await box.until(() => !box.server.logins.has(name));
  });

  test('ends with its token', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
    const { id, name } = await box.creds('token', {}, auth?.clientToken);
    await box.ok('write', 'auth/token/revoke', { token: auth?.clientToken ?? '' });
    expect(await box.lookup(id)).toBeUndefined();
    await box.until(() => !box.server.logins.has(name));
  });

  test('ends with its mount, which waits for it', async () => {
    await box.ok('write', 'sys/mounts/other', { type: 'fake' });
    const answer = await box.ok('read', 'other/creds/r');
    const name = String(answer.data?.['username']);
    expect(box.server.logins.has(name)).toBe(true);
    await box.ok('delete', 'sys/mounts/other');
    expect(box.server.logins.has(name)).toBe(false);
    expect(refusal(await box.send('read', 'other/creds/r'))[0]).toBe(404);
  });

  test('lives on over a restart', async () => {
    const { id, name } = await box.creds('r', { ttl: 600 });
    await box.restart();
    expect(await box.lookup(id)).toMatchObject({ id });
    await box.ok('write', 'sys/leases/revoke', { lease_id: id });
    expect(box.server.logins.has(name)).toBe(false);
  });

  test('outlives a change of every key: it is found, renewed and ended', async () => {
    const { id, name } = await box.creds('keys', { ttl: 600 });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
    const other = await box.creds('keys', {}, auth?.clientToken ?? '');
    await box.ok('write', 'sys/rotate', { erase: true });
    await box.until(async () => {
      const { data } = await box.ok('read', 'sys/rotate');
      return data?.['erase'] === 'none' && data['running'] === false;
    });
    expect((await box.ok('list', 'sys/leases/lookup/fake/creds/keys')).data?.['keys']).toHaveLength(2);
    expect(await box.lookup(id)).toMatchObject({ id });
    await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 700 });
    await box.ok('write', 'auth/token/revoke', { token: auth?.clientToken ?? '' });
    await box.until(() => !box.server.logins.has(other.name));
    await box.ok('write', 'sys/leases/revoke', { lease_id: id });
    expect(box.server.logins.has(name)).toBe(false);
    expect(refusal(await box.send('list', 'sys/leases/lookup/fake/creds/keys'))[0]).toBe(404);
  });

  test('that is being made while every row is sealed anew is written all the same', async () => {
    let done = false;
    const rotating = (async () => {
      for (let i = 0; i < 4 && !done; i++) {
        await box.ok('write', 'sys/rotate');
        await box.until(async () => (await box.ok('read', 'sys/rotate')).data?.['running'] === false);
      }
    })();
    const made = [];
    for (let i = 0; i < 40; i++) made.push(await box.creds('rotating'));
    done = true;
    await rotating;
    for (const { id } of made) expect(await box.lookup(id)).toMatchObject({ id });
    await box.ok('write', 'sys/leases/revoke-prefix/fake/creds/rotating');
    expect(made.filter(({ name }) => box.server.logins.has(name))).toEqual([]);
  });

  test('is one of thousands that a prefix ends', async () => {
    const made = [];
    for (let i = 0; i < 20; i++) made.push(await Promise.all(Array.from({ length: 15 }, () => box.creds('many'))));
    expect(box.server.logins.size).toBeGreaterThanOrEqual(300);
    await box.ok('write', 'sys/leases/revoke-prefix/fake/creds/many');
    for (const { name } of made.flat()) expect(box.server.logins.has(name)).toBe(false);
    expect(refusal(await box.send('list', 'sys/leases/lookup/fake/creds/many'))[0]).toBe(404);
  });
});

describe('a renewal', () => {
  test('counts from now, and tells the server', async () => {
    const { id, name } = await box.creds('renew', { ttl: 60 });
    box.skip(10_000);
    const answer = await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 600 });
    expect(answer.lease).toEqual({ id, renewable: true, durationSeconds: 600 });
    expect((await box.lookup(id))?.['last_renewal']).toMatch(/^20/);
    const told = box.server.logins.get(name) ?? 0;
    expect(Math.abs(told - (Date.now() + 600_000))).toBeLessThan(3_600_000);
    expect((await box.lookup(id))?.['ttl']).toBeGreaterThan(597);
  });

  test('is refused for one that is not renewable, and for none', async () => {
    const { id } = await box.creds('fixed', { renewable: false });
    expect(refusal(await box.send('write', 'sys/renew', { lease_id: id }))).toEqual([400, 'lease is not renewable']);
    expect(refusal(await box.send('write', 'sys/leases/renew', {}))).toEqual([400, 'lease_id must be specified']);
  });
});
