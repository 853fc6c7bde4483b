/** Leaves, frames, marks and the tree: composed by core, read by somebody who knows only the formats. */
import { describe, expect, test } from 'vitest';
import { isCoreFault } from '../../../core/index.ts';
import type { Job } from '../../../core/types.ts';
import { hkdf, hmac } from '../../reference/keys.ts';
import { leafHash, merkleTreeHash } from '../../reference/tlog.ts';
import { Box, HEALTH, id, LIST, NOW, OWN, READ, SEAL, TIME, TYPES } from '../gate/box.ts';
import { AUDIT, RawBox } from '../gate/raw-box.ts';

const OK = 0;
const REFUSED = 1;
const DENIED = 3;
const FULL = 6;
const BAD = 7;
const MARK = 80;

function status(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isCoreFault(error)) return error.status;
    throw error;
  }
  return 'ok';
}

/** The lines of the group that a box flushes. */
function flushed(box: Box): {
  readonly lines: readonly string[];
  readonly frame: Uint8Array;
  readonly mark: Uint8Array;
  readonly root: Uint8Array;
} {
  const group = box.core.auditFlush();
  if (group === undefined) throw new Error('something waits');
  const frame = group.bytes.subarray(0, -MARK);
  const job = box.core.systemGrant('audit', undefined, NOW, NOW + 1000);
  const { lines } = box.core.auditOpenFrame(job, frame);
  box.core.endGrant(job);
  return {
    lines: Buffer.from(lines).toString().split('\n').slice(0, -1),
    frame,
    mark: group.bytes.subarray(-MARK),
    root: group.root,
  };
}

const read = (line: string | undefined): { readonly core: Record<string, unknown> } & Record<string, unknown> =>
  JSON.parse(line ?? '');

describe('a leaf', () => {
  test('is one line and one JSON object, whatever is in path and policies', () => {
    const box = new Box();
    const names = ['a"b', 'c\\d', 'e\u2028f', 'g\u2029h', 'i\u2027j', 'k€l', 'm\ud83d\ude00'].sort((x, y) =>
      Buffer.compare(Buffer.from(x), Buffer.from(y)),
    );
    const token = box.token({ policies: names });
    const path = 'secret/x"y\\z/\u2028/\u2029/\u2027€';
    const { grant } = box.decide(READ, path, token);
    box.core.leaf(grant, 'request', TIME, '"type":"request"}');
    const [line] = flushed(box).lines;
    expect(line).not.toMatch(/[\u2028\u2029]/);
    expect(read(line).core).toMatchObject({
      path,
      policies: names,
      decision: 'policy',
      operation: 'read',
      phase: 'request',
    });
  });

  test.each([0xe2, 0x80])('keeps a text that ends in the middle of what is escaped (%i)', () => {
    const box = new Box();
    const { grant } = box.decide(READ, 'secret/\u2028', undefined);
    box.core.leaf(grant, 'request', TIME, '"type":"request"}');
    expect(read(flushed(box).lines[0]).core).toMatchObject({ path: 'secret/\u2028', decision: 'token' });
  });

  test('says what was decided, by whom, and with a slash for a list', () => {
    const box = new Box();
    const root = box.token();
    const decided = [
      box.decide(LIST, 'secret/', root),
      box.decide(HEALTH, 'sys/health', undefined),
      box.decide(SEAL, 'sys/seal', box.token({ policies: ['p'] })),
      box.decide(READ, 'secret/a', undefined),
      box.decide(READ, 'secret/a', 'not a token'),
    ];
    for (const { grant } of decided) box.core.leaf(grant, 'request', TIME, '"x":1}');
    const cores = flushed(box).lines.map((line) => read(line).core);
    expect(cores.map(({ operation, path, decision }) => [operation, path, decision])).toEqual([
      ['list', 'secret/', 'allowed'],
      ['read', 'sys/health', 'allowed'],
      ['update', 'sys/seal', 'policy'],
      ['read', 'secret/a', 'token'],
      ['read', 'secret/a', 'token'],
    ]);
    expect(cores.map(({ token }) => token === undefined)).toEqual([false, true, false, true, false]);
    expect(cores.map(({ mount }) => mount)).toContain(Buffer.from(id(2)).toString('hex'));
  });

  test('says help where help was asked for', () => {
    const box = new Box('help', undefined, [
      ...TYPES,
      { type: 'more', operations: [{ pattern: '*path', verb: 'help' }] },
    ]);
    box.mount(id(5), 'more', 'more/');
    const { grant } = box.decide(OWN + 1, 'more/x', box.token());
    box.core.leaf(grant, 'request', TIME, '"x":1}');
    expect(read(flushed(box).lines[0]).core).toMatchObject({ operation: 'help', decision: 'allowed' });
  });

  test('of every job names it, without mount and with one', () => {
    const box = new Box();
    const jobs: readonly Job[] = [
      'boot',
      'expiry',
      'revocation',
      'unmount',
      'tidy',
      'rotation',
      'rewrap',
      'audit',
      'init',
      'lease',
    ];
    for (const job of jobs) {
      const grant = box.core.systemGrant(job, job === 'tidy' ? id(2) : undefined, NOW, NOW + 1000);
      box.core.leaf(grant, 'note', TIME, '"x":1}');
      box.core.endGrant(grant);
    }
    const cores = flushed(box).lines.map((line) => read(line).core);
    expect(cores.map(({ operation }) => operation)).toEqual(jobs);
    expect(cores.every(({ decision }) => decision === 'job')).toBe(true);
    expect(cores[4]?.['mount']).toBe(Buffer.from(id(2)).toString('hex'));
    expect(cores[0]?.['mount']).toBe('');
  });

  test('has HMACs in place of what is marked, and nothing else of it', () => {
    const box = new Box();
    const grant = box.job();
    box.core.leaf(grant, 'note', TIME, '"a":"\u0001hunter2\u0002","b":"\u0001\u0002","c":["\u0001x\ny\u0002"]}');
    const [line = ''] = flushed(box).lines;
    expect(line).not.toContain('hunter2');
    const { a, b, c } = read(line);
    expect(a).toBe(box.core.auditHmac('audit_log', 'hunter2'));
    expect(b).toBe(box.core.auditHmac('audit_log', ''));
    expect(c).toEqual([box.core.auditHmac('audit_log', 'x\ny')]);
    expect(box.core.auditHmac('other', 'hunter2')).not.toBe(a);
  });

  test.each(['"a":"\u0001open"}', '"a":"\u0001one\u0001two\u0002"}', '"a":"\u0002"}', '"a":"\n"}', '"a":"\u001f"}'])(
    'with %j in it is refused whole',
    (rest) => {
      const box = new Box();
      const grant = box.job();
      expect(status(() => box.core.leaf(grant, 'note', TIME, rest))).toBe('argument');
      expect(box.core.auditPending).toBe(0);
      expect(status(() => box.core.leaf(grant, 'note', TIME, '"x":1}'))).toBe('ok');
    },
  );

  test('is 65,535 bytes at most; one more is refused and leaves nothing', () => {
    const box = new Box();
    const grant = box.job();
    box.core.leaf(grant, 'note', TIME, '"x":""}');
    const bare = flushed(box).lines[0]?.length ?? 0;
    const fits = 'x'.repeat(65_535 - bare);
    expect(status(() => box.core.leaf(grant, 'note', TIME, `"x":"${fits}x"}`))).toBe('argument');
    expect(status(() => box.core.leaf(grant, 'note', TIME, `"x":"${fits}\u0001s\u0002"}`))).toBe('argument');
    expect(box.core.auditPending).toBe(0);
    expect(status(() => box.core.leaf(grant, 'note', TIME, `"x":"${fits}"}`))).toBe('ok');
    expect(flushed(box).lines[0]).toHaveLength(65_535);
    // Bytes of core's own part beyond the limit are counted, not written.
    const long = box.token({
      policies: Array.from({ length: 110 }, (_, i) => `${String(i).padStart(3, '0')}${'p'.repeat(125)}`),
    });
    const { grant: wide } = box.decide(
      READ,
      `secret/${Array.from({ length: 30 }, () => 'y'.repeat(250)).join('/')}`,
      long,
    );
    expect(status(() => box.core.leaf(wide, 'request', TIME, `"x":"${'x'.repeat(50_000)}"}`))).toBe('argument');
    expect(status(() => box.core.leaf(wide, 'request', TIME, '"x":1}'))).toBe('ok');
  });

  test('comes in its order: request, then response; notes are for jobs', () => {
    const box = new Box();
    const root = box.token();
    const { grant } = box.decide(READ, 'secret/a', root);
    const say = (phase: 'request' | 'response' | 'note'): string =>
      status(() => box.core.leaf(grant, phase, TIME, '"x":1}'));
    expect([say('response'), say('note'), say('request'), say('request'), say('response'), say('response')]).toEqual([
      'denied',
      'denied',
      'ok',
      'denied',
      'ok',
      'denied',
    ]);
    const job = box.job();
    expect(status(() => box.core.leaf(job, 'request', TIME, '"x":1}'))).toBe('denied');
    expect(status(() => box.core.leaf(job, 'note', 'T'.repeat(65), '"x":1}'))).toBe('argument');
    expect(status(() => box.core.leaf(job, 'note', TIME, '}'))).toBe('argument');
    expect(Buffer.from(box.core.tokenPayload(box.decide(READ, 'secret/a', root).grant) ?? []).length).toBeGreaterThan(
      72,
    );
    expect(box.core.tokenPayload(job)).toBeUndefined();
  });

  test('finds the group full by lines and by bytes, and goes on after a flush', () => {
    const box = new Box();
    const grant = box.job();
    let lines = 0;
    while (status(() => box.core.leaf(grant, 'note', TIME, '"x":1}')) === 'ok') lines++;
    expect(lines).toBe(16_384);
    expect(flushed(box).lines).toHaveLength(16_384);
    let bytes = 0;
    const large = `"x":"${'x'.repeat(60_000)}"}`;
    while (status(() => box.core.leaf(grant, 'note', TIME, large)) === 'ok') bytes = box.core.auditPending;
    expect(bytes).toBeGreaterThan(4_000_000);
    expect(status(() => box.core.leaf(grant, 'note', TIME, large))).toBe('full');
    box.core.auditFlush();
    expect(status(() => box.core.leaf(grant, 'note', TIME, large))).toBe('ok');
  });
});

describe('a group', () => {
  test.each([1, 2, 3, 4, 5, 7, 8, 9, 16, 33])('of %i lines has the root of RFC 6962', (count) => {
    const box = new Box();
    const grant = box.job();
    const all: Buffer[] = [];
    for (let group = 0; group < 3; group++) {
      for (let i = 0; i < count; i++) box.core.leaf(grant, 'note', TIME, `"n":"${'x'.repeat(i * 31)}"}`);
      const { lines, root } = flushed(box);
      all.push(...lines.map((line) => leafHash(Buffer.from(line))));
      expect(Buffer.from(root)).toEqual(merkleTreeHash(all));
    }
    expect(box.core.auditFlush()).toBeUndefined();
  });

  test('goes on from a frontier, and from nothing', () => {
    const box = new Box();
    const empty = box.core.auditStart(0, new Uint8Array(0)).root;
    expect(Buffer.from(empty)).toEqual(merkleTreeHash([]));
    const leaves = Array.from({ length: 6 }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));
    const frontier = Buffer.concat([merkleTreeHash(leaves.slice(0, 4)), merkleTreeHash(leaves.slice(4))]);
    expect(Buffer.from(box.core.auditStart(6, frontier).root)).toEqual(merkleTreeHash(leaves));
    expect(status(() => box.core.auditStart(6, frontier.subarray(32)))).toBe('argument');
    expect(status(() => box.core.auditStart(7, frontier))).toBe('argument');
    const grant = box.job();
    box.core.leaf(grant, 'note', TIME, '"x":1}');
    expect(status(() => box.core.auditStart(0, new Uint8Array(0)))).toBe('argument');
    const { lines, root } = flushed(box);
    expect(Buffer.from(root)).toEqual(merkleTreeHash([...leaves, leafHash(Buffer.from(lines[0] ?? ''))]));
    expect(read(lines[0]).core['seq']).toBe(6);
  });

  test('opens with the keys of its generation, and with nothing changed', () => {
    const box = new Box();
    const grant = box.job();
    box.core.leaf(grant, 'note', TIME, '"x":"before"}');
    const before = flushed(box);
    box.core.stageKeyring({ newRoot: true, nowMs: NOW });
    box.core.adoptStaged();
    box.core.leaf(grant, 'note', TIME, '"x":"after"}');
    const after = flushed(box);
    const job = box.core.systemGrant('audit', undefined, NOW, NOW + 1000);
    for (const { frame, mark } of [before, after]) {
      expect(status(() => box.core.auditOpenFrame(job, frame))).toBe('ok');
      expect(status(() => box.core.auditMark(mark))).toBe('ok');
      for (const [name, bytes] of [
        ['auditOpenFrame', frame],
        ['auditMark', mark],
      ] as const) {
        for (let at = 0; at < bytes.length; at++) {
          const changed = Uint8Array.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ 1;
          expect([
            name,
            at,
            status(() => (name === 'auditMark' ? box.core.auditMark(changed) : box.core.auditOpenFrame(job, changed))),
          ]).toEqual([name, at, 'refused']);
        }
        expect(
          status(() =>
            name === 'auditMark'
              ? box.core.auditMark(bytes.subarray(1))
              : box.core.auditOpenFrame(job, bytes.subarray(0, 59)),
          ),
        ).toBe('refused');
      }
    }
    const reader = box.request(READ, 'secret/a', box.token());
    expect(status(() => box.core.auditOpenFrame(reader, before.frame))).toBe('denied');
    expect(status(() => box.core.auditOpenFrame(0, before.frame))).toBe('denied');
  });

  test('has a mark that anybody with the audit key can check', () => {
    const box = new RawBox();
    const grant = box.job(AUDIT);
    box.put(Buffer.from(TIME), Buffer.from('"x":1}'));
    expect(box.call('leaf', grant, 2, TIME.length, 6)).toBe(OK);
    expect(box.call('auditFlush')).toBe(OK);
    const mark = box.out(MARK, box.result(4) - MARK);
    const markKey = hkdf(Buffer.alloc(32, 7), Buffer.from('holdfast/v1/audit-mark'));
    expect(mark.subarray(48)).toEqual(
      hmac(markKey, Buffer.from('holdfast/v1/audit-mark'), id(9), mark.subarray(0, 48)),
    );
    expect(box.call('leaf', 999, 2, 30, 6)).toBe(DENIED);
    expect([REFUSED, FULL, BAD]).not.toContain(box.call('auditFlush'));
  });
});
