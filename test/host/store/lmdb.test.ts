import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
