import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NetworkProxy } from './proxy.ts';
import { type DatabaseServer, type ServerKind, startServer } from './servers.ts';

/** The set-up itself: what other tests build on must do what it says. */
describe.each(['postgresql', 'mariadb'] as const)('a server for tests: %s', (kind: ServerKind) => {
  let server: DatabaseServer;
  beforeAll(async () => {
    server = await startServer(kind, { durable: true });
  });
  afterAll(() => server.close());

  const marked = 'CREATE TABLE marks (n int)';

  test('what was said before a kill is there after the restart', async () => {
    await server.sql(marked, 'app');
    await server.sql('INSERT INTO marks VALUES (1)', 'app');
    const before = server.pid;
    await server.kill();
    await expect(server.sql('SELECT 1')).rejects.toThrow();
    await server.restart();
    expect(server.pid).not.toBe(before);
    expect(await server.sql('SELECT n FROM marks', 'app')).toEqual([{ n: 1 }]);
  });

  test('paused, it takes connections and says nothing; resumed, it answers', async () => {
    server.pause();
    const answer = server.sql('SELECT 1 AS one');
    const early = await Promise.race([answer, new Promise((resolve) => setTimeout(() => resolve('nothing'), 300))]);
    expect(early).toBe('nothing');
    server.resume();
    expect(await answer).toEqual([{ one: 1 }]);
  });

  test('its manager is not its superuser', async () => {
    expect(server.manager.username).not.toBe(server.superuser.username);
    expect(readFileSync(server.log, 'utf8')).toContain('INSERT INTO marks');
  });
});

describe('the proxy', () => {
  let server: DatabaseServer;
  let proxy: NetworkProxy;
  beforeAll(async () => {
    server = await startServer('mariadb');
    proxy = await NetworkProxy.before(server);
  });
  afterAll(async () => {
    await proxy.close();
    await server.close();
  });

  const greeting = (): Promise<{ readonly socket: Socket; readonly first: Promise<Buffer> }> =>
    new Promise((resolve, reject) => {
      const socket = connect(proxy.port, '127.0.0.1');
      const first = new Promise<Buffer>((got) => socket.once('data', got));
      socket.once('error', reject);
      socket.once('connect', () => resolve({ socket, first }));
    });
  const within = (ms: number, wanted: Promise<unknown>): Promise<boolean> =>
    Promise.race([wanted.then(() => true), new Promise<boolean>((resolve) => setTimeout(() => resolve(false), ms))]);

  test('brings bytes through', async () => {
    const { socket, first } = await greeting();
    expect((await first).length).toBeGreaterThan(20);
    socket.destroy();
  });

  test('holds: a connection stands and nothing comes, until it goes on', async () => {
    proxy.hold();
    const { socket, first } = await greeting();
    expect(await within(200, first)).toBe(false);
    proxy.resume();
    expect(await within(5000, first)).toBe(true);
    socket.destroy();
  });

  test('delays every packet', async () => {
    proxy.delay(300);
    const { socket, first } = await greeting();
    expect(await within(100, first)).toBe(false);
    expect(await within(5000, first)).toBe(true);
    proxy.resume();
    socket.destroy();
  });

  test('cuts', async () => {
    const { socket, first } = await greeting();
    await first;
    const reset = new Promise<string>((resolve) =>
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')),
    );
    proxy.cut();
    expect(await reset).toBe('ECONNRESET');
  });

  test('one packet arrives after its client has gone', async () => {
    const sent = proxy.delayNext((packet) => packet.includes('late packet'));
    const { socket, first } = await greeting();
    await first;
    socket.write('the late packet');
    await sent.caught;
    socket.destroy();
    expect(sent.isCaught).toBe(true);
    // To the server it is a broken handshake, which it counts: that is how it is seen to have arrived.
    const aborted = async (): Promise<number> =>
      Number((await server.sql("SHOW GLOBAL STATUS LIKE 'Aborted_connects'"))[0]?.['Value']);
    const before = await aborted();
    sent.release();
    for (let round = 0; round < 100 && (await aborted()) === before; round++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await aborted()).toBeGreaterThan(before);
  });
});

test('certificates are by the authority of the server, and good for its names', async () => {
  const server = await startServer('postgresql');
  const raw = connect(server.port, server.host);
  try {
    raw.write(Buffer.of(0, 0, 0, 8, 4, 210, 22, 47));
    expect(String(await new Promise((resolve) => raw.once('data', resolve)))).toBe('S');
    const secure = connectTls({
      socket: raw,
      ca: server.authority.certificatePem,
      servername: 'db.test',
    });
    await new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject));
    expect(secure.authorized).toBe(true);
    secure.destroy();
  } finally {
    raw.destroy();
    await server.close();
  }
});
