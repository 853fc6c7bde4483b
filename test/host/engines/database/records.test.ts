/** What is stored is what core/spec/database.md says. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeEnding, encodeEnding } from '../../../../host/barrier/view.ts';
import {
  allows,
  encodeRecord,
  readConnection,
  readRole,
  readStatic,
  type StaticRecord,
} from '../../../../host/engines/database/records.ts';
import { Fault } from '../../../../host/fault.ts';
import { decodePayload } from '../../../../host/payload.ts';
import type { View } from '../../../../host/ports/view.ts';
import { CONNECTION, type FakeBox, fakeBox } from './box.ts';

const spec = readFileSync('core/spec/database.md', 'utf8');
const hexOf = (name: string): Buffer =>
  Buffer.from(new RegExp(`^${name}: ([0-9a-f]+)$`, 'm').exec(spec)?.[1] ?? '', 'hex');
const membersOf = (path: string): { readonly always: Set<string>; readonly perhaps: Set<string> } => {
  const row = spec.split('\n').find((line) => line.startsWith(`| \`${path}/<name>\``)) ?? '';
  const names = row.split('|')[2]?.replace(/\{[^}]*\}/g, '') ?? '';
  const words = [...names.matchAll(/(\[)?([a-zA-Z]+)\]?/g)];
  return {
    always: new Set(words.filter(([, bracket]) => bracket === undefined).map(([, , word = '']) => word)),
    perhaps: new Set(words.filter(([, bracket]) => bracket !== undefined).map(([, , word = '']) => word)),
  };
};

describe('the example', () => {
  test('of a record', () => {
    const bytes = hexOf('record');
    const record = decodePayload(bytes) as unknown as StaticRecord;
    expect(record).toMatchObject({ username: 'app', period: 3600, nextMs: 1_800_000_003_600 });
    expect(Buffer.from(encodeRecord(record)).equals(bytes)).toBe(true);
  });

  test('of a row that is due', () => {
    const bytes = hexOf('expiry');
    const row = { mountId: `${'0'.repeat(31)}8`, path: 'static/app', suffix: Buffer.alloc(0) };
    expect(decodeEnding(bytes)).toEqual(row);
    expect(encodeEnding(row).equals(bytes)).toBe(true);
  });
});

describe('records', () => {
  let box: FakeBox;
  beforeAll(async () => {
    box = await fakeBox();
    box.server.add('app', 'first');
    await box.ok('write', 'db/static-roles/s', { db_name: 'c', username: 'app', rotation_period: 60 });
  });
  afterAll(() => box.end());
  const look = async <T>(work: (view: View) => T): Promise<T> => {
    const mount = box.services.mounts.at('db/');
    if (mount === undefined) throw new Error('the mount is gone');
    return box.services.barrier.job('tidy', mount.id, (grant) => work(box.services.barrier.view(grant, mount.id)));
  };

  test('have the members that the document names', async () => {
    const stored = await look((view) => ({
      config: readConnection(view, 'c'),
      role: readRole(view, 'r'),
      static: readStatic(view, 's'),
    }));
    for (const [path, record] of Object.entries(stored)) {
      const { always } = membersOf(path);
      expect(always.size).toBeGreaterThan(6);
      expect([path, new Set(Object.keys(record ?? {}))]).toEqual([path, always]);
    }
  });

  test('and those in brackets while a rotation is not done', async () => {
    box.server.add('next', 'first');
    await box.ok('write', 'db/config/pending', { ...CONNECTION, username: 'next', password: 'first' });
    box.server.after = (call) => {
      if (call === 'change') throw new Fault('database.unreachable', 'cut');
    };
    await box.send('write', 'db/rotate-root/pending');
    await box.send('write', 'db/static-roles/t', { db_name: 'c', username: 'app', rotation_period: 60 });
    box.server.after = () => {};
    const [config, fixed] = await look((view) => [readConnection(view, 'pending'), readStatic(view, 't')] as const);
    const extra = (record: object | undefined, path: string): string[] =>
      Object.keys(record ?? {}).filter((name) => !membersOf(path).always.has(name));
    expect(new Set(extra(config, 'config'))).toEqual(membersOf('config').perhaps);
    expect(membersOf('config').perhaps).toEqual(new Set(['pending', 'pendingUntilMs']));
    expect(extra(fixed, 'static')).toEqual(['pending']);
    expect(membersOf('static').perhaps).toEqual(new Set(['pending', 'previous', 'creating']));
  });
});

describe('allowed_roles', () => {
  test.each([
    [['*'], 'anything', true],
    [[], 'anything', false],
    [['app'], 'app', true],
    [['app'], 'apps', false],
    [['app-*'], 'app-', true],
    [['*-ro'], 'x-ro', true],
    [['a*b*c'], 'a-b-c', true],
    [['a*b*c'], 'acb', false],
    [['a*a'], 'a', false],
    [['a**c'], 'abc', true],
    [['x', 'y*'], 'yes', true],
    [['App'], 'app', false],
  ])('%j: %s %s', (allowed, role, may) => {
    expect(allows(allowed, role)).toBe(may);
  });
});
