import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Opener } from '../../../host/audit/check.ts';
import { splitLines } from '../../../host/audit/frame.ts';
import { verifyFolder } from '../../../host/audit/verify.ts';
import { SeededRandom } from '../../reference/random.ts';
import { FakeStore, quickFiles, Rig } from './rig.ts';

/** One stopped log of several segments and tiles, never changed; `copy` gives one to spoil. */
let honest: Rig;
let work = '';

beforeAll(async () => {
  honest = new Rig({ segmentBytes: 64 * 1024, files: quickFiles });
  await honest.start();
  await honest.groups(30, 5);
  await honest.log.stop();
  work = mkdtempSync(join(tmpdir(), 'holdfast-tamper-'));
});
afterAll(() => {
  honest[Symbol.dispose]();
  rmSync(work, { recursive: true, force: true });
});

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((name) => name !== 'spare')
    .sort((a, b) => (a < b ? -1 : 1));

const copy = (): string => {
  rmSync(work, { recursive: true, force: true });
  cpSync(honest.base, work, { recursive: true });
  return join(work, 'audit');
};

const flip = (path: string, at: number, bit: number): (() => void) => {
  const bytes = readFileSync(path);
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ (1 << bit);
  writeFileSync(path, changed);
  return () => writeFileSync(path, bytes);
};

const startOn = (store = honest.store.copy()): Promise<unknown> =>
  new Rig({ base: work, store, files: quickFiles }).start();

describe('the honest log', () => {
  test('verifies, and starts', async () => {
    const folder = copy();
    expect(verifyFolder(folder, { open: honest.opener })).toMatchObject({ ok: true, leaves: 301, frames: 'opened' });
    expect(verifyFolder(folder).ok).toBe(true);
    await expect(startOn()).resolves.toMatchObject({ size: 301, repaired: [] });
  });
});

describe('one flipped bit', () => {
  test('in any file is found, and the file is named', () => {
    const folder = copy();
    const random = new SeededRandom(11);
    const names = filesOf(folder);
    expect(names.filter((name) => name.startsWith('segment/')).length).toBeGreaterThan(4);
    expect(names.filter((name) => name.startsWith('tile/'))).toEqual([
      'tile/0/000',
      'tile/0/001.p/45',
      'tile/1/000.p/1',
    ]);
    for (const name of names) {
      const size = readFileSync(join(folder, name)).length;
      const places = new Set<number>([0, 1, size - 1]);
      // Every byte of the small files and of a segment's first heads, then some of everything.
      for (let at = 0; at < Math.min(size, name.startsWith('tile') ? 0 : 120); at++) places.add(at);
      for (let count = 0; count < 40; count++) places.add(random.below(size));
      for (const at of places) {
        const restore = flip(join(folder, name), at, random.below(8));
        const { ok, disagreement } = verifyFolder(folder, { open: honest.opener });
        restore();
        expect(ok, `${name} at ${at}`).toBe(false);
        if (name === 'keys') expect(['keys', 'checkpoint']).toContain(disagreement?.what);
        else expect(disagreement?.where).toContain(name);
      }
    }
    expect(verifyFolder(folder, { open: honest.opener }).ok).toBe(true);
  });

  test('in clear bytes, marks, tiles and checkpoint is found without any key', () => {
    const folder = copy();
    const segment = filesOf(folder).find((name) => name.startsWith('segment/')) ?? '';
    const bytes = readFileSync(join(folder, segment));
    const frameEnd = 32 + bytes.readUInt32BE(36);
    for (const at of [
      0,
      20,
      31,
      32,
      33,
      35,
      38,
      41,
      47,
      frameEnd,
      frameEnd + 1,
      frameEnd + 9,
      frameEnd + 20,
      frameEnd + 47,
    ]) {
      const restore = flip(join(folder, segment), at, 0);
      const { ok, disagreement } = verifyFolder(folder);
      restore();
      expect(ok, `byte ${at}`).toBe(false);
      expect(disagreement?.where).toContain(segment);
    }
  });

  test('makes a start refuse where the end of the log is concerned', async () => {
    for (const name of [
      'checkpoint',
      'tile/0/001.p/45',
      'tile/1/000.p/1',
      filesOf(join(honest.base, 'audit')).findLast((one) => one.startsWith('segment')) ?? '',
    ]) {
      const folder = copy();
      const size = readFileSync(join(folder, name)).length;
      flip(join(folder, name), size - 20, 3);
      await expect(startOn()).rejects.toMatchObject({ code: 'audit.corrupt', message: expect.stringContaining(name) });
    }
  });
});

describe('a leaf that is removed, swapped or doubled', () => {
  /** What a forger with the frame's key could do: the lines of the frame that holds `seq` are others. */
  const forged = (seq: number, change: (lines: Uint8Array[], at: number) => Uint8Array[]): Opener => ({
    mark: honest.opener.mark,
    frame: (bytes) => {
      const { firstSeq, lines } = honest.opener.frame(bytes);
      const own = splitLines(lines);
      if (seq < firstSeq || seq >= firstSeq + own.length) return { firstSeq, lines };
      const others = change([...own], seq - firstSeq);
      return { firstSeq, lines: Buffer.concat(others.flatMap((line) => [line, Buffer.from('\n')])) };
    },
  });
  const changes = {
    removed: (lines: Uint8Array[], at: number) => lines.filter((_, index) => index !== at),
    swapped: (lines: Uint8Array[], at: number) => {
      const other = at === 0 ? 1 : at - 1;
      const mine = lines[at] as Uint8Array;
      lines[at] = lines[other] as Uint8Array;
      lines[other] = mine;
      return lines;
    },
    doubled: (lines: Uint8Array[], at: number) => [...lines.slice(0, at), lines[at] as Uint8Array, ...lines.slice(at)],
    replaced: (lines: Uint8Array[], at: number) =>
      lines.map((line, index) => (index === at ? Buffer.from('{}') : line)),
  } as const;

  test.each(Object.entries(changes))('%s: does not verify, whichever leaf it is', (_, change) => {
    const folder = copy();
    for (let seq = 1; seq < 301; seq += 7) {
      const { ok, disagreement } = verifyFolder(folder, { open: forged(seq, change) });
      expect(ok, `leaf ${seq}`).toBe(false);
      expect(disagreement?.leaf).toBeLessThanOrEqual(seq);
      expect(disagreement?.leaf).toBeGreaterThan(seq - 12);
    }
  });
});

describe('a log that is not the one it was', () => {
  const segmentsOf = (folder: string): string[] => filesOf(folder).filter((name) => name.startsWith('segment/'));

  test('a segment taken out of the middle, or the last one, or all', async () => {
    const names = segmentsOf(join(honest.base, 'audit'));
    for (const gone of [[names[1]], [names.at(-1)], names]) {
      const folder = copy();
      for (const name of gone) rmSync(join(folder, name ?? ''));
      expect(verifyFolder(folder, { open: honest.opener })).toMatchObject({
        ok: false,
        disagreement: { what: 'segment' },
      });
      expect(verifyFolder(folder).ok).toBe(false);
      if (gone[0] !== names[1]) await expect(startOn()).rejects.toMatchObject({ code: 'audit.corrupt' });
    }
  });

  test('the oldest segment is gone though nothing was pruned', async () => {
    const folder = copy();
    rmSync(join(folder, segmentsOf(folder)[0] ?? ''));
    await expect(startOn()).rejects.toMatchObject({
      code: 'audit.corrupt',
      message: /the leaves before it are missing/,
    });
  });

  test('two segments that changed places', () => {
    const folder = copy();
    const [first = '', second = ''] = segmentsOf(folder).slice(1);
    const bytes = readFileSync(join(folder, first));
    cpSync(join(folder, second), join(folder, first));
    writeFileSync(join(folder, second), bytes);
    const { disagreement } = verifyFolder(folder);
    expect(disagreement).toMatchObject({ what: 'segment', where: `${first} at byte 0` });
  });

  test('an old copy of the folder: shorter than the checkpoint in the store', async () => {
    using rig = new Rig({ files: quickFiles });
    await rig.start();
    await rig.groups(5);
    await rig.log.stop();
    using old = rig.reopened({ files: quickFiles });
    using newer = rig.reopened({ files: quickFiles });
    await newer.start();
    await newer.groups(5);
    await newer.log.stop();
    const start = new Rig({ base: old.base, store: newer.store.copy(), files: quickFiles }).start();
    await expect(start).rejects.toMatchObject({ code: 'audit.corrupt', message: /of size 21 in the store, leaf 11/ });
  });

  test('another history of the same length', async () => {
    using rig = new Rig({ files: quickFiles });
    await rig.start();
    await rig.groups(2);
    await rig.log.stop();
    using fork = rig.reopened({ files: quickFiles });
    using one = rig.reopened({ files: quickFiles });
    await one.start();
    await one.groups(3);
    await one.log.stop();
    await fork.start();
    fork.pair({ path: 'secret/data/other' });
    await fork.groups(2);
    await fork.log.stop();
    const start = new Rig({ base: fork.base, store: one.store.copy(), files: quickFiles }).start();
    await expect(start).rejects.toMatchObject({ code: 'audit.corrupt', message: /another root at that size/ });
  });

  test('the log of another box', async () => {
    using other = new Rig({ seed: 'other', files: quickFiles });
    await other.start();
    await other.groups(3);
    await other.log.stop();
    const start = new Rig({ base: other.base, store: honest.store.copy(), files: quickFiles }).start();
    await expect(start).rejects.toMatchObject({ code: 'audit.corrupt', message: /checkpoint.*not signed/ });
    const fresh = new Rig({ base: other.base, store: new FakeStore(), files: quickFiles }).start();
    await expect(fresh).rejects.toMatchObject({ code: 'audit.corrupt' });
  });

  test('a file among the segments that is none', async () => {
    const folder = copy();
    writeFileSync(join(folder, 'segment', 'plugin.so'), 'x');
    expect(verifyFolder(folder).disagreement?.where).toBe('segment/plugin.so');
    await expect(startOn()).rejects.toMatchObject({ code: 'audit.corrupt' });
  });

  test('a frame before the end that was spoiled is tampering, though it stands behind the last checkpoint', async () => {
    using rig = new Rig({ files: quickFiles });
    await rig.start();
    await rig.groups(10);
    // Not stopped: no checkpoint was published, no zeros were cut off.
    cpSync(rig.base, work, { recursive: true, force: true });
    using cut = rig.reopened({ files: quickFiles });
    const segment = join(cut.folder, segmentsOf(cut.folder)[0] ?? '');
    flip(segment, 32 + 60 + 4000, 1);
    await expect(cut.start()).rejects.toMatchObject({ code: 'audit.corrupt', message: /frame segment/ });
  });

  test('the end of an unfinished log that was cut off is dropped, and a leaf says so', async () => {
    using rig = new Rig({ files: quickFiles });
    await rig.start();
    await rig.groups(10);
    using cut = rig.reopened({ files: quickFiles });
    const segment = join(cut.folder, segmentsOf(cut.folder)[0] ?? '');
    const bytes = readFileSync(segment);
    let end = bytes.length;
    while (bytes[end - 1] === 0) end -= 1;
    truncateSync(segment, end - 30);
    expect(verifyFolder(cut.folder, { open: cut.opener })).toMatchObject({ ok: true, leaves: 19 });
    const { size, repaired } = await cut.start();
    expect(size).toBe(20);
    expect(repaired[0]).toMatch(/what follows leaf 18 was cut off/);
    expect(cut.log.history.entries(19, 20).lines[0]).toContain('log.repaired');
  });
});

describe('whatever bytes are changed', () => {
  test('a start opens the log or says that it is corrupt, and verification never stumbles', async () => {
    using rig = new Rig({ segmentBytes: 16 * 1024, files: quickFiles });
    await rig.start();
    await rig.groups(12, 3);
    // Not stopped: zeros behind the last group, leaves behind the checkpoint.
    const random = new SeededRandom(23);
    const faults = new Map<string, number>();
    for (let round = 0; round < 150; round++) {
      rmSync(work, { recursive: true, force: true });
      cpSync(rig.base, work, { recursive: true });
      const folder = join(work, 'audit');
      for (let change = 0; change <= random.below(3); change++) {
        const path = join(folder, random.pick(filesOf(folder)));
        const bytes = readFileSync(path);
        const at = random.below(bytes.length + 1);
        const kind = random.below(4);
        if (kind === 0) random.bytes(Math.min(64, bytes.length - at)).copy(bytes, at);
        if (kind === 1) bytes.fill(0, at);
        if (kind === 2) bytes.copy(bytes, random.below(bytes.length + 1), at, at + 700);
        writeFileSync(path, kind === 3 ? bytes.subarray(0, at) : bytes);
      }
      const report = verifyFolder(folder, { open: rig.opener });
      verifyFolder(folder);
      const other = new Rig({ base: work, store: rig.store.copy(), segmentBytes: 16 * 1024, files: quickFiles });
      const outcome = await other.start().then(
        () => 'open',
        (error: { readonly code?: string; readonly stack?: string }) => error.code ?? error.stack ?? 'unknown',
      );
      if (outcome === 'open') await other.log.stop();
      // What opens verifies once it was repaired.
      if (outcome === 'open') expect(verifyFolder(folder, { open: rig.opener }).ok).toBe(true);
      else expect(report.ok).toBe(false);
      faults.set(outcome, (faults.get(outcome) ?? 0) + 1);
    }
    expect(new Set(faults.keys())).toEqual(new Set(['audit.corrupt', 'open']));
  });
});

describe('a second power cut', () => {
  test('right after a repair finds nothing of what the first one left', async () => {
    using rig = new Rig({ files: quickFiles });
    await rig.start();
    await rig.groups(1, 5);
    await rig.groups(1, 20);
    using cut = rig.reopened({ files: quickFiles });
    const segment = join(cut.folder, filesOf(cut.folder).find((name) => name.startsWith('segment/')) ?? '');
    const bytes = readFileSync(segment);
    let end = bytes.length;
    while (bytes[end - 1] === 0) end -= 1;
    // The mark is lost, the large frame before it stays.
    bytes.fill(0, end - 30, end);
    writeFileSync(segment, bytes);
    expect((await cut.start()).repaired).toHaveLength(1);
    using again = cut.reopened({ files: quickFiles });
    expect(await again.start()).toMatchObject({ size: 12, repaired: [] });
  });
});

describe('the quorum archives a log that disagrees', () => {
  test('a new one begins under a new origin, its first leaf names both, the old one stays as it was', async () => {
    const folder = copy();
    flip(join(folder, 'checkpoint'), 5, 1);
    const before = readFileSync(join(folder, 'checkpoint'));
    const rig = new Rig({ base: work, store: honest.store.copy(), files: quickFiles });
    const refused = await rig.start().catch((error: unknown) => error);
    const reason = (refused as Error).message;
    expect(reason).toMatch(/^the audit log does not verify: checkpoint/);
    const started = await rig.log.archive(rig.starting(), reason);
    expect(started.size).toBe(1);
    expect(readFileSync(join(work, 'audit-1', 'checkpoint'))).toEqual(before);
    const first = JSON.parse(rig.log.history.entries(0, 1).lines[0] ?? '').note;
    const origin = `holdfast/${rig.keys.applianceId.toString('hex')}`;
    expect(first).toMatchObject({
      event: 'log.archived',
      data: { old_origin: origin, old_size: 301, origin: `${origin}/2`, reason },
    });
    expect(rig.store.known?.size).toBe(1);
    await rig.groups(3);
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({
      ok: true,
      origin: `${origin}/2`,
      leaves: 7,
    });
    expect(existsSync(join(work, 'audit-1', 'segment'))).toBe(true);
    await expect(startOn(rig.store)).resolves.toMatchObject({ size: 7 });
  });
});
