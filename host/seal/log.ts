/** The audit log as the box starts and stops it; what the log must remember lies sealed in table `job`. */
import { rmSync } from 'node:fs';
import type { Core } from '../../core/types.ts';
import type { AuditLog, AuditStart } from '../audit/index.ts';
import { isFault } from '../fault.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { Store } from '../ports/store.ts';
import type { LogLifecycle } from './options.ts';
import { JobRow } from './rows.ts';

export interface BoxLogParts {
  readonly audit: AuditLog;
  /** `<data>/audit` */
  readonly folder: string;
  readonly core: Core;
  readonly store: Store;
  readonly lease: LeaseTime;
  /** Sentences for whoever watches the process; health asks the log itself. */
  readonly trouble: (sentence: string) => void;
}

export function boxLog(parts: BoxLogParts): LogLifecycle {
  const { audit, folder, core, store, lease, trouble } = parts;
  const row = new JobRow(core, lease, 'audit');
  return {
    async start({ applianceId, known, onCheckpoint, first, was }) {
      const start: AuditStart = {
        applianceId,
        known,
        onCheckpoint,
        first,
        onTrouble: trouble,
        nowMs: () => lease.nowMs(),
        rootGeneration: () => core.keyringInfo().rootGeneration,
        record: {
          load: async () => row.read(store),
          save: (state) => store.commit({ puts: [row.put(state)], urgent: true }),
        },
      };
      if (was !== undefined) {
        await audit.archive(start, 'a person said that this box lives, among copies of it', was);
        return;
      }
      const { repaired } = await audit.start(start).catch((error: unknown) => {
        // Only the quorum's word puts a log aside that does not agree with what the store knows of it.
        if (first === undefined || !isFault(error, 'audit.corrupt')) throw error;
        return audit.archive(start, error.message);
      });
      for (const sentence of repaired) trouble(sentence);
    },
    note: (event, data) => audit.tell({ event, data }),
    durable: () => audit.durable('effect'),
    async keysChanged() {
      audit.keysChanged();
      await audit.renewKey();
    },
    stop: () => audit.stop(),
    clear: () => rmSync(folder, { recursive: true, force: true }),
  };
}
