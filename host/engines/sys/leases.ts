/** sys/leases and the older paths for the same: what credentials live outside, how long, and their end. */
import { Fault } from '../../fault.ts';
import type { Leases, Revocation } from '../../leases/leases.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { LeaseTime } from '../../ports/lease-time.ts';
import { timestampNanos } from '../../timestamp.ts';

const ID: Field = { type: 'string', description: 'The lease.' };
const SYNC: Field = { type: 'bool', description: 'false: answer when it is queued.', default: true };
const INCREMENT: Field = { type: 'duration', description: 'How long it shall live from now.' };

/** @throws Fault `input.invalid` */
function idOf({ captures, fields }: OperationContext): string {
  const id = captures['id'] ?? fields['lease_id'];
  if (typeof id !== 'string' || id === '') throw new Fault('input.invalid', 'lease_id must be specified');
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

export function leaseOperations(leases: Leases, time: LeaseTime): readonly Operation[] {
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
      name: 'list-leases',
      pattern: 'leases/lookup/*prefix',
      verb: 'list',
      sudo: true,
      summary: 'Leases and folders of leases below a path, one level.',
      fields: {},
      run: async ({ captures }) => {
        const { names, cut } = await leases.list(captures['prefix'] ?? '');
        if (names.length === 0) return { status: 404 };
        const warnings = cut ? [`only the first ${names.length} that were found are shown: list a longer path`] : [];
        return { data: { keys: [...names] }, warnings };
      },
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
