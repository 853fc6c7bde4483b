import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canary, Target } from './target.ts';

/** Small bodies that explode, large ones that are small, and values that change on their way. */
let box: Target;
const SECRET = canary('beside the bomb');
const CBOR = { 'Content-Type': 'application/cbor' };
const MIB = 1024 * 1024;

beforeAll(async () => {
  box = await Target.start();
  await box.must('POST', 'secret/data/kept', { body: { data: { value: SECRET } } });
});
afterAll(() => box.end());

const names = (count: number): string =>
  `{"data":{${Array.from({ length: count }, (_, index) => `"k${index.toString(36)}":0`).join(',')}}}`;

describe('JSON', () => {
  test.each<[string, string]>([
    ['lists a million deep', '['.repeat(1e6)],
    ['objects a quarter of a million deep', '{"a":'.repeat(250_000)],
    ['closed lists, 65 deep', `{"data":${'['.repeat(65)}${']'.repeat(65)}}`],
    ['a hundred and fifty thousand names', names(150_000)],
    ['a name twice', '{"data":{"a":1,"a":2}}'],
    ['a name twice, once escaped', '{"data":{"a":1,"\\u0061":2}}'],
    ['__proto__ twice', '{"data":{"__proto__":1,"__proto__":2}}'],
    ['data twice', '{"data":{},"data":{"a":1}}'],
    ['half a pair', '{"data":{"a":"\\ud800"}}'],
    ['half a pair in a name', '{"data":{"\\udc00":1}}'],
    ['pairs the wrong way round', '{"data":{"a":"\\udc00\\ud800"}}'],
    ['a number beyond all', '{"data":{"a":1e400}}'],
    ['a negative number beyond all', '{"data":{"a":-1e400}}'],
    ['a million digits', `{"data":{"a":${'9'.repeat(1e6)}}}`],
    ['an integer of 65 bits', '{"data":{"a":18446744073709551616}}'],
    ['a negative integer of 65 bits', '{"data":{"a":-18446744073709551617}}'],
    ['a leading zero', '{"data":{"a":01}}'],
    ['NaN', '{"data":{"a":NaN}}'],
    ['two values', '{"data":{}}{"data":{}}'],
    ['something behind', '{"data":{}}x'],
    ['a comment', '{"data":{}/**/}'],
    ['a comma too many', '{"data":{"a":1,}}'],
    ['a mark of byte order', '\ufeff{"data":{}}'],
    ['a control character', '{"data":{"a":"\u0001"}}'],
    ['a list', '[]'],
    ['a text', '"data"'],
    ['a number', '1'],
  ])('%s: 400', async (_what, body) => {
    const begun = performance.now();
    const got = await box.ask('POST', 'secret/data/bomb', { body });
    expect([got.status, got.text.length < 500]).toEqual([400, true]);
    expect(performance.now() - begun).toBeLessThan(3000);
    expect((await box.ask('GET', 'secret/data/bomb')).status).toBe(404);
  });

  test('bytes that are no UTF-8: 400', async () => {
    for (const hex of [
      '7b2264617461223a7b2261223a22ff227d7d',
      '7b2264617461223a7b2261223a22eda080227d7d',
      'fffe7b00',
    ]) {
      expect((await box.ask('POST', 'secret/data/bomb', { body: Buffer.from(hex, 'hex') })).status).toBe(400);
    }
  });

  test('32 MiB of [ are refused early, ten at once, and memory is flat', async () => {
    const body = Buffer.alloc(32 * MIB, '[');
    const before = box.residentMiB;
    const got = await Promise.all(Array.from({ length: 10 }, () => box.ask('POST', 'secret/data/bomb', { body })));
    // 0: the connection was ended while the body was still on its way.
    for (const { status } of got) expect([413, 0]).toContain(status);
    const chunked = await box.raw(
      [
        `POST /v1/secret/data/bomb HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${(2 * MIB).toString(16)}\r\n`,
        body.subarray(0, 2 * MIB),
      ],
      1500,
    );
    expect(chunked).toContain('HTTP/1.1 413');
    expect(box.residentMiB - before).toBeLessThan(100);
    expect(await box.alive()).toBe(true);
  });

  test('what looks odd and is well-formed comes back as it was', async () => {
    const odd =
      '{"__proto__":{"admin":true},"constructor":{"prototype":{"x":1}},"toString":1,"hasOwnProperty":2,"n":12345678901234567890,"u":"\\u2028\\u0000"}';
    await box.must('POST', 'secret/data/odd', { body: `{"data":${odd}}` });
    const got = await box.must('GET', 'secret/data/odd');
    expect(got.text).toContain('"__proto__":{"admin":true}');
    expect(got.text).toContain('"n":12345678901234567890');
    expect((await box.ask('GET', 'sys/health', { token: '' })).text).not.toContain('admin');
  });

  test('__proto__ among the fields of a request is no field', async () => {
    const token = await box.token({ policies: ['default'] });
    const got = await box.ask('POST', 'auth/token/create', {
      token,
      body: '{"__proto__":{"policies":["root"],"no_parent":true},"constructor":{"policies":["root"]}}',
    });
    expect(got.text).not.toContain('"root"');
  });
});

describe('a form', () => {
  test.each([
    ['of one name three quarters of a million times', 'a&'.repeat(750_000)],
    ['of percent signs', '%41='.repeat(300_000)],
    ['that is malformed', '%ff=%c3'],
  ])('%s does not hold the box', async (_what, body) => {
    const begun = performance.now();
    const sent = box.ask('POST', 'cubbyhole/form', {
      body,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    });
    expect(await box.alive()).toBe(true);
    expect((await sent).status).toBeLessThan(500);
    expect(performance.now() - begun).toBeLessThan(4000);
  });
});

describe('CBOR', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  /** {"data": {"a": …}} */
  const around = (inner: string): Buffer => hex(`a16464617461a16161${inner}`);
  test.each<[string, Buffer]>([
    ['a list of 2^53 items', around('9b001fffffffffffff')],
    ['a list of 2^64-1 items', around('9bffffffffffffffff')],
    ['a list of 2^31 items', around('9a7fffffff')],
    ['a map of 2^32-1 pairs', hex('baffffffff')],
    ['a text of 2^32-1 bytes', around('7affffffff')],
    ['bytes of 2^53', around('5b001fffffffffffff')],
    ['lists a million deep', Buffer.concat([around(''), Buffer.alloc(1e6, 0x81)])],
    ['endless lists, a million deep', Buffer.concat([around(''), Buffer.alloc(1e6, 0x9f)])],
    ['endless maps, deep', Buffer.concat([around(''), hex('bf6161'.repeat(300_000))])],
    ['tags, a million deep', Buffer.concat([around(''), Buffer.alloc(1e6, 0xc1)])],
    ['a big number', around('c24f010203040506070809')],
    ['lists 65 deep', around(`${'81'.repeat(66)}00`)],
    ['a name twice', hex('a16464617461a2616101616102')],
    ['a name that is a number', hex('a16464617461a10101')],
    ['not a number', around('f97e00')],
    ['infinity', around('f97c00')],
    ['undefined', around('f7')],
    ['a simple value', around('f8ff')],
    ['a break alone', hex('ff')],
    ['a text that is no UTF-8', around('62c328')],
    ['a text with half a pair', around('63eda080')],
    ['a long text that is no UTF-8', around(`7840${'ff'.repeat(64)}`)],
    ['a name that is no UTF-8', hex('a16464617461a161ff01')],
    ['two values', Buffer.concat([around('01'), around('02')])],
    ['an end too early', hex('a16464617461')],
    ['a number in more bytes than it needs', around('1800')],
    ['a list', hex('80')],
    ['nothing known', hex('1c')],
    [
      'a hundred and fifty thousand names',
      Buffer.concat([
        hex('a16464617461ba000249f0'),
        ...Array.from({ length: 150_000 }, (_, index) => {
          const name = Buffer.from(index.toString(36).padStart(4, '0'));
          return Buffer.concat([hex('64'), name, hex('00')]);
        }),
      ]),
    ],
  ])('%s: 400', async (_what, body) => {
    const begun = performance.now();
    const got = await box.ask('POST', 'secret/data/bomb', { body, headers: CBOR });
    expect([got.status, got.text.length < 500]).toEqual([400, true]);
    expect(performance.now() - begun).toBeLessThan(3000);
    expect((await box.ask('GET', 'secret/data/bomb')).status).toBe(404);
  });

  test('the same again and again leaves memory flat, and the box its process', async () => {
    const before = box.residentMiB;
    for (let round = 0; round < 30; round++) {
      const body = Buffer.concat([around(''), Buffer.alloc(1_400_000, round % 2 === 0 ? 0x81 : 0x9f)]);
      expect((await box.ask('POST', 'secret/data/bomb', { body, headers: CBOR })).status).toBe(400);
    }
    expect(box.residentMiB - before).toBeLessThan(150);
    expect(await box.alive()).toBe(true);
    expect((await box.must('GET', 'secret/data/kept')).text).toContain(SECRET);
  });
});

describe('policies', () => {
  test.each<[string, string]>([
    ['nested lists', `path "a" { capabilities = ${'['.repeat(100_000)}`],
    ['open comments', '/*'.repeat(200_000)],
    ['closed comments without end', '/**/'.repeat(200_000)],
    ['a block without end', 'path "a" {'.repeat(50_000)],
    ['a text without end', `path "${'a'.repeat(500_000)}`],
    ['escapes', `path "${'\\u'.repeat(100_000)}" {}`],
    ['a heredoc without end', `path "a" { x = <<E\n${'E \n'.repeat(100_000)}`],
    ['many lines', '\n'.repeat(400_000)],
    ['many rules', Array.from({ length: 20_000 }, (_, at) => `path "a${at}" { capabilities = ["read"] }`).join('\n')],
    ['JSON, deep', `{"path":${'{"a":'.repeat(100_000)}`],
  ])('%s do not hold the box', async (_what, policy) => {
    const begun = performance.now();
    const got = await box.ask('PUT', 'sys/policies/acl/bomb', { body: { policy } });
    expect(got.status).toBe(400);
    expect(got.text.length).toBeLessThan(1000);
    expect(performance.now() - begun).toBeLessThan(3000);
  });
});

describe('globs of token roles', () => {
  test('many stars are matched in time', async () => {
    const glob = `${'*a'.repeat(40)}*b`;
    await box.must('POST', 'auth/token/roles/stars', { body: { allowed_policies_glob: [glob] } });
    const begun = performance.now();
    const got = await box.ask('POST', 'auth/token/create/stars', { body: { policies: ['a'.repeat(120)] } });
    expect(got.status).toBe(400);
    expect(performance.now() - begun).toBeLessThan(2000);
  }, 20_000);
});
