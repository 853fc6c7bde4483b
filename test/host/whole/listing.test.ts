/** sys/internal/ui/mounts: what a login page lists, with a token and without one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ValueMap } from '../../../host/ports/value.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

const LIST = 'sys/internal/ui/mounts';
const listed = async (token: string | null): Promise<ValueMap> =>
  (await box.ok('read', LIST, {}, token)).data as ValueMap;

test('tells a caller without a token of no mount, whatever is there', async () => {
  const nothing = { auth: {}, secret: {} };
  expect(await listed(null)).toEqual(nothing);
  await box.ok('write', 'sys/mounts/hr', { type: 'kv', config: { listing_visibility: 'hidden' } });
  expect(await listed(null)).toEqual(nothing);
  // One path: there or not, listed or not, it is answered alike.
  const one = async (path: string): Promise<string> =>
    JSON.stringify(await box.send('read', `${LIST}/${path}`, {}, null)).replaceAll(path, 'PATH');
  await box.ok('write', 'sys/mounts/shown', { type: 'kv', config: { listing_visibility: 'unauth' } });
  expect(new Set([await one('hr'), await one('nowhere'), await one('shown')]).size).toBe(1);
  await box.ok('delete', 'sys/mounts/shown');
});

test('lists what its tuning says, by type, note and options alone', async () => {
  await box.ok('write', 'sys/mounts/public', {
    ...{ type: 'kv', description: 'for everybody', options: { version: '2' } },
    config: { default_lease_ttl: '1h' },
  });
  expect(await listed(null)).toEqual({ auth: {}, secret: {} });
  await box.ok('write', 'sys/mounts/public/tune', { listing_visibility: 'unauth' });
  await box.ok('write', 'sys/auth/token/tune', { listing_visibility: 'unauth' });
  const told = await listed(null);
  expect(told['secret']).toEqual({
    'public/': { type: 'kv', description: 'for everybody', options: { version: '2' } },
  });
  expect(Object.keys(told['auth'] as ValueMap)).toEqual(['token/']);
  await box.restart();
  expect(await listed(null)).toEqual(told);
  await box.ok('write', 'sys/auth/token/tune', { listing_visibility: '' });
});

test('shows a token what it may enter and what everybody sees; a bad token is refused', async () => {
  await box.ok('write', 'sys/policies/acl/hr', { policy: 'path "hr/*" { capabilities = ["read"] }' });
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['hr'], no_default_policy: true });
  const seen = (await listed(auth?.clientToken ?? ''))['secret'] as Record<string, ValueMap>;
  expect(new Set(Object.keys(seen))).toEqual(new Set(['hr/', 'public/']));
  expect(seen['hr/']).toHaveProperty('accessor');
  expect(seen['public/']).not.toHaveProperty('accessor');
  const all = (await listed(box.root))['secret'] as ValueMap;
  expect(Object.keys(all)).toEqual(expect.arrayContaining(['hr/', 'public/', 'sys/']));
  expect(await box.send('read', LIST, {}, 'hvs.unknown')).toMatchObject({ kind: 'error', status: 403 });
});
