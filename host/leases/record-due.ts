/** Rows of mounts' records that are due (ViewChange.ends): opened, and given to what the mount's engine does with them. */
import type { Barrier } from '../barrier/barrier.ts';
import { decodeEnding, type EndingRow } from '../barrier/view.ts';
import type { MountInfo } from '../ports/engine.ts';
import type { Due, Ender } from './expiry.ts';

/**
 * @param mountOf  the mount of an id in hex, if it is still there
 * @param end      does what is due, and moves or deletes the due row in its commit
 */
export function recordEnder<M extends MountInfo>(
  barrier: Barrier,
  mountOf: (id: string) => M | undefined,
  end: (mount: M, row: EndingRow, due: Due) => Promise<void>,
): Ender {
  return async (due) => {
    const ending = await barrier.job('expiry', undefined, (grant) => barrier.open(grant, 'expiry', due.key));
    if (ending === undefined) return;
    const row = decodeEnding(ending.payload);
    const mount = mountOf(row.mountId);
    if (mount !== undefined) await end(mount, row, due);
    // One that names nothing any more, or a row of a name that was sealed anew since, goes by itself.
    if (barrier.store.get('expiry', due.key) === undefined) return;
    await barrier.commit([{ table: 'expiry', key: due.key }], [{ table: 'expiry', key: due.key, is: due.row }]);
  };
}
