/** What the expiry queue does with a version whose `delete_version_after` is over: it is deleted, once and for good. */
import type { Barrier } from '../../barrier/barrier.ts';
import type { EndingRow } from '../../barrier/view.ts';
import type { Due, Ender } from '../../leases/expiry.ts';
import { recordEnder } from '../../leases/record-due.ts';
import type { MountInfo } from '../../ports/engine.ts';
import { encodeMetadata, isPlainRow, metadataReader, versionOf } from './metadata.ts';

/** @param mountOf  the mount of an id in hex, if it is still there */
export function versionEnder(barrier: Barrier, mountOf: (id: string) => MountInfo | undefined): Ender {
  return recordEnder(barrier, mountOf, (mount, row, due) => endVersion(barrier, mount, row, due));
}

async function endVersion(barrier: Barrier, mount: MountInfo, { path, suffix }: EndingRow, due: Due): Promise<void> {
  await barrier.job('expiry', mount.id, async (grant) => {
    await barrier.view(grant, mount.id).update(path, (change) => {
      const payload = change.get(path);
      if (payload === undefined || isPlainRow(payload)) return;
      const secret = metadataReader(payload, 0).whole();
      const number = versionOf(suffix);
      const state = number === undefined ? undefined : secret.versions.get(number);
      // Undeleted, deleted by hand or written again in the meantime: its end is another one.
      if (number === undefined || state === undefined || state.deletion?.ms !== due.atMs) return;
      const versions = new Map(secret.versions).set(number, { ...state, over: true });
      change.put(path, encodeMetadata({ ...secret, versions }));
      change.ends(path, suffix, due.atMs, undefined);
    });
  });
}
