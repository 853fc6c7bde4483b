import { describe, expect, test } from 'vitest';
import { isCoreFault } from '../../../core/index.ts';
import { Box, DELETE, HEALTH, id, LIST, MOUNTS, NOW, OWN, RAW, READ, SEAL, TIME, WRITE } from './box.ts';

const NONE = new Uint8Array(0);

/** The status that a call is refused with. */
function status(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isCoreFault(error)) return error.status;
    throw error;
  }
  return 'ok';
}

describe('the line', () => {
  test('what is written under a grant is read under another', () => {
    const box = new Box();
    const root = box.token();
    box.put(root, 'secret/a/b', 'hunter2');
    expect(box.get(root, 'secret/a/b')).toBe('hunter2');
  });

  test('leaves come out in a group, hashed and sealed, and open again', () => {
    const box = new Box();
    const root = box.token();
    box.put(root, 'secret/a', 'v');
    const group = box.core.auditFlush();
    expect(group?.size).toBe(2);
    const job = box.core.systemGrant('audit', undefined, NOW, NOW + 1000);
    const frame = group?.bytes.subarray(0, group.bytes.length - 80) ?? NONE;
    const { lines, firstSeq } = box.core.auditOpenFrame(job, frame);
    const [first, second] = Buffer.from(lines)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(firstSeq).toBe(0);
    expect(first.core).toMatchObject({
      seq: 0,
      phase: 'request',
      operation: 'create',
      path: 'secret/a',
      policies: ['root'],
      decision: 'allowed',
    });
    expect(second.core).toMatchObject({ seq: 1, phase: 'response' });
    expect(first.core.token).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
    expect(Buffer.from(box.core.auditMark(group?.bytes.subarray(-80) ?? NONE).root)).toEqual(
      Buffer.from(group?.root ?? NONE),
    );
  });

  test('a sealed box answers nothing, and opens again by its root', () => {
    const box = new Box();
    const root = box.token();
    box.put(root, 'secret/a', 'v');
    const dh = new Uint8Array(32).fill(1);
    const enc = new Uint8Array(32).fill(2);
    const wrapped = Uint8Array.from(box.core.wrapRoot(dh, enc, enc, Buffer.from('context')));
    box.core.seal();
    expect(box.core.sealed).toBe(true);
    expect(status(() => box.core.route('secret/a'))).toBe('sealed');
    expect(status(() => box.core.unwrapRoot(dh, enc, enc, Buffer.from('other'), wrapped))).toBe('refused');
    expect(status(() => box.core.openKeyring(box.keyring))).toBe('sealed');
    box.core.unwrapRoot(dh, enc, enc, Buffer.from('context'), wrapped);
    expect(box.core.openKeyring(box.keyring).generation).toBe(1);
    box.mount(id(2), 'kv-v1', 'secret/');
    expect(box.get(root, 'secret/a')).toBe('v');
  });
});

describe('a grant is narrow', () => {
  test('one for secret/a opens neither secret/b nor another mount', () => {
    const box = new Box();
    const root = box.token();
    box.put(root, 'secret/a', 'A');
    box.put(root, 'secret/b', 'B');
    box.put(root, 'other/a', 'O');
    const grant = box.request(READ, 'secret/a', root);
    expect(status(() => box.core.locate(grant, 's/b', NONE))).toBe('denied');
    expect(status(() => box.core.locate(grant, 's/a/x', NONE))).toBe('denied');
    expect(status(() => box.core.locate(grant, 's', NONE))).toBe('denied');
    box.core.locate(grant, 's/a', NONE);
    const rows = [...box.records.values()];
    expect(rows.map((row) => status(() => box.core.open(grant, row)))).toEqual(['ok', 'refused', 'refused']);
  });

  test('a list grant opens no value; a read grant seals nothing and lists nothing', () => {
    const box = new Box();
    const root = box.token();
    box.put(root, 'secret/a', 'A');
    const list = box.request(LIST, 'secret/', root);
    expect(status(() => box.core.locate(list, 's/a', NONE))).toBe('denied');
    expect(status(() => box.core.locate(list, 's', NONE))).toBe('denied');
    expect(status(() => box.core.locateNames(list, 's'))).toBe('ok');
    const read = box.request(READ, 'secret/a', root);
    expect(status(() => box.core.sealRecord(read, 's/a', NONE, NONE))).toBe('denied');
    expect(status(() => box.core.locateNames(read, 's'))).toBe('denied');
    expect(status(() => box.core.sealTable(read, 'token', id(1), NONE))).toBe('denied');
  });

  test('nothing opens before the request leaf, after the response leaf, after the deadline or when ended', () => {
    const box = new Box();
    const root = box.token();
    const { grant } = box.decide(READ, 'secret/a', root);
    expect(status(() => box.core.locate(grant, 's/a', NONE))).toBe('denied');
    box.core.leaf(grant, 'request', TIME, '"x":1}');
    expect(status(() => box.core.locate(grant, 's/a', NONE))).toBe('ok');
    box.core.leaf(grant, 'response', TIME, '"x":1}');
    expect(status(() => box.core.locate(grant, 's/a', NONE))).toBe('denied');
    const late = box.request(READ, 'secret/a', root);
    box.decide(HEALTH, 'sys/health', undefined, { nowMs: NOW + 1001 });
    expect(status(() => box.core.locate(late, 's/a', NONE))).toBe('denied');
    expect(status(() => box.core.leaf(late, 'request', TIME, '"x":1}'))).toBe('denied');
  });

  test('a refused request gets a grant that only writes its two leaves', () => {
    const box = new Box();
    const none = box.token({ policies: ['nothing'] });
    const decision = box.decide(READ, 'secret/a', none);
    expect(decision.verdict).toBe('policy');
    box.core.leaf(decision.grant, 'request', TIME, '"x":1}');
    expect(status(() => box.core.locate(decision.grant, 's/a', NONE))).toBe('denied');
    expect(status(() => box.core.leaf(decision.grant, 'response', TIME, '"x":1}'))).toBe('ok');
  });
});

describe('tokens', () => {
  test('no, unknown, expired, spent, revoked and moved tokens are refused alike', () => {
    const box = new Box();
    const good = box.token();
    const verdicts = [
      box.decide(READ, 'secret/a', undefined),
      box.decide(READ, 'secret/a', 'hvs.000000000000000000000000'),
      box.decide(READ, 'secret/a', `${good} `),
      box.decide(READ, 'secret/a', box.token({ expires: NOW })),
      box.decide(READ, 'secret/a', box.token({ uses: 0xffffffff })),
      box.decide(READ, 'secret/a', box.token({ flags: 2 })),
      box.decide(READ, 'secret/a', box.token({ entity: id(7) })),
      box.decide(READ, 'secret/a', box.token({ type: 1 })),
    ].map(({ verdict }) => verdict);
    expect(new Set(verdicts)).toEqual(new Set(['token']));
    const [first, second] = [box.token(), box.token({ policies: ['nothing'] })];
    const keys = [first, second].map((text) => Buffer.from(box.core.tokenId(text)).toString('hex'));
    box.tokens.set(keys[1] ?? '', box.tokens.get(keys[0] ?? '') ?? NONE);
    expect(box.decide(READ, 'secret/a', second).verdict).toBe('token');
    expect(box.decide(READ, 'secret/a', first).verdict).toBe('allowed');
  });

  test('a use is taken off, the last one is told', () => {
    const box = new Box();
    const token = box.token({ uses: 2 });
    const key = Buffer.from(box.core.tokenId(token)).toString('hex');
    const one = box.decide(READ, 'secret/a', token);
    expect([one.verdict, one.lastUse]).toEqual(['allowed', false]);
    box.tokens.set(key, one.spentRow ?? NONE);
    const two = box.decide(READ, 'secret/a', token);
    expect([two.verdict, two.lastUse]).toEqual(['allowed', true]);
    box.tokens.set(key, two.spentRow ?? NONE);
    expect(box.decide(READ, 'secret/a', token).verdict).toBe('token');
  });

  test.each([
    ['10.1.2.3', 'allowed'],
    ['10.2.0.1', 'token'],
    ['::ffff:10.1.2.3', 'allowed'],
    ['2001:db8::1', 'allowed'],
    ['2001:db9::1', 'token'],
    [undefined, 'token'],
    ['nonsense', 'token'],
  ])('bound networks: a peer at %s is %s', (peer, verdict) => {
    const box = new Box();
    const token = box.token({
      cidrs: [
        [4, 16, 10, 1, 0, 0],
        [6, 32, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      ],
    });
    expect(box.decide(READ, 'secret/a', token, peer === undefined ? {} : { peer }).verdict).toBe(verdict);
  });
});

describe('operations', () => {
  test('an operation of another type, or whose pattern does not match, is denied', () => {
    const box = new Box();
    const root = box.token();
    box.core.route('secret/a');
    expect(status(() => box.core.begin(SEAL, root))).toBe('denied');
    box.core.route('sys/health/x');
    expect(status(() => box.core.begin(HEALTH, root))).toBe('denied');
  });

  test('open ones need no token; root ones take root alone; sudo comes from the policy', () => {
    const box = new Box();
    expect(box.decide(HEALTH, 'sys/health', undefined).verdict).toBe('allowed');
    expect(box.decide(SEAL, 'sys/seal', box.token({ policies: ['x'] })).verdict).toBe('policy');
    expect(box.decide(SEAL, 'sys/seal', box.token()).verdict).toBe('allowed');
    expect(box.decide(RAW, 'sys/raw/x', box.token({ policies: ['x'] })).verdict).toBe('policy');
  });

  test('a slash at the end is for lists and for operations on mounts', () => {
    const box = new Box();
    const root = box.token();
    box.core.route('secret/a/');
    expect(status(() => box.core.begin(READ, root))).toBe('path');
    expect(box.decide(MOUNTS, 'sys/mounts/x/', root).verdict).toBe('allowed');
  });

  test('existence turns a write into create or update', () => {
    const box = new Box();
    const root = box.token();
    expect(box.decide(WRITE, 'secret/a', root).capability).toBe('create');
    box.put(root, 'secret/a', 'v');
    expect(box.decide(WRITE, 'secret/a', root).capability).toBe('update');
    const grant = box.request(WRITE, 'secret/new', root);
    expect(box.core.sealRecord(grant, 's/new', NONE, NONE).mustBeAbsent).toBe(true);
  });

  test('a token has a corner of its own', () => {
    const box = new Box();
    const [one, two] = [box.token(), box.token()];
    const grant = box.request(OWN, 'sys/own/x', one);
    const corner = (text: string): string => `${Buffer.from(box.core.tokenId(text)).toString('hex')}/x`;
    expect(status(() => box.core.sealRecord(grant, corner(one), NONE, NONE))).toBe('ok');
    expect(status(() => box.core.sealRecord(grant, corner(two), NONE, NONE))).toBe('denied');
  });

  test.each([
    'secret//a',
    'secret/./a',
    'secret/../a',
    '/secret',
    'secret/a ',
    'secret/ a',
    'secret/a\u0000',
    'secret/\u0085',
    'secret/\u007f',
    '',
    `secret/${'x'.repeat(256)}`,
    'secret/'.repeat(33),
  ])('%j breaks the grammar', (path) => expect(status(() => new Box().core.route(path))).toBe('path'));

  test.each(['secret/ü', 'secret/a b', 'secret/...', 'secret/.a', `secret/${'x'.repeat(255)}`, 'secret/𐍈'])(
    '%j keeps the grammar',
    (path) => {
      expect(new Box().core.route(path).relative).toBe(path.slice(7));
    },
  );

  test('mounts are found by their longest path; an unknown one has a status of its own', () => {
    const box = new Box();
    box.mount(id(4), 'kv-v1', 'secret/deep/');
    expect(box.core.route('secret/deep/x').mountPath).toBe('secret/deep/');
    expect(box.core.route('secret/deeper').mountPath).toBe('secret/');
    expect(box.core.route('secret').relative).toBe('');
    expect(status(() => box.core.route('nothing/x'))).toBe('mount');
    box.core.dropMount(id(4));
    expect(box.core.route('secret/deep/x').mountPath).toBe('secret/');
  });

  test('names are sealed, listed and told apart from directories', () => {
    const box = new Box();
    const root = box.token();
    const grant = box.request(DELETE, 'secret/dir/x', root);
    const secret = box.core.sealName(grant, 's/dir/x', false);
    const dir = box.core.sealName(grant, 's/dir', true);
    expect(status(() => box.core.sealName(grant, 's/else', true))).toBe('denied');
    const list = box.request(LIST, 'secret/dir/', root);
    const prefix = Uint8Array.from(box.core.locateNames(list, 's/dir'));
    expect(Buffer.from(secret.key.subarray(0, 16))).toEqual(Buffer.from(prefix));
    expect(box.core.openName(list, secret.key, secret.row)).toEqual({ name: 'x', directory: false });
    expect(status(() => box.core.openName(list, dir.key, dir.row))).toBe('denied');
    const top = box.request(LIST, 'secret/', root);
    box.core.locateNames(top, 's');
    expect(box.core.openName(top, dir.key, dir.row)).toEqual({ name: 'dir', directory: true });
  });
});
