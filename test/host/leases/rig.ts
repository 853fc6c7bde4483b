import type { Answer } from '../../../host/ports/engine.ts';
import type { ValueMap } from '../../../host/ports/value.ts';
import type { ServiceParts } from '../../../host/services.ts';
import { type WholeBox, wholeBox } from '../whole/box.ts';
import { FakeServer, fakeEngine } from './fake.ts';

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
}

/** A box with the fake engine mounted at fake/. */
export async function leaseBox(
  more: Partial<ServiceParts> = {},
  server: FakeServer = new FakeServer(),
): Promise<LeaseBox> {
  const box = await wholeBox(undefined, undefined, undefined, {
    engines: fakeEngine(server),
    leaseTimeoutMs: 1000,
    ...more,
  });
  await box.ok('write', 'sys/mounts/fake', { type: 'fake' });
  // A whole box hands out what it is now: keep its getters.
  return Object.assign(Object.create(box) as WholeBox, {
    server,
    async creds(role: string, fields: ValueMap = {}, token?: string) {
      const answer = await box.ok('read', `fake/creds/${role}`, fields, token ?? box.root);
      return { id: answer.lease?.id ?? '', name: String(answer.data?.['username']), answer };
    },
    async until(done: () => boolean | Promise<boolean>, skipMs = 0) {
      for (let looks = 0; looks < 600; looks++) {
        if (await done()) return;
        if (skipMs > 0) box.skip(skipMs);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error('it did not come about');
    },
    async lookup(id: string) {
      const found = await box.send('write', 'sys/leases/lookup', { lease_id: id });
      return found.kind === 'answer' ? (found.answer.data ?? undefined) : undefined;
    },
  });
}
