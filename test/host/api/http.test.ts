import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Api, startApi } from '../../../host/api/server.ts';
import type { Appliance, SealStatus } from '../../../host/ports/appliance.ts';
import type { Inbound } from '../../../host/ports/dispatch.ts';
import { systemClock } from '../../../host/system/clock.ts';
import { systemRandom } from '../../../host/system/random.ts';

/** The HTTP face over a dispatcher that keeps what it was asked. */
const asked: Inbound[] = [];
let api: Api;
let port = 0;
let hold: Promise<void> = Promise.resolve();
const status: SealStatus = {
  type: 'keyfile',
  initialized: true,
  sealed: false,
  t: 1,
  n: 1,
  progress: 0,
  nonce: '',
  clusterId: 'c',
  reasons: [],
  marked: false,
  verifying: false,
};

beforeAll(async () => {
  api = await startApi({
    dispatcher: {
      async dispatch(request) {
        asked.push(request);
        await hold;
        return {
          kind: 'answer',
          requestId: request.id,
          mountType: 'kv',
          flat: false,
          verb: request.verb,
          answer: { data: { verb: request.verb } },
        };
      },
    },
    appliance: { status: () => status } as unknown as Appliance,
    clock: systemClock(),
    random: systemRandom,
    version: '0.1.0',
    buildDate: '',
    listeners: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
    limits: { bodyBytes: 4096, headBytes: 8192, headMs: 400, requestMs: 800, inFlight: 4, connections: 64 },
  });
  port = Number(/:(\d+)$/.exec(api.addresses[0] ?? '')?.[1]);
});
afterAll(() => api.close());

/** Sends bytes, perhaps in parts, and gives what came back until the connection ended or was idle. */
function raw(...parts: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setTimeout(1500, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    const next = (index: number): void => {
      const part = parts[index];
      if (part === undefined) return;
      socket.write(part);
      setTimeout(() => next(index + 1), 20);
    };
    next(0);
  });
}

const HOST = 'Host: x\r\n';
const statuses = (text: string): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, code]) => Number(code));
const get = (path: string, headers = ''): Promise<string> =>
  raw(`GET ${path} HTTP/1.1\r\n${HOST}${headers}Connection: close\r\n\r\n`);

describe('the query of a write', () => {
  const put = (target: string, body: string): Promise<string> =>
    raw(`PUT ${target} HTTP/1.1\r\n${HOST}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);

  test('stands beside the body, for operations that read it, and is not mixed into it', async () => {
    asked.length = 0;
    expect(statuses(await put('/v1/sys/rotate?erase=true&list=true', '{"a":"b"}'))).toEqual([200]);
    expect(asked).toMatchObject([{ verb: 'write', path: 'sys/rotate', body: { a: 'b' }, query: { erase: 'true' } }]);
    asked.length = 0;
    await put('/v1/sys/rotate', '{"erase":true}');
    expect(asked[0]?.query).toBeUndefined();
    expect(asked).toMatchObject([{ body: { erase: true } }]);
  });

  test('is read with the grammar of every query', async () => {
    asked.length = 0;
    expect(statuses(await put('/v1/sys/rotate?erase=%ff', ''))).toEqual([400]);
    expect(asked).toEqual([]);
  });
});

describe('LIST as a method', () => {
  test('is served, whole or in parts, and as GET with list=true', async () => {
    for (const parts of [
      [`LIST /v1/secret/a HTTP/1.1\r\n${HOST}\r\n`],
      ['LIST /v1/secret/a HTTP/1.1\r\nHo', 'st: x\r\n', '\r\n'],
    ]) {
      asked.length = 0;
      expect(statuses(await raw(...parts))).toEqual([200]);
      expect(asked).toMatchObject([{ verb: 'list', path: 'secret/a', body: {} }]);
    }
    asked.length = 0;
    await get('/v1/secret/a?list=true');
    expect(asked).toMatchObject([{ verb: 'list', path: 'secret/a' }]);
  });

  test('bytes behind its head are never a request', async () => {
    asked.length = 0;
    const text = await raw(`LIST /v1/secret/a HTTP/1.1\r\n${HOST}\r\nGET /v1/secret/b HTTP/1.1\r\n${HOST}\r\n`);
    expect(statuses(text)).toEqual([400]);
    expect(asked).toEqual([]);
  });

  test.each([
    `LIST /v1/a HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\n`,
    `LIST /v1/a HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
    `LIST /v1/a HTTP/1.1\r\n${HOST}A: b\r\n folded\r\n\r\n`,
    `LIST /v1/a\r\n${HOST}\r\n`,
    'LIST http://x/v1/a HTTP/1.0\r\n\r\n',
  ])('%# is refused', async (text) => {
    asked.length = 0;
    expect(statuses(await raw(text))[0]).toBe(400);
    expect(asked).toEqual([]);
  });

  test('behind a request that is not answered yet it is refused', async () => {
    asked.length = 0;
    let release = (): void => {};
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const text = raw(`GET /v1/secret/a HTTP/1.1\r\n${HOST}\r\n`, `LIST /v1/secret/b HTTP/1.1\r\n${HOST}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    release();
    hold = Promise.resolve();
    expect((await text).includes('400')).toBe(true);
    expect(asked.map(({ path }) => path)).toEqual(['secret/a']);
  });
});

describe('framing', () => {
  test.each([
    `POST /v1/a HTTP/1.1\r\n${HOST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /v1/a HTTP/1.1\r\n${HOST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
    `GET /v1/a HTTP/1.1\r\n${HOST}Host: y\r\n\r\n`,
    'GET /v1/a HTTP/1.1\r\n\r\n',
    `GET /v1/a HTTP/1.1\r\n${HOST}A: b\r\n folded\r\n\r\n`,
    `GET /v1/a%2fb HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    `GET /v1/a%ff HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    `GET /v1/e%CC%81 HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
    `GET /v1/a HTTP/1.1\r\n${HOST}X-Vault-Token: a\r\nX-Vault-Token: b\r\nConnection: close\r\n\r\n`,
    `GET /v1/a HTTP/1.1\r\n${HOST}X-Vault-Namespace: team\r\nConnection: close\r\n\r\n`,
    `GET /v1/a HTTP/1.1\r\n${HOST}X-Vault-Wrap-TTL: -1\r\nConnection: close\r\n\r\n`,
    `\u0001\u0002\u0003\r\n\r\n`,
  ])('%# is 400 and reaches nothing', async (text) => {
    asked.length = 0;
    expect(statuses(await raw(text))[0]).toBe(400);
    expect(asked).toEqual([]);
  });

  test.each([
    ['box.example:8200', 200],
    ['BOX.example', 200],
    ['[::1]:8200', 200],
    ['[:::]', 400],
    ['box.example:99999', 400],
    ['0x7f.1:443', 400],
  ])('a read for the host %s is %i, whichever way it takes', async (host, status) => {
    asked.length = 0;
    for (const method of ['GET', 'POST']) {
      const head = `${method} /v1/secret/a HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      expect(statuses(await raw(head))).toEqual([status]);
    }
    expect(asked.length).toBe(status === 200 ? 2 : 0);
  });

  test('an absolute target is not below /v1/', async () => {
    expect(statuses(await get('http://x/v1/a'))).toEqual([404]);
  });

  test('a head that comes too slowly is ended, one that is too large refused', async () => {
    expect(statuses(await raw('GET /v1/a HTTP/1.1\r\nHost: x\r\nA: '))).toEqual([400]);
    expect(statuses(await raw(`GET /v1/a HTTP/1.1\r\n${HOST}A: ${'x'.repeat(9000)}\r\n\r\n`))).toEqual([400]);
  });

  test('a body that is too large is 413, stated or not', async () => {
    expect(statuses(await raw(`POST /v1/a HTTP/1.1\r\n${HOST}Content-Length: 999999\r\n\r\n{`))).toEqual([413]);
    const chunk = `1000\r\n${'x'.repeat(4096)}\r\n`;
    expect(
      statuses(await raw(`POST /v1/a HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`)),
    ).toEqual([413]);
  });

  test('too many requests at once are told to come again, before their bodies are read', async () => {
    let release = (): void => {};
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const waiting = Array.from({ length: 4 }, () => get('/v1/secret/a'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const late = await raw(`POST /v1/a HTTP/1.1\r\n${HOST}Content-Length: 100\r\n\r\n`);
    release();
    hold = Promise.resolve();
    expect(statuses(late)).toEqual([503]);
    expect(late).toMatch(/retry-after: 1/i);
    for (const one of await Promise.all(waiting)) expect(statuses(one)).toEqual([200]);
  });
});

describe('answers', () => {
  test('have the envelope and its headers', async () => {
    const text = await get('/v1/secret/a', 'X-Vault-Token: t\r\n');
    expect(text).toContain('Content-Type: application/json\r\n');
    expect(text).toContain('Cache-Control: no-store\r\n');
    expect(Object.keys(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)))).toEqual([
      'request_id',
      'lease_id',
      'renewable',
      'lease_duration',
      'data',
      'wrap_info',
      'warnings',
      'auth',
      'mount_type',
    ]);
  });

  test('health goes by the state, HEAD has no body, codes can be chosen', async () => {
    expect(statuses(await get('/v1/sys/health'))).toEqual([200]);
    expect(statuses(await get('/v1/sys/health?activecode=299'))).toEqual([299]);
    expect(statuses(await get('/v1/sys/health?activecode=x'))).toEqual([400]);
    const complaints = vi.spyOn(console, 'error');
    const head = await raw(`HEAD /v1/sys/health HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
    expect([statuses(head), head.endsWith('\r\n\r\n')]).toEqual([[200], true]);
    expect(statuses(await raw(`HEAD /v1/secret/a HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`))).toEqual([405]);
    expect(complaints).not.toHaveBeenCalled();
  });

  test('a token comes in its own header or as a bearer; two different ones are refused', async () => {
    asked.length = 0;
    await get('/v1/secret/a', 'Authorization: Bearer b\r\n');
    await get('/v1/secret/a', 'Authorization: Bearer a\r\nX-Vault-Token: a\r\n');
    await get('/v1/secret/a', 'Authorization: Basic b\r\n');
    expect(statuses(await get('/v1/secret/a', 'Authorization: Bearer b\r\nX-Vault-Token: a\r\n'))).toEqual([400]);
    expect(asked.map(({ token }) => token)).toEqual(['b', 'a', undefined]);
  });
});

test('an orderly end: requests under way are answered, on connections that end with the answer', async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const own = await startApi({
    dispatcher: {
      async dispatch(request) {
        await held;
        return {
          kind: 'answer',
          requestId: request.id,
          mountType: 'kv',
          flat: false,
          verb: 'read',
          answer: { data: {} },
        };
      },
    },
    appliance: { status: () => status } as unknown as Appliance,
    ...{ clock: systemClock(), random: systemRandom, version: '0.1.0', buildDate: '' },
    listeners: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
  });
  const socket = connect(Number(/:(\d+)$/.exec(own.addresses[0] ?? '')?.[1]), '127.0.0.1');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  const ended = new Promise((resolve) => socket.on('end', () => resolve('in order')).on('error', resolve));
  socket.write('GET /v1/secret/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: t\r\n\r\n');
  await vi.waitFor(() => expect(own.inFlight()).toBe(1));
  const closed = own.close();
  release();
  expect(await ended).toBe('in order');
  await closed;
  expect(text).toMatch(/^HTTP\/1\.1 200 /);
  expect(text).toMatch(/\r\nconnection: close\r\n/i);
});
