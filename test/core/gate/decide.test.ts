/** Decisions through the facade: batch tokens and their parents, parameters, wrapping, help, capabilities. */
import { describe, expect, test } from 'vitest';
import { isCoreFault } from '../../../core/index.ts';
import type { OperationDeclaration, TypeDeclaration } from '../../../core/types.ts';
import { encodePolicy } from '../../../host/policies/encode.ts';
import { parsePolicy } from '../../../host/policies/parse.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Box, DELETE, id, LIST, mountPayload, NOW, OWN, RAW, READ, TIME, TYPES, tokenPayload, WRITE } from './box.ts';

const NONE = new Uint8Array(0);
const policy = (name: string, source: string): Uint8Array => encodePolicy(name, parsePolicy(source).rules, source);

function status(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isCoreFault(error)) return error.status;
    throw error;
  }
  return 'ok';
}

function withPolicies(sources: Readonly<Record<string, string>>, box = new Box()): Box {
  box.policies(Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, policy(name, source)])));
  return box;
}

describe('a batch token', () => {
  const RULES = { reader: 'path "secret/*" { capabilities = ["read"] }' };

  function batch(box: Box, fields: Parameters<typeof tokenPayload>[0] = {}): string {
    const grant = box.job();
    const made = box.core.sealBatchToken(
      grant,
      tokenPayload({ type: 1, policies: ['reader'], mount: id(1), ...fields }),
    );
    box.core.endGrant(grant);
    return made;
  }

  test('is decided by what is sealed in it, opens for who may ask, and has no row', () => {
    const box = withPolicies(RULES);
    const token = batch(box);
    expect(token).toMatch(/^hvb\.[\w-]+$/);
    expect(box.decide(READ, 'secret/a', token)).toMatchObject({ verdict: 'allowed', granting: [0] });
    expect(box.decide(DELETE, 'secret/a', token).verdict).toBe('policy');
    const grant = box.job();
    expect(Buffer.from(box.core.openBatchToken(grant, token)).readUInt8(1)).toBe(1);
    expect(status(() => box.core.openBatchToken(grant, `${token.slice(0, -4)}AAAA`))).toBe('refused');
    for (const other of ['hvb.AAAA', 'hvb.A', 'hvs.AAAA', ''])
      expect(status(() => box.core.openBatchToken(grant, other))).toBe('refused');
    const reader = box.request(READ, 'secret/a', box.token());
    expect(status(() => box.core.sealBatchToken(reader, tokenPayload({ type: 1 })))).toBe('denied');
    expect(status(() => box.core.newToken(reader, 'service'))).toBe('denied');
    expect(box.core.newToken(grant, 'recovery').text).toMatch(/^hvr\.[0-9A-Za-z]{24}$/);
  });

  test('that has an expiry is refused where the host does not know the time, and one without is not', () => {
    const box = withPolicies(RULES);
    const timeless = { refuseEnding: true };
    expect(box.decide(READ, 'secret/a', batch(box, { expires: NOW + 1 }), timeless).verdict).toBe('token');
    expect(box.decide(READ, 'secret/a', box.token(), timeless).verdict).toBe('allowed');
    expect(box.decide(READ, 'secret/a', box.token({ expires: NOW + 1 }), timeless).verdict).toBe('token');
  });

  test('lives only while its time, its mount and its parent do', () => {
    const box = withPolicies(RULES);
    expect(box.decide(READ, 'secret/a', batch(box, { expires: NOW })).verdict).toBe('token');
    expect(box.decide(READ, 'secret/a', batch(box, { mount: id(99) })).verdict).toBe('token');
    const parent = box.token();
    const key = Buffer.from(box.core.tokenId(parent)).toString('hex');
    const child = batch(box, { parent: Buffer.from(key, 'hex') });
    expect(box.decide(READ, 'secret/a', child).verdict).toBe('allowed');
    const alive = box.tokens.get(key) ?? NONE;
    for (const row of [undefined, alive.subarray(1), new Uint8Array(20_000), new Uint8Array(10)]) {
      if (row === undefined) box.tokens.delete(key);
      else box.tokens.set(key, row);
      expect(box.decide(READ, 'secret/a', child).verdict).toBe('token');
    }
    for (const fields of [{ expires: NOW - 1 }, { flags: 2 }]) {
      const dead = box.job();
      box.tokens.set(
        key,
        Uint8Array.from(box.core.sealTable(dead, 'token', Buffer.from(key, 'hex'), tokenPayload(fields))),
      );
      box.core.endGrant(dead);
      expect(box.decide(READ, 'secret/a', child).verdict).toBe('token');
    }
    const malformed = box.job();
    box.tokens.set(
      key,
      Uint8Array.from(box.core.sealTable(malformed, 'token', Buffer.from(key, 'hex'), Buffer.alloc(80))),
    );
    box.core.endGrant(malformed);
    expect(box.decide(READ, 'secret/a', child).verdict).toBe('token');
    // The mount it came from is being removed.
    const other = batch(box, { mount: id(3) });
    expect(box.decide(READ, 'secret/a', other).verdict).toBe('allowed');
    box.mount(id(3), 'kv-v1', 'other/', 1);
    expect(box.decide(READ, 'secret/a', other).verdict).toBe('token');
  });

  test('is refused with any bit changed, and of another box', () => {
    const box = withPolicies(RULES);
    const token = batch(box);
    const bytes = Buffer.from(token.slice(4), 'base64url');
    for (let at = 0; at < bytes.length; at += 3) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      expect(box.decide(READ, 'secret/a', `hvb.${changed.toString('base64url')}`).verdict).toBe('token');
    }
    expect(withPolicies(RULES, new Box('another')).decide(READ, 'secret/a', token).verdict).toBe('token');
    const grant = box.job();
    expect(status(() => box.core.sealBatchToken(grant, tokenPayload({ type: 0 })))).toBe('argument');
    expect(status(() => box.core.sealBatchToken(grant, Buffer.alloc(80)))).toBe('argument');
  });

  test('goes on after a new root brought a new batch key', () => {
    const box = withPolicies(RULES);
    const token = batch(box);
    box.core.stageKeyring({ newRoot: true, nowMs: NOW });
    box.core.adoptStaged();
    expect(box.decide(READ, 'secret/a', token).verdict).toBe('allowed');
    expect(box.decide(READ, 'secret/a', batch(box)).verdict).toBe('allowed');
  });
});

describe('a token row whose payload is not as it should be is no token', () => {
  const good = tokenPayload({ policies: ['a', 'b'], cidrs: [[4, 32, 1, 2, 3, 4]] });
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes[at] = value;
    return bytes;
  };
  const changedCount = (bytes: Buffer, count: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt16BE(count, 72);
    return copy;
  };
  const policies = (...names: string[]): Buffer => tokenPayload({ policies: names });
  test.each<readonly [string, Uint8Array]>([
    ['short', good.subarray(0, 78)],
    ['of another version', changed(0, 2)],
    ['with more than 256 policies', changed(72, 2)],
    ['with policies beyond its end', changed(73, 200)],
    ['with an empty name', policies('', 'b')],
    ['with a name of 129 bytes', policies('n'.repeat(129))],
    ['with a name that ends late', changed(74, 100)],
    ['with policies out of order', policies('b', 'a')],
    ['with a policy twice', policies('a', 'a')],
    ['with more than 64 networks', tokenPayload({ cidrs: Array.from({ length: 65 }, () => [4, 0, 0, 0, 0, 0]) })],
    ['with networks beyond its end', changed(78, 9)],
    ['with half a network', tokenPayload({ cidrs: [[4]] }).subarray(0, -3)],
    ['with more policies than it has room for', changedCount(tokenPayload({ policies: ['abcd'] }).subarray(0, 79), 2)],
    ['that ends where its networks begin', changedCount(tokenPayload({ policies: ['abcd'] }).subarray(0, 79), 1)],
    [
      'with fewer networks than it says',
      Buffer.concat([
        tokenPayload({ policies: [], cidrs: [[4, 8, 1, 2, 3, 4]] }).subarray(0, 74),
        Buffer.of(2, 4, 8, 1, 2, 3, 4),
      ]),
    ],
    ['with a network of no family', tokenPayload({ cidrs: [[5, 0, 0, 0, 0, 0]] })],
    ['with 33 bits of IPv4', tokenPayload({ cidrs: [[4, 33, 0, 0, 0, 0]] })],
    ['with 129 bits of IPv6', tokenPayload({ cidrs: [[6, 129, ...new Array<number>(16).fill(0)]] })],
    ['whose rest ends late', Buffer.concat([good.subarray(0, -1), Buffer.of(9)])],
    ['without the length of its rest', good.subarray(0, -1)],
  ])('%s', (_what, payload) => {
    const box = new Box();
    const token = box.token();
    const key = Buffer.from(box.core.tokenId(token));
    const grant = box.job();
    box.tokens.set(key.toString('hex'), Uint8Array.from(box.core.sealTable(grant, 'token', key, payload)));
    expect(box.decide(READ, 'secret/a', token, { peer: '1.2.3.4' }).verdict).toBe('token');
    box.tokens.set(key.toString('hex'), Uint8Array.from(box.core.sealTable(grant, 'token', key, good)));
    expect(box.decide(READ, 'secret/a', token, { peer: '1.2.3.4' }).verdict).toBe('policy');
  });

  test('or any bytes at all, without a trap', () => {
    const box = new Box();
    const token = box.token();
    const key = Buffer.from(box.core.tokenId(token));
    const random = new SeededRandom(4);
    for (let round = 0; round < 300; round++) {
      const payload = Buffer.from(good);
      for (let i = 1 + random.below(4); i > 0; i--) payload[random.below(payload.length)] = random.below(256);
      const grant = box.job();
      box.tokens.set(key.toString('hex'), Uint8Array.from(box.core.sealTable(grant, 'token', key, payload)));
      box.core.endGrant(grant);
      const { verdict, grant: made } = box.decide(READ, 'secret/a', token);
      expect(['token', 'policy', 'allowed']).toContain(verdict);
      box.core.endGrant(made);
    }
  });

  test.each([
    [20, '10.1.16.1', 'allowed'],
    [20, '10.1.31.255', 'allowed'],
    [20, '10.1.32.0', 'token'],
    [24, '10.1.16.9', 'allowed'],
    [24, '10.1.17.9', 'token'],
    [0, '99.9.9.9', 'allowed'],
    [32, '10.1.16.0', 'allowed'],
    [31, '10.1.16.2', 'token'],
  ])('a network of %i bits: %s is %s', (bits, peer, verdict) => {
    const box = new Box();
    const token = box.token({ cidrs: [[4, bits, 10, 1, 16, 0]] });
    expect(box.decide(READ, 'secret/a', token, { peer }).verdict).toBe(verdict);
  });
});

describe('policies decide', () => {
  test('every verb by its own capability', () => {
    const patch: OperationDeclaration = { pattern: '*path', verb: 'patch' };
    const help: OperationDeclaration = { pattern: '*path', verb: 'help' };
    const types: TypeDeclaration[] = [...TYPES, { type: 'more', operations: [patch, help] }];
    const box = new Box('verbs', undefined, types);
    const [PATCH, HELP] = [OWN + 1, OWN + 2];
    box.mount(id(5), 'more', 'more/');
    withPolicies(
      { p: 'path "more/a" { capabilities = ["patch"] }', q: 'path "secret/*" { capabilities = ["list"] }' },
      box,
    );
    const token = box.token({ policies: ['p', 'q'] });
    expect(box.decide(PATCH, 'more/a', token)).toMatchObject({
      verdict: 'allowed',
      capability: 'patch',
      granting: [0],
    });
    expect(box.decide(PATCH, 'more/b', token).verdict).toBe('policy');
    expect(box.decide(HELP, 'more/b', token).verdict).toBe('allowed');
    expect(box.decide(HELP, 'more/b', undefined).verdict).toBe('token');
    expect(box.decide(LIST, 'secret/x', token)).toMatchObject({ verdict: 'allowed', granting: [1] });
    expect(box.decide(READ, 'secret/x', token).verdict).toBe('policy');
  });

  test('sudo beside the verb, told by the decision', () => {
    const box = withPolicies({
      plain: 'path "sys/raw/*" { capabilities = ["read"] }',
      sudo: 'path "sys/raw/*" { capabilities = ["read", "sudo"] }',
    });
    expect(box.decide(RAW, 'sys/raw/x', box.token({ policies: ['plain'] }))).toMatchObject({
      verdict: 'policy',
      hasSudo: false,
    });
    expect(box.decide(RAW, 'sys/raw/x', box.token({ policies: ['sudo'] }))).toMatchObject({
      verdict: 'allowed',
      hasSudo: true,
    });
  });

  test('parameters when the rule has some, and only then', () => {
    const box = withPolicies({
      p: 'path "secret/*" { capabilities = ["create", "update"] denied_parameters = { bad = [] } }',
    });
    const token = box.token({ policies: ['p'] });
    const asked = (parameters?: { name: string; kind: 'text'; value: string }[]): string => {
      box.core.route('secret/a');
      const { tokenKey } = box.core.begin(WRITE, token);
      const tokenRow = box.tokens.get(Buffer.from(tokenKey ?? NONE).toString('hex'));
      const input = { tokenRow, existenceRow: undefined, nowMs: NOW, deadlineMs: NOW + 9, peer: undefined, wrapTtl: 0 };
      const first = box.core.decide(input);
      if (first.verdict !== 'needs-parameters') return first.verdict;
      expect(first.grant).toBe(0);
      return box.core.decide({ ...input, parameters: parameters ?? [] }).verdict;
    };
    expect(asked()).toBe('allowed');
    expect(asked([{ name: 'good', kind: 'text', value: 'x' }])).toBe('allowed');
    expect(asked([{ name: 'BAD', kind: 'text', value: 'x' }])).toBe('policy');
    expect(box.decide(READ, 'secret/a', token).verdict).toBe('policy');
  });

  test('wrapping: such a grant may write what a wrapped answer needs', () => {
    const box = withPolicies({ p: 'path "secret/*" { capabilities = ["read"] min_wrapping_ttl = "10s" }' });
    const token = box.token({ policies: ['p'] });
    expect(box.decide(READ, 'secret/a', token).verdict).toBe('policy');
    const { verdict, grant } = box.decide(READ, 'secret/a', token, { wrapTtl: 60 });
    expect(verdict).toBe('allowed');
    box.core.leaf(grant, 'request', TIME, '"x":1}');
    expect(status(() => box.core.sealTable(grant, 'wrap', id(1), NONE))).toBe('ok');
    expect(status(() => box.core.sealTable(grant, 'policy', id(1), NONE))).toBe('denied');
  });

  test('what a token could do with a path', () => {
    const box = withPolicies({
      p: 'path "secret/a" { capabilities = ["read", "list"] }',
      q: 'path "secret/b" { capabilities = ["deny"] }',
    });
    const payload = tokenPayload({ policies: ['p', 'q'] });
    expect(box.core.capabilities(0, payload, 'secret/a')).toEqual(['list', 'read']);
    expect(box.core.capabilities(0, payload, 'secret/b')).toEqual(['deny']);
    expect(box.core.capabilities(0, payload, 'secret/c')).toEqual(['deny']);
    expect(box.core.capabilities(0, tokenPayload({}), 'secret/c')).toEqual(['root']);
  });
});

describe('a grant names its part of the mount', () => {
  const operations: OperationDeclaration[] = [
    { pattern: '', verb: 'read', subtrees: [{ at: '', modes: ['read', 'write', 'names'], extent: 'subtree' }] },
    { pattern: 'x/+one/y/+two', verb: 'read', subtrees: [{ at: 'd/{one}/{two}', modes: ['read'], extent: 'subtree' }] },
    { pattern: 'bad/+name', verb: 'read', subtrees: [{ at: 'd/{other}', modes: ['read', 'write'], extent: 'record' }] },
    {
      pattern: 'own',
      verb: 'read',
      open: true,
      subtrees: [{ at: '{token}/a', modes: ['read', 'write'], extent: 'record' }],
    },
    {
      pattern: 'below/*path',
      verb: 'list',
      subtrees: [{ at: 'd/{path}', modes: ['names', 'write'], extent: 'subtree' }],
    },
    { pattern: `${'+a/'.repeat(9)}z`, verb: 'read' },
    { pattern: `${'+a/'.repeat(8)}*rest`, verb: 'read' },
    { pattern: 'broken', verb: 'read', subtrees: [{ at: 'd/{open', modes: ['read'], extent: 'record' }] },
    { pattern: 'gone/+name', verb: 'write', existence: 'd/{other}', subtrees: [] },
    { pattern: 'odd/+name', verb: 'write', existence: 'd/{name}/', subtrees: [] },
  ];
  const [ROOT, TWO, BAD, OPEN, BELOW, NINE, EIGHT, BROKEN, GONE, ODD] = operations.map((_, i) => OWN + 1 + i) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  function made(): {
    readonly box: Box;
    readonly token: string;
    readonly granted: (operation: number, path: string) => number;
  } {
    const box = new Box('parts', undefined, [...TYPES, { type: 'parts', operations }]);
    box.mount(id(6), 'parts', 'parts/');
    const token = box.token();
    return { box, token, granted: (operation, path) => box.request(operation, path, token) };
  }
  const locate = (box: Box, grant: number, path: string): string => status(() => box.core.locate(grant, path, NONE));

  test('all of it by an empty template', () => {
    const { box, granted } = made();
    const grant = granted(ROOT, 'parts');
    expect([locate(box, grant, 'a'), locate(box, grant, 'a/b/c')]).toEqual(['ok', 'ok']);
    expect(status(() => box.core.locateNames(grant, ''))).toBe('ok');
  });

  test('what the request captured, and what lies below it', () => {
    const { box, granted } = made();
    const grant = granted(TWO, 'parts/x/one/y/two');
    expect(locate(box, grant, 'd/one/two')).toBe('ok');
    expect(locate(box, grant, 'd/one/two/three')).toBe('ok');
    for (const path of ['d/one', 'd/one/twofold', 'd/two/one', 'd/one/tw'])
      expect(locate(box, grant, path)).toBe('denied');
  });

  test('nothing by a template that cannot be filled in', () => {
    const { box, token, granted } = made();
    for (const [operation, path] of [
      [BAD, 'parts/bad/x'],
      [BROKEN, 'parts/broken'],
    ] as const) {
      const grant = granted(operation, path);
      expect(locate(box, grant, 'd/x')).toBe('denied');
      expect(status(() => box.core.sealName(grant, 'd', true))).toBe('denied');
    }
    const open = granted(OPEN, 'parts/own');
    expect(locate(box, open, 'd/a')).toBe('denied');
    box.core.route('parts/gone/x');
    expect(box.core.begin(GONE, token).existenceKey).toBeUndefined();
    box.core.route('parts/odd/x');
    expect(box.core.begin(ODD, token).existenceKey).toBeUndefined();
  });

  test('the directories above what it writes, by whole segments', () => {
    const { box, granted } = made();
    const grant = granted(BELOW, 'parts/below/abc/def/');
    for (const path of ['d', 'd/abc', 'd/abc/def'])
      expect(status(() => box.core.nameKey(grant, path, true))).toBe('ok');
    for (const path of ['d/ab', 'd/abc/d', 'd/abc/def/g', 'e'])
      expect(status(() => box.core.nameKey(grant, path, true))).toBe('denied');
    expect(status(() => box.core.locateNames(grant, ''))).toBe('ok');
    const top = granted(BELOW, 'parts/below/');
    expect(status(() => box.core.locateNames(top, 'd'))).toBe('ok');
    const job = box.job('boot', id(6));
    expect(status(() => box.core.nameKey(job, 'anything/at/all', true))).toBe('ok');
  });

  test('never by more than eight captures', () => {
    const { box, token } = made();
    box.core.route(`parts/${'a/'.repeat(9)}z`);
    expect(status(() => box.core.begin(NINE, token))).toBe('denied');
    box.core.route(`parts/${'a/'.repeat(9)}z`);
    expect(status(() => box.core.begin(EIGHT, token))).toBe('denied');
    for (const path of ['parts/x/one/y', 'parts/x/one/z/two', 'parts/x/one/y/two/three', 'parts/x/one/yy/two']) {
      box.core.route(path);
      expect([path, status(() => box.core.begin(TWO, token))]).toEqual([path, 'denied']);
    }
    box.core.route('parts/x');
    expect(status(() => box.core.begin(ROOT, token))).toBe('denied');
  });
});

test('a write by no token, a bad one or a batch token is asked for its record too', () => {
  const box = withPolicies({ writer: 'path "sys/own/*" { capabilities = ["create"] }' });
  const grant = box.job();
  const token = box.core.sealBatchToken(grant, tokenPayload({ type: 1, policies: ['writer'] }));
  expect(box.decide(OWN, 'sys/own/x', token)).toMatchObject({ verdict: 'allowed', capability: 'create' });
  for (const none of [undefined, 'not a token']) {
    box.core.route('sys/own/x');
    expect(box.core.begin(OWN, none).existenceKey).toBeUndefined();
    box.core.route('secret/a');
    expect(box.core.begin(WRITE, none).existenceKey).toHaveLength(32);
  }
});

test('a read grant names nothing in a directory', () => {
  const box = new Box();
  const grant = box.request(READ, 'secret/a', box.token());
  expect(status(() => box.core.nameKey(grant, 's/a', false))).toBe('denied');
  const job = box.job();
  const row = Uint8Array.from(box.core.sealTable(job, 'token', id(5), Buffer.from('row')));
  expect(Buffer.from(box.core.openTable(job, 'token', id(5), row)).toString()).toBe('row');
});

describe('names', () => {
  test('deep, shallow, beside each other and again are found where they were put', () => {
    const box = new Box();
    const grant = box.job('init', id(2));
    const paths = ['a', 'a/b', 'a/b/c', 'x/b/c', 'a/b/c/d/e/f/g', `${'s/'.repeat(31)}t`, 'ab', 'a/bc'];
    const keys = new Set<string>();
    for (const path of [...paths, ...paths]) keys.add(Buffer.from(box.core.locate(grant, path, NONE)).toString('hex'));
    for (const path of paths) keys.add(Buffer.from(box.core.nameKey(grant, path, true)).toString('hex'));
    for (const path of paths) keys.add(Buffer.from(box.core.nameKey(grant, path, false)).toString('hex'));
    // A secret's name row has the key of its record; a directory's has one of its own.
    expect(keys.size).toBe(2 * paths.length);
    const fresh = new Box();
    const other = fresh.job('init', id(2));
    for (const path of [...paths].reverse())
      expect(keys).toContain(Buffer.from(fresh.core.locate(other, path, NONE)).toString('hex'));
  });

  test('many directories, more than are remembered, keep their keys', () => {
    const box = new Box();
    const grant = box.job('init', id(2));
    const key = (n: number): string => Buffer.from(box.core.locate(grant, `dir-${n}/sub/x`, NONE)).toString('hex');
    const first = Array.from({ length: 3000 }, (_, n) => key(n));
    expect(new Set(first).size).toBe(3000);
    for (let n = 0; n < 3000; n += 101) expect(key(n)).toBe(first[n]);
  });
});

test('the job of leases opens and seals leases and what is due, and no other table', () => {
  const box = new Box();
  const grant = box.job('lease', id(2));
  const [init, key, payload] = [box.job(), id(5), Buffer.from('row')];
  for (const table of ['token', 'accessor', 'child', 'expiry', 'policy', 'mount', 'wrap', 'lease', 'job'] as const) {
    const row = Uint8Array.from(box.core.sealTable(init, table, key, payload));
    const expected = table === 'expiry' || table === 'lease' ? 'ok' : 'denied';
    expect([table, status(() => box.core.sealTable(grant, table, key, payload))]).toEqual([table, expected]);
    expect([table, status(() => box.core.openTable(grant, table, key, row))]).toEqual([table, expected]);
  }
  // The storage of the mount that it names is its own, as of every job.
  expect(status(() => box.core.locate(grant, 'config/one', NONE))).toBe('ok');
});

test('a mount row names its own id', () => {
  const box = new Box();
  const grant = box.job();
  const row = box.core.sealTable(grant, 'mount', id(8), mountPayload(id(7), 'kv-v1', 'x/'));
  expect(status(() => box.core.loadMount(id(8), Uint8Array.from(row)))).toBe('argument');
});
