import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Files } from '../../../host/ports/files.ts';
import type { Store } from '../../../host/ports/store.ts';
import { hasOverrun } from '../../../host/store/lmdb/fault.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { type FileSystem, Space } from '../../../host/store/lmdb/space.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';

const KIBIBYTE = 1024;
const full = (): never => {
  throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
};
const row = (name: string, size = 10) => ({
  puts: [{ table: 'record' as const, key: Buffer.from(name), value: Buffer.alloc(size, name) }],
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-disk-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function withStore(own: Files, ballastBytes: number, body: (store: Store) => Promise<void>): Promise<void> {
  const lock = lockFolder(folder);
  const store = await openLmdbStore({ lock, files: own, witness: { fold: () => [] }, ballastBytes });
  try {
    await body(store);
  } finally {
    await store.close();
    lock.release();
  }
}

describe('a disk that is gone', () => {
  test('is met before LMDB is told: commits fail, reads go on, and a restart finds everything', async () => {
    await withStore(files, 0, async (store) => {
      // Nothing can be written where the probe would be.
      mkdirSync(join(folder, 'probe'));
      await expect(store.commit(row('a'))).rejects.toMatchObject({ code: 'store.unavailable' });
      rmdirSync(join(folder, 'probe'));
      await expect(store.commit(row('b'))).rejects.toMatchObject({ code: 'store.unavailable' });
      expect([...store.range('record')]).toEqual([]);
    });
    await withStore(files, 0, async (store) => {
      expect(store.get('record', Buffer.from('a'))).toBeUndefined();
      await store.commit(row('c'));
    });
    await withStore(files, 0, async (store) => {
      expect(store.get('record', Buffer.from('c'))?.length).toBe(10);
    });
  });
});

describe('a full disk', () => {
  test('refuses what has no room, goes on with what has, and takes more once there is room', async () => {
    let room = Number.POSITIVE_INFINITY;
    const own: Files = { ...files, reserve: (path, bytes) => (bytes > room ? full() : files.reserve(path, bytes)) };
    await withStore(own, 0, async (store) => {
      room = 2 * KIBIBYTE * KIBIBYTE;
      await store.commit(row('small'));
      await expect(store.commit(row('large', KIBIBYTE * KIBIBYTE))).rejects.toMatchObject({ code: 'store.full' });
      expect(store.get('record', Buffer.from('large'))).toBeUndefined();
      await store.commit(row('small again'));
      room = Number.POSITIVE_INFINITY;
      await store.commit(row('large', KIBIBYTE * KIBIBYTE));
      expect(store.get('record', Buffer.from('large'))?.length).toBe(KIBIBYTE * KIBIBYTE);
    });
  });

  test('gives revocation the ballast, and ordinary commits wait until it is held again', async () => {
    const MEBIBYTE = KIBIBYTE * KIBIBYTE;
    const ballastBytes = 4 * MEBIBYTE;
    let capacity = Number.POSITIVE_INFINITY;
    let taken = 0;
    const own: Files = {
      ...files,
      reserve(path, bytes) {
        const isBallast = path.endsWith('ballast');
        const beside = isBallast ? taken : existsSync(join(folder, 'ballast')) ? ballastBytes : 0;
        if (bytes + beside > capacity) full();
        if (path.endsWith('store.mdb')) taken = Math.max(taken, bytes);
        files.reserve(path, bytes);
      },
    };
    await withStore(own, ballastBytes, async (store) => {
      await store.commit(row('first'));
      capacity = taken + ballastBytes;
      await expect(store.commit(row('ordinary', MEBIBYTE))).rejects.toMatchObject({ code: 'store.full' });
      await store.commit({ ...row('urgent', MEBIBYTE), urgent: true });
      expect(existsSync(join(folder, 'ballast'))).toBe(false);
      // There is room for this one, in what the ballast gave: that is kept for revocation.
      const [small, urgent] = await Promise.allSettled([
        store.commit(row('small')),
        store.commit({ ...row('urgent too'), urgent: true }),
      ]);
      expect(small).toMatchObject({ status: 'rejected', reason: { code: 'store.full' } });
      expect(urgent.status).toBe('fulfilled');
      capacity = Number.POSITIVE_INFINITY;
      await store.commit(row('small'));
      expect(existsSync(join(folder, 'ballast'))).toBe(true);
      const names = [...store.range('record')].map(({ key }) => Buffer.from(key).toString());
      expect(names).toEqual(['first', 'small', 'urgent', 'urgent too']);
    });
  });

  test('where blocks are never written in place, the free space is asked before each transaction', () => {
    const disk = (type: number, freeBytes: number): FileSystem => ({ type, bavail: freeBytes / 4096, bsize: 4096 });
    const space = (type: number, freeBytes: () => number): Space =>
      new Space({
        files: { reserve: () => undefined, syncFolder: () => undefined },
        storePath: join(folder, 'store.mdb'),
        ballastPath: join(folder, 'ballast'),
        probePath: join(folder, 'probe'),
        ballastBytes: 0,
        usedBytes: () => 8192,
        fileSystem: () => disk(type, freeBytes()),
      });
    const [btrfs, ext4] = [0x9123_683e, 0xef53];
    let free = 10 * 4096;
    const copying = space(btrfs, () => free);
    expect(copying.reserve(8 * 4096)).toBe(true);
    free = 4 * 4096;
    expect(copying.reserve(8 * 4096)).toBe(false);
    expect(copying.reserve(4 * 4096)).toBe(true);
    expect(space(ext4, () => 0).reserve(8 * 4096)).toBe(true);
  });
});

describe('the complaint of LMDB about a page', () => {
  const complaint = (numbers: string): Error =>
    new Error(`Input/output error: Attempting to write page at position ${numbers}`);

  test('tells by its length whether it fitted: 103 bytes and the closing one', () => {
    const fits = complaint('184320, size 4096, blocks 1, buffer sizes 4096 165740512 88515296');
    expect(fits.message.length - 'Input/output error: '.length).toBe(102);
    expect(hasOverrun(fits)).toBe(false);
    expect(hasOverrun(complaint('184320, size 4096, blocks 1, buffer sizes 4096 165740512 788515296'))).toBe(false);
    expect(hasOverrun(complaint('184320, size 4096, blocks 1, buffer sizes 4096 1165740512 788515296'))).toBe(true);
    expect(hasOverrun(new Error('Input/output error'))).toBe(false);
    expect(hasOverrun(undefined)).toBe(false);
  });
});
