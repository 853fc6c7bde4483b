/** Every step of a rotation is named, and a crash at any of them leaves a login that the box can use. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RotationStep, STEPS } from '../../../../host/engines/database/steps.ts';
import { Fault } from '../../../../host/fault.ts';
import { CONNECTION, type FakeBox, fakeBox, until } from './box.ts';

const FILES = ['rotation.ts', 'root.ts', 'due.ts'].map((name) => `host/engines/database/${name}`);

describe('the table of steps', () => {
  const sources = FILES.map((file) => readFileSync(file, 'utf8'));
  const used = new Set(
    sources.flatMap((text) => [...text.matchAll(/'((?:static|root)\.[a-z]+)'/g)].map(([, step]) => step)),
  );

  test('is what the source goes through', () => {
    expect(used).toEqual(new Set(Object.keys(STEPS)));
  });

  /** What writes or reaches a server without a name before it: nothing, but the helpers that are called behind one. */
  const unnamed = (text: string): string[] =>
    [
      ...text.matchAll(
        /(?:#rotations|this)\.(?:write|change|remove|#move)\(|database\.(?:change|letsIn|present|drop|create)\(/g,
      ),
    ]
      .filter(({ index }) => {
        const before = text.slice(Math.max(0, index - 260), index);
        const helper = /(?:async function letsIn|\n {2}(?:change|#move|#change)\()[^;]*;?[^;]*$/.test(before);
        return !/#steps\.(?:durable|outside)\('[a-z.]+',/.test(before) && !helper;
      })
      .map(([call]) => call);

  test('no commit and no call of a server stands beside it', () => {
    expect(sources.flatMap(unnamed)).toEqual([]);
  });

  test('the rule bites', () => {
    expect(unnamed(`${'x'.repeat(300)}await database.change(name, credential);`)).toHaveLength(1);
    expect(unnamed("await this.#steps.outside('static.change', () => database.change(a));")).toHaveLength(0);
  });
});

class Crash extends Error {}

describe('a crash at every step', () => {
  let box: FakeBox;
  let at: `${'before' | 'after'} ${RotationStep}` | undefined;
  const seen = new Set<RotationStep>();
  beforeAll(async () => {
    box = await fakeBox({
      hook: (step, when) => {
        seen.add(step);
        if (at !== `${when} ${step}`) return;
        at = undefined;
        throw new Crash();
      },
    });
  });
  afterAll(() => box.end());
  let number = 0;
  const password = (name: string): string => box.server.logins.get(name)?.password ?? '';

  const moments = (kind: 'static' | 'root') =>
    (Object.keys(STEPS) as RotationStep[])
      .filter((step) => step.startsWith(kind))
      .flatMap((step) => (['before', 'after'] as const).map((when) => `${when} ${step}` as const));

  test.each(moments('static'))('of a static rotation: %s', async (moment) => {
    const name = `login${number++}`;
    box.server.add(name, 'first-password');
    const role = { db_name: 'c', username: name, rotation_period: '1h' };
    const step = moment.split(' ')[1] as RotationStep;
    if (step === 'static.drop') {
      // Its first rotation is refused.
      box.server.before = (call) => {
        if (call === 'change') throw new Fault('database.refused', 'no');
      };
      at = moment;
      await box.send('write', `db/static-roles/${name}`, role);
      box.server.before = () => {};
      await box.restart();
      expect(password(name)).toBe('first-password');
      const left = await box.send('read', `db/static-roles/${name}`);
      if (left.kind === 'answer') {
        // It was not dropped before the crash: it is rotated when it is tried again.
        await box.ok('write', `db/rotate-role/${name}`);
        expect((await box.ok('read', `db/static-creds/${name}`)).data?.['password']).toBe(password(name));
      }
      expect(at).toBeUndefined();
      return;
    }
    const scheduled = ['static.claim', 'static.later', 'static.skip'].includes(step);
    const skips = step === 'static.skip';
    await box.ok('write', `db/static-roles/${name}`, {
      ...role,
      ...(skips ? { rotation_period: null, rotation_schedule: '0 * * * *', rotation_window: '1h' } : {}),
    });
    const first = password(name);
    if (step === 'static.try') {
      // An attempt before was cut off when the server had the password.
      at = 'after static.change';
      await box.send('write', `db/rotate-role/${name}`);
      await box.restart();
    }
    if (step === 'static.later') {
      box.server.before = (call, [login]) => {
        if (call === 'change' && login === name) throw new Fault('database.unreachable', 'away');
      };
    }
    at = moment;
    if (scheduled) box.skip((skips ? 9000 : 3601) * 1000);
    else await box.send('write', `db/rotate-role/${name}`);
    await until(() => at === undefined);
    await box.restart();
    box.server.before = () => {};
    const now = (await box.ok('read', `db/static-creds/${name}`)).data?.['password'];
    expect(now).toBe(password(name));
    await box.ok('write', `db/rotate-role/${name}`);
    const data = (await box.ok('read', `db/static-creds/${name}`)).data;
    expect(data?.['password']).toBe(password(name));
    expect(data?.['password']).not.toBe(first);
    expect(Number(data?.['ttl'])).toBeGreaterThan(0);
    await box.ok('delete', `db/static-roles/${name}`);
  });

  test.each(moments('root'))('of a root rotation: %s', async (moment) => {
    const name = `root${number++}`;
    box.server.add(name, 'first-password');
    await box.ok('write', `db/config/${name}`, { ...CONNECTION, username: name, password: 'first-password' });
    await box.ok('write', `db/roles/${name}`, { db_name: name });
    if (moment.endsWith('root.drop')) {
      // An attempt before was cut off when the server had not heard of it: the old password holds.
      at = 'before root.change';
      await box.send('write', `db/rotate-root/${name}`);
      await box.restart();
      // What was sent could arrive until now.
      box.skip(20_001);
    }
    at = moment;
    await box.send('write', `db/rotate-root/${name}`);
    expect(at).toBeUndefined();
    await box.restart();
    await box.ok('read', `db/creds/${name}`);
    await box.ok('write', `db/rotate-root/${name}`);
    expect(password(name)).not.toBe('first-password');
    await box.ok('read', `db/creds/${name}`);
    expect((await box.ok('read', `db/config/${name}`)).data).toBeDefined();
  });

  test('of a root rotation whose change arrives after the next process has looked', async () => {
    box.server.add('late', 'first-password');
    await box.ok('write', 'db/config/late', { ...CONNECTION, username: 'late', password: 'first-password' });
    await box.ok('write', 'db/roles/late', { db_name: 'late' });
    at = 'after root.change';
    await box.send('write', 'db/rotate-root/late');
    const arrives = password('late') ?? '';
    expect(arrives).not.toBe('first-password');
    const holds = async (now: string): Promise<void> => {
      box.server.add('late', now);
      await box.restart();
      await box.ok('read', 'db/creds/late');
      await box.ok('write', 'db/config/late', { max_open_connections: 3 });
    };
    await holds('first-password');
    await holds(arrives);
    expect((await box.ok('read', 'db/config/late')).data).toBeDefined();
    await box.ok('write', 'db/rotate-root/late');
    await box.restart();
    await box.ok('read', 'db/creds/late');
  });

  test('every step of the table ran', () => {
    expect(seen).toEqual(new Set(Object.keys(STEPS)));
  });
});
