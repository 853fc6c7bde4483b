/** Many leases at once, written as the service writes them but without their making: for tests of size. */
import { expiryPut } from '../../../host/barrier/expiry-row.ts';
import * as rows from '../../../host/leases/row.ts';
import type { Put } from '../../../host/ports/store.ts';
import type { LeaseBox } from './rig.ts';

const BATCH = 1000;

export interface Bulk {
  readonly count: number;
  readonly role: string;
  /** Milliseconds from now. */
  readonly ttlMs: (index: number) => number;
}

/** @returns ids */
export async function bulk(box: LeaseBox, { count, role, ttlMs }: Bulk): Promise<string[]> {
  const { barrier, mounts, tokens } = box.services;
  const mount = mounts.at('fake/');
  if (mount === undefined) throw new Error('the fake engine is not mounted');
  const keys = new rows.LeaseKeys(barrier.core);
  const token = tokens.idOf(box.root) ?? '';
  const ids: string[] = [];
  const now = barrier.lease.nowMs();
  for (let first = 0; first < count; first += BATCH) {
    await barrier.job('lease', undefined, async (grant) => {
      const puts: Put[] = [];
      for (let index = first; index < Math.min(first + BATCH, count); index++) {
        const id = `fake/creds/${role}/${barrier.core.newAccessor()}`;
        const name = `v-bulk-${role}-${index}`;
        const record: rows.LeaseRecord = {
          ...{ id, mount: mount.id, backend: 'one', undo: { name }, issueMs: now, expireMs: now + ttlMs(index) },
          ...{ ttl: 3600, maxTtl: 0, endMs: 0, renewable: true, lastRenewalMs: 0, token },
        };
        const [directory, entry] = [keys.directory(rows.parentOf(id)), keys.entry(id)];
        puts.push(
          barrier.seal(grant, 'lease', rows.leaseKey(directory, entry), rows.encodeLease(record)),
          barrier.seal(grant, 'lease', rows.tokenKey(token, directory, entry), new Uint8Array(1)),
          expiryPut(barrier, grant, record.expireMs, 'lease', entry, directory),
        );
        box.server.logins.set(name, record.expireMs);
        ids.push(id);
      }
      for (let path = `fake/creds/${role}`; path !== ''; path = rows.parentOf(path)) {
        puts.push(barrier.seal(grant, 'lease', keys.directoryRow(path), rows.encodeName(path)));
      }
      await barrier.commit(puts);
    });
  }
  return ids;
}
