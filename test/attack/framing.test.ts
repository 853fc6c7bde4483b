import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canary, statuses, Target } from './target.ts';

/** Requests that two parsers could cut differently, and requests that do not end. */
let box: Target;
let head = '';
const SECRET = canary('framing');

beforeAll(async () => {
  box = await Target.start({
    limits: { headersTimeoutMs: 600, requestTimeoutMs: 1200, idleTimeoutMs: 1500, connectionCountMax: 300 },
  });
  await box.must('POST', 'secret/data/a', { body: { data: { value: SECRET } } });
  head = `Host: x\r\nX-Vault-Token: ${box.root}\r\n`;
});
afterAll(() => box.end());

const SMUGGLED = 'DELETE /v1/secret/metadata/a HTTP/1.1\r\nHost: x\r\n';
const smuggled = (): string => `${SMUGGLED}X-Vault-Token: ${box.root}\r\n\r\n`;
const there = async (): Promise<number> => (await box.ask('GET', 'secret/data/a')).status;

describe('bytes that could be a second request', () => {
  const POST = 'POST /v1/secret/data/b HTTP/1.1\r\n';
  const CHUNK = '0\r\n\r\n';
  test.each([
    ['both lengths', `${POST}{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNK}`],
    ['both, the other way', `${POST}{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n${CHUNK}`],
    ['two lengths', `${POST}{head}Content-Length: 0\r\nContent-Length: 40\r\n\r\n`],
    ['two equal lengths', `${POST}{head}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
    ['a list of lengths', `${POST}{head}Content-Length: 2, 2\r\n\r\n{}`],
    ['a signed length', `${POST}{head}Content-Length: +2\r\n\r\n{}`],
    ['a length in hex', `${POST}{head}Content-Length: 0x2\r\n\r\n{}`],
    ['a space before the colon', `${POST}{head}Transfer-Encoding : chunked\r\n\r\n${CHUNK}`],
    ['chunked, not last', `${POST}{head}Transfer-Encoding: chunked, identity\r\n\r\n${CHUNK}`],
    ['an unknown coding', `${POST}{head}Transfer-Encoding: xchunked\r\n\r\n${CHUNK}`],
    ['a folded header', `${POST}{head}X-A: b\r\n Content-Length: 0\r\n\r\n`],
    ['a folded first header', `${POST} Host: x\r\n{head}\r\n`],
    ['a bare LF in the head', `${POST}{head}X-A: b\nContent-Length: 0\r\n\r\n`],
    ['a bare CR in the head', `${POST}{head}X-A: b\rTransfer-Encoding: chunked\r\n\r\n${CHUNK}`],
    ['NUL in a header', `${POST}{head}X-A: b\0c\r\nContent-Length: 0\r\n\r\n`],
    ['a chunk size that is none', `${POST}{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ['a negative chunk', `${POST}{head}Transfer-Encoding: chunked\r\n\r\n-1\r\n`],
    ['two Hosts', `GET /v1/secret/data/a HTTP/1.1\r\n{head}Host: y\r\n\r\n`],
    ['no Host', 'GET /v1/sys/health HTTP/1.1\r\n\r\n'],
    ['HTTP/0.9', 'GET /v1/sys/health\r\n\r\n'],
    ['HTTP/2 by prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a LIST with a body', 'LIST /v1/secret/metadata HTTP/1.1\r\n{head}Content-Length: 60\r\n\r\n'],
    ['a LIST with chunks', `LIST /v1/secret/metadata HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n${CHUNK}`],
    ['a folded LIST', 'LIST /v1/secret/metadata HTTP/1.1\r\n{head}X: y\r\n Content-Length: 60\r\n\r\n'],
    ['a LIST with a bare LF', 'LIST /v1/secret/metadata HTTP/1.1\r\n{head}X: y\nContent-Length: 60\r\n\r\n'],
    ['a LIST with two spaces', 'LIST  /v1/secret/metadata HTTP/1.1\r\n{head}\r\n'],
  ])('%s: 400, closed, and nothing behind it runs', async (_what, text) => {
    const answer = await box.raw([text.replaceAll('{head}', head) + smuggled()]);
    expect(new Set(statuses(answer))).toEqual(new Set([400]));
    expect(answer).not.toContain(SECRET);
    expect(await there()).toBe(200);
  });

  test.each([
    ['at once', 0],
    ['in the next packet', 1],
  ])('behind a LIST, %s, nothing is a request', async (_when, parts) => {
    const list = `LIST /v1/secret/metadata HTTP/1.1\r\n${head}\r\n`;
    const answer = await box.raw(parts === 0 ? [list + smuggled()] : [list, smuggled()]);
    expect(statuses(answer)).toHaveLength(1);
    expect(await there()).toBe(200);
  });

  test('a LIST in one write with the request before it is not run beside it', async () => {
    const answer = await box.raw([
      `GET /v1/secret/data/a HTTP/1.1\r\n${head}\r\nLIST /v1/secret/metadata HTTP/1.1\r\n${head}\r\n${smuggled()}`,
    ]);
    expect(statuses(answer).length).toBeLessThanOrEqual(2);
    expect(await there()).toBe(200);
  });

  test('a length beyond what follows does not make a request of its own body', async () => {
    const inner = smuggled();
    const answer = await box.raw([
      `POST /v1/secret/data/c HTTP/1.1\r\n${head}Content-Length: ${inner.length}\r\n\r\n${inner}`,
    ]);
    expect(statuses(answer)).toEqual([400]);
    expect(await there()).toBe(200);
  });

  test('what a GET carries is no request', async () => {
    const inner = smuggled();
    await box.raw([`GET /v1/secret/data/a HTTP/1.1\r\n${head}Content-Length: ${inner.length}\r\n\r\n${inner}`]);
    expect(await there()).toBe(200);
  });
});

describe('one request, one meaning', () => {
  const get = (headers: string): Promise<string> =>
    box.raw([`GET /v1/secret/data/a HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`]);

  test.each([
    ['two tokens', 'X-Vault-Token: {root}\r\nX-Vault-Token: {root}\r\n'],
    ['two tokens in two cases', 'X-Vault-Token: {root}\r\nx-vault-token: other\r\n'],
    ['two Authorizations', 'Authorization: Bearer {root}\r\nAuthorization: Bearer {root}\r\n'],
    ['a token and another bearer', 'X-Vault-Token: {root}\r\nAuthorization: Bearer other\r\n'],
    ['a bearer and another token', 'Authorization: Bearer {root}\r\nX-Vault-Token: other\r\n'],
    ['two wrap TTLs', 'X-Vault-Token: {root}\r\nX-Vault-Wrap-TTL: 60\r\nX-Vault-Wrap-TTL: 0\r\n'],
    ['a namespace', 'X-Vault-Token: {root}\r\nX-Vault-Namespace: other\r\n'],
    ['two namespaces', 'X-Vault-Token: {root}\r\nX-Vault-Namespace: root\r\nX-Vault-Namespace: other\r\n'],
  ])('%s: 400', async (_what, headers) => {
    const answer = await get(headers.replaceAll('{root}', box.root));
    expect(statuses(answer)).toEqual([400]);
    expect(answer).not.toContain(SECRET);
    expect(answer).not.toContain(box.root);
  });

  test('the same token in both headers is one', async () => {
    const answer = await get(`X-Vault-Token: ${box.root}\r\nAuthorization: Bearer ${box.root}\r\n`);
    expect(statuses(answer)).toEqual([200]);
  });

  test.each([
    'http://x/v1/secret/data/a',
    'http://127.0.0.1:1/v1/secret/data/a',
    '//x/v1/secret/data/a',
    '/v2/../v1/secret/data/a',
    '/V1/secret/data/a',
    '/%76%31/secret/data/a',
    '*',
  ])('the target %s is not below /v1/', async (target) => {
    const answer = await box.raw([`GET ${target} HTTP/1.1\r\n${head}Connection: close\r\n\r\n`]);
    expect(statuses(answer)[0]).toBeGreaterThanOrEqual(400);
    expect(answer).not.toContain(SECRET);
  });

  test.each(['CONNECT', 'TRACE', 'OPTIONS', 'PROPFIND', 'SEARCH', 'BREW', 'list', 'get', 'LISTS'])(
    '%s reads nothing and repeats nothing',
    async (method) => {
      const answer = await box.raw([`${method} /v1/secret/data/a HTTP/1.1\r\n${head}Connection: close\r\n\r\n`]);
      expect(answer).not.toContain(SECRET);
      expect(answer).not.toContain(box.root);
      for (const status of statuses(answer)) expect(status).toBeGreaterThanOrEqual(400);
      expect(await box.alive()).toBe(true);
    },
  );
});

describe('requests that do not end', () => {
  /** Milliseconds until the box ended a connection on which `first` was sent and then a byte now and then. */
  const heldMs = (first: string, drip: string, dripMs = 200): Promise<number> =>
    new Promise((resolve) => {
      const begun = performance.now();
      const socket = connect(box.port, '127.0.0.1');
      socket.write(first);
      const timer = setInterval(() => socket.writable && drip !== '' && socket.write(drip), dripMs);
      const late = setTimeout(() => socket.destroy(), 8000);
      socket.on('error', () => {});
      socket.resume();
      socket.on('close', () => {
        clearInterval(timer);
        clearTimeout(late);
        resolve(performance.now() - begun);
      });
    });

  test.each([
    ['no byte at all', '', ''],
    ['a head without its end', 'GET /v1/sys/health HTTP/1.1\r\n', ''],
    ['a head that drips', 'GET /v1/sys/health HTTP/1.1\r\n', 'X: y\r\n'],
    ['a LIST without its end', 'LIST /v1/secret/metadata HTTP/1.1\r\n', ''],
    ['a LIST that drips', 'LIST /v1/secret/metadata HTTP/1.1\r\n', 'X: y\r\n'],
    ['a body that drips', 'POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n', '{'],
    [
      'chunks that drip',
      'POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n',
      '1\r\n \r\n',
    ],
    ['a body of a GET that drips', 'GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n', 'x'],
    ['a request, then silence', 'GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n', ''],
  ])(
    '%s: the connection is ended',
    async (_what, first, drip) => {
      expect(await heldMs(first, drip)).toBeLessThan(5000);
    },
    12_000,
  );

  test('a head that never ends is cut at its limit', async () => {
    const answer = await box.raw([
      `GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n${`X-A: ${'b'.repeat(1000)}\r\n`.repeat(40)}`,
    ]);
    expect(statuses(answer)).toEqual([400]);
    const list = await box.raw([
      `LIST /v1/secret/metadata HTTP/1.1\r\nHost: x\r\n${`X-A: ${'b'.repeat(1000)}\r\n`.repeat(40)}`,
    ]);
    expect(statuses(list)).toEqual([400]);
  });
});
