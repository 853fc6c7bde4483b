import type { Answer } from '../../../host/ports/engine.ts';
import type { LogFiles } from '../../../host/ports/log-files.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import type { ServiceParts } from '../../../host/services.ts';
import { type WholeBox, wholeBox } from '../whole/box.ts';
import { FakeServer, fakeEngine } from './fake.ts';

/** Milliseconds that the fake has for one call. */
export const TIMEOUT_MS = 3000;

export interface LeaseBox extends WholeBox {
  readonly server: FakeServer;
  /** Makes a login at fake/creds/<role>. */
  creds(
    role: string,
    fields?: ValueMap,
    token?: string,
  ): Promise<{ readonly id: string; readonly name: string; readonly answer: Answer }>;
  /** Waits until `done` holds; moves time on by `skipMs` between looks. */
  until(done: () => boolean | Promise<boolean>, skipMs?: number): Promise<void>;
  lookup(id: string): Promise<ValueMap | undefined>;
  /** Waits until nothing is being made, undone or ended, and says which logins are there without a lease. */
  settled(skipMs?: number): Promise<readonly string[]>;
  /** Rows of table lease by the first letter of their keys. */
  rows(kind: 'L' | 'T' | 'Q' | 'I'): number;
  /** What a power cut now would leave, over a server of its own with the same logins. @param prepare before it opens */
  cut(prepare?: (server: FakeServer) => void): Promise<LeaseBox>;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function leased(box: WholeBox, server: FakeServer): LeaseBox {
  const rows: LeaseBox['rows'] = (kind) => [...box.store.range('lease', { prefix: Buffer.from(kind) })].length;
  const until: LeaseBox['until'] = async (done, skipMs = 0) => {
    for (let looks = 0; looks < 1000; looks++) {
      if (await done()) return;
      if (skipMs > 0) box.skip(skipMs);
      await pause(10);
    }
    throw new Error(`it did not come about: ${rows('L')} L, ${rows('I')} I, ${rows('Q')} Q`);
  };
  // The box's own getters follow its restarts: they stay in front.
  return Object.assign(Object.create(box) as WholeBox, {
    server,
    rows,
    until,
    async creds(role: string, fields: ValueMap = {}, token?: string) {
      const answer = await box.ok('read', `fake/creds/${role}`, fields, token ?? box.root);
      return { id: answer.lease?.id ?? '', name: String(answer.data?.['username']), answer };
    },
    async lookup(id: string) {
      const found = await box.send('write', 'sys/leases/lookup', { lease_id: id });
      return found.kind === 'answer' ? (found.answer.data ?? undefined) : undefined;
    },
    async settled(skipMs = 0) {
      await until(() => rows('Q') + rows('I') === 0, skipMs);
      const { data } = await box.ok('read', 'sys/leases/reconcile');
      const backends = (data?.['backends'] ?? []) as readonly { readonly strangers: readonly string[] }[];
      return backends.flatMap(({ strangers }) => strangers);
    },
    async cut(prepare: (server: FakeServer) => void = () => {}) {
      const other = new FakeServer();
      for (const [name, end] of server.logins) other.logins.set(name, end);
      other.count = 1_000_000;
      prepare(other);
      return leased(await box.copy({ engines: fakeEngine(other), leaseTimeoutMs: TIMEOUT_MS }), other);
    },
  });
}

export interface LeaseBoxOptions {
  readonly server?: FakeServer;
  readonly batchMax?: number;
  /** Of the audit log. */
  readonly log?: LogFiles;
}

/** A box with the fake engine mounted at fake/. */
export async function leaseBox(
  more: Partial<ServiceParts> = {},
  { server = new FakeServer(), batchMax = 50, log }: LeaseBoxOptions = {},
): Promise<LeaseBox> {
  const box = await wholeBox(log, undefined, undefined, {
    engines: fakeEngine(server, batchMax),
    leaseTimeoutMs: TIMEOUT_MS,
    ...more,
  });
  await box.ok('write', 'sys/mounts/fake', { type: 'fake' });
  return leased(box, server);
}
