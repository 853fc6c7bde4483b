import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_PASSWORD, generatePassword, parsePasswordPolicy } from '../../../host/policies/passwords.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { type WholeBox, wholeBox } from '../whole/box.ts';

const parse = (source: string) => parsePasswordPolicy(source, systemRandom);
const rule = (charset: string, least?: number): string =>
  `rule "charset" { charset = ${JSON.stringify(charset)}${least === undefined ? '' : ` min-chars = ${least}`} }`;

describe('passwords without a policy', () => {
  test('have 20 characters, and one of each kind', () => {
    for (let i = 0; i < 200; i++) {
      const password = generatePassword(DEFAULT_PASSWORD, systemRandom);
      expect(password).toMatch(/^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)(?=.*-)[A-Za-z0-9-]{20}$/);
    }
  });
});

describe('a policy', () => {
  test('is read as Vault writes it', () => {
    const policy = parse(
      `length = 24\nrule "charset" {\n  charset = "abc"\n  min-chars = 2\n}\n${rule('0123456789ABC')}`,
    );
    expect(policy.length).toBe(24);
    expect(policy.rules.map(({ charset, minChars }) => [charset.join(''), minChars])).toEqual([
      ['abc', 2],
      ['0123456789ABC', 0],
    ]);
    for (let i = 0; i < 50; i++) {
      const password = generatePassword(policy, systemRandom);
      expect(password).toHaveLength(24);
      expect([...password].filter((one) => 'abc'.includes(one)).length).toBeGreaterThanOrEqual(2);
    }
  });

  test.each([
    ['', /length is missing/],
    ['length = 20', /at least one rule/],
    [`length = 3\n${rule('abcdefghij')}`, /from 4 to 100/],
    [`length = 101\n${rule('abcdefghij')}`, /from 4 to 100/],
    [`length = 20.5\n${rule('abcdefghij')}`, /whole number/],
    [`length = 20\n${rule('abcdefghij', 21)}`, /more characters than/],
    [`length = 20\n${rule('')}`, /charset is a text/],
    [`length = 20\n${rule('ab\ncd')}`, /control characters/],
    [`length = 20\nrule "words" { charset = "abc" }`, /rule "charset"/],
    [`length = 20\nrule "charset" { charset = "abc" max = 1 }`, /charset and min-chars/],
    [`length = 20\nlen = 3\n${rule('abc')}`, /there is no "len"/],
    ['length = 20\nrule "charset" { charset = "abc" ', /line 2/],
    [`length = 10\n${rule('ab')}`, /random bits/],
    [`length = 100\n${rule('a', 90)}\n${rule('bcdefghijklmnopqrstuvwxyz0123456789')}`, /chance/],
    ['x'.repeat(70_000), /65536 characters/],
  ])('%j is refused', (source, why) => {
    expect(() => parse(source)).toThrow(why);
  });

  test('draws each password as often as any other', () => {
    // All 2-letter choices of three letters with at least one a: 4 + … of length 4 over {a,b,c} with two a or more.
    const policy = {
      length: 4,
      rules: [
        { charset: ['a'], minChars: 2 },
        { charset: ['b', 'c'], minChars: 0 },
      ],
    };
    const counts = new Map<string, number>();
    const draws = 33_000;
    for (let i = 0; i < draws; i++) {
      const password = generatePassword(policy, systemRandom);
      counts.set(password, (counts.get(password) ?? 0) + 1);
    }
    // C(4,2)·4 + C(4,3)·2 + 1
    expect(counts.size).toBe(33);
    const expected = draws / 33;
    const chi = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 32 degrees of freedom: above 80 once in some 200,000 runs.
    expect(chi).toBeLessThan(80);
  });
});

describe('sys/policies/password', () => {
  let box: WholeBox;
  beforeAll(async () => {
    box = await wholeBox();
  });
  afterAll(() => box.end());
  const source = `length = 30\n${rule('abcdefghijklmnopqrstuvwxyz', 3)}\n${rule('0123456789', 2)}`;

  test('writes, reads, lists, generates, deletes', async () => {
    const at = 'sys/policies/password/db';
    expect(await box.send('list', 'sys/policies/password')).toMatchObject({ status: 404 });
    expect(await box.send('read', at)).toMatchObject({ status: 404 });
    expect(await box.send('read', `${at}/generate`)).toMatchObject({ status: 400 });
    await box.ok('write', at, { policy: source });
    expect((await box.ok('read', at)).data).toEqual({ policy: source });
    expect((await box.ok('list', 'sys/policies/password')).data).toEqual({ keys: ['db'] });
    const { data } = await box.ok('read', `${at}/generate`);
    expect(data?.['password']).toMatch(/^[a-z0-9]{30}$/);
    await box.ok('write', at, { policy: Buffer.from(`${source}\n`).toString('base64') });
    expect((await box.ok('read', at)).data).toEqual({ policy: `${source}\n` });
    await box.restart();
    expect((await box.ok('read', at)).data).toEqual({ policy: `${source}\n` });
    await box.ok('delete', at);
    await box.ok('delete', at);
    expect(await box.send('read', at)).toMatchObject({ status: 404 });
  });

  test('refuses what it could not generate by, and keeps what was', async () => {
    await box.ok('write', 'sys/policies/password/keep', { policy: source });
    expect(await box.send('write', 'sys/policies/password/keep', { policy: 'length = 2' })).toMatchObject({
      status: 400,
      errors: [expect.stringContaining('from 4 to 100')],
    });
    expect(await box.send('write', 'sys/policies/password/keep', {})).toMatchObject({ errors: ['missing policy'] });
    expect((await box.ok('read', 'sys/policies/password/keep')).data).toEqual({ policy: source });
  });

  test('needs a policy of its own for each capability', async () => {
    await box.ok('write', 'sys/policies/acl/maker', {
      policy: 'path "sys/policies/password/*" { capabilities = ["create"] }',
    });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['maker'] });
    const token = auth?.clientToken ?? '';
    expect(await box.send('write', 'sys/policies/password/mine', { policy: source }, token)).toMatchObject({
      kind: 'answer',
    });
    expect(await box.send('write', 'sys/policies/password/mine', { policy: source }, token)).toMatchObject({
      status: 403,
    });
    expect(await box.send('read', 'sys/policies/password/mine/generate', {}, token)).toMatchObject({ status: 403 });
  });
});
