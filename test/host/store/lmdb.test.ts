import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { storeContract } from '../../contract/store.ts';

storeContract('the lmdb store', async (witness) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  const lock = lockFolder(folder);
  const store = await openLmdbStore({ lock, files, witness });
  return {
    store,
    async dispose() {
      await store.close();
      lock.release();
      rmSync(folder, { recursive: true });
    },
  };
});

test.each([
  ['a file of random bytes', (path: string) => writeFileSync(path, Buffer.alloc(100_000, 'no store'))],
  ['a file of zeros', (path: string) => writeFileSync(path, Buffer.alloc(100_000))],
  ['an empty file', (path: string) => writeFileSync(path, '')],
  ['a file cut off in its second page', (path: string) => truncateSync(path, 4100)],
  ['a folder', (path: string) => [rmSync(path), mkdirSync(path)]],
])("%s in the store's place is a fault with a sentence, not the end of the process", async (_, spoil) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  const lock = lockFolder(folder);
  const options = { lock, files, witness: { fold: () => [] }, ballastBytes: 0 };
  await (await openLmdbStore(options)).close();
  spoil(join(folder, 'store.mdb'));
  await expect(openLmdbStore(options)).rejects.toMatchObject({
    code: 'store.unavailable',
    message: /cannot be opened/,
  });
  lock.release();
  rmSync(folder, { recursive: true });
});
