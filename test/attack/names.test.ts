import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canary, Target } from './target.ts';

/** Names in every spelling, lists in every form: nothing reads the denied record by another name. */
let box: Target;
let token = '';
const SECRET = canary('denied record');

beforeAll(async () => {
  box = await Target.start();
  for (const path of ['p/private/one', 'p/private/caf\u00e9', 'p/open']) {
    await box.must('POST', `secret/data/${encodeURI(path)}`, { body: { data: { value: SECRET } } });
  }
  token = await box.tokenOf('narrow', {
    'secret/data/p/*': ['create', 'read', 'update', 'patch', 'delete', 'list'],
    'secret/metadata/p/*': ['create', 'read', 'update', 'patch', 'delete', 'list'],
    'secret/data/p/private/*': ['deny'],
    'secret/metadata/p/private/*': ['deny'],
    'secret/metadata/p/private': ['deny'],
  });
});
afterAll(() => box.end());

describe('names that are not canonical', () => {
  const CAFE = ['caf%C3%A9', 'cafe%CC%81', 'cafe\u0301', 'CAF%C3%89'];
  const ONE = [
    ...['private//one', 'private/./one', 'private/../private/one', 'x/../private/one', './private/one', '/private/one'],
    ...['private/one/', 'private/one//', 'private/one/.', 'private/one%20', '%20private/one', 'private%20/one'],
    ...['private/one%00', 'private%00/one', 'private/%00/one', 'private/one%0a', 'private/one%09', 'private/one%7f'],
    ...['private%2fone', 'private%2Fone', '%2e/private/one', '%2e%2e/p/private/one', 'x/%2e%2e/private/one'],
    ...[
      'private/%6fne',
      '%70rivate/one',
      'private%252fone',
      '%2570rivate/one',
      'private/one%c0%af',
      '%c0%aeprivate/one',
    ],
    ...[
      'private/one.',
      'private/one..',
      'private./one',
      'private/one;a=b',
      'private;/one',
      'private\\one',
      'private%5cone',
    ],
    ...[
      'PRIVATE/one',
      'Private/One',
      'private/ONE',
      'private/one%C2%AD',
      'private/one%E2%80%8B',
      '%EF%BB%BFprivate/one',
    ],
    ...[
      'pr%C4%B1vate/one',
      'private/one%ed%a0%80',
      'private/one%',
      'private/one%2',
      'private/one%zz',
      'private/one%u006f',
    ],
    ...[
      'private/one%3f',
      'private/one%23',
      'private/one?version=1',
      'private/one#x',
      'private/one%C2%85',
      'private/o+e',
      'private/*',
      '+/one',
    ],
  ];

  test.each([...ONE, ...CAFE.map((name) => `private/${name}`)])('p/%s never gives the denied record', async (name) => {
    const head = (method: string, kind: string): string =>
      `${method} /v1/secret/${kind}/p/${name} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\nConnection: close\r\n`;
    for (const kind of ['data', 'metadata', 'subkeys']) {
      const read = await box.raw([Buffer.from(`${head('GET', kind)}\r\n`, 'utf8')]);
      expect(read).not.toContain(SECRET);
      expect(read).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
    const body = '{"data":{"value":"overwritten"}}';
    await box.raw([Buffer.from(`${head('POST', 'data')}Content-Length: ${body.length}\r\n\r\n${body}`, 'utf8')]);
    await box.raw([Buffer.from(`${head('DELETE', 'metadata')}\r\n`, 'utf8')]);
    for (const path of ['p/private/one', 'p/private/caf%C3%A9']) {
      const kept = await box.must('GET', `secret/data/${path}`);
      expect(kept.text).toContain(SECRET);
      expect(kept.text).toContain('"version":1');
    }
  });

  test.each([
    ...['p//a', 'p/./a', 'p/../p/a', 'p/a%00', 'p%2fa', 'p/%2e%2e/a', 'p/a%20', 'p/%20a', 'p/a%0d%0aX: y', 'p/e%CC%81'],
    ...['p/a%c0%af', 'p/a%', `p/${'a'.repeat(256)}`, 'p/a'.repeat(40), 'p/a%1b[31m', 'p/a%C2%85'],
  ])('%s is 400 for root too', async (path) => {
    const target = path.replaceAll(' ', '%20');
    expect((await box.ask('GET', `secret/data/${target}`)).status).toBe(400);
    expect((await box.ask('POST', `secret/data/${target}`, { body: { data: {} } })).status).toBe(400);
  });

  test.each([
    'secret%2fdata/p/open',
    '/secret/data/p/open',
    'secret//data/p/open',
    './secret/data/p/open',
    'SECRET/data/p/open',
  ])('the mount is found by its one name: %s is none', async (path) => {
    const got = await box.ask('GET', path);
    expect(got.status).toBeGreaterThanOrEqual(400);
    expect(got.text).not.toContain(SECRET);
  });
});

describe('LIST', () => {
  const FORMS: readonly [string, string][] = [
    ...[
      'p/private',
      'p/private/',
      'p/private//',
      'p//private/',
      'p/private/.',
      'p/./private/',
      'p/private%2f',
      'p/private%20/',
    ].flatMap((path): [string, string][] => [
      ['LIST', path],
      ['GET', `${path}?list=true`],
      ['GET', `${path}?list=1`],
      ['GET', `${path}?list=T&list=false`],
      ['GET', `${path}?LIST=true`],
      ['GET', `${path}?%6cist=true`],
      ['GET', `${path}?help=1&list=true`],
      ['GET', `${path}?list=true&after=a`],
      ['LIST', `${path}?list=false`],
      ['LIST', `${path}?help=1`],
      ['GET', path],
    ]),
  ];

  test.each(FORMS)('%s %s does not get behind the narrower deny', async (method, path) => {
    for (const kind of ['metadata', 'detailed-metadata']) {
      const head = `${method} /v1/secret/${kind}/${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\n`;
      const text = await box.raw([`${head}Connection: close\r\n\r\n`]);
      expect(text).not.toContain('"one"');
      expect(text).not.toContain('caf');
      if (!path.includes('help')) expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
  });

  test('what is allowed is listed, in each of its forms', async () => {
    for (const [method, path] of [
      ['LIST', 'p'],
      ['LIST', 'p/'],
      ['GET', 'p?list=true'],
      ['GET', 'p/?list=true'],
    ] as const) {
      const head = `${method} /v1/secret/metadata/${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\n`;
      const text = await box.raw([`${head}Connection: close\r\n\r\n`]);
      expect([method, path, text.slice(9, 12)]).toEqual([method, path, '200']);
      expect(text).toContain('"private/"');
    }
  });
});
