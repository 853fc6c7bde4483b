/** What core takes as a policy, what it refuses, and what a refused one leaves behind: nothing. */
import { describe, expect, test } from 'vitest';
import { encodePolicy } from '../../../host/policies/encode.ts';
import { SeededRandom } from '../../reference/random.ts';
import { ALLOWED, DENIED, FULL, MALFORMED, MEMORY_SIZE, NEEDS_PARAMETERS, OK, Policies, rule } from './load.ts';

const READ = { wanted: 'read', sudo: false, wrapTtl: 0, parameters: [] } as const;
const short = (text: string): Buffer => Buffer.concat([Buffer.of(Buffer.byteLength(text)), Buffer.from(text)]);
const u16 = (n: number): Buffer => Buffer.of(n >>> 8, n & 255);
const u32 = (n: number): Buffer => Buffer.concat([u16(n >>> 16), u16(n & 0xffff)]);

interface Raw {
  readonly flags?: number;
  readonly pattern?: string | Buffer;
  readonly length?: number;
  readonly capabilities?: number;
  readonly rest?: Buffer;
}
const raw = ({ flags = 0, pattern = 'a', length, capabilities = 4, rest = Buffer.alloc(0) }: Raw): Buffer => {
  const bytes = Buffer.from(pattern);
  return Buffer.concat([Buffer.of(flags), u16(length ?? bytes.length), bytes, u16(capabilities), rest]);
};
function payload(
  rules: readonly Buffer[],
  { name = 'p', count = rules.length, version = 1, tail = Buffer.alloc(0) } = {},
): Buffer {
  const body = Buffer.concat([u16(count), ...rules]);
  return Buffer.concat([Buffer.of(version), short(name), u32(body.length), body, u32(tail.length), tail]);
}

/** The status of one policy, added to a new build. */
function added(bytes: Uint8Array, core = new Policies()): number {
  core.call('policyBegin');
  return core.add(bytes);
}

describe('a policy is taken', () => {
  test('with no rules, with a source, and beside others', () => {
    const core = new Policies();
    core.call('policyBegin');
    expect(core.add(payload([]))).toBe(OK);
    expect(core.add(payload([raw({})], { name: 'q', tail: Buffer.from('path "a" {}') }))).toBe(OK);
    expect(core.call('policyCommit')).toBe(OK);
    expect([core.find('p'), core.find('q'), core.find('r')]).toEqual([0, 1, -1]);
    expect(core.decide([1], { ...READ, path: 'a' })).toBe(ALLOWED);
    expect(core.decide([0], { ...READ, path: 'a' })).toBe(DENIED);
  });

  test('and only a build that was begun and committed is in force', () => {
    const core = new Policies();
    expect(core.add(payload([]))).toBe(MALFORMED);
    expect(core.call('policyCommit')).toBe(MALFORMED);
    expect(core.load([{ name: 'one', rules: [rule('a', ['read'])] }])).toBe(OK);
    core.call('policyBegin');
    expect(core.add(encodePolicy('two', [rule('b', ['read'])], ''))).toBe(OK);
    expect([core.find('one'), core.find('two')]).toEqual([0, -1]);
    expect(core.call('policyCommit')).toBe(OK);
    expect([core.find('one'), core.find('two')]).toEqual([-1, 0]);
  });
});

describe('a policy is refused', () => {
  const good = payload([raw({})]);

  test('cut at any byte, or with one more', () => {
    for (let length = 0; length < good.length; length++) expect(added(good.subarray(0, length))).toBe(MALFORMED);
    expect(added(Buffer.concat([good, Buffer.of(0)]))).toBe(MALFORMED);
    expect(added(good)).toBe(OK);
  });

  const wide = 'x'.repeat(1025);
  const template = (tail: Buffer, capabilities = 1): Raw => ({
    flags: 2,
    capabilities,
    rest: tail,
  });
  const empty = Buffer.of(0, 0, 0);
  test.each<readonly [string, Buffer]>([
    ['of another version', payload([], { version: 2 })],
    ['without a name', payload([], { name: '' })],
    ['with a name of 129 bytes', payload([], { name: 'n'.repeat(129) })],
    ['named root', payload([], { name: 'root' })],
    ['whose rules reach past its end', Buffer.concat([Buffer.of(1), short('p'), u32(99), u16(0), u32(0)])],
    ['without room for its source', Buffer.concat([Buffer.of(1), short('p'), u32(2), u16(0)])],
    ['with more than its source', Buffer.concat([payload([]), Buffer.of(1)])],
    ['with rules of one byte', Buffer.concat([Buffer.of(1), short('p'), u32(1), Buffer.of(0), u32(0)])],
    ['with 10,001 rules', payload([], { count: 10_001 })],
    ['with a rule too few', payload([raw({})], { count: 2 })],
    ['with a rule too many', payload([raw({})], { count: 0 })],
    ['with an unknown flag', payload([raw({ flags: 16 })])],
    ['of an unknown kind', payload([raw({ flags: 3 })])],
    ['with a pattern of 1,025 bytes', payload([raw({ pattern: wide })])],
    ['with a pattern that ends early', payload([raw({ length: 200 })])],
    ['whose pattern begins with a slash', payload([raw({ pattern: '/a' })])],
    ['whose pattern has a control character', payload([raw({ pattern: 'a\u0001' })])],
    ['whose pattern has a delete', payload([raw({ pattern: 'a\u007f' })])],
    ['whose + follows something', payload([raw({ pattern: 'a\u0000' })])],
    ['whose + is followed by something', payload([raw({ pattern: 'a/\u0000b' })])],
    ['whose + stands before a glob', payload([raw({ flags: 1, pattern: 'a/\u0000' })])],
    ['with 33 +', payload([raw({ pattern: `${'\u0000/'.repeat(33)}a` })])],
    ['with an unknown capability', payload([raw({ capabilities: 256 })])],
    ['with deny beside another', payload([raw({ capabilities: 5 })])],
    ['with rules out of order', payload([raw({ pattern: 'b' }), raw({ pattern: 'a' })])],
    ['with a longer pattern first', payload([raw({ pattern: 'ab' }), raw({ pattern: 'a' })])],
    ['with a rule twice', payload([raw({}), raw({})])],
    ['with kinds out of order', payload([raw({ flags: 1 }), raw({})])],
    ['with a template that has no text', payload([raw(template(Buffer.alloc(0)))])],
    ['with a template that ends early', payload([raw(template(u16(9)))])],
    ['with a template of 1,025 bytes', payload([raw(template(Buffer.concat([u16(1025), Buffer.from(wide)])))])],
    [
      'with templates out of order',
      payload([
        raw(template(Buffer.concat([u16(1), Buffer.from('b')]))),
        raw(template(Buffer.concat([u16(1), Buffer.from('a')]))),
      ]),
    ],
    ['with half a wrapping TTL', payload([raw({ flags: 4, rest: u32(9) })])],
    ['with no constraints where its flag says some', payload([raw({ flags: 8 })])],
    ['whose required name is missing', payload([raw({ flags: 8, rest: Buffer.of(1) })])],
    ['whose required name ends early', payload([raw({ flags: 8, rest: Buffer.of(1, 5, 0x61) })])],
    ['without allowed parameters', payload([raw({ flags: 8, rest: Buffer.of(0) })])],
    ['without denied parameters', payload([raw({ flags: 8, rest: Buffer.of(0, 0) })])],
    ['whose parameter is missing', payload([raw({ flags: 8, rest: Buffer.of(0, 1) })])],
    [
      'whose parameter has a capital',
      payload([raw({ flags: 8, rest: Buffer.concat([Buffer.of(0, 1), short('aB'), u16(0), Buffer.of(0)]) })]),
    ],
    ['whose parameter has no values', payload([raw({ flags: 8, rest: Buffer.concat([Buffer.of(0, 1), short('a')]) })])],
    [
      'whose value is missing',
      payload([raw({ flags: 8, rest: Buffer.concat([Buffer.of(0, 1), short('a'), u16(1)]) })]),
    ],
    [
      'whose value is of an unknown kind',
      payload([
        raw({
          flags: 8,
          rest: Buffer.concat([Buffer.of(0, 1), short('a'), u16(1), Buffer.of(2), u16(0), Buffer.of(0)]),
        }),
      ]),
    ],
    [
      'whose value ends early',
      payload([raw({ flags: 8, rest: Buffer.concat([Buffer.of(0, 1), short('a'), u16(1), Buffer.of(0), u16(9)]) })]),
    ],
    ['with bytes behind its constraints', payload([raw({ flags: 8, rest: Buffer.concat([empty, Buffer.of(0)]) })])],
  ])('%s', (_what, bytes) => {
    const core = new Policies();
    expect(core.load([{ name: 'before', rules: [rule('a', ['read'])] }])).toBe(OK);
    expect(added(bytes, core)).toBe(MALFORMED);
    // The build is over, and what was in force goes on.
    expect(core.add(payload([]))).toBe(MALFORMED);
    expect(core.call('policyCommit')).toBe(MALFORMED);
    expect(core.decide([core.find('before')], { ...READ, path: 'a' })).toBe(ALLOWED);
  });

  test('under a name that another has', () => {
    const core = new Policies();
    core.call('policyBegin');
    expect(core.add(payload([]))).toBe(OK);
    expect(core.add(payload([]))).toBe(MALFORMED);
  });

  test('whatever single byte is changed, without a trap, and what it allows was written in it', () => {
    const core = new Policies();
    const bytes = encodePolicy(
      'p',
      [
        rule('a/+/b', ['read'], { required: ['x'], allowed: new Map([['x', [{ kind: 'text', value: 'v*' }]]]) }),
        rule('c*', ['deny']),
        rule('d/{{e}}', ['deny']),
        rule('w', ['read'], { minWrappingTtl: 1, maxWrappingTtl: 9 }),
      ],
      'text',
    );
    const random = new SeededRandom(3);
    for (let at = 0; at < bytes.length; at++) {
      for (const value of [0, 0xff, random.below(256)]) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        expect([OK, MALFORMED]).toContain(added(changed, core));
        core.call('policyCommit');
        for (const path of ['a/x/b', 'c', 'd/', 'w'])
          expect([DENIED, ALLOWED, NEEDS_PARAMETERS]).toContain(core.half([0], { ...READ, path }));
      }
    }
  });
});

describe('full is a status', () => {
  test('of the table of policies', () => {
    const core = new Policies();
    core.call('policyBegin');
    for (let i = 0; i < 4096; i++) expect(core.add(payload([], { name: `policy-${i}` }))).toBe(OK);
    expect(core.add(payload([], { name: 'one more' }))).toBe(FULL);
    expect(core.call('policyCommit')).toBe(MALFORMED);
  });

  test('of an arena, wherever in a policy its end lies', () => {
    const rules = Array.from({ length: 12 }, (_, i) =>
      rule(`seg${i}/${'x'.repeat(40)}${i}`, ['read'], { required: [`needed-${i}`] }),
    );
    const bytes = encodePolicy('p', rules, '');
    const statuses = new Set<number>();
    for (let room = 0; room < 4096; room += 8) {
      const core = new Policies(65_536 + 2 * (65_536 + 16 + room));
      statuses.add(added(bytes, core));
      const committed = core.call('policyCommit');
      expect(
        core.decide([0], {
          ...READ,
          path: `seg3/${'x'.repeat(40)}3`,
          parameters: [{ name: 'needed-3', kind: 'text', value: '' }],
        }),
      ).toBe(committed === OK ? ALLOWED : DENIED);
    }
    expect(statuses).toEqual(new Set([OK, FULL]));
  });
});

describe('nothing is left', () => {
  test('of policies and paths after a clear', () => {
    const core = new Policies();
    for (const name of ['one', 'two', 'three'])
      expect(core.load([{ name, rules: Array.from({ length: 50 }, (_, i) => rule(`secret/${i}/+`, ['read'])) }])).toBe(
        OK,
      );
    expect(core.decide([0], { ...READ, path: 'secret/1/x' })).toBe(ALLOWED);
    const generation = core.call('policyGeneration');
    core.call('policyClear');
    expect(core.leftovers(MEMORY_SIZE)).toBe(0);
    expect(core.call('policyGeneration')).toBeGreaterThan(generation);
    expect([core.find('three'), core.decide([0], { ...READ, path: 'secret/1/x' })]).toEqual([-1, DENIED]);
    core.call('policyBegin');
    expect(core.add(encodePolicy('broken', [rule('a', ['read'])], '').subarray(0, -1))).toBe(MALFORMED);
    core.call('policyClear');
    expect(core.leftovers(MEMORY_SIZE)).toBe(0);
  });
});

describe('a decision is total', () => {
  const core = new Policies();
  const loaded = core.load([
    { name: 'p', rules: [rule('a', ['read'], { allowed: new Map([['x', []]]) }), rule('deep/*', ['list', 'read'])] },
    { name: 'q', rules: [rule('a', ['read', 'sudo'])] },
    { name: 'r', rules: [rule('deep/*', ['list'])] },
  ]);

  test('for paths that are too long, sets that are too large and indexes of nothing', () => {
    expect(loaded).toBe(OK);
    expect(core.decide([1], { ...READ, path: `a${'/a'.repeat(4096)}` })).toBe(DENIED);
    expect(
      core.decide(
        Array.from({ length: 257 }, () => 1),
        { ...READ, path: 'a' },
      ),
    ).toBe(DENIED);
    expect(core.decide([9, 1], { ...READ, path: 'a' })).toBe(ALLOWED);
    expect(core.decide([9], { ...READ, path: 'deep/x/', wanted: 'list' })).toBe(DENIED);
    expect(core.decide([9], { ...READ, path: '' })).toBe(DENIED);
    expect(core.decide([9], { ...READ, path: '///', wanted: 'list' })).toBe(DENIED);
    expect(core.decide([], { ...READ, path: 'a' })).toBe(DENIED);
  });

  test('for parameters that are no encoding, or that nobody waits for', () => {
    const asks = (): void => {
      expect(core.half([0], { ...READ, path: 'a' })).toBe(NEEDS_PARAMETERS);
    };
    const one = Buffer.concat([u16(1), u16(1), Buffer.from('x'), Buffer.of(0), u32(1), Buffer.from('v')]);
    expect(core.parameters(u16(0))).toBe(DENIED);
    asks();
    expect(core.parameters(one)).toBe(ALLOWED);
    expect(core.parameters(one)).toBe(DENIED);
    for (let length = 0; length < one.length; length++) {
      asks();
      expect(core.parameters(one.subarray(0, length))).toBe(3);
    }
    asks();
    expect(core.parameters(Buffer.concat([one, Buffer.of(0)]))).toBe(3);
    asks();
    expect(core.parameters(Buffer.concat([u16(1), u16(1), Buffer.from('x'), Buffer.of(2), u32(0)]))).toBe(3);
    asks();
    core.call('policyBegin');
    core.call('policyCommit');
    expect(core.parameters(one)).toBe(DENIED);
  });

  test('and names those that grant', () => {
    const fresh = new Policies();
    expect(
      fresh.load([
        { name: 'p', rules: [rule('a', ['read'])] },
        { name: 'q', rules: [rule('a', ['update'])] },
        { name: 'r', rules: [rule('a', ['read'])] },
      ]),
    ).toBe(OK);
    expect(fresh.decide([0, 1, 2], { ...READ, path: 'a' })).toBe(ALLOWED);
    expect(fresh.granting()).toEqual([0, 2]);
    expect(fresh.decide([1], { ...READ, path: 'a' })).toBe(DENIED);
    expect(fresh.granting()).toEqual([]);
  });
});
