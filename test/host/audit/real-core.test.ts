import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Core, loadCore } from '../../../core/index.ts';
import { coreOpener } from '../../../host/audit/check.ts';
import { AuditLog } from '../../../host/audit/log.ts';
import type { AuditStart } from '../../../host/audit/types.ts';
import { verifyFolder } from '../../../host/audit/verify.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { leafHash, verifyTiles } from '../../reference/tlog.ts';
import { FakeStore, ManualClock } from './rig.ts';

const wasm = readFileSync(new URL('../../../dist/core.wasm', import.meta.url));
const APPLIANCE = Buffer.from('0123456789abcdef');
const MOUNT_ID = Buffer.alloc(16, 7);

function newCore(): Core {
  let count = 0;
  const random = (length: number): Uint8Array => {
    count += 1;
    const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, at) =>
      createHash('sha256').update(`${count} ${at}`).digest(),
    );
    return Buffer.concat(blocks).subarray(0, length);
  };
  const core = loadCore({ wasm, random });
  const subtrees = [{ at: '{path}', modes: ['read'] as const, extent: 'record' as const }];
  core.declare([{ type: 'kv', operations: [{ pattern: '*path', verb: 'read', subtrees }] }]);
  core.createKeyring(APPLIANCE, 1000);
  return core;
}

/** Mount row of core/spec/mount.md. */
function mountRow(path: string): Buffer {
  const type = Buffer.from('kv');
  const at = Buffer.from(path);
  const lengths = Buffer.alloc(2);
  lengths.writeUInt16BE(at.length);
  return Buffer.concat([Buffer.of(1, 0), MOUNT_ID, Buffer.of(type.length), type, lengths, at, Buffer.alloc(4)]);
}

describe('the log over the real core', () => {
  let folder = '';
  let core: Core;
  const clock = new ManualClock();
  let store: FakeStore;
  let log: AuditLog;

  const makeLog = (): AuditLog =>
    new AuditLog({
      folder: join(folder, 'audit'),
      core,
      files: logFiles,
      clock,
      random: { bytes: (length) => new Uint8Array(length), uuid: () => '00000000-0000-4000-8000-000000000001' },
      segmentBytes: 8 * 1024 * 1024,
    });
  const starting = (): AuditStart => ({
    applianceId: APPLIANCE,
    record: store,
    nowMs: () => clock.wallMs(),
    rootGeneration: () => core.keyringInfo().rootGeneration,
    known: store.known,
    onCheckpoint: (size, root) => {
      store.known = { size, root: Uint8Array.from(root) };
      return Promise.resolve();
    },
  });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-real-'));
    core = newCore();
    store = new FakeStore();
    log = makeLog();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const withOpener = <T>(work: (opener: ReturnType<typeof coreOpener>) => T): T => {
    const now = clock.wallMs();
    const grant = core.systemGrant('audit', undefined, now, now + 1000);
    try {
      return work(coreOpener(core, grant));
    } finally {
      core.endGrant(grant);
    }
  };

  test('notes, groups, a restart, and the independent verifier', async () => {
    await log.start(starting());
    for (let at = 0; at < 600; at++) {
      log.noteOwn({ event: 'expiry', data: { count: at }, hashed: { id: `Canary-${at}`, none: null, n: 7 } });
      if (at % 7 === 0) await log.durable();
    }
    await log.durable();
    expect(log.size).toBe(601);
    const note = JSON.parse(log.history.entries(600, 601).lines[0] ?? '');
    expect(note).toMatchObject({
      core: { seq: 600, phase: 'note', operation: 'audit', decision: 'job' },
      type: 'note',
      note: {
        event: 'expiry',
        data: { count: 599 },
        hashed: { id: log.hash('Canary-599'), none: null, n: log.hash('7') },
      },
    });
    const lines = [...log.history.export(0)]
      .map(({ bytes }) => bytes.toString())
      .join('')
      .trimEnd()
      .split('\n');
    await log.stop();
    const report = withOpener((open) => verifyFolder(join(folder, 'audit'), { open }));
    expect(report).toMatchObject({ ok: true, leaves: 601, frames: 'opened' });
    const key = readFileSync(join(folder, 'audit', 'keys'), 'utf8').trim();
    expect(verifyTiles(join(folder, 'audit'), key).leaves).toEqual(lines.map((line) => leafHash(Buffer.from(line))));
    const again = makeLog();
    expect(await again.start(starting())).toMatchObject({ size: 601, repaired: [] });
    again.noteOwn({ event: 'more' });
    await again.durable();
    await again.stop();
    expect(withOpener((open) => verifyFolder(join(folder, 'audit'), { open })).ok).toBe(true);
  });

  test('a refused request has its two leaves, whose core part core wrote', async () => {
    await log.start(starting());
    const now = clock.wallMs();
    const boot = core.systemGrant('init', undefined, now, now + 1000);
    core.loadMount(MOUNT_ID, core.sealTable(boot, 'mount', MOUNT_ID, mountRow('secret/')));
    core.endGrant(boot);
    core.beginPolicies();
    core.commitPolicies();
    core.route('secret/a"b\u2028c');
    core.begin(0, 'hvs.CanaryToken');
    const decision = core.decide({
      ...{ tokenRow: undefined, existenceRow: undefined, nowMs: now, deadlineMs: now + 1000 },
      ...{ peer: '192.0.2.1', wrapTtl: 0 },
    });
    expect(decision.verdict).toBe('token');
    const context = {
      ...{ id: 'r1', timeMs: now, timeNanos: 5, verb: 'read' as const, decision, path: 'secret/a"b\u2028c' },
      ...{ mount: undefined, tokenText: 'hvs.CanaryToken', token: undefined, body: { v: 'Canary' } },
      ...{ peer: { address: '192.0.2.1', port: 9 }, wrapTtl: 0 },
    };
    log.request(decision.grant, context);
    log.response(decision.grant, context, { timeMs: now, timeNanos: 6, error: 'permission denied' });
    await log.durable();
    const [request, response] = log.history.entries(1, 3).lines;
    expect(request).not.toMatch(/[\u2028\p{Cc}]/u);
    expect(JSON.parse(request ?? '')).toMatchObject({
      core: {
        seq: 1,
        phase: 'request',
        operation: 'read',
        path: 'secret/a"b\u2028c',
        decision: 'token',
        token: log.hash('hvs.CanaryToken'),
      },
      auth: { policy_results: { allowed: false } },
      request: { client_token: log.hash('hvs.CanaryToken'), data: { v: log.hash('Canary') } },
    });
    expect(JSON.parse(response ?? '')).toMatchObject({
      core: { seq: 2, phase: 'response' },
      error: 'permission denied',
    });
    await log.stop();
    for (const entry of readdirSync(join(folder, 'audit'), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) expect(readFileSync(join(entry.parentPath, entry.name)).includes('Canary')).toBe(false);
    }
  });

  test('core says when a line is too long, and groups fill up', async () => {
    await log.start(starting());
    expect(() => log.noteOwn({ event: 'large', data: { text: 'x'.repeat(70_000) } })).toThrow();
    for (let at = 0; at < 100; at++) log.noteOwn({ event: 'large', data: { text: 'x'.repeat(60_000) } });
    await log.durable();
    expect(log.size).toBe(101);
    await log.stop();
    expect(withOpener((open) => verifyFolder(join(folder, 'audit'), { open }))).toMatchObject({
      ok: true,
      leaves: 101,
    });
  });

  test('old frames and marks open after the root and with it the audit keys changed', async () => {
    await log.start(starting());
    log.noteOwn({ event: 'before' });
    await log.durable();
    const before = log.hash('x');
    core.stageKeyring({ newRoot: true, nowMs: 2000 });
    core.adoptStaged();
    log.keysChanged();
    expect(log.hash('x')).not.toBe(before);
    log.noteOwn({ event: 'after' });
    await log.durable();
    await log.stop();
    expect(withOpener((open) => verifyFolder(join(folder, 'audit'), { open }))).toMatchObject({ ok: true, leaves: 3 });
    await expect(makeLog().start(starting())).resolves.toMatchObject({ size: 3, repaired: [] });
  });
});
