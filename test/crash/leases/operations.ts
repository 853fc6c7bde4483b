/** What a box does when it is killed: one operation each, with what has to be there before it. */

import * as rows from '../../../host/leases/row.ts';
import type { LeaseTable } from '../../../host/leases/table.ts';
import type { Services } from '../../../host/services.ts';
import type { WholeBox } from '../../host/whole/box.ts';
import { away, type Interference } from './interference.ts';
import type { Issued, Kind, Outcome } from './protocol.ts';

export interface OperationBox extends Pick<WholeBox, 'send' | 'ok' | 'skip'> {
  readonly kind: Kind;
  readonly services: Services;
  readonly interference: Interference;
  readonly table: LeaseTable;
  /** Until nothing is being undone or ended, and no rotation is under way; moves time on to where the next attempt is due. */
  drain(): Promise<void>;
}

export interface Operation {
  /** What is prepared leaves an intent in reserve, which is used. */
  readonly reserve?: true;
  readonly prepare?: (box: OperationBox) => Promise<Outcome>;
  /** May be answered with a fault: what counts is what it leaves. */
  readonly run: (box: OperationBox, prepared: Outcome) => Promise<Outcome>;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export async function issue(box: OperationBox, role = 'r', token?: string): Promise<Issued> {
  const answer = await box.ok('read', `db/creds/${role}`, {}, token);
  return {
    lease: answer.lease?.id ?? '',
    name: String(answer.data?.['username']),
    password: String(answer.data?.['password']),
  };
}

const issued = async (box: OperationBox, count = 1, role?: string): Promise<Outcome> => {
  const all: Issued[] = [];
  for (let n = 0; n < count; n++) all.push(await issue(box, role));
  return { issued: all };
};

const leasesOf = ({ issued = [] }: Outcome): string[] => issued.map(({ lease }) => lease);
const firstOf = (outcome: Outcome): string => leasesOf(outcome)[0] ?? '';

/** Of a token of its own, which ends with it. */
async function ofToken(box: OperationBox): Promise<{ readonly token: string; readonly login: Issued }> {
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], ttl: '600h' });
  const token = auth?.clientToken ?? '';
  return { token, login: await issue(box, 'r', token) };
}

let heldToken = '';

/** Answered with a fault, or the operation is not what it says. */
async function refused(work: Promise<{ readonly kind: string }>): Promise<void> {
  if ((await work).kind !== 'error') throw new Error('an operation that was to be refused was answered');
}

const revokes = (path: (id: string) => string, body: (id: string) => Record<string, string>): Operation['run'] => {
  return async (box, prepared) => {
    const id = firstOf(prepared);
    await box.ok('write', path(id), body(id));
    return { revoked: leasesOf(prepared) };
  };
};

const ending = async (box: OperationBox, count?: number, role?: string): Promise<Outcome> => {
  const made = await issued(box, count, role);
  return { ...made, ending: leasesOf(made) };
};

const rotateRole = (role: string): ((box: OperationBox) => Promise<Outcome>) => {
  return async (box) => {
    await box.ok('write', `db/rotate-role/${role}`);
    return {};
  };
};

/** A secret that a case before left pending would be tried again, and no new one written. */
async function settled(box: OperationBox): Promise<Outcome> {
  for (const role of ['s', 'scheduled']) await box.ok('write', `db/rotate-role/${role}`);
  return {};
}

/**
 * One role's schedule is midnight: an operation that moves time past it would rotate that role too, at some times of the day
 * alone, and pass points that it does not pass at others.
 */
export async function awayFromMidnight(box: OperationBox): Promise<void> {
  const ofDayMs = box.services.barrier.lease.nowMs() % DAY_MS;
  if (ofDayMs >= 2 * HOUR_MS && ofDayMs <= 20 * HOUR_MS) return;
  box.skip((ofDayMs < 2 * HOUR_MS ? 0 : DAY_MS) + 3 * HOUR_MS - ofDayMs);
  // What came due is rotated, or this rotates it.
  await settled(box);
  await box.drain();
}

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  issue: { run: (box) => issued(box) },
  'issue from the reserve': { reserve: true, prepare: (box) => issued(box, 2), run: (box) => issued(box) },
  'issue under a name that is taken': {
    prepare: async (box) => {
      box.interference.keep();
      const made = await issued(box);
      box.interference.repeat();
      return { ...made, shared: leasesOf(made) };
    },
    run: async (box) => {
      await refused(box.send('read', 'db/creds/r'));
      return {};
    },
  },
  'issue with a token that ends meanwhile': {
    prepare: async (box) => {
      const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], ttl: '600h' });
      heldToken = auth?.clientToken ?? '';
      return {};
    },
    run: async (box) => {
      const token = heldToken;
      box.interference.once('issue.create after', async () => {
        await box.ok('write', 'auth/token/revoke', { token });
      });
      await refused(box.send('read', 'db/creds/r', {}, token));
      return {};
    },
  },
  'issue and lose the connection': {
    run: async (box) => {
      box.interference.once('issue.create after', away);
      await refused(box.send('read', 'db/creds/r'));
      await box.drain();
      return {};
    },
  },
  renew: {
    prepare: (box) => issued(box),
    run: async (box, prepared) => {
      const lease = firstOf(prepared);
      await box.ok('write', 'sys/leases/renew', { lease_id: lease, increment: '650h' });
      const { data } = await box.ok('write', 'sys/leases/lookup', { lease_id: lease });
      return { renewed: { [lease]: Date.parse(String(data?.['expire_time'])) } };
    },
  },
  revoke: {
    prepare: (box) => ending(box),
    run: revokes(
      () => 'sys/leases/revoke',
      (id) => ({ lease_id: id }),
    ),
  },
  'revoke several by their prefix': {
    prepare: (box) => ending(box, 3, 'several'),
    run: revokes(
      () => 'sys/leases/revoke-prefix/db/creds/several',
      () => ({}),
    ),
  },
  'revoke by force': {
    prepare: (box) => ending(box, 1, 'several'),
    run: revokes(
      (id) => `sys/leases/revoke-force/${id}`,
      () => ({}),
    ),
  },
  'revoke while the server refuses': {
    prepare: (box) => ending(box),
    run: async (box, prepared) => {
      box.interference.refusedDrops = 1;
      await refused(box.send('write', 'sys/leases/revoke', { lease_id: firstOf(prepared) }));
      await box.drain();
      return { revoked: leasesOf(prepared) };
    },
  },
  expire: {
    prepare: (box) => ending(box, 2, 'short'),
    run: async (box, prepared) => {
      const gone = box.interference.next('revoke.delete after');
      box.skip(61_000);
      await gone;
      await box.drain();
      return { revoked: leasesOf(prepared) };
    },
  },
  'revoke a token': {
    prepare: async (box) => {
      const { token, login } = await ofToken(box);
      heldToken = token;
      await leaveStale(box, login.lease);
      return { issued: [login], ending: [login.lease] };
    },
    run: async (box, prepared) => {
      await box.ok('write', 'auth/token/revoke', { token: heldToken });
      await box.drain();
      return { revoked: leasesOf(prepared) };
    },
  },
  tidy: {
    prepare: async (box) => {
      const { login } = await ofToken(box);
      await leaveStale(box, login.lease);
      return { issued: [login] };
    },
    run: async (box) => {
      const cleared = box.interference.next('tidy.clear after');
      await box.ok('write', 'sys/leases/tidy');
      await cleared;
      return {};
    },
  },
  reconcile: {
    run: async (box) => {
      await box.ok('read', 'sys/leases/reconcile');
      return {};
    },
  },
  'rotate a static role': { prepare: settled, run: rotateRole('s') },
  'rotate a static role that is due': {
    prepare: settled,
    run: async (box) => {
      const rotated = box.interference.next('static.adopt after');
      box.skip(2 * HOUR_MS);
      await rotated;
      return {};
    },
  },
  'rotate a static role again after a failure': {
    prepare: async (box) => {
      await settled(box);
      box.interference.once('static.change before', away);
      await refused(box.send('write', 'db/rotate-role/s'));
      return {};
    },
    run: rotateRole('s'),
  },
  'fail to rotate a static role': {
    prepare: settled,
    run: async (box) => {
      box.interference.once('static.change after', away);
      await refused(box.send('write', 'db/rotate-role/s'));
      return {};
    },
  },
  'come too late for the window of a schedule': {
    prepare: settled,
    run: async (box) => {
      // Two hours behind the next midnight: the window is one.
      const now = box.services.barrier.lease.nowMs();
      const skipped = box.interference.next('static.skip after');
      box.skip(DAY_MS - (now % DAY_MS) + 2 * HOUR_MS);
      await skipped;
      return {};
    },
  },
  'take over a login': {
    prepare: async (box) => {
      await box.ok('delete', 'db/static-roles/taken');
      return {};
    },
    run: async (box) => {
      await box.ok('write', 'db/static-roles/taken', { db_name: 'c', username: 'static_two', rotation_period: '900h' });
      return {};
    },
  },
  'take over a login by statements that are refused': {
    run: async (box) => {
      await refused(
        box.send('write', 'db/static-roles/never', {
          ...{ db_name: 'c', username: 'static_three', rotation_period: '900h' },
          rotation_statements: ["ALTER NOTHING '{{name}}' '{{password}}'"],
        }),
      );
      return {};
    },
  },
  'rotate the root': {
    run: async (box) => {
      await box.ok('write', 'db/rotate-root/c');
      return {};
    },
  },
  'use the server after a rotation of the root that failed': {
    prepare: async (box) => {
      box.interference.once('root.change before', away);
      await refused(box.send('write', 'db/rotate-root/c'));
      // Until nothing of it can arrive any more.
      box.skip(60_000);
      return {};
    },
    run: (box) => issued(box),
  },
};

/** What the box begins with. */
export async function found(box: OperationBox, connection: Record<string, string>): Promise<void> {
  await box.ok('write', 'sys/mounts/db', {
    type: 'database',
    config: { default_lease_ttl: '600h', max_lease_ttl: '700h' },
  });
  await box.ok('write', 'db/config/c', {
    ...connection,
    allowed_roles: '*',
    username_template: 'v-{{.BoxId}}-{{random 20}}-{{.RoleName | truncate 2}}',
  });
  for (const [role, ttl] of [
    ['r', '600h'],
    ['several', '600h'],
    ['short', '60s'],
  ] as const) {
    await box.ok('write', `db/roles/${role}`, { db_name: 'c', creation_statements: [], default_ttl: ttl });
  }
  const login = { db_name: 'c' };
  await box.ok('write', 'db/static-roles/s', { ...login, username: 'static_one', rotation_period: '1h' });
  await box.ok('write', 'db/static-roles/taken', { ...login, username: 'static_two', rotation_period: '900h' });
  await box.ok('write', 'db/static-roles/scheduled', {
    ...{ ...login, username: 'static_four', rotation_schedule: '0 0 * * *', rotation_window: '1h' },
  });
}

/** A row of a lease's token that names no lease, as a version with a fault may have left it. */
async function leaveStale({ table, services }: OperationBox, lease: string): Promise<void> {
  const { barrier } = services;
  const stale = Buffer.alloc(16, 7);
  await table.job(async (grant) => {
    const token = table.byId(grant, lease)?.record.token ?? '';
    if (token === '') throw new Error('the lease ends with no token');
    await barrier.commit([barrier.seal(grant, 'lease', rows.tokenKey(token, stale, stale), new Uint8Array(1))], []);
  });
}
