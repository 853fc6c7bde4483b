import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { verifyFolder } from '../../../host/audit/verify.ts';
import { FailingFiles, Rig, systemError } from './rig.ts';

const open = async (segmentBytes = 64 * 1024): Promise<{ rig: Rig; files: FailingFiles }> => {
  const files = new FailingFiles();
  const rig = new Rig({ files, segmentBytes });
  await rig.start();
  await rig.groups(2);
  return { rig, files };
};

/** Fails the operations that fit, so many times. */
const failing = (files: FailingFiles, fits: RegExp, code: string, times = Number.POSITIVE_INFINITY): string[] => {
  const seen: string[] = [];
  files.before = (operation, path) => {
    seen.push(`${operation} ${path.slice(-30)}`);
    if (!fits.test(`${operation} ${path}`) || times === 0) return;
    times -= 1;
    throw systemError(code);
  };
  return seen;
};

describe.each(['EIO', 'ENOSPC'])('%s', (code) => {
  test.each(['write', 'sync'])(
    'of one %s: the group is written again to a new segment, and nothing is lost',
    async (operation) => {
      const { rig, files } = await open();
      const seen = failing(files, new RegExp(`^${operation} .*segment`), code, 1);
      await rig.groups(1, 3);
      expect(rig.log.size).toBe(11);
      expect(rig.log.state).toBe('open');
      // The file that failed is never synced again.
      const failed = seen.findIndex((one) => one.startsWith(operation));
      const path = seen[failed]?.split(' ')[1] ?? '';
      expect(seen.slice(failed + 1).filter((one) => one === `sync ${path}`)).toEqual([]);
      await rig.groups(2);
      await rig.log.stop();
      expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, leaves: 15, segments: 2 });
      using again = rig.reopened();
      expect(await again.start()).toMatchObject({ size: 15, repaired: [] });
      rig[Symbol.dispose]();
    },
  );

  test.each(['write', 'sync'])(
    'of every %s: answers fail, requests are refused, and all heals by itself',
    async (operation) => {
      const { rig, files } = await open();
      failing(files, new RegExp(`^${operation} .*segment`), code);
      rig.pair();
      await expect(rig.log.durable()).rejects.toMatchObject({ code: 'audit.unavailable' });
      expect(rig.log.state).toBe('failed');
      expect(rig.log.reasons[0]).toContain('cannot be written');
      expect(rig.troubles.at(-1)).toContain(code);
      expect(() => rig.pair()).toThrow(expect.objectContaining({ code: 'audit.unavailable' }));
      await expect(rig.log.durable()).rejects.toMatchObject({ code: 'audit.unavailable' });
      // Revocation is tried all the same.
      rig.pair({ urgent: true });
      await expect(rig.log.durable('urgent')).rejects.toMatchObject({ code: 'audit.unavailable' });
      files.before = () => undefined;
      rig.pair({ urgent: true });
      await rig.log.durable('urgent');
      expect(rig.log.state).toBe('open');
      await rig.groups(1);
      // Five leaves of before, the three pairs that were composed meanwhile, one pair more.
      expect(rig.log.size).toBe(13);
      await rig.log.stop();
      expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, leaves: 13 });
      rig[Symbol.dispose]();
    },
  );
});

describe('a full disk', () => {
  test('once the reserve is used, ordinary requests stop early and revocation goes on; room back heals it', async () => {
    const { rig, files } = await open();
    failing(files, /^(reserve|put)/, 'ENOSPC');
    let taken = 0;
    for (; taken < 1000; taken++) {
      try {
        rig.pair();
      } catch (error) {
        expect(error).toMatchObject({ code: 'audit.unavailable' });
        break;
      }
      await rig.log.durable();
    }
    expect(taken).toBeGreaterThan(30);
    expect(taken).toBeLessThan(1000);
    expect(rig.log.state).toBe('tight');
    const before = rig.log.size;
    for (let count = 0; count < 10; count++) {
      rig.pair({ urgent: true });
      await rig.log.durable('urgent');
    }
    expect(rig.log.size).toBe(before + 20);
    files.before = () => undefined;
    rig.clock.advance(1000);
    expect(rig.log.state).toBe('open');
    await rig.groups(50, 3);
    await rig.log.stop();
    const leaves = before + 320;
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, leaves });
    expect(verifyFolder(rig.folder).checkpoint?.size).toBe(leaves);
    rig[Symbol.dispose]();
  });

  test('tiles and checkpoint that find no room do not stop the log, and come later', async () => {
    const { rig, files } = await open();
    failing(files, /^put/, 'ENOSPC');
    await rig.groups(30, 10);
    expect(rig.log.size).toBe(605);
    expect(rig.log.reasons).toContain('the disk has no room for tiles of the audit log');
    const proof = rig.log.history.proveInclusion(3, 605);
    files.before = () => undefined;
    await rig.log.stop();
    expect(verifyFolder(rig.folder, { open: rig.opener })).toMatchObject({ ok: true, leaves: 605 });
    using again = rig.reopened();
    await again.start();
    expect(again.log.history.proveInclusion(3, 605)).toEqual(proof);
    rig[Symbol.dispose]();
  });

  test('no room for a first segment: the start says so', async () => {
    const files = new FailingFiles();
    failing(files, /^reserve/, 'ENOSPC');
    using rig = new Rig({ files });
    await expect(rig.start()).rejects.toMatchObject({ code: 'audit.unavailable' });
    files.before = () => undefined;
    await expect(rig.start()).resolves.toMatchObject({ size: 1 });
  });
});

describe('a log that cannot be read', () => {
  test('is unavailable, not corrupt', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.log.stop();
    using again = rig.reopened();
    rmSync(join(again.folder, 'checkpoint'));
    mkdirSync(join(again.folder, 'checkpoint'));
    await expect(again.start()).rejects.toMatchObject({ code: 'audit.unavailable', message: /EISDIR/ });
    rmdirSync(join(again.folder, 'checkpoint'));
    await expect(again.start()).resolves.toMatchObject({ size: 1 });
  });
});

describe('the store that cannot record a checkpoint', () => {
  test('is told of again, and the log goes on', async () => {
    using rig = new Rig();
    let refuse = true;
    const starting = rig.starting();
    await rig.log.start({
      ...starting,
      onCheckpoint: (size, root) => (refuse ? Promise.reject(new Error('full')) : starting.onCheckpoint(size, root)),
    });
    await rig.groups(1);
    rig.clock.advance(50_000);
    await rig.groups(1);
    expect(rig.troubles.at(-1)).toContain('could not be recorded');
    refuse = false;
    rig.clock.advance(50_000);
    await rig.groups(1);
    expect(rig.checkpoints.length).toBeGreaterThan(0);
    await rig.log.stop();
    expect(rig.checkpoints.at(-1)).toBe(7);
  });
});
