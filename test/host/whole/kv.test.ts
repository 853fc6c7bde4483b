import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { type WholeBox, wholeBox } from './box.ts';

const ENTRIES_MAX = 5;
let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox(logFiles, ENTRIES_MAX);
});
afterAll(() => box.end());

const status = (outbound: Outbound): number =>
  outbound.kind === 'error' ? outbound.status : (outbound.answer.status ?? 200);
const errors = (outbound: Outbound): readonly string[] => (outbound.kind === 'error' ? outbound.errors : []);
const queued = (): number => box.store.statistics().rows.expiry;

describe('delete_version_after', () => {
  const secret = 'secret/data/short';
  const metadata = async (): Promise<ValueMap> => (await box.ok('read', 'secret/metadata/short')).data ?? {};

  test('is in the expiry queue: the queue deletes the version, and it can be undeleted', async () => {
    const before = queued();
    await box.ok('write', 'secret/metadata/short', { delete_version_after: '10s' });
    await box.ok('write', secret, { data: { k: 'v' } });
    expect(queued()).toBe(before + 1);
    expect(status(await box.send('read', secret))).toBe(200);
    box.skip(10_001);
    expect(status(await box.send('read', secret))).toBe(404);
    const stored = box.store.statistics().rows.record;
    await box.services.expiry.run();
    expect(queued()).toBe(before);
    expect(box.store.statistics().rows.record).toBe(stored);
    expect(status(await box.send('read', secret))).toBe(404);
    await box.ok('write', 'secret/undelete/short', { versions: [1] });
    expect(queued()).toBe(before + 1);
    expect((await box.ok('read', secret)).data).toMatchObject({ data: { k: 'v' } });
    box.skip(10_001);
    await box.services.expiry.run();
    expect([status(await box.send('read', secret)), queued()]).toEqual([404, before]);
  });

  test('leaves the queue when the version is deleted, destroyed or trimmed first', async () => {
    const before = queued();
    await box.ok('write', 'secret/metadata/short', { delete_version_after: '1h', max_versions: 2 });
    for (const k of [1, 2, 3]) await box.ok('write', secret, { data: { k } });
    expect(queued()).toBe(before + 2);
    await box.ok('write', 'secret/destroy/short', { versions: [3] });
    expect(queued()).toBe(before + 1);
    await box.ok('delete', secret);
    await box.ok('write', 'secret/delete/short', { versions: [4] });
    expect(queued()).toBe(before);
    expect((await metadata())['versions']).toMatchObject({ 3: { destroyed: true }, 4: { destroyed: false } });
  });

  test('a row of the queue that names nothing any more goes by itself', async () => {
    await box.ok('write', 'sys/mounts/passing', { type: 'kv-v2' });
    await box.ok('write', 'passing/metadata/x', { delete_version_after: '1h' });
    await box.ok('write', 'passing/data/x', { data: { k: 1 } });
    await box.ok('write', 'passing/metadata/y', { delete_version_after: '1h' });
    await box.ok('write', 'passing/data/y', { data: { k: 1 } });
    await box.ok('delete', 'passing/metadata/x');
    await box.ok('delete', 'sys/mounts/passing');
    box.skip(3_600_001);
    await box.services.expiry.run();
    expect([queued(), box.services.expiry.stuck]).toEqual([0, 0]);
  });
});

describe('a field of the wrong type', () => {
  test.each([
    ['secret/metadata/x', { max_versions: 'x' }, 'error converting input for field "max_versions": '],
    [
      'secret/config',
      { max_versions: 'x' },
      'Field validation failed: error converting input for field "max_versions": ',
    ],
    ['auth/token/roles/x', { orphan: 'x' }, 'error converting input for field "orphan": '],
    [
      'auth/token/create',
      { renewable: 'x' },
      'Field validation failed: error converting input for field "renewable": ',
    ],
  ])('%s %j', async (path, body, begins) => {
    const refused = await box.send('write', path, body);
    expect(status(refused)).toBe(400);
    expect(errors(refused)[0]?.startsWith(begins)).toBe(true);
  });
});

describe('a directory', () => {
  const write = (name: string): Promise<Outbound> => box.send('write', `secret/data/full/${name}`, { data: { k: 1 } });

  test(`holds so many entries and no more, and takes another when one has gone`, async () => {
    for (let i = 0; i < ENTRIES_MAX; i++) expect(status(await write(String(i)))).toBe(200);
    const refused = await write('one-more');
    expect(status(refused)).toBe(400);
    expect(errors(refused)[0]).toBe(`a directory holds at most ${ENTRIES_MAX} entries, and this one is full`);
    expect(status(await write('0'))).toBe(200);
    expect(status(await write('folder/x'))).toBe(400);
    await box.ok('delete', 'secret/metadata/full/0');
    expect(status(await write('folder/x'))).toBe(200);
    expect(status(await write('one-more'))).toBe(400);
    await box.ok('delete', 'secret/metadata/full/folder/x');
    expect(status(await write('one-more'))).toBe(200);
  });

  test('that many write into at once is never over its bound', async () => {
    await box.ok('write', 'secret/data/raced/0', { data: { k: 1 } });
    const all = await Promise.all(
      Array.from({ length: 3 * ENTRIES_MAX }, (_, i) =>
        box.send('write', `secret/data/raced/${i + 1}`, { data: { k: 1 } }),
      ),
    );
    expect(all.filter((one) => status(one) === 200)).toHaveLength(ENTRIES_MAX - 1);
    expect((await box.ok('list', 'secret/metadata/raced')).data?.['keys']).toHaveLength(ENTRIES_MAX);
  });
});

describe('an engine that gets versions', () => {
  const names = ['a', 'b/c', 'untouched'];
  beforeAll(async () => {
    await box.ok('write', 'sys/mounts/old', { type: 'kv' });
    for (const name of names) await box.ok('write', `old/${name}`, { name, ttl: '30m' });
  });

  test('has what it had as first versions, from one commit on', async () => {
    const { warnings } = await box.ok('write', 'sys/mounts/old/tune', { options: { version: '2' } });
    expect(warnings).toEqual(['Upgraded mount from version 1 to version 2.']);
    expect((await box.ok('read', 'sys/mounts/old')).data?.['options']).toEqual({ version: '2' });
    for (const name of names) {
      expect((await box.ok('read', `old/data/${name}`)).data).toMatchObject({
        data: { name, ttl: '30m' },
        metadata: { version: 1, deletion_time: '', destroyed: false, custom_metadata: null },
      });
    }
    expect(status(await box.send('read', 'old/a'))).toBe(404);
    expect((await box.ok('list', 'old/metadata/')).data).toEqual({ keys: ['a', 'b/', 'untouched'] });
    const { data } = await box.ok('read', 'old/metadata/a');
    expect(data).toMatchObject({ current_version: 1, oldest_version: 0, versions: { 1: { destroyed: false } } });
    expect(String(data?.['created_time'])).toMatch(/^20\d\d-/);
  });

  test('and goes on from them: cas, patch, delete, undelete, destroy', async () => {
    const put = (cas: number): Promise<Outbound> =>
      box.send('write', 'old/data/a', { data: { name: 'new' }, options: { cas } });
    expect([status(await put(0)), status(await put(1))]).toEqual([400, 200]);
    expect((await box.ok('read', 'old/data/a', { version: '1' })).data).toMatchObject({ data: { name: 'a' } });
    await box.ok('patch', 'old/data/b/c', { data: { more: 1 } });
    expect((await box.ok('read', 'old/data/b/c')).data).toMatchObject({
      data: { name: 'b/c', more: 1 },
      metadata: { version: 2 },
    });
    await box.ok('delete', 'old/data/untouched');
    expect(status(await box.send('read', 'old/data/untouched'))).toBe(404);
    await box.ok('write', 'old/undelete/untouched', { versions: [1] });
    expect((await box.ok('read', 'old/data/untouched')).data).toMatchObject({ data: { name: 'untouched' } });
    await box.ok('write', 'old/destroy/untouched', { versions: [1] });
    expect(status(await box.send('read', 'old/data/untouched'))).toBe(404);
  });

  test('has them after a restart too', async () => {
    await box.ok('write', 'sys/mounts/older', { type: 'kv' });
    await box.ok('write', 'older/a', { k: 'v' });
    await box.ok('write', 'sys/mounts/older/tune', { options: { version: '2' } });
    const { created_time: created } = (await box.ok('read', 'older/metadata/a')).data ?? {};
    await box.restart();
    expect((await box.ok('read', 'older/data/a')).data).toMatchObject({ data: { k: 'v' } });
    expect((await box.ok('read', 'older/metadata/a')).data?.['created_time']).toBe(created);
    await box.ok('delete', 'sys/mounts/older');
  });

  test('does not lose them again', async () => {
    const refused = await box.send('write', 'sys/mounts/old/tune', { options: { version: '1' } });
    expect(errors(refused)).toEqual(['cannot downgrade mount from version 2']);
    expect(status(await box.send('write', 'sys/mounts/old/tune', { options: { version: '3' } }))).toBe(400);
  });

  test('writes of the older engine that are under way end as one or the other, never in between', async () => {
    await box.ok('write', 'sys/mounts/busy', { type: 'kv' });
    await box.ok('write', 'busy/x', { n: -1 });
    const older = Array.from({ length: 20 }, (_, n) => box.send('write', 'busy/x', { n }));
    const tune = box.ok('write', 'sys/mounts/busy/tune', { options: { version: '2' } });
    const newer = Array.from({ length: 20 }, (_, n) => box.send('write', 'busy/data/x', { data: { n } }));
    const results = await Promise.all([...older, ...newer]);
    await tune;
    for (const one of results) expect([200, 404]).toContain(status(one));
    const { data } = await box.ok('read', 'busy/data/x');
    expect(data).toMatchObject({ metadata: { destroyed: false } });
    for (const one of Array.from({ length: 20 }, (_, n) => n)) {
      await box.ok('write', 'busy/data/x', { data: { n: one } });
    }
  });
});
