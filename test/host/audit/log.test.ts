import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { verifyFolder } from '../../../host/audit/verify.ts';
import { FakeStore, Rig, TOKEN, TOKEN_TEXT } from './rig.ts';

const linesOf = (rig: Rig): string[] => {
  const lines: string[] = [];
  for (let from = 0; from < rig.log.size; ) {
    const page = rig.log.history.entries(from, rig.log.size);
    lines.push(...page.lines);
    from = page.nextSeq;
  }
  return lines;
};

const filesUnder = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** How many values `work` made core hash by themselves. */
function countHmacs(rig: Rig, work: () => void): number {
  let count = 0;
  const { core } = rig;
  const auditHmac = core.auditHmac.bind(core);
  core.auditHmac = (accessor, value) => {
    count += 1;
    return auditHmac(accessor, value);
  };
  work();
  return count;
}

const ACTIVE = /[\p{Cc}\u2028\u2029\u202e]/u;

describe('a log', () => {
  test('starts empty, says so in its first leaf, and goes on after a stop', async () => {
    using rig = new Rig();
    const first = await rig.start();
    expect(first.size).toBe(1);
    await rig.groups(3, 2);
    expect(rig.log.size).toBe(13);
    await rig.log.stop();
    expect(rig.log.state).toBe('stopped');
    expect(rig.checkpoints).toEqual([13]);
    using again = rig.reopened();
    const started = await again.start();
    expect(started).toMatchObject({ size: 13, repaired: [] });
    await again.groups(1);
    expect(linesOf(again)).toHaveLength(15);
    expect(JSON.parse(linesOf(again)[0] ?? '')).toMatchObject({ core: { seq: 0 }, note: { event: 'log.started' } });
  });

  test('verifies offline, opened and by structure alone', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(300, 1);
    await rig.log.stop();
    const report = verifyFolder(rig.folder, { open: rig.opener });
    expect(report).toMatchObject({ ok: true, leaves: 601, frames: 'opened', unproved: 0, unacknowledgedBytes: 0 });
    expect(report.checkpoint?.size).toBe(601);
    expect(report.segments).toBeGreaterThan(3);
    expect(verifyFolder(rig.folder)).toMatchObject({ ok: true, leaves: 601, frames: 'structure', unproved: 0 });
  });

  test('keeps leaves across more than one level of tiles', async () => {
    using rig = new Rig({ segmentBytes: 4 * 1024 * 1024 });
    await rig.start();
    await rig.groups(40, 60);
    await rig.log.stop();
    using again = rig.reopened();
    expect(await again.start()).toMatchObject({ size: 4801 });
    await again.log.stop();
    expect(verifyFolder(again.folder, { open: again.opener }).ok).toBe(true);
  });

  test('a checkpoint kept elsewhere is found in a log that grew', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(5);
    const kept = rig.log.history.checkpoint();
    const key = rig.log.history.verifierKey();
    rig.clock.advance(1500);
    await rig.groups(300, 2);
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { kept, key })).toMatchObject({ ok: true, keptAgrees: true, keyFrom: 'given' });
    using other = new Rig({ seed: 'another box' });
    await other.start();
    await other.groups(6);
    const foreign = other.log.history.checkpoint();
    expect(verifyFolder(rig.folder, { kept: foreign })).toMatchObject({ ok: false, keptAgrees: false });
  });

  test('signs at most one checkpoint a second', async () => {
    using rig = new Rig();
    await rig.start();
    const first = rig.log.history.checkpoint();
    await rig.groups(1);
    expect(rig.log.history.checkpoint()).toBe(first);
    rig.clock.advance(1000);
    expect(rig.log.history.checkpoint()).not.toBe(first);
  });

  test('tells the store its newest checkpoint within the heartbeat, while it grows only', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(2);
    rig.clock.advance(50_000);
    await rig.log.durable();
    expect(rig.checkpoints).toEqual([5]);
    rig.clock.advance(500_000);
    expect(rig.checkpoints).toEqual([5]);
  });

  test('files are for their owner only', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(300);
    await rig.log.stop();
    for (const file of filesUnder(rig.folder)) expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(rig.folder).mode & 0o777).toBe(0o700);
  });

  test('refuses every leaf after it stopped', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.log.stop();
    expect(() => rig.pair()).toThrow(expect.objectContaining({ code: 'appliance.sealed' }));
    await expect(rig.log.durable()).rejects.toMatchObject({ code: 'appliance.sealed' });
  });
});

describe('group commit', () => {
  test('leaves composed while a group is written share the next one', async () => {
    using rig = new Rig();
    await rig.start();
    const waits: Promise<void>[] = [];
    for (let at = 0; at < 64; at++) {
      rig.pair();
      waits.push(rig.log.durable());
    }
    await Promise.all(waits);
    await rig.log.stop();
    // The first leaf, the first pair alone, and one group for the other 63.
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, groups: 3, leaves: 129 });
  });

  test('a full buffer of core becomes a group of its own', async () => {
    using rig = new Rig({ groupBytes: 8 * 1024 });
    await rig.start();
    for (let at = 0; at < 40; at++) rig.pair();
    await rig.log.durable();
    expect(rig.log.size).toBe(81);
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, leaves: 81 });
  });

  test('mode interval: answers do not wait, effects do, and the timer writes what is left', async () => {
    using rig = new Rig({ sync: 'interval', intervalMs: 100 });
    await rig.start();
    rig.pair();
    await rig.log.durable();
    expect(rig.log.size).toBe(1);
    await rig.log.durable('effect');
    expect(rig.log.size).toBe(3);
    rig.pair();
    rig.clock.advance(100);
    await rig.log.durable('effect');
    expect(rig.log.size).toBe(5);
    expect(rig.log.reasons[0]).toContain('up to 100 ms');
  });
});

describe('what is in a leaf', () => {
  test('values, tokens and accessors are hashed; keys, nulls, paths and what is marked clear are not', async () => {
    using rig = new Rig();
    await rig.start();
    rig.pair(
      {
        body: { a: 'CanaryRequest', n: 7, b: true, z: null, deep: { x: ['CanaryDeep'] }, version: 3 },
        clear: { request: ['version'] },
      },
      { secret: 'CanaryResponse', bytes: new Uint8Array([1, 2]) },
    );
    await rig.log.durable();
    const [, request, response] = linesOf(rig).map((line) => JSON.parse(line));
    const hash = (value: string): string => rig.log.hash(value);
    expect(request.request.data).toEqual({
      a: hash('CanaryRequest'),
      n: hash('7'),
      b: hash('true'),
      z: null,
      deep: { x: [hash('CanaryDeep')] },
      version: 3,
    });
    expect(request).toMatchObject({
      time: '2026-11-24T06:00:00.000000042Z',
      type: 'request',
      auth: {
        client_token: hash(TOKEN_TEXT),
        accessor: hash(TOKEN.accessor),
        display_name: 'token',
        policies: ['app', 'default'],
        policy_results: { allowed: true, granting_policies: [{ name: 'app', namespace_id: 'root', type: 'acl' }] },
        token_type: 'service',
        token_ttl: 2764800,
      },
      request: {
        operation: 'read',
        mount_point: 'secret/',
        mount_type: 'kv',
        client_token: hash(TOKEN_TEXT),
        path: 'secret/data/app/one',
        remote_address: '192.0.2.7',
        remote_port: 4711,
      },
    });
    expect(response).toMatchObject({ type: 'response', request: request.request, auth: request.auth });
    expect(response.response.data).toEqual({ secret: hash('CanaryResponse'), bytes: hash('AQI=') });
    expect(linesOf(rig).join('')).not.toMatch(/Canary/);
  });

  test('no canary lies in clear in any file of the folder', async () => {
    using rig = new Rig();
    await rig.start();
    for (let at = 0; at < 20; at++) {
      rig.pair({ path: 'secret/data/CanaryPath', body: { CanaryKey: 'CanaryValue' } }, { CanaryName: 'CanaryAnswer' });
    }
    await rig.log.durable();
    await rig.log.stop();
    for (const file of filesUnder(rig.folder)) expect(readFileSync(file).includes('Canary')).toBe(false);
  });

  test.each([
    ['line feed', 'a\nb'],
    ['carriage return', 'a\rb'],
    ['line separator', 'a\u2028b'],
    ['paragraph separator', 'a\u2029b'],
    ['next line', 'a\u0085b'],
    ['ANSI', 'a\u001b[2Jb'],
    ['C1 ANSI', 'a\u009b2Jb'],
    ['right-to-left override', 'a\u202eb'],
    ['delimiters of the hash', 'a\u0001b\u0002c'],
    ['quotes and backslashes', 'a"b\\c","forged":"x'],
  ])('one leaf is one line: %s in names, values, errors and warnings', async (_, text) => {
    using rig = new Rig();
    await rig.start();
    const context = rig.context({
      path: `secret/data/${text}`,
      body: { [text]: text, clear: text },
      clear: { request: ['clear'] },
      token: { ...TOKEN, displayName: text, metadata: { [text]: text } },
    });
    rig.log.request(1, context);
    const answer = { data: { [text]: text }, warnings: [text] };
    rig.log.response(1, context, { timeMs: context.timeMs, timeNanos: 0, error: text, answer });
    rig.log.noteOwn({ event: 'test', data: { what: text }, hashed: { [text]: text } });
    await rig.log.durable();
    const lines = linesOf(rig);
    expect(lines).toHaveLength(4);
    for (const line of lines) expect(line).not.toMatch(ACTIVE);
    const [, request, response] = lines.map((line) => JSON.parse(line));
    expect(request.request.data).toEqual({ [text]: rig.log.hash(text), clear: text });
    expect(request.request.path).toBe(`secret/data/${text}`);
    expect(response).toMatchObject({ error: text, response: { warnings: [text] } });
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener }).ok).toBe(true);
  });

  test('larger data is replaced by its HMAC and length, and a request that is too large even so is refused', async () => {
    using rig = new Rig();
    await rig.start();
    const body = Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`key-${at}`, `value ${at}`]));
    rig.pair({ body }, body);
    await rig.log.durable();
    const [, request, response] = linesOf(rig).map((line) => JSON.parse(line));
    const json = JSON.stringify(body);
    const elided = { elided: true, hmac: rig.log.hash(json), length: json.length };
    expect(request.request.data).toEqual(elided);
    expect(response.request.data).toEqual(elided);
    expect(response.response.data).toEqual(elided);
    const path = 'x'.repeat(70_000);
    expect(() => rig.log.request(1, rig.context({ path }))).toThrow(expect.objectContaining({ code: 'input.invalid' }));
    expect(rig.log.size).toBe(3);
  });

  test('an endless list costs no endless hashing, and a value beyond what core takes is hashed twice', async () => {
    using rig = new Rig();
    await rig.start();
    const keys = Array.from({ length: 100_000 }, (_, at) => `name-${at}`.padEnd(40, 'x'));
    const spent = countHmacs(rig, () => rig.pair({}, { keys }));
    expect(spent).toBeLessThan(2000);
    await rig.log.durable();
    const data = JSON.parse(linesOf(rig)[2] ?? '').response.data;
    const json = JSON.stringify({ keys });
    expect(data).toMatchObject({ elided: true, length: json.length });
    expect(data.hmac).toMatch(/^hmac-sha256-sha256:[0-9a-f]{64}$/);
    expect(data.hmac).toBe(rig.log.hash(json));
  });

  test('a response leaf always fits', async () => {
    using rig = new Rig();
    await rig.start();
    const context = rig.context();
    rig.log.request(1, context);
    const warnings = Array.from({ length: 3000 }, () => 'a warning that is repeated far too often');
    rig.log.response(1, context, { timeMs: 0, timeNanos: 0, answer: { data: { a: 'b' }, warnings } });
    await rig.log.durable();
    const response = JSON.parse(linesOf(rig)[2] ?? '');
    expect(response).toMatchObject({ type: 'response', request: { id: context.id }, response: { elided: true } });
  });

  test('a large value is hashed like a small one', async () => {
    using rig = new Rig();
    await rig.start();
    const large = 'CanaryLarge'.repeat(40_000);
    rig.pair({ body: { large } }, { large, small: 'x' });
    await rig.log.durable();
    const [, request, response] = linesOf(rig).map((line) => JSON.parse(line));
    expect(request.request.data).toEqual({ large: rig.log.hash(large) });
    expect(response.response.data).toEqual({ large: rig.log.hash(large), small: rig.log.hash('x') });
  });
});

describe('what happened while sealed', () => {
  test('is logged first after the unseal: the last 64, and how many there were', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.log.stop();
    using again = rig.reopened();
    for (let at = 0; at < 70; at++) {
      again.log.tell({
        event: 'unseal.refused',
        data: { remote_address: '192.0.2.1', attempt: at, text: 'x'.repeat(999) },
      });
    }
    await again.start();
    const notes = linesOf(again).map((line) => JSON.parse(line).note);
    expect(notes[1]).toMatchObject({ event: 'sealed.held', data: { count: 70, kept: 64 } });
    const data = { attempt: 6, while_sealed: true, happened: '2026-11-24T06:00:00.000123456Z', text: 'x'.repeat(256) };
    expect(notes[2]).toMatchObject({ event: 'unseal.refused', data });
    expect(notes).toHaveLength(66);
    expect(again.log.held.count).toBe(0);
    again.log.tell({ event: 'seal.opened' });
    expect(again.log.held.count).toBe(0);
  });

  test('a log of a box that never came to be is discarded whole', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(300);
    expect(() => rig.log.discard()).toThrow();
    await rig.log.stop();
    rig.log.discard();
    expect(readdirSync(rig.base)).toEqual([]);
    rig.log.discard();
  });
});

describe('reading back', () => {
  test('pages go on where the last one ended, from any leaf', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(150, 3);
    for (const from of [0, 1, 450, 899]) {
      const { lines, firstSeq } = rig.log.history.entries(from, from + 2);
      expect(firstSeq).toBe(from);
      expect(lines.map((line) => JSON.parse(line).core.seq)).toEqual([from, from + 1]);
    }
    const exported = [...rig.log.history.export(100)].map(({ bytes }) => bytes.toString()).join('');
    expect(
      exported
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).core.seq),
    ).toEqual(Array.from({ length: 801 }, (_, at) => at + 100));
  });

  test('tail gives what is there and then what comes', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(1);
    const stop = new AbortController();
    const tail = rig.log.history.tail(1, stop.signal);
    expect((await tail.next()).value?.nextSeq).toBe(3);
    const next = tail.next();
    await rig.groups(1);
    expect((await next).value?.nextSeq).toBe(5);
    const end = tail.next();
    stop.abort();
    expect((await end).done).toBe(true);
  });

  test('pruned segments are gone, their proofs hold, and the log goes on', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(400, 2);
    const { hashes, root } = rig.log.history.proveInclusion(7, 1000);
    expect(await rig.log.history.prune(0)).toBe(0);
    await rig.log.history.confirmExport(900);
    rig.clock.advance(10 * 365 * 86_400_000);
    const kept = await rig.log.history.prune(1000);
    expect(kept).toBeGreaterThan(256);
    expect(kept).toBeLessThanOrEqual(900);
    expect(() => rig.log.history.entries(0, 5)).toThrow(expect.objectContaining({ code: 'value.absent' }));
    expect(rig.log.history.proveInclusion(7, 1000)).toMatchObject({ hashes, root });
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, firstKept: kept });
    using again = rig.reopened();
    expect((await again.start()).repaired).toEqual([]);
  });
});

describe('keys', () => {
  test('a new signing key is signed in by the old one, and both eras verify', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(3);
    const old = rig.log.history.verifierKey();
    const kept = rig.log.history.checkpoint();
    rig.rootGeneration++;
    await rig.log.renewKey();
    const renewed = rig.log.history.verifierKey();
    expect(renewed).not.toBe(old);
    await rig.log.renewKey();
    expect(rig.log.history.verifierKeys()).toEqual([renewed, old]);
    await rig.groups(3);
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener, kept })).toMatchObject({ ok: true, keptAgrees: true });
    using again = rig.reopened();
    await again.start();
    const note = linesOf(again).map((line) => JSON.parse(line).note)[7];
    expect(note.event).toBe('log.key');
    expect(note.data.note.match(/^\u2014 /gm)).toHaveLength(2);
  });

  test('no key comes into force without its leaf, wherever the power is cut', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(3);
    const old = rig.log.history.verifierKey();
    const before = rig.log.size;
    rig.rootGeneration++;
    rig.store.save = async () => {
      throw new Error('the power went');
    };
    await expect(rig.log.renewKey()).rejects.toThrow('the power went');
    expect(JSON.parse(linesOf(rig)[before] ?? '').note.event).toBe('log.key');
    expect(rig.log.history.verifierKey()).toBe(old);
    await rig.log.stop();
    using again = rig.reopened();
    again.rootGeneration = rig.rootGeneration;
    again.store.save = FakeStore.prototype.save;
    await again.start();
    await again.log.renewKey();
    await again.log.renewKey();
    expect(again.log.history.verifierKeys()).toEqual([again.log.history.verifierKey(), old]);
    const said = linesOf(again).filter((line) => JSON.parse(line).note?.event === 'log.key');
    expect(said).toHaveLength(2);
  });

  test('a key whose record does not say its root is renewed once', async () => {
    using rig = new Rig();
    await rig.start();
    const old = rig.log.history.verifierKey();
    await rig.log.stop();
    const { rootGeneration: _, ...earlier } = rig.store.value ?? {};
    rig.store.value = earlier;
    using again = rig.reopened();
    await again.start();
    await again.log.renewKey();
    await again.log.renewKey();
    expect(again.log.history.verifierKeys()).toEqual([again.log.history.verifierKey(), old]);
  });
});
