import { expect, test } from 'vitest';
import { StaleDecision } from '../../../host/barrier/barrier.ts';
import { emptyMetadata, encodeMetadata } from '../../../host/engines/kv/metadata.ts';
import { kvV1 } from '../../../host/engines/kv/v1.ts';
import { encodePayload } from '../../../host/payload.ts';
import type { MountInfo, OperationContext } from '../../../host/ports/engine.ts';
import type { View, ViewChange } from '../../../host/ports/view.ts';

/** A request of version 1, decided before the engine got versions, that finds this row. */
async function late(name: string, row: Uint8Array): Promise<{ puts: number; deletes: number }> {
  const done = { puts: 0, deletes: 0 };
  const change: ViewChange = {
    get: () => row,
    read: (_path, decode) => decode(row),
    suffixes: () => [],
    put: () => {
      done.puts++;
    },
    delete: () => {
      done.deletes++;
    },
    ends: () => {},
  };
  const view: View = {
    get: () => row,
    read: (_path, decode) => decode(row),
    list: () => [],
    suffixes: () => [],
    update: async (_path, work) => work(change),
  };
  const mount: Partial<MountInfo> = { defaultLeaseTtl: 0 };
  const context: Partial<OperationContext> = {
    ...{ view, body: { k: 'v' }, captures: { path: 'x' }, fields: {} },
    mount: mount as MountInfo,
  };
  const operation = kvV1.operations.find((one) => one.name === name);
  await operation?.run(context as OperationContext);
  return done;
}

const VERSIONED = encodeMetadata(emptyMetadata({ ms: 1, nanos: 0 }));
const PLAIN = encodePayload({ k: 'v' });

test.each(['read-secret', 'write-secret', 'delete-secret'])(
  '%s that meets a secret with versions is decided again, and changes nothing',
  async (name) => {
    await expect(late(name, VERSIONED)).rejects.toBeInstanceOf(StaleDecision);
    await expect(late(name, PLAIN)).resolves.toEqual({
      puts: name === 'write-secret' ? 1 : 0,
      deletes: name === 'delete-secret' ? 1 : 0,
    });
  },
);
