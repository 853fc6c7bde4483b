/** sys/leases and the older paths for the same: what credentials live outside, how long, and their end. */
import { Fault } from '../../fault.ts';
import type { Leases, Revocation } from '../../leases/leases.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { LeaseTime } from '../../ports/lease-time.ts';
import type { ValueMap } from '../../ports/value.ts';
import { timestampNanos } from '../../timestamp.ts';

/** A path of the greatest length, and what a lease adds to it. */
const ID_SIZE_MAX = 8192 + 32;
const ID: Field = { type: 'string', description: 'The lease.' };
const SYNC: Field = { type: 'bool', description: 'false: answer when it is queued.', default: true };
const INCREMENT: Field = { type: 'duration', description: 'How long it shall live from now.' };

/** @throws Fault `input.invalid` */
function idOf({ captures, fields }: OperationContext): string {
  const id = captures['id'] ?? fields['lease_id'];
  if (typeof id !== 'string' || id === '') throw new Fault('input.invalid', 'lease_id must be specified');
  if (Buffer.byteLength(id) > ID_SIZE_MAX) throw new Fault('input.invalid', 'invalid lease');
  return id;
}

async function lookup(context: OperationContext, leases: Leases, time: LeaseTime): Promise<Answer> {
  const lease = await leases.lookup(idOf(context));
  if (lease === undefined) throw new Fault('input.invalid', 'invalid lease');
  const at = (ms: number): string => timestampNanos(time.wallOf(ms), 0);
  return {
    data: {
      id: lease.id,
      path: lease.path,
      issue_time: at(lease.issueMs),
      expire_time: at(lease.expireMs),
      last_renewal: lease.lastRenewalMs === 0 ? null : at(lease.lastRenewalMs),
      renewable: lease.renewable,
      ttl: Math.floor((lease.expireMs - context.nowMs) / 1000),
    },
  };
}

async function renew(context: OperationContext, leases: Leases): Promise<Answer> {
  const { id, renewable, durationSeconds, warnings } = await leases.renew(
    idOf(context),
    Number(context.fields['increment'] ?? 0),
  );
  return { data: null, lease: { id, renewable, durationSeconds }, warnings };
}

/** Counts by mount id, as clients know mounts: by accessor. */
function byAccessor(counts: ReadonlyMap<string, number>, accessorOf: (id: string) => string): ValueMap {
  return Object.fromEntries([...counts].map(([id, count]) => [accessorOf(id), count]));
}

const KIND: Field = { type: 'string', description: 'irrevocable: those that could not be ended yet.' };

/** The reference's word for what could not be ended; here it is tried until it is. */
function wantsStuck({ fields }: OperationContext): boolean {
  const kind = fields['type'] ?? '';
  if (kind !== '' && kind !== 'irrevocable') throw new Fault('input.invalid', 'type is irrevocable, or is left out');
  return kind === 'irrevocable';
}

async function stuck(leases: Leases, time: LeaseTime, accessorOf: (id: string) => string): Promise<Answer> {
  const found = await leases.stuck();
  return {
    data: {
      lease_count: found.count,
      counts: byAccessor(found.counts, accessorOf),
      leases: found.leases.map(({ id, mount, sinceMs, attempts, fault }) => ({
        ...{ lease_id: id, mount_id: accessorOf(mount), error: fault, attempts },
        since: timestampNanos(time.wallOf(sinceMs), 0),
      })),
    },
  };
}

async function count(leases: Leases, accessorOf: (id: string) => string): Promise<Answer> {
  const counts = await leases.count();
  const all = [...counts.values()].reduce((sum, one) => sum + one, 0);
  return { data: { lease_count: all, counts: byAccessor(counts, accessorOf) } };
}

async function reconcile(leases: Leases): Promise<Answer> {
  const found = await leases.reconcile();
  return {
    data: {
      backends: found.map(({ mount, backend, strangers, fault }) => ({
        ...{ mount, backend, strangers: [...strangers] },
        ...(fault === undefined ? {} : { error: fault }),
      })),
    },
  };
}

export interface LeaseOperationParts {
  readonly leases: Leases;
  readonly time: LeaseTime;
  /** Of a mount's id; the id itself where it is gone. */
  readonly accessorOf: (id: string) => string;
}

export function leaseOperations({ leases, time, accessorOf }: LeaseOperationParts): readonly Operation[] {
  const revocation = ({ fields }: OperationContext, force = false): Revocation => ({
    sync: force || fields['sync'] !== false,
    force,
  });
  const queued = ({ sync }: Revocation): Answer | undefined => (sync ? undefined : { status: 202 });
  const revoke = async (context: OperationContext): Promise<Answer | undefined> => {
    const how = revocation(context);
    await leases.revoke(idOf(context), how);
    return queued(how);
  };
  const prefix = async (context: OperationContext, force: boolean): Promise<Answer | undefined> => {
    const how = revocation(context, force);
    await leases.revokePrefix(context.captures['prefix'] ?? '', how);
    return queued(how);
  };
  const both = (name: string, path: string, operation: Omit<Operation, 'name' | 'pattern'>): Operation[] => [
    { ...operation, name, pattern: `leases/${path}` },
    { ...operation, name: `${name}-old`, pattern: path },
  ];
  const renewing = {
    verb: 'write',
    summary: 'Let a lease live longer, at most to its maximum.',
    run: (context: OperationContext) => renew(context, leases),
  } as const;
  const listing = {
    verb: 'list',
    sudo: true,
    fields: {},
    run: async ({ captures }: OperationContext): Promise<Answer> => {
      const { names, cut } = await leases.list(captures['prefix'] ?? '');
      if (names.length === 0) return { status: 404 };
      const warnings = cut ? [`only the first ${names.length} that were found are shown: list a longer path`] : [];
      return { data: { keys: [...names] }, warnings };
    },
  } as const;
  const revoking = { verb: 'write', summary: 'End a lease, and the credential with it.', run: revoke } as const;
  return [
    {
      name: 'lookup-lease',
      pattern: 'leases/lookup',
      verb: 'write',
      summary: 'When a lease was made, and when it ends.',
      fields: { lease_id: ID },
      run: (context) => lookup(context, leases, time),
    },
    {
      ...listing,
      name: 'list-leases',
      pattern: 'leases/lookup/*prefix',
      summary: 'Leases and folders of leases below a path, one level.',
    },
    { ...listing, name: 'list-all-leases', pattern: 'leases/lookup', summary: 'Folders of leases, one a mount.' },
    {
      name: 'stuck-leases',
      pattern: 'leases',
      verb: 'read',
      sudo: true,
      summary: 'Leases whose credentials could not be ended yet, and why; each is tried until it is.',
      fields: { type: { ...KIND, default: 'irrevocable' } },
      run: (context) => {
        if (!wantsStuck(context))
          throw new Fault('input.invalid', 'type is irrevocable: all leases are listed by path');
        return stuck(leases, time, accessorOf);
      },
    },
    {
      name: 'count-leases',
      pattern: 'leases/count',
      verb: 'read',
      summary: 'How many leases there are, by mount.',
      fields: { type: KIND },
      run: async (context) => {
        if (!wantsStuck(context)) return await count(leases, accessorOf);
        const { data } = await stuck(leases, time, accessorOf);
        return { data: { lease_count: data?.['lease_count'] ?? 0, counts: data?.['counts'] ?? {} } };
      },
    },
    {
      name: 'tidy-leases',
      pattern: 'leases/tidy',
      verb: 'write',
      summary: 'Queue leases whose token is gone, and clear rows that name none.',
      fields: {},
      run: async () => {
        const { leases: ended, rows } = await leases.tidy();
        const done = `${ended} leases without a token were queued to be ended, and ${rows} rows that named none were cleared`;
        return { status: 202, warnings: [done] };
      },
    },
    {
      name: 'reconcile-leases',
      pattern: 'leases/reconcile',
      verb: 'read',
      sudo: true,
      summary: 'Names on the backends that begin as this box’s do and that no lease explains. Nothing is changed.',
      fields: {},
      run: () => reconcile(leases),
    },
    ...both('renew-lease', 'renew', { ...renewing, fields: { lease_id: ID, increment: INCREMENT } }),
    ...both('renew-lease-by-path', 'renew/*id', { ...renewing, fields: { increment: INCREMENT } }),
    ...both('revoke-lease', 'revoke', { ...revoking, fields: { lease_id: ID, sync: SYNC } }),
    ...both('revoke-lease-by-path', 'revoke/*id', { ...revoking, fields: { sync: SYNC } }),
    ...both('revoke-leases', 'revoke-prefix/*prefix', {
      verb: 'write',
      sudo: true,
      slash: true,
      summary: 'End every lease below a path.',
      fields: { sync: SYNC },
      run: (context) => prefix(context, false),
    }),
    ...both('revoke-leases-force', 'revoke-force/*prefix', {
      verb: 'write',
      sudo: true,
      slash: true,
      summary: 'Forget every lease below a path after one attempt to end it, whatever its backend says.',
      fields: {},
      run: (context) => prefix(context, true),
    }),
  ];
}
