/** KV version 1: one value a path, without history. The whole body is the secret. */
import { parseDurationMs } from '../../duration.ts';
import { Fault } from '../../fault.ts';
import { decodePayload, encodePayload } from '../../payload.ts';
import type { Engine, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';

const AT = 's/{path}';
const pathOf = (context: OperationContext): string => `s/${context.captures['path'] ?? ''}`;
/** Seconds: what a mount without a TTL of its own answers. */
const LEASE_DEFAULT = 2_764_800;

/** Seconds of a secret's own `ttl` (else `lease`), if it can be read as a duration above zero. */
function ownTtl(data: ValueMap): number | undefined {
  const stated = data['ttl'] ?? data['lease'];
  if (typeof stated !== 'string' && typeof stated !== 'number') return undefined;
  const ms = parseDurationMs(String(stated));
  return ms !== undefined && ms > 0 ? Math.floor(ms / 1000) : undefined;
}

const read: Operation = {
  name: 'read-secret',
  pattern: '*path',
  verb: 'read',
  summary: 'Read a secret.',
  fields: {},
  subtrees: [{ at: AT, modes: ['read'], extent: 'record' }],
  run(context) {
    const payload = context.view.get(pathOf(context));
    if (payload === undefined) return { status: 404 };
    const data = decodePayload(payload);
    return { data, leaseDuration: ownTtl(data) ?? (context.mount.defaultLeaseTtl || LEASE_DEFAULT) };
  },
};

const write: Operation = {
  name: 'write-secret',
  pattern: '*path',
  verb: 'write',
  summary: 'Write a secret; it replaces the one before.',
  fields: {},
  body: 'free',
  existence: AT,
  subtrees: [{ at: AT, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    if (Object.keys(context.body).length === 0) throw new Fault('input.invalid', 'missing data fields');
    const path = pathOf(context);
    await context.view.update(path, (change) => change.put(path, encodePayload(context.body)));
    return undefined;
  },
};

const remove: Operation = {
  name: 'delete-secret',
  pattern: '*path',
  verb: 'delete',
  summary: 'Delete a secret.',
  fields: {},
  subtrees: [{ at: AT, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    const path = pathOf(context);
    await context.view.update(path, (change) => {
      if (change.get(path) !== undefined) change.delete(path);
    });
    return undefined;
  },
};

const list: Operation = {
  name: 'list-secrets',
  pattern: '*path',
  verb: 'list',
  summary: 'List names of secrets, one level; folders end in a slash.',
  fields: {},
  subtrees: [{ at: AT, modes: ['names'], extent: 'record' }],
  run(context) {
    const keys = context.view.list(pathOf(context).replace(/\/$/, ''));
    return keys.length === 0 ? { status: 404 } : { data: { keys } };
  },
};

/** Secrets without history. */
export const kvV1: Engine = {
  type: 'kv-v1',
  help: 'Stores secrets by path, one value each: a write replaces the one before.',
  operations: [read, write, remove, list],
};
