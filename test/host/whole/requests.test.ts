import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

const status = (outbound: Outbound): number =>
  outbound.kind === 'error' ? outbound.status : (outbound.answer.status ?? 200);
const errors = (outbound: Outbound): readonly string[] => (outbound.kind === 'error' ? outbound.errors : []);

async function token(body: ValueMap, by?: string): Promise<string> {
  const { auth } = await box.ok('write', 'auth/token/create', body, by);
  return auth?.clientToken ?? '';
}

describe('secrets', () => {
  test('are written, read, listed and deleted, versions and all', async () => {
    await box.ok('write', 'secret/data/app/db', { data: { password: 'one' } });
    await box.ok('write', 'secret/data/app/db', { data: { password: 'two' } });
    const { data } = await box.ok('read', 'secret/data/app/db');
    expect(data).toMatchObject({ data: { password: 'two' }, metadata: { version: 2, destroyed: false } });
    const old = await box.ok('read', 'secret/data/app/db', { version: '1' });
    expect(old.data).toMatchObject({ data: { password: 'one' } });
    expect((await box.ok('list', 'secret/metadata/')).data).toEqual({ keys: ['app/'] });
    expect((await box.ok('list', 'secret/metadata/app')).data).toEqual({ keys: ['db'] });
    await box.ok('delete', 'secret/metadata/app/db');
    expect(status(await box.send('list', 'secret/metadata/'))).toBe(404);
    expect(status(await box.send('read', 'secret/data/app/db'))).toBe(404);
  });

  test('a check-and-set of sixteen at once lets one through', async () => {
    const all = await Promise.all(
      Array.from({ length: 16 }, (_, i) => box.send('write', 'secret/data/cas', { data: { i }, options: { cas: 0 } })),
    );
    expect(all.filter((one) => status(one) === 200)).toHaveLength(1);
    expect(new Set(all.filter((one) => status(one) !== 200).map(status))).toEqual(new Set([400]));
  });

  test('a hundred writes at once to one secret are a hundred versions', async () => {
    await box.ok('write', 'secret/metadata/many', { max_versions: 200 });
    await Promise.all(Array.from({ length: 100 }, (_, i) => box.ok('write', 'secret/data/many', { data: { i } })));
    expect((await box.ok('read', 'secret/metadata/many')).data?.['current_version']).toBe(100);
  });

  test('two who make one secret at once take one use each, whoever comes first', async () => {
    for (let i = 0; i < 8; i++) {
      const [once, thrice] = [await token({ num_uses: 1 }), await token({ num_uses: 3 })];
      const path = `secret/data/made/${i}`;
      const write = (by: string): Promise<Outbound> => box.send('write', path, { data: { i } }, by);
      const both = await Promise.all(i % 2 === 0 ? [write(once), write(thrice)] : [write(thrice), write(once)]);
      expect(both.map(status)).toEqual([200, 200]);
      expect((await box.ok('read', path)).data).toMatchObject({ metadata: { version: 2 } });
      expect((await box.ok('write', 'auth/token/lookup', { token: thrice })).data).toMatchObject({ num_uses: 2 });
      expect(status(await box.send('write', 'auth/token/lookup', { token: once }))).toBe(403);
    }
  });

  test('bad requests are answered, and nothing of them stays open', async () => {
    expect(errors(await box.send('read', 'nothing/x'))[0]).toContain('no handler for route "nothing/x"');
    expect(status(await box.send('read', 'sys/nothing'))).toBe(404);
    expect(status(await box.send('delete', 'secret/config'))).toBe(405);
    expect(status(await box.send('read', 'secret//x'))).toBe(400);
    expect(status(await box.send('write', 'secret/data/x', { data: 'text' }))).toBe(400);
    expect(status(await box.send('read', 'secret/data/x', {}, null))).toBe(403);
    expect(status(await box.send('read', 'nothing/x', {}, null))).toBe(403);
  });
});

describe('policies', () => {
  test('decide what a token may do, and a narrower deny is not slipped past by a list', async () => {
    const policy =
      'path "secret/data/p/*" { capabilities = ["read"] }\npath "secret/metadata/p/*" { capabilities = ["list"] }\npath "secret/metadata/p/private/*" { capabilities = ["deny"] }';
    await box.ok('write', 'sys/policies/acl/reader', { policy });
    await box.ok('write', 'secret/data/p/private/x', { data: { k: 'v' } });
    const reader = await token({ policies: ['reader'] });
    expect(status(await box.send('read', 'secret/data/p/private/x', {}, reader))).toBe(200);
    expect(status(await box.send('write', 'secret/data/p/x', { data: {} }, reader))).toBe(403);
    expect(status(await box.send('list', 'secret/metadata/p/', {}, reader))).toBe(200);
    for (const path of ['secret/metadata/p/private', 'secret/metadata/p/private/']) {
      expect(errors(await box.send('list', path, {}, reader))).toEqual([
        '1 error occurred:\n\t* permission denied\n\n',
      ]);
    }
    expect(status(await box.send('read', 'sys/mounts', {}, reader))).toBe(403);
    expect(status(await box.send('read', 'nothing/x', {}, reader))).toBe(403);
    const { data } = await box.ok(
      'write',
      'sys/capabilities-self',
      { paths: ['secret/data/p/x', 'secret/metadata/p/private/'] },
      reader,
    );
    expect(data).toEqual({ 'secret/data/p/x': ['read'], 'secret/metadata/p/private/': ['deny'] });
  });

  test('a changed policy holds for the next request', async () => {
    await box.ok('write', 'sys/policies/acl/turning', {
      policy: 'path "secret/data/t" { capabilities = ["create", "update"] }',
    });
    const turning = await token({ policies: ['turning'] });
    expect(status(await box.send('write', 'secret/data/t', { data: { k: 1 } }, turning))).toBe(200);
    await box.ok('delete', 'sys/policies/acl/turning');
    expect(status(await box.send('write', 'secret/data/t', { data: { k: 1 } }, turning))).toBe(403);
  });

  test('parameters are constrained', async () => {
    await box.ok('write', 'sys/mounts/plain', { type: 'kv' });
    const policy =
      'path "plain/*" { capabilities = ["create", "update"] allowed_parameters = { "kind" = ["a*", "b"], "*" = [] } denied_parameters = { "bad" = [] } required_parameters = ["kind"] }';
    await box.ok('write', 'sys/policies/acl/narrow', { policy });
    const narrow = await token({ policies: ['narrow'] });
    const put = async (body: ValueMap): Promise<number> => status(await box.send('write', 'plain/x', body, narrow));
    expect([
      await put({ kind: 'abc' }),
      await put({ kind: 'b', more: 1 }),
      await put({ kind: 'c' }),
      await put({ more: 1 }),
      await put({ kind: 'a', bad: 1 }),
    ]).toEqual([200, 200, 403, 403, 403]);
  });
});

describe('tokens', () => {
  test('end with their time, with their uses, and with their parent', async () => {
    const short = await token({ policies: ['default'], ttl: '10s' });
    const twice = await token({ policies: ['default'], num_uses: 2 });
    const look = async (by: string): Promise<number> =>
      status(await box.send('read', 'auth/token/lookup-self', {}, by));
    expect([await look(twice), await look(twice), await look(twice)]).toEqual([200, 200, 403]);
    const parent = await token({ policies: ['root'] });
    const child = await token({ policies: ['default'] }, parent);
    const grandchild = await token({ policies: ['default'] }, await token({ policies: ['root'] }, parent));
    expect(await look(grandchild)).toBe(200);
    await box.ok('write', 'auth/token/revoke', { token: parent });
    expect([await look(parent), await look(child), await look(grandchild)]).toEqual([403, 403, 403]);
    expect(await look(short)).toBe(200);
    box.skip(10_001);
    expect(await look(short)).toBe(403);
  });

  test('sixteen creations of one chosen id make one', async () => {
    const all = await Promise.all(
      Array.from({ length: 16 }, () => box.send('write', 'auth/token/create', { id: 'chosen', policies: ['default'] })),
    );
    expect(all.filter((one) => status(one) === 200)).toHaveLength(1);
  });

  test('no child made while its parent dies outlives it', async () => {
    const parent = await token({ policies: ['root'] });
    const making = Array.from({ length: 20 }, () =>
      box.send('write', 'auth/token/create', { policies: ['default'] }, parent),
    );
    const [made] = await Promise.all([Promise.all(making), box.ok('write', 'auth/token/revoke', { token: parent })]);
    const children = made.flatMap((one) => (one.kind === 'answer' ? [one.answer.auth?.clientToken ?? ''] : []));
    for (const child of children) expect(status(await box.send('read', 'auth/token/lookup-self', {}, child))).toBe(403);
  });

  test('a cubbyhole is its token’s alone and dies with it', async () => {
    const mine = await token({ policies: ['default'] });
    await box.ok('write', 'cubbyhole/a/b', { k: 'v' }, mine);
    expect((await box.ok('read', 'cubbyhole/a/b', {}, mine)).data).toEqual({ k: 'v' });
    expect(status(await box.send('read', 'cubbyhole/a/b'))).toBe(404);
    expect((await box.ok('list', 'cubbyhole/', {}, mine)).data).toEqual({ keys: ['a/'] });
    const before = box.store.statistics().rows;
    await box.ok('write', 'auth/token/revoke', { token: mine });
    expect(box.store.statistics().rows.record).toBe(before.record - 1);
    expect(box.store.statistics().rows.name).toBe(before.name - 3);
  });

  test('batch tokens live by themselves and die with their parent', async () => {
    const parent = await token({ policies: ['root'] });
    const batch = await token({ policies: ['default'], type: 'batch', ttl: '20m' }, parent);
    expect(batch.startsWith('hvb.')).toBe(true);
    // Its parent was used just before: the batch token is itself all the same, in the log too, and has no cubbyhole.
    await box.ok('write', 'cubbyhole/x', { a: 1 }, parent);
    expect(await box.send('write', 'cubbyhole/x', { a: 2 }, batch)).toMatchObject({ kind: 'error', status: 400 });
    const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: box.audit.size - 1, to: box.audit.size });
    expect(JSON.stringify(raw)).toContain('"token_type\\":\\"batch');
    expect((await box.ok('read', 'auth/token/lookup-self', {}, batch)).data).toMatchObject({
      type: 'batch',
      accessor: '',
      policies: ['default'],
    });
    await box.ok('write', 'auth/token/revoke', { token: parent });
    expect(status(await box.send('read', 'auth/token/lookup-self', {}, batch))).toBe(403);
  });
});

describe('response wrapping', () => {
  test('an answer is unwrapped once, also when a hundred ask at once', async () => {
    await box.ok('write', 'secret/data/w', { data: { k: 'v' } });
    const { wrapInfo } = await box.ok('read', 'secret/data/w', {}, box.root, { wrapTtl: 60 });
    const wrapping = wrapInfo?.token ?? '';
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        i % 2 === 0
          ? box.send('write', 'sys/wrapping/unwrap', {}, wrapping)
          : box.send('write', 'sys/wrapping/unwrap', { token: wrapping }),
      ),
    );
    const good = all.filter((one) => status(one) === 200);
    expect(good).toHaveLength(1);
    expect(good[0]?.kind === 'answer' && good[0].answer.data).toMatchObject({ data: { k: 'v' } });
    expect(new Set(all.filter((one) => status(one) !== 200).map((one) => `${status(one)} ${errors(one)[0]}`))).toEqual(
      new Set(['400 wrapping token is not valid or does not exist']),
    );
  });

  test('a wrapping token is looked up without being used, wrapped again, and refused when its time is over', async () => {
    const { wrapInfo } = await box.ok('write', 'sys/wrapping/wrap', { a: 1 }, box.root, { wrapTtl: 60 });
    const look = await box.ok('write', 'sys/wrapping/lookup', { token: wrapInfo?.token ?? '' }, null);
    expect(look.data).toMatchObject({ creation_path: 'sys/wrapping/wrap', creation_ttl: 60 });
    const again = await box.ok('write', 'sys/wrapping/rewrap', { token: wrapInfo?.token ?? '' });
    expect(again.wrapInfo).toMatchObject({ creationPath: 'sys/wrapping/wrap', ttl: 60 });
    expect(status(await box.send('write', 'sys/wrapping/unwrap', { token: wrapInfo?.token ?? '' }))).toBe(400);
    box.skip(60_001);
    expect(status(await box.send('write', 'sys/wrapping/unwrap', { token: again.wrapInfo?.token ?? '' }))).toBe(400);
  });
});

describe('mounts', () => {
  test('come and go with everything in them', async () => {
    const before = box.store.statistics().rows;
    await box.ok('write', 'sys/mounts/temp/x', { type: 'kv', options: { version: '2' } });
    await box.ok('write', 'temp/x/data/a/b/c', { data: { k: 'v' } });
    expect((await box.ok('read', 'sys/internal/ui/mounts/temp/x/a')).data).toMatchObject({
      path: 'temp/x/',
      type: 'kv',
      options: { version: '2' },
    });
    await box.ok('delete', 'sys/mounts/temp/x');
    expect(status(await box.send('read', 'temp/x/data/a/b/c'))).toBe(404);
    expect(box.store.statistics().rows).toMatchObject({
      record: before.record,
      name: before.name,
      mount: before.mount,
    });
  });

  test.each([
    ['sys', 'cannot mount "sys/"'],
    ['secret', 'path is already in use at secret/'],
    ['secret/deep', 'path is already in use at secret/'],
  ])('%s cannot be mounted', async (path, text) => {
    expect(errors(await box.send('write', `sys/mounts/${path}`, { type: 'kv' }))).toEqual([text]);
  });
});
