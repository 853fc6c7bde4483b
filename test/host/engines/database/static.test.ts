import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '../../../../host/fault.ts';
import { CONNECTION, type FakeBox, fakeBox, refusal, until } from './box.ts';

let box: FakeBox;
beforeAll(async () => {
  box = await fakeBox();
});
afterAll(() => box.end());
let number = 0;
/** A login of its own on the server. */
let login: string;
beforeEach(() => {
  box.server.before = () => {};
  box.server.after = () => {};
  login = `app${number++}`;
  box.server.add(login, 'first-password');
});
const onServer = (name = login): string => box.server.logins.get(name)?.password ?? '';
const read = async (name = login) => (await box.ok('read', `db/static-creds/${name}`)).data ?? {};
const write = (body: object = {}, name = login) =>
  box.send('write', `db/static-roles/${name}`, { db_name: 'c', username: login, rotation_period: '1h', ...body });

describe('static roles', () => {
  test('creating one changes the password at once', async () => {
    expect(refusal(await write())).toBe('answered');
    const data = await read();
    expect(data).toMatchObject({ username: login, rotation_period: 3600, ttl: 3600 });
    expect(data['password']).toBe(onServer());
    expect(onServer()).not.toBe('first-password');
    expect((await box.ok('read', `db/static-roles/${login}`)).data).toMatchObject({
      db_name: 'c',
      username: login,
      rotation_statements: [],
      credential_type: 'password',
      last_vault_rotation: expect.stringMatching(/^20\d\d-.*Z$/),
    });
    expect((await box.ok('list', 'db/static-roles')).data?.['keys']).toContain(login);
  });

  test.each([
    [{ db_name: '' }, '400 database name is required'],
    [{ username: '' }, '400 username is a required field to create a static account'],
    [{ username: 'a\u0000b' }, /^400 username has/],
    [{ rotation_period: null }, /^400 one of rotation_schedule or rotation_period/],
    [{ rotation_period: '4s' }, '400 rotation_period must be 5 seconds or more'],
    [{ rotation_schedule: '0 0 * * *' }, /^400 mutually exclusive fields/],
    [{ rotation_period: null, rotation_schedule: '0 0 * *' }, /^400 could not parse rotation_schedule/],
    [{ rotation_period: null, rotation_schedule: '0 0 30 2 *' }, /^400 could not parse rotation_schedule/],
    [{ rotation_window: '2h' }, '400 rotation_window is invalid with use of rotation_period'],
    [
      { rotation_period: null, rotation_schedule: '@daily', rotation_window: '59m' },
      /^400 rotation_window must be 3600/,
    ],
    [{ credential_type: 'client_certificate', credential_config: {} }, /^400 /],
    [{ db_name: 'nothere' }, /^500 .*failed to find entry for connection with name: "nothere"/s],
    [{ username: 'nobody' }, /^400 the database has no login "nobody"/],
    [{ password: 'wrong' }, /^400 the database does not let the login in/],
  ] as const)('%j is refused, and nothing is changed or stored', async (body, why) => {
    const answer = refusal(await write(body as object));
    if (typeof why === 'string') expect(answer).toBe(why);
    else expect(answer).toMatch(why);
    expect(onServer()).toBe('first-password');
    expect(refusal(await box.send('read', `db/static-roles/${login}`))).toBe('404 ');
  });

  test('a name is of a role or of a static role, never of both', async () => {
    expect(refusal(await write({}, 'r'))).toBe('400 Role and Static Role names must be unique');
    await write();
    expect(refusal(await box.send('write', `db/roles/${login}`, { db_name: 'c' }))).toBe(
      '400 Role and Static Role names must be unique',
    );
  });

  test('a username does not change', async () => {
    await write();
    expect(refusal(await write({ username: 'other' }))).toBe('400 cannot update static account username');
  });

  test('a role that the connection does not allow is refused', async () => {
    await box.ok('write', 'db/config/few', { ...CONNECTION, allowed_roles: 'only' });
    expect(refusal(await write({ db_name: 'few' }))).toMatch(/^500 .*is not an allowed role/s);
    expect(onServer()).toBe('first-password');
  });

  test('rotate-role changes it now; one that is not there is 400 in Vault’s words', async () => {
    await write();
    const first = onServer();
    await box.ok('write', `db/rotate-role/${login}`);
    expect(onServer()).not.toBe(first);
    expect((await read())['password']).toBe(onServer());
    expect(refusal(await box.send('write', 'db/rotate-role/nothere'))).toBe('400 no static role found for role name');
    expect(refusal(await box.send('read', 'db/static-creds/nothere'))).toBe('400 unknown role: nothere');
  });

  test('deleting one leaves the login and its password', async () => {
    await write();
    const password = onServer();
    await box.ok('delete', `db/static-roles/${login}`);
    await box.ok('delete', `db/static-roles/${login}`);
    expect(refusal(await box.send('read', `db/static-roles/${login}`))).toBe('404 ');
    box.skip(3_700_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(onServer()).toBe(password);
  });

  test('skip_import_rotation keeps the password until it is due', async () => {
    await write({ skip_import_rotation: true, password: 'first-password' });
    expect(await read()).toMatchObject({ password: 'first-password', ttl: 3600 });
    await write({ rotation_period: '2h' });
    expect(await read()).toMatchObject({ password: 'first-password', ttl: 7200 });
    box.skip(7_201_000);
    await until(() => onServer() !== 'first-password');
  });

  test('one whose password is not known says so', async () => {
    await write({ skip_import_rotation: true });
    const answer = await box.ok('read', `db/static-creds/${login}`);
    expect(answer.data).toMatchObject({ password: '' });
    expect(answer.warnings).toEqual(['the secret is not known before the first rotation']);
  });

  test('a self-managed connection changes passwords as their owners', async () => {
    const { username: _, password: __, ...rest } = CONNECTION;
    await box.ok('write', 'db/config/own', { ...rest, self_managed: true });
    expect((await box.ok('read', 'db/config/own')).data).toMatchObject({
      connection_details: { self_managed: true, connection_url: CONNECTION['connection_url'] },
    });
    expect(refusal(await box.send('write', 'db/config/own', { username: 'x' }))).toMatch(/mutually exclusive/);
    expect(refusal(await write({ db_name: 'own' }))).toMatch(/^400 a self-managed connection needs the password/);
    expect(refusal(await write({ db_name: 'own', self_managed_password: 'first-password' }))).toBe('answered');
    expect(box.server.calls.filter(({ call }) => call === 'change').at(-1)?.as).toBe(login);
    const first = onServer();
    await box.ok('write', `db/rotate-role/${login}`);
    expect(onServer()).not.toBe(first);
    expect((await read())['password']).toBe(onServer());
    await box.ok('write', 'db/roles/dyn', { db_name: 'own' });
    expect(refusal(await box.send('read', 'db/creds/dyn'))).toMatch(/^400 a self-managed connection has no login/);
  });

  test('an RSA key is rotated too', async () => {
    await write({ credential_type: 'rsa_private_key' });
    const data = await read();
    expect(data['rsa_private_key']).toContain('BEGIN PRIVATE KEY');
    expect(box.server.logins.get(login)?.publicKey).toContain('BEGIN PUBLIC KEY');
  });

  test.each(['"; DROP ROLE root; --', "a''b", '$$', 'naïve ☃'])('a login named %j is only a name', async (name) => {
    box.server.add(name, 'first-password');
    expect(refusal(await write({ username: name }, name))).toBe('answered');
    expect((await read(name))['password']).toBe(onServer(name));
  });
});

describe('when the server is away', () => {
  const away = (): never => {
    throw new Fault('database.unreachable', 'no route');
  };

  test('before anything was said, nothing is stored', async () => {
    box.server.before = away;
    expect(refusal(await write())).toMatch(/^502 .*no route/);
    box.server.before = () => {};
    expect(refusal(await box.send('read', `db/static-roles/${login}`))).toBe('404 ');
  });

  test('while it was told, the role stays, and both passwords are tried', async () => {
    box.server.after = (call) => {
      if (call === 'change') away();
    };
    expect(refusal(await write())).toMatch(/^502 no route; the role is kept/);
    box.server.after = () => {};
    expect((await read())['password']).toBe(onServer());
    expect(onServer()).not.toBe('first-password');
  });

  test('a role that was said to be kept stays, whatever the server says later', async () => {
    box.server.before = (call) => {
      if (call === 'change') away();
    };
    expect(refusal(await write())).toMatch(/^502 no route; the role is kept/);
    box.server.before = (call) => {
      if (call === 'change') throw new Fault('database.refused', 'permission denied');
    };
    expect(refusal(await box.send('write', `db/rotate-role/${login}`))).toMatch(/^400 permission denied/);
    box.server.before = () => {};
    await box.ok('write', `db/rotate-role/${login}`);
    expect((await read())['password']).toBe(onServer());
  });

  test('a refused first rotation leaves no role', async () => {
    box.server.before = (call) => {
      if (call === 'change') throw new Fault('database.refused', 'permission denied');
    };
    expect(refusal(await write())).toMatch(/^400 permission denied/);
    expect(refusal(await box.send('read', `db/static-roles/${login}`))).toBe('404 ');
    expect(onServer()).toBe('first-password');
  });

  test('a failed rotation keeps the old password, and is tried again', async () => {
    await write({ rotation_period: '5s' });
    const first = onServer();
    let fails = true;
    box.server.before = (call, [name]) => {
      if (fails && call === 'change' && name === login) away();
    };
    box.skip(6000);
    await until(() => box.services.engines[0]?.figures?.().get('database_rotation_failures_total') === 1);
    expect((await read())['password']).toBe(first);
    // Anybody reads health: what the server said is for those who may read the role.
    expect(box.services.engines[0]?.reasons?.()).toEqual([
      'static roles that could not be rotated: 1; a read of static-roles/<name> says why',
    ]);
    expect((await box.ok('read', `db/static-roles/${login}`)).warnings).toEqual([
      expect.stringMatching(/^not rotated yet \(attempts: 1\): .*no route/),
    ]);
    fails = false;
    for (let i = 0; i < 20 && onServer() === first; i++) {
      box.skip(30_000);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(onServer()).not.toBe(first);
    await until(() => box.services.engines[0]?.reasons?.().length === 0);
    expect((await box.ok('read', `db/static-roles/${login}`)).warnings ?? []).toEqual([]);
    expect((await read())['password']).toBe(onServer());
    await box.ok('delete', `db/static-roles/${login}`);
  });

  test('what comes due while the box closes keeps its row', async () => {
    const [engine] = box.services.engines;
    const mount = box.services.mounts.list().find(({ path }) => path === 'db/');
    if (engine === undefined || mount === undefined) throw new Error('there is no engine at db/');
    await engine.close?.();
    await expect(engine.due?.(mount, `static/${login}`, 0)).rejects.toMatchObject({ code: 'appliance.sealed' });
    engine.start?.();
    await expect(engine.due?.(mount, `static/${login}`, 0)).resolves.toBeUndefined();
  });

  test('a role that is stuck is not listed any more when it is rotated by hand, or deleted', async () => {
    const own = await fakeBox();
    try {
      const stuck = (): number | undefined => own.services.engines[0]?.figures?.().get('database_rotations_stuck');
      for (const name of ['one', 'two']) {
        own.server.add(name, 'first-password');
        await own.ok('write', `db/static-roles/${name}`, { db_name: 'c', username: name, rotation_period: '1h' });
      }
      own.server.before = (call) => {
        if (call === 'change') throw new Fault('database.refused', 'not now');
      };
      own.skip(3_601_000);
      await until(() => stuck() === 2);
      own.server.before = () => {};
      await own.ok('write', 'db/rotate-role/one');
      expect(stuck()).toBe(1);
      await own.ok('delete', 'db/static-roles/two');
      expect(stuck()).toBe(0);
    } finally {
      await own.end();
    }
  });

  test('one that takes its password and lets nobody in is rotated, and the old one is kept', async () => {
    box.server.before = (call) => {
      if (call === 'letsIn') throw new Fault('database.unreachable', 'not from here');
    };
    expect(refusal(await write())).toBe('answered');
    box.server.before = () => {};
    expect((await read())['password']).toBe(onServer());
  });
});

describe('while the box is held', () => {
  test('no password is changed, and what is due waits', async () => {
    let held: string | undefined;
    const own = await fakeBox({ parts: { held: () => held } });
    try {
      own.server.add('app', 'first-password');
      await own.ok('write', 'db/static-roles/s', { db_name: 'c', username: 'app', rotation_period: '1h' });
      const before = own.server.logins.get('app')?.password;
      held = 'this box may be a copy';
      const changes = own.server.count('change');
      for (const path of ['db/rotate-role/s', 'db/rotate-root/c'])
        expect(refusal(await own.send('write', path))).toMatch(/^503 .*this box may be a copy/);
      expect(refusal(await own.send('read', 'db/creds/r'))).toMatch(/^503 .*this box may be a copy/);
      own.skip(3_601_000);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(own.server.count('change')).toBe(changes);
      expect((await own.ok('read', 'db/static-creds/s')).data?.['password']).toBe(before);
      held = undefined;
      own.skip(200_000);
      await until(() => own.server.logins.get('app')?.password !== before);
    } finally {
      await own.end();
    }
  });
});

describe('when it is due', () => {
  test('a leaf says what the box did by itself, and names nobody', async () => {
    await write({ rotation_period: '1h' });
    const before = onServer();
    const from = box.audit.size;
    box.skip(3_601_000);
    await until(() => onServer() !== before);
    const leaves = async (): Promise<string> => {
      const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: String(from) });
      return raw !== undefined && 'body' in raw ? String(raw.body) : '';
    };
    await until(async () => (await leaves()).includes('rotation.static'));
    const line = (await leaves()).split('\n').find((one) => one.includes('rotation.static')) ?? '';
    expect(line).toContain('"outcome":"done"');
    expect(line).toContain('db/');
    expect(line).not.toContain(login);
    await box.ok('delete', `db/static-roles/${login}`);
  });

  test('by period, again and again, over a restart', async () => {
    await write({ rotation_period: '1h' });
    for (let round = 0; round < 3; round++) {
      const before = onServer();
      box.skip(3_601_000);
      if (round === 1) await box.restart();
      await until(() => onServer() !== before);
      await until(async () => (await read())['password'] === onServer());
    }
    await box.ok('delete', `db/static-roles/${login}`);
  });

  test('by schedule, and too late for its window waits for the next point', async () => {
    await write({ rotation_period: null, rotation_schedule: '0 * * * *', rotation_window: '1h' });
    const data = await read();
    expect(data).toMatchObject({ rotation_schedule: '0 * * * *', rotation_window: 3600 });
    expect(data['rotation_period']).toBeUndefined();
    const first = onServer();
    box.skip((Number(data['ttl']) + 1) * 1000);
    await until(() => onServer() !== first);
    await until(async () => (await read())['password'] === onServer());
    const second = onServer();
    // An hour and a minute behind the next point its window is over.
    box.skip((Number((await read())['ttl']) + 3660) * 1000);
    await until(async () => Number((await read())['ttl']) > 0);
    expect(onServer()).toBe(second);
    box.skip((Number((await read())['ttl']) + 1) * 1000);
    await until(() => onServer() !== second);
    await box.ok('delete', `db/static-roles/${login}`);
  });
});
