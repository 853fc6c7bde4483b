/** KV version 1: one value a path, without history. The whole body is the secret. */
import { StaleDecision } from '../../barrier/barrier.ts';
import { parseDurationMs } from '../../duration.ts';
import type { Engine } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { plainOperations } from '../plain.ts';
import { isPlainRow } from './metadata.ts';

/** Seconds: what a mount without a TTL of its own answers. */
const LEASE_DEFAULT = 2_764_800;

/** Seconds of a secret's own `ttl` (else `lease`), if it can be read as a duration above zero. */
function ownTtl(data: ValueMap): number | undefined {
  const stated = data['ttl'] ?? data['lease'];
  if (typeof stated !== 'string' && typeof stated !== 'number') return undefined;
  const ms = parseDurationMs(String(stated));
  return ms !== undefined && ms > 0 ? Math.floor(ms / 1000) : undefined;
}

/** Secrets without history. */
export const kvV1: Engine = {
  type: 'kv-v1',
  help: 'Stores secrets by path, one value each: a write replaces the one before.',
  operations: plainOperations({
    at: 's/{path}',
    pathOf: (context) => `s/${context.captures['path'] ?? ''}`,
    words: {
      read: { name: 'read-secret', summary: 'Read a secret.' },
      write: { name: 'write-secret', summary: 'Write a secret; it replaces the one before.' },
      delete: { name: 'delete-secret', summary: 'Delete a secret.' },
      list: { name: 'list-secrets', summary: 'List names of secrets, one level; folders end in a slash.' },
    },
    beside: ({ mount }, data) => ({ leaseDuration: ownTtl(data) ?? (mount.defaultLeaseTtl || LEASE_DEFAULT) }),
    check(payload) {
      // The engine got versions while this request was under way: it is decided again, as one of the new engine.
      if (!isPlainRow(payload)) throw new StaleDecision();
    },
  }),
};
