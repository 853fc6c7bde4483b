import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '../../../../host/fault.ts';
import { CONNECTION, type FakeBox, fakeBox, refusal } from './box.ts';

let box: FakeBox;
beforeAll(async () => {
  box = await fakeBox();
});
afterAll(() => box.end());
beforeEach(() => {
  box.server.before = () => {};
  box.server.after = () => {};
});
const details = async (name: string) => (await box.ok('read', `db/config/${name}`)).data;

describe('config', () => {
  test('connects when it is written, and shows no secret', async () => {
    await box.ok('write', 'db/config/a', { ...CONNECTION, allowed_roles: ['x', 'y-*'], password_policy: 'pp' });
    expect(box.server.count('verify')).toBeGreaterThan(0);
    const data = await details('a');
    expect(JSON.stringify(data)).not.toContain('root-password');
    expect(data).toMatchObject({
      plugin_name: 'fake-database-plugin',
      connection_details: { username: 'root', connection_url: CONNECTION['connection_url'] },
      allowed_roles: ['x', 'y-*'],
      password_policy: 'pp',
      root_credentials_rotate_statements: [],
    });
    expect((await box.ok('list', 'db/config')).data).toEqual({ keys: ['a', 'c'] });
  });

  test('an update keeps what it does not name', async () => {
    await box.ok('write', 'db/config/m', {
      ...CONNECTION,
      max_open_connections: 7,
      root_rotation_statements: ['ALTER x'],
    });
    await box.ok('write', 'db/config/m', { allowed_roles: 'z' });
    expect(await details('m')).toMatchObject({
      allowed_roles: ['z'],
      root_credentials_rotate_statements: ['ALTER x'],
      connection_details: { username: 'root', max_open_connections: 7 },
    });
  });

  test.each([
    ['no plugin', {}, '400 empty plugin name'],
    ['an unknown plugin', { plugin_name: 'nothere' }, /^400 error creating database object: .*"nothere"/],
    ['no URL', { plugin_name: 'fake' }, '400 error creating database object: connection_url cannot be empty'],
    [
      'a wrong password',
      { ...CONNECTION, password: 'canary-wrong' },
      /^400 error creating database object: error verifying/,
    ],
    ['too many connections', { ...CONNECTION, max_open_connections: 65 }, /^400 max_open_connections/],
    ['negative connections', { ...CONNECTION, max_open_connections: -1 }, /^400 max_open_connections/],
    [
      'a field of another type',
      { ...CONNECTION, max_open_connections: 'many' },
      /^400 error converting input for field/,
    ],
    ['statements that are none', { ...CONNECTION, root_rotation_statements: [1] }, /^400 statements are/],
    ['an unknown placeholder', { ...CONNECTION, root_rotation_statements: 'X {{nonsense}}' }, /^400 .*nonsense/],
    [
      'a template without chance',
      { ...CONNECTION, username_template: '{{.RoleName}}' },
      /^400 username_template: .*80 random bits/,
    ],
    [
      'an unknown function',
      { ...CONNECTION, username_template: '{{env "HOME"}}' },
      /^400 username_template: there is no function "env"/,
    ],
  ] as const)('%s is refused, and nothing is stored', async (_what, body, why) => {
    const answer = refusal(await box.send('write', 'db/config/bad', body));
    if (typeof why === 'string') expect(answer).toBe(why);
    else expect(answer).toMatch(why);
    expect(answer).not.toContain('canary');
    expect(refusal(await box.send('read', 'db/config/bad'))).toBe('404 ');
  });

  test('a server that is away is 502, and nothing is stored', async () => {
    box.server.before = () => {
      throw new Fault('database.unreachable', 'nothing listens there');
    };
    expect(refusal(await box.send('write', 'db/config/away', CONNECTION))).toMatch(/^502 .*nothing listens there/);
    expect(refusal(await box.send('read', 'db/config/away'))).toBe('404 ');
    await box.ok('write', 'db/config/away', { ...CONNECTION, verify_connection: false });
    expect(await details('away')).toMatchObject({ plugin_name: 'fake-database-plugin' });
  });

  test('metadata addresses are refused, checked or not', async () => {
    const url = { ...CONNECTION, connection_url: 'fake://169.254.169.254' };
    expect(refusal(await box.send('write', 'db/config/meta', url))).toMatch(/^400 .*metadata/);
    await box.ok('write', 'db/config/meta', { ...url, verify_connection: false });
    await box.ok('write', 'db/roles/meta', { db_name: 'meta' });
    expect(refusal(await box.send('read', 'db/creds/meta'))).toMatch(/^400 .*metadata/);
  });

  test('warnings of the server and of the URL reach who writes', async () => {
    box.server.add('almighty', 'p');
    const answer = await box.ok('write', 'db/config/w', {
      ...{ ...CONNECTION, connection_url: 'fake://u:secret@h/{{password}}', username: 'almighty', password: 'p' },
    });
    expect(answer.warnings).toEqual(['the URL holds a password', 'the login may too much']);
  });

  test('another server in the place of the one whose logins are out is warned of', async () => {
    const write = async (body: object) =>
      (await box.ok('write', 'db/config/moves', { ...CONNECTION, ...body })).warnings;
    expect(await write({})).toBeUndefined();
    expect(await write({ allowed_roles: 'a' })).toBeUndefined();
    expect(await write({ connection_url: 'fake://{{username}}:{{password}}@elsewhere' })).toEqual([
      expect.stringMatching(/^the connection led to server before: logins .* are looked for at elsewhere now/),
    ]);
    expect(await write({ connection_url: 'fake://{{username}}:{{password}}@elsewhere' })).toBeUndefined();
  });

  test('create and update are two capabilities', async () => {
    await box.ok('write', 'sys/policies/acl/c', { policy: 'path "db/config/*" { capabilities = ["create"] }' });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['c'] });
    const token = auth?.clientToken ?? '';
    expect(refusal(await box.send('write', 'db/config/cap', CONNECTION, token))).toBe('answered');
    expect(refusal(await box.send('write', 'db/config/cap', CONNECTION, token))).toMatch(/^403/);
  });

  test('reset closes the connection; one that is not there is 500 in Vault’s words', async () => {
    await box.ok('read', 'db/creds/r');
    const { closed, opened } = box.server;
    await box.ok('write', 'db/reset/c');
    expect(box.server.closed).toBeGreaterThan(closed);
    await box.ok('read', 'db/creds/r');
    expect(box.server.opened).toBe(opened + 1);
    for (const path of ['reset', 'rotate-root'])
      expect(refusal(await box.send('write', `db/${path}/nothere`))).toContain(
        '500 1 error occurred:\n\t* failed to find entry for connection with name: "nothere"',
      );
  });

  test('where neither of two passwords holds, an operator’s third one does', async () => {
    box.server.add('lost', 'first');
    await box.ok('write', 'db/config/lost', { ...CONNECTION, username: 'lost', password: 'first' });
    await box.ok('write', 'db/roles/lost', { db_name: 'lost' });
    box.server.after = (call) => {
      if (call === 'change') throw new Fault('database.unreachable', 'cut');
    };
    expect(refusal(await box.send('write', 'db/rotate-root/lost'))).toMatch(/^502 .*cut/);
    box.server.after = () => {};
    box.server.add('lost', 'set by somebody else');
    const lost = refusal(await box.send('read', 'db/creds/lost'));
    expect(lost).toMatch(/^400 neither the password of the connection "lost" nor the one that it was to get/);
    expect(refusal(await box.send('write', 'db/config/lost', { allowed_roles: '*' }))).toMatch(/^400 neither/);
    await box.ok('write', 'db/config/lost', { password: 'set by somebody else' });
    await box.ok('read', 'db/creds/lost');
    await box.ok('write', 'db/rotate-root/lost');
    await box.ok('read', 'db/creds/lost');
  });

  test('a connection is deleted, and again', async () => {
    await box.ok('write', 'db/config/d', CONNECTION);
    await box.ok('delete', 'db/config/d');
    await box.ok('delete', 'db/config/d');
    expect(refusal(await box.send('read', 'db/config/d'))).toBe('404 ');
  });

  test('a change is used at once', async () => {
    await box.ok('write', 'db/config/two', CONNECTION);
    await box.ok('write', 'db/roles/two', { db_name: 'two' });
    await box.ok('read', 'db/creds/two');
    box.server.add('second', 'second-password');
    await box.ok('write', 'db/config/two', { username: 'second', password: 'second-password' });
    await box.ok('read', 'db/creds/two');
    expect(box.server.calls.at(-1)).toMatchObject({ call: 'create', as: 'second' });
  });
});
