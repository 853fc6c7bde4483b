import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConnectionLimits, Database, DatabaseAdapter, LoginCredential } from '../../host/ports/database.ts';
import type { ValueMap } from '../../host/ports/value.ts';
import { Secret } from '../../host/secret.ts';
import { systemClock } from '../../host/system/clock.ts';
import { Authority } from '../databases/authority.ts';
import { NetworkProxy } from '../databases/proxy.ts';
import { type DatabaseServer, type ServerKind, startServer } from '../databases/servers.ts';

/** What the suite needs to know of a kind of server: how it differs from others, declared and asserted. */
export interface DatabaseExpectations {
  readonly plugin: string;
  readonly server: ServerKind;
  readonly adapter: DatabaseAdapter;
  /** Creation is all or nothing by the server's transaction; else what was made before a statement failed is dropped. */
  readonly isTransactional: boolean;
  /** The server ends a login by itself at this time; undefined: it keeps none. */
  readonly expiryOf: ((server: DatabaseServer, name: string) => Promise<number>) | undefined;
  /** With a grant, as roles have it. */
  readonly creation: readonly string[];
  /** The name and the password at each place where they may stand. */
  readonly spellings: readonly (readonly string[])[];
  /** The second statement is none that the server takes. */
  readonly failingCreation: readonly string[];
  readonly customRevocation: readonly string[];
  readonly failingRevocation: readonly string[];
  readonly badTemplates: readonly string[];
  /** With a CANARY in them, which no message may repeat. */
  readonly badUrls: readonly string[];
  /** Names that this server could not keep apart from others: refused. */
  readonly refusedNames: readonly string[];
  /** A statement that lists all logins, `name` alone. */
  readonly allLogins: string;
  /** A session of the login that stays; resolves when the server has ended it. */
  readonly session: (
    server: DatabaseServer,
    name: string,
    password: string,
  ) => Promise<{ readonly ended: Promise<void> }>;
  readonly tls: (server: DatabaseServer, host: string, ca: string) => ValueMap;
}

export const clock = systemClock();
const TIMEOUT_MS = 10_000;
/** Servers that count in whole seconds need four. */
const SHORT_MS = 4000;

export const limits = (over: Partial<ConnectionLimits> = {}): ConnectionLimits => ({
  ...{ connectionCountMax: 4, idleCountMax: 4, lifetimeMs: 0, check: () => undefined },
  ...over,
});

export const secret = (text: string): Secret => new Secret(Buffer.from(text));
export const password = (text: string): LoginCredential => ({ type: 'password', password: secret(text) });
export const inAnHour = (): number => clock.wallMs() + 3_600_000;

/** Nothing that ends a quote, a statement, a comment, a body or a line may end it. */
const HOSTILE = [
  `a"; DROP ROLE canary; --`,
  `a'; DROP USER canary; --`,
  `''`,
  `""`,
  '``',
  `'`,
  `"`,
  '$$',
  '$tag$',
  `\\`,
  `\\'`,
  `a\\" OR 1=1`,
  'a--b',
  'a /* b */',
  'a;b',
  '{{password}}',
  '%s%n$1?',
  'line\nfeed\r\ttab',
  'ünïcode-名前',
  ' lead',
];

const code = (wanted: string) => expect.objectContaining({ code: wanted });

export function databaseContract(expected: DatabaseExpectations): void {
  const { adapter } = expected;
  let server: DatabaseServer;
  let database: Database;
  const opened: Database[] = [];

  const settings = (over: ValueMap = {}): ValueMap => ({
    connection_url: server.url(),
    ...server.manager,
    ...over,
  });
  const open = (over: ValueMap = {}, limit: Partial<ConnectionLimits> = {}): Database => {
    const one = adapter.open(adapter.parse(settings(over)), limits(limit));
    opened.push(one);
    return one;
  };
  let counter = 0;
  const newName = (): string => `v-test-${String(counter++).padStart(4, '0')}`;
  const make = async (name = newName(), word = 'Pass-word-1'): Promise<string> => {
    await database.create(
      { name, credential: password(word), expirationMs: inAnHour() },
      expected.creation,
      TIMEOUT_MS,
    );
    return name;
  };
  const end = (...names: readonly string[]) =>
    database.drop(
      names.map((name) => ({ name, statements: [] })),
      TIMEOUT_MS,
    );
  const logins = async (): Promise<readonly string[]> =>
    (await server.sql(expected.allLogins)).map(({ name }) => String(name));

  describe(`the database contract, kept by ${expected.plugin}`, () => {
    beforeAll(async () => {
      server = await startServer(expected.server);
      database = open();
    });
    afterAll(async () => {
      await Promise.all(opened.map((one) => one.close()));
      await server.close();
    });

    describe('logins', () => {
      test('it declares what it is', () => {
        expect(adapter.plugin).toBe(expected.plugin);
        expect(adapter.credentialTypes).toContain('password');
        expect(adapter.names.defaultTemplate).toMatch(/random/);
        expect(adapter.names.lengthMax).toBeGreaterThanOrEqual(32);
      });

      test('a login lets in who has its password, nobody else, and is gone when it is dropped', async () => {
        const name = await make();
        expect(await database.letsIn(name, secret('Pass-word-1'), TIMEOUT_MS)).toBe(true);
        expect(await database.letsIn(name, secret('Pass-word-2'), TIMEOUT_MS)).toBe(false);
        expect(await database.letsIn(`${name}x`, secret('Pass-word-1'), TIMEOUT_MS)).toBe(false);
        expect(await database.present([name, `${name}x`], TIMEOUT_MS)).toEqual(new Set([name]));
        expect(await end(name)).toEqual([{ done: true }]);
        expect(await database.present([name], TIMEOUT_MS)).toEqual(new Set());
        expect(await database.letsIn(name, secret('Pass-word-1'), TIMEOUT_MS)).toBe(false);
      });

      test('without statements it makes a login by its own', async () => {
        const name = newName();
        await database.create(
          { name, credential: password('own-Default-1'), expirationMs: inAnHour() },
          [],
          TIMEOUT_MS,
        );
        expect(await database.letsIn(name, secret('own-Default-1'), TIMEOUT_MS)).toBe(true);
        expect(await end(name)).toEqual([{ done: true }]);
      });

      test('a name that is taken is `database.exists`, and its owner keeps it', async () => {
        const name = await make();
        const again = database.create(
          { name, credential: password('other-Word-1'), expirationMs: inAnHour() },
          expected.creation,
          TIMEOUT_MS,
        );
        await expect(again).rejects.toEqual(code('database.exists'));
        expect(await database.letsIn(name, secret('Pass-word-1'), TIMEOUT_MS)).toBe(true);
        await end(name);
      });

      test('a creation of which one statement fails leaves nothing', async () => {
        const before = await logins();
        const name = newName();
        const made = database.create(
          { name, credential: password('half-Made-12345'), expirationMs: inAnHour() },
          expected.failingCreation,
          TIMEOUT_MS,
        );
        await expect(made).rejects.toEqual(code('database.refused'));
        expect(await logins()).toEqual(before);
      });

      test('statements that make a login of another name are refused: nobody would find it again', async () => {
        const name = newName();
        const made = database.create(
          { name, credential: password('Elsewhere-123'), expirationMs: inAnHour() },
          expected.creation.map((text) => text.replaceAll('{{name}}', 'not-{{name}}')),
          TIMEOUT_MS,
        );
        await expect(made).rejects.toEqual(code('database.refused'));
        // Where statements are no transaction it stays, and the operator reads of it.
        expect((await logins()).includes(`not-${name}`)).toBe(!expected.isTransactional);
      });

      test('a list has the names with a beginning, in order, and no other', async () => {
        const names = ['v-list-b', 'v-list-a', 'v-list-%', 'v-lisu'];
        for (const name of names) await make(name);
        expect(await database.list('v-list', TIMEOUT_MS)).toEqual(['v-list-%', 'v-list-a', 'v-list-b']);
        expect(await database.list('v-list-_', TIMEOUT_MS)).toEqual([]);
        await expect(database.list('v', TIMEOUT_MS)).rejects.toThrow();
        await end(...names);
      });

      test('renewal moves the end that the server keeps; a login that is not there is `database.absent`', async () => {
        const name = await make();
        const later = Math.floor(clock.wallMs() / 1000) * 1000 + 7_200_000;
        await database.renew(name, later, [], TIMEOUT_MS);
        if (expected.expiryOf !== undefined) expect(await expected.expiryOf(server, name)).toBe(later);
        await end(name);
        await expect(database.renew(name, later, [], TIMEOUT_MS)).rejects.toEqual(code('database.absent'));
      });

      test('another password takes the place of the old one; a login that is not there is `database.absent`', async () => {
        const name = await make();
        await database.change(name, password('second-Word-1'), [], TIMEOUT_MS);
        expect(await database.letsIn(name, secret('second-Word-1'), TIMEOUT_MS)).toBe(true);
        expect(await database.letsIn(name, secret('Pass-word-1'), TIMEOUT_MS)).toBe(false);
        await end(name);
        const gone = database.change(name, password('third-Word-1'), [], TIMEOUT_MS);
        await expect(gone).rejects.toEqual(code('database.absent'));
      });

      test('the box’s own login changes its password and is let in by the new one', async () => {
        const { username, password: before } = server.manager;
        await database.change(username, password('manager-Changed-1'), [], TIMEOUT_MS);
        expect(await database.letsIn(username, secret('manager-Changed-1'), TIMEOUT_MS)).toBe(true);
        const after = open({ password: 'manager-Changed-1' });
        await after.change(username, password(before), [], TIMEOUT_MS);
        expect(await after.letsIn(username, secret(before), TIMEOUT_MS)).toBe(true);
      });
    });

    describe('names and passwords are data', () => {
      const spelt = HOSTILE.flatMap((text, index) =>
        expected.spellings.map((statements, spelling) => [index, spelling, text, statements] as const),
      );

      test.each(spelt)('hostile name %i in spelling %i', async (_index, _spelling, text, statements) => {
        const name = `v-h${text}`;
        const before = await logins();
        const credential = password('name-Test-123');
        if (expected.refusedNames.some((one) => text.includes(one))) {
          const made = database.create({ name, credential, expirationMs: inAnHour() }, statements, TIMEOUT_MS);
          await expect(made).rejects.toEqual(code('database.refused'));
        } else {
          await database.create({ name, credential, expirationMs: inAnHour() }, statements, TIMEOUT_MS);
          expect(new Set(await logins())).toEqual(new Set([...before, name]));
          expect(await database.letsIn(name, secret('name-Test-123'), TIMEOUT_MS)).toBe(true);
          expect(await database.list('v-h', TIMEOUT_MS)).toEqual([name]);
          await database.renew(name, inAnHour(), [], TIMEOUT_MS);
          await database.change(name, password('name-Test-456'), [], TIMEOUT_MS);
          expect(await end(name)).toEqual([{ done: true }]);
        }
        expect(await logins()).toEqual(before);
      });

      test.each(spelt)('hostile password %i in spelling %i', async (_index, _spelling, text, statements) => {
        const name = newName();
        const before = await logins();
        const word = `p${text}`;
        await database.create({ name, credential: password(word), expirationMs: inAnHour() }, statements, TIMEOUT_MS);
        expect(await database.letsIn(name, secret(word), TIMEOUT_MS)).toBe(true);
        await database.change(name, password(`${word}2`), [], TIMEOUT_MS);
        expect(await database.letsIn(name, secret(`${word}2`), TIMEOUT_MS)).toBe(true);
        expect(await end(name)).toEqual([{ done: true }]);
        expect(await logins()).toEqual(before);
      });

      test('a hostile name is data in the role’s own revocation too', async () => {
        for (const text of HOSTILE.filter((one) => !expected.refusedNames.some((part) => one.includes(part)))) {
          const name = await make(`v-r${text}`);
          const done = await database.drop([{ name, statements: expected.customRevocation }], TIMEOUT_MS);
          expect([name, done]).toEqual([name, [{ done: true }]]);
        }
        expect(await database.list('v-r', TIMEOUT_MS)).toEqual([]);
      });

      test('names that the server would cut or that no text may hold are refused', async () => {
        for (const name of ['', 'nul\0', `v-${'x'.repeat(adapter.names.lengthMax)}`, 'v-\ud800']) {
          const made = database.create({ name, credential: password('x-1234567'), expirationMs: 0 }, [], TIMEOUT_MS);
          await expect(made).rejects.toEqual(code('database.refused'));
        }
        const made = database.create(
          { name: newName(), credential: password('nul\0nul'), expirationMs: 0 },
          [],
          TIMEOUT_MS,
        );
        await expect(made).rejects.toEqual(code('database.refused'));
        // A handshake is a list of texts that NUL ends: a name with one would say more than a name.
        const name = `x\0user\0${server.manager.username}`;
        await expect(database.letsIn(name, secret(server.manager.password), TIMEOUT_MS)).rejects.toEqual(
          code('database.refused'),
        );
        const kept = await make();
        expect(await database.present([name, kept, 'v-\ud800'], TIMEOUT_MS)).toEqual(new Set([kept]));
        expect(await end(name, kept, 'v-\ud800')).toEqual([{ done: true }, { done: true }, { done: true }]);
      });

      test('templates that cannot be quoted safely are refused where they are written, and where they are used', async () => {
        for (const text of expected.badTemplates) {
          expect(() => adapter.check([text], 'create', 'password'), text).toThrow(code('input.invalid') as Error);
          const made = database.create(
            { name: newName(), credential: password('x-1234567'), expirationMs: 0 },
            [text],
            TIMEOUT_MS,
          );
          await expect(made, text).rejects.toEqual(code('database.refused'));
        }
        adapter.check(expected.creation, 'create', 'password');
        for (const statements of expected.spellings) adapter.check(statements, 'create', 'password');
        adapter.check(expected.customRevocation, 'drop', 'password');
        expect(() => adapter.check(expected.creation, 'drop', 'password')).toThrow(/no value here/);
      });
    });

    describe('dropping', () => {
      test('many at once: an outcome for each, in order; what is not there is done', async () => {
        const names: string[] = [];
        for (let index = 0; index < 30; index++) names.push(await make());
        names.splice(7, 0, 'v-never-was');
        expect(await end(...names)).toEqual(names.map(() => ({ done: true })));
        expect(await database.present(names, TIMEOUT_MS)).toEqual(new Set());
      });

      test('one that fails does not keep the others', async () => {
        const names = [await make(), await make(), await make(), await make()];
        const outcomes = await database.drop(
          names.map((name, index) => ({
            name,
            statements: index === 1 ? expected.failingRevocation : index === 2 ? expected.customRevocation : [],
          })),
          TIMEOUT_MS,
        );
        expect(outcomes.map(({ done }) => done)).toEqual([true, false, true, true]);
        expect(await database.present(names, TIMEOUT_MS)).toEqual(new Set([names[1]]));
        expect(await end(names[1] ?? '')).toEqual([{ done: true }]);
      });

      test('statements that leave the login are no drop', async () => {
        const name = await make();
        const [outcome] = await database.drop([{ name, statements: ['SELECT 1'] }], TIMEOUT_MS);
        expect(outcome).toMatchObject({ done: false });
        expect(await end(name)).toEqual([{ done: true }]);
      });

      test('open sessions end with their login', async () => {
        for (const statements of [[], expected.customRevocation]) {
          const name = await make();
          const { ended } = await expected.session(server, name, 'Pass-word-1');
          expect(await database.drop([{ name, statements }], TIMEOUT_MS)).toEqual([{ done: true }]);
          await ended;
        }
      });
    });

    describe('many at once', () => {
      test('16 in flight, with grants on the same things: all made, all let in, all dropped', async () => {
        const many = open({}, { connectionCountMax: 16, idleCountMax: 16 });
        const names = Array.from({ length: 48 }, newName);
        const work = names.slice();
        const worker = async (): Promise<void> => {
          for (let name = work.pop(); name !== undefined; name = work.pop()) {
            const login = { name, credential: password(`word-${name}`), expirationMs: inAnHour() };
            await many.create(login, expected.creation, TIMEOUT_MS);
          }
        };
        await Promise.all(Array.from({ length: 16 }, worker));
        expect(await many.present(names, TIMEOUT_MS)).toEqual(new Set(names));
        expect(await many.letsIn(names[47] ?? '', secret(`word-${names[47]}`), TIMEOUT_MS)).toBe(true);
        const halves = [names.slice(0, 24), names.slice(24)];
        const dropped = await Promise.all(
          halves.map((half) =>
            many.drop(
              half.map((name) => ({ name, statements: [] })),
              TIMEOUT_MS,
            ),
          ),
        );
        expect(dropped.flat().every(({ done }) => done)).toBe(true);
      });

      test('at most so many connections are open, and idle ones are kept and used again', async () => {
        const proxy = await NetworkProxy.before(server);
        const few = open({ connection_url: server.url(proxy.port) }, { connectionCountMax: 2, idleCountMax: 1 });
        await Promise.all(Array.from({ length: 12 }, () => few.present(['v-x'], TIMEOUT_MS)));
        expect(proxy.connectionCount).toBeLessThanOrEqual(2);
        for (let round = 0; round < 5; round++) await few.present(['v-x'], TIMEOUT_MS);
        expect(proxy.connectionCount).toBeLessThanOrEqual(3);
        await few.close();
        await expect(few.present(['v-x'], TIMEOUT_MS)).rejects.toEqual(code('database.unreachable'));
        await proxy.close();
      });

      test('a connection that lived too long is not used again', async () => {
        const proxy = await NetworkProxy.before(server);
        const short = open({ connection_url: server.url(proxy.port) }, { lifetimeMs: 1 });
        for (let round = 0; round < 3; round++) {
          await short.present(['v-x'], TIMEOUT_MS);
          await clock.sleep(5);
        }
        expect(proxy.connectionCount).toBe(3);
        await short.close();
        await proxy.close();
      });
    });

    describe('what goes wrong', () => {
      /** Every message of a failure, to look for what must not be in it. */
      const failure = async (work: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> => {
        const error: unknown = await work.then(
          () => expect.unreachable('it did not fail'),
          (reason: unknown) => reason,
        );
        return error as { readonly code: string; readonly message: string };
      };
      const canaries = ['CANARY-one-9f3c', `CANARY'two\\"9f3c`];

      test('a wrong password is refused by the server’s word, without the password', async () => {
        for (const canary of canaries) {
          const { code: found, message } = await failure(open({ password: canary }).verify(TIMEOUT_MS));
          expect(found).toBe('database.refused');
          expect(message).toMatch(/holdfast/);
          expect(message).not.toMatch(/CANARY|9f3c/);
        }
      });

      test('a server that repeats the statement does not repeat the password', async () => {
        // Where a verifier is sent in its place, the server is told the password itself.
        const plain = open({ password_authentication: 'password' });
        for (const canary of canaries) {
          for (const text of [
            `CREAT ROLE x '{{password}}'`,
            `'{{password}}' '{{password}}' x`,
            `CREATE ROLE '{{password}}' 'x'`,
            'DROP USER {{password}}',
          ]) {
            const login = { name: newName(), credential: password(canary), expirationMs: 0 };
            for (const one of [database, plain]) {
              const { code: found, message } = await failure(one.create(login, [text], TIMEOUT_MS));
              expect(found).toBe('database.refused');
              expect(message).not.toMatch(/CANA|NARY|9f3c/);
            }
          }
        }
      });

      test('where nothing listens it is unreachable', async () => {
        const proxy = await NetworkProxy.before(server);
        const port = proxy.port;
        await proxy.close();
        const { code: found, message } = await failure(open({ connection_url: server.url(port) }).verify(TIMEOUT_MS));
        expect([found, message]).toEqual(['database.unreachable', expect.stringContaining('nothing listens')]);
      });

      test('an address that may not be connected to is not connected to', async () => {
        const proxy = await NetworkProxy.before(server);
        const seen: string[] = [];
        const check = (address: string): void => {
          seen.push(address);
          throw Object.assign(new Error('not allowed'), { code: 'input.invalid' });
        };
        const refused = open({ connection_url: server.url(proxy.port).replace('127.0.0.1', 'localhost') }, { check });
        await expect(refused.verify(TIMEOUT_MS)).rejects.toThrow();
        await expect(refused.letsIn('x', secret('y'), TIMEOUT_MS)).rejects.toThrow();
        expect(seen.length).toBeGreaterThan(0);
        expect(seen.every((address) => address === '127.0.0.1' || address === '::1')).toBe(true);
        expect(proxy.connectionCount).toBe(0);
        await proxy.close();
      });

      test('TLS: the right authority and name; another authority, another name, no certificate', async () => {
        const over = (host: string, ca: string): Database => open(expected.tls(server, host, ca));
        const ca = server.authority.certificatePem;
        expect(await over('127.0.0.1', ca).verify(TIMEOUT_MS)).toBeInstanceOf(Array);
        const named = open({ ...expected.tls(server, '127.0.0.1', ca), tls_server_name: 'db.test' });
        expect(await named.verify(TIMEOUT_MS)).toBeInstanceOf(Array);
        const other = (await Authority.make('another authority')).certificatePem;
        for (const [one, sentence] of [
          [over('127.0.0.1', other), /authority/],
          [over('localhost', ca), /another name/],
          [open({ ...expected.tls(server, '127.0.0.1', ca), tls_server_name: 'db.example' }), /another name/],
        ] as const) {
          const { code: found, message } = await failure(one.verify(TIMEOUT_MS));
          expect(found).toBe('database.unreachable');
          expect(message).toMatch(sentence);
        }
      });

      test('a server that is paused meets the deadline, keeps nobody else, and then nothing comes of what was given up', async () => {
        const other = await startServer(expected.server);
        const elsewhere = adapter.open(adapter.parse({ ...settings(), connection_url: other.url() }), limits());
        try {
          await elsewhere.verify(TIMEOUT_MS);
          await database.verify(TIMEOUT_MS);
          const before = await logins();
          const name = newName();
          server.pause();
          const began = clock.bootMs();
          const made = failure(
            database.create(
              { name, credential: password('paused-Word-1'), expirationMs: inAnHour() },
              expected.creation,
              SHORT_MS,
            ),
          );
          const swift = newName();
          const login = { name: swift, credential: password('swift-Word-1'), expirationMs: inAnHour() };
          await elsewhere.create(login, expected.creation, TIMEOUT_MS);
          expect(clock.bootMs() - began).toBeLessThan(SHORT_MS);
          expect((await made).code).toBe('database.unreachable');
          expect(clock.bootMs() - began).toBeLessThan(SHORT_MS + 1500);
          server.resume();
          expect(await logins()).toEqual(before);
          expect(await database.present([name], TIMEOUT_MS)).toEqual(new Set());
        } finally {
          server.resume();
          await elsewhere.close();
          await other.close();
        }
      });

      test('a connection that is half open is given up at the deadline, and the next call has another', async () => {
        const proxy = await NetworkProxy.before(server);
        const through = open({ connection_url: server.url(proxy.port) });
        await through.verify(TIMEOUT_MS);
        proxy.hold();
        const began = clock.bootMs();
        const { code: found } = await failure(through.present(['v-x'], 1000));
        expect(found).toBe('database.unreachable');
        expect(clock.bootMs() - began).toBeLessThan(3000);
        proxy.resume();
        proxy.cut();
        expect(await through.present(['v-x'], TIMEOUT_MS)).toEqual(new Set());
        await through.close();
        await proxy.close();
      });

      test('a packet that arrives after the deadline changes nothing', async () => {
        const proxy = await NetworkProxy.before(server);
        const through = open({ connection_url: server.url(proxy.port) });
        await through.verify(TIMEOUT_MS);
        for (const wanted of [/CREATE (ROLE|USER)/, /^(?!.*CREATE).*(COMMIT|GRANT SELECT)/s]) {
          const name = newName();
          const late = proxy.delayNext((packet) => wanted.test(packet.toString('latin1')));
          const made = through.create(
            { name, credential: password('late-Word-1'), expirationMs: inAnHour() },
            expected.creation,
            SHORT_MS,
          );
          const { code: found } = await failure(made);
          expect(found).toBe('database.unreachable');
          expect(late.isCaught).toBe(true);
          // The undo looked, dropped what it found, and looked again.
          await end(name);
          late.release();
          await clock.sleep(200);
          expect(await database.present([name], TIMEOUT_MS)).toEqual(new Set());
        }
        await through.close();
        await proxy.close();
      });

      test('a server killed in the middle is unreachable, and works again when it is back', async () => {
        const names: string[] = [];
        let made = 0;
        // Four go on making logins until the server is gone; it goes when some are made and others are being made.
        const worker = async (): Promise<string> => {
          for (;;) {
            const name = newName();
            names.push(name);
            const login = { name, credential: password(`word-${name}`), expirationMs: inAnHour() };
            const outcome = await database.create(login, expected.creation, TIMEOUT_MS).then(
              () => 'made',
              ({ code: found }: { readonly code: string }) => found,
            );
            if (outcome !== 'made') return outcome;
            made++;
          }
        };
        const work = Promise.all(Array.from({ length: 4 }, worker));
        while (made < 8) await clock.sleep(1);
        await server.kill();
        expect(new Set(await work)).toEqual(new Set(['database.unreachable']));
        await server.restart();
        expect((await end(...names)).every(({ done }) => done)).toBe(true);
        expect(await database.present(names, TIMEOUT_MS)).toEqual(new Set());
        await end(await make());
      });
    });

    describe('settings', () => {
      const withUrl = (url: string, over: ValueMap = {}) => adapter.parse({ connection_url: url, ...over });

      test('what is shown holds no secret; what is stored opens the same server', async () => {
        const inUrl = server
          .url()
          .replace('{{username}}', server.manager.username)
          .replace('{{password}}', 'CANARY9f3c');
        const { shown, stored, username, warnings } = withUrl(inUrl);
        expect(JSON.stringify(shown)).not.toContain('CANARY');
        expect(String(shown['connection_url'])).toContain('xxxxx');
        expect(warnings.join()).toMatch(/holds a password/);
        expect(warnings.join()).not.toContain('CANARY');
        expect(username).toBe(server.manager.username);
        expect(adapter.parse(stored).shown).toEqual(shown);
        const rotated = adapter.parse({ ...stored, password: server.manager.password });
        const one = adapter.open(rotated, limits());
        opened.push(one);
        expect(await one.verify(TIMEOUT_MS)).toEqual([]);
      });

      test('what cannot be read is refused without a word of it', () => {
        const urls = ['CANARY', 'x://CANARY', server.url().replace('127.0.0.1', 'CANARY host')];
        for (const url of [...urls, ...expected.badUrls]) {
          try {
            withUrl(url, server.manager);
            expect.unreachable(url);
          } catch (error) {
            expect(error).toEqual(code('input.invalid'));
            expect((error as Error).message).not.toContain('CANARY');
          }
        }
      });

      test('a login that may do everything is warned of, one that may do what it needs is not', async () => {
        expect(await database.verify(TIMEOUT_MS)).toEqual([]);
        expect((await open(server.superuser).verify(TIMEOUT_MS)).join()).toMatch(/superuser|everything/);
      });
    });
  });
}
