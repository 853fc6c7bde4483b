import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Connection } from '../../bench/http/connection.ts';

/** A server that writes what the test says, piece by piece. */
let server: Server;
let connection: Connection;
let answers: (readonly string[])[] = [];
let opened = 0;

beforeEach(async () => {
  opened = 0;
  server = createServer((socket: Socket) => {
    opened++;
    socket.setNoDelay(true);
    socket.on('data', async () => {
      for (const piece of answers.shift() ?? []) {
        if (piece === 'close') socket.end();
        else await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  connection = new Connection(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(async () => {
  connection.close();
  await new Promise((resolve) => server.close(resolve));
});

const ask = (): Promise<number> =>
  new Promise((resolve) => connection.send(connection.encode('GET', '/x', '', undefined), resolve));

test.each([
  ['with a length', ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello']],
  ['in small pieces', ['HTTP/1.1 2', '00 OK\r\nContent-Le', 'ngth: 5\r\n\r', '\nhe', 'llo']],
  ['in chunks', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n']],
  [
    'in chunks cut anywhere',
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', '1', '\r\nh', '\r', '\n0\r\n', '\r\n'],
  ],
  ['after an interim one', ['HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n']],
])('an answer %s is taken whole, and the next one after it', async (_how, pieces) => {
  answers = [pieces, ['HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}'], ['HTTP/1.1 204 No Content\r\n\r\n']];
  expect([await ask(), await ask(), await ask()]).toEqual([200, 404, 204]);
  expect(opened).toBe(1);
});

test('an answer that the server ends by closing is whole, and a new connection is made', async () => {
  answers = [['HTTP/1.1 200 OK\r\n\r\nhello', 'close'], ['HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n']];
  expect([await ask(), await ask()]).toEqual([200, 201]);
  expect(opened).toBe(2);
});

test('a connection that breaks within an answer gives 0', async () => {
  answers = [['HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello', 'close']];
  expect(await ask()).toBe(0);
});
