/** Intents in reserve: a credential like the one before costs one commit, and nobody but this box hears of what is not used. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import { KEPT_MS } from '../../../host/leases/spares.ts';
import type { Step, StepHook } from '../../../host/leases/steps.ts';
import { type LeaseBox, leaseBox, TIMEOUT_MS } from './rig.ts';

let box: LeaseBox;
let steps: Step[];
let at: (step: Step, when: 'before' | 'after') => void | Promise<void>;
const hook: StepHook = (step, when) => {
  if (when === 'before') steps.push(step);
  return at(step, when);
};

beforeEach(async () => {
  steps = [];
  at = () => {};
  box = await leaseBox({ leaseHook: hook });
});
afterEach(() => box.end());

const like = (what = 'others') => ({ like: what });
/** Steps of the work, without what it did before. */
async function stepsOf(work: () => Promise<unknown>): Promise<readonly Step[]> {
  steps = [];
  await work();
  return steps;
}
/** What was prepared: not yet asked for, asked for and gone, gone unasked, asked for and kept. */
function prepared() {
  const all = box.server.prepared;
  const count = (used: boolean, disposed: boolean): number =>
    all.filter((one) => one.used === used && one.disposed === disposed).length;
  return {
    waiting: count(false, false),
    used: count(true, true),
    wasted: count(false, true),
    leaked: count(true, false),
  };
}
const asked = (): readonly string[] => box.server.calls.map(({ call }) => call).filter((call) => call !== 'create');
const WHOLE: readonly Step[] = ['issue.intent', 'issue.create', 'issue.lease'];
const FROM_RESERVE: readonly Step[] = ['issue.create', 'issue.lease'];

describe('what is asked for once', () => {
  test('puts nothing by', async () => {
    expect(await stepsOf(() => box.creds('r', like()))).toEqual(WHOLE);
    expect(box.rows('I')).toBe(0);
  });

  test('and again much later: the same', async () => {
    await box.creds('r', like());
    box.skip(60_000);
    expect(await stepsOf(() => box.creds('r', like()))).toEqual(WHOLE);
    expect(box.rows('I')).toBe(0);
  });
});

describe('what is asked for again and again', () => {
  test('costs one commit each from the third on, and every login has its own name and lease', async () => {
    const made = [await box.creds('r', like()), await box.creds('r', like())];
    expect(box.rows('I')).toBe(1);
    for (let turn = 0; turn < 3; turn++) {
      expect(await stepsOf(async () => made.push(await box.creds('r', like())))).toEqual(FROM_RESERVE);
    }
    expect(box.rows('I')).toBe(1);
    expect(new Set(made.map(({ name }) => name)).size).toBe(5);
    expect(new Set(made.map(({ id }) => id)).size).toBe(5);
    for (const { id, name } of made) {
      expect(await box.lookup(id)).toMatchObject({ id });
      expect(box.server.logins.has(name)).toBe(true);
      await box.ok('write', 'sys/leases/revoke', { lease_id: id });
      expect(box.server.logins.has(name)).toBe(false);
    }
  });

  test('many at once have one each', async () => {
    const wave = () => Promise.all(Array.from({ length: 12 }, () => box.creds('r', like())));
    const made = [...(await wave()), ...(await wave())];
    const kept = box.rows('I');
    expect(kept).toBeGreaterThan(1);
    expect(await stepsOf(async () => made.push(...(await wave())))).not.toContain('issue.intent');
    expect(box.rows('I')).toBe(kept);
    expect(new Set(made.map(({ name }) => name)).size).toBe(36);
    expect(box.server.logins.size).toBe(36);
  });

  test('is no more than is said to be alike, at one path and of one backend', async () => {
    for (let turn = 0; turn < 2; turn++) await box.creds('r', like());
    expect(await stepsOf(() => box.creds('other', like()))).toEqual(WHOLE);
    expect(await stepsOf(() => box.creds('r', like('else')))).toEqual(WHOLE);
    expect(await stepsOf(() => box.creds('r', { ...like(), backend: 'two' }))).toEqual(WHOLE);
    expect(await stepsOf(() => box.creds('r'))).toEqual(WHOLE);
    expect(await stepsOf(() => box.creds('r', like()))).toEqual(FROM_RESERVE);
  });
});

describe('one in reserve', () => {
  beforeEach(async () => {
    for (let turn = 0; turn < 2; turn++) await box.creds('r', like());
    expect(box.rows('I')).toBe(1);
    expect(prepared()).toEqual({ waiting: 1, used: 2, wasted: 0, leaked: 0 });
  });

  test('waits with what was prepared for it, which the next credential gets and no other', async () => {
    const kept = box.server.prepared[2];
    await box.creds('r', like('else'));
    expect(kept?.used).toBe(false);
    await box.creds('r', like());
    expect([kept?.used, kept?.disposed]).toEqual([true, true]);
    expect(prepared()).toEqual({ waiting: 1, used: 4, wasted: 0, leaked: 0 });
  });

  test('is made while the server works', async () => {
    box.server.before = (call) => {
      if (call === 'create') expect(prepared()).toEqual({ waiting: 1, used: 2, wasted: 0, leaked: 1 });
    };
    await box.creds('r', like());
  });

  test.each(['create', 'lease'] as const)('and a failure of %s: nothing that was prepared is kept', async (what) => {
    at = (step) => {
      if (step === `issue.${what}`) throw new Fault('database.refused', 'no');
    };
    expect(await box.send('read', 'fake/creds/r', like())).toMatchObject({ kind: 'error' });
    expect(prepared()).toMatchObject({ waiting: 0, leaked: 0 });
  });

  test('that nobody comes for is deleted, and no server is asked', async () => {
    box.skip(KEPT_MS + 1);
    await box.services.leases.sweep();
    expect([box.rows('I'), box.rows('Q'), ...asked()]).toEqual([0, 0]);
    expect(prepared()).toEqual({ waiting: 0, used: 2, wasted: 1, leaked: 0 });
    expect(await stepsOf(() => box.creds('r', like()))).toEqual(WHOLE);
  });

  test('is not used so late that its deadline could pass meanwhile', async () => {
    // Half a minute and the deadline of what is written then.
    box.skip(KEPT_MS + 1);
    const seen = await stepsOf(() => box.creds('r', like()));
    expect(seen.filter((step) => step !== 'issue.unused')).toEqual(WHOLE);
  });

  test('goes when the box closes, and the next process has nothing to undo', async () => {
    await box.restart();
    expect([box.rows('I'), box.rows('Q'), ...asked()]).toEqual([0, 0]);
  });

  test('goes with a seal', async () => {
    await box.box.seal();
    await box.until(() => box.rows('I') === 0);
    expect([box.rows('Q'), ...asked()]).toEqual([0]);
    expect(prepared().waiting).toBe(0);
  });

  test('goes with its mount, whose dead server is not asked', async () => {
    await box.ok('write', 'sys/leases/revoke-prefix/fake');
    box.server.calls.length = 0;
    box.server.before = () => new Promise(() => {});
    await box.ok('delete', 'sys/mounts/fake');
    expect([box.rows('I'), box.rows('Q'), ...asked()]).toEqual([0, 0]);
    expect(prepared().waiting).toBe(0);
  });

  test('keeps no mount: one that is put by while the mount goes is deleted too', async () => {
    await box.ok('write', 'sys/leases/revoke-prefix/fake');
    let going: Promise<unknown> | undefined;
    at = async (step, when) => {
      if (step !== 'issue.lease' || when !== 'before') return;
      at = () => {};
      going = box.send('delete', 'sys/mounts/fake');
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    const outbound = await box.send('read', 'fake/creds/r', like());
    expect(outbound).toMatchObject({ kind: 'error' });
    expect(await going).toMatchObject({ kind: 'answer' });
    expect([box.rows('L'), box.rows('I'), box.rows('Q')]).toEqual([0, 0, 0]);
    expect(box.server.names()).toEqual([]);
  });

  test('is in nobody’s list: not of leases, not of what is stuck, and no stranger', async () => {
    const { data } = await box.ok('read', 'sys/leases/count');
    expect(data?.['lease_count']).toBe(2);
    expect((await box.services.leases.stuck()).count).toBe(0);
    const [found] = await box.services.leases.reconcile();
    expect(found?.strangers).toEqual([]);
  });

  test('survives a rotation of the keys', async () => {
    await box.ok('write', 'sys/rotate');
    // Rows are sealed anew meanwhile: what was read may have to be read again.
    const seen = await stepsOf(() => box.creds('r', like()));
    expect([...new Set(seen)]).toEqual(FROM_RESERVE);
  });

  test('and a full disk: the lease cannot be written, the login ends before the answer', async () => {
    at = (step) => {
      if (step === 'issue.lease') throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
    };
    expect(await box.send('read', 'fake/creds/r', like())).toMatchObject({ kind: 'error' });
    expect(box.server.logins.size).toBe(2);
    expect([box.rows('I'), box.rows('Q')]).toEqual([0, 0]);
  });

  test('a disk that does not take its deletion leaves it to its deadline', async () => {
    box.skip(KEPT_MS + 1);
    at = (step) => {
      if (step === 'issue.unused') throw new Fault('store.full', 'the disk is full');
    };
    // Nothing else that a sweep does waits for it.
    await box.services.leases.sweep();
    at = () => {};
    expect(box.rows('I')).toBe(1);
    box.skip(KEPT_MS + 3 * TIMEOUT_MS);
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
    expect(box.server.logins.size).toBe(2);
  });

  test('whose successor cannot be drawn is given all the same', async () => {
    Object.defineProperty(box.server, 'count', {
      get: () => {
        throw new Fault('engine.failed', 'no name can be drawn');
      },
    });
    const { id } = await box.creds('r', like());
    expect(await box.lookup(id)).toMatchObject({ id });
    expect([box.server.logins.size, box.rows('I'), box.rows('Q')]).toEqual([3, 0, 0]);
    expect(prepared()).toEqual({ waiting: 0, used: 3, wasted: 0, leaked: 0 });
    // Its own request hears why.
    expect(await box.send('read', 'fake/creds/r', like())).toMatchObject({ kind: 'error' });
  });

  test.each(['issue.create', 'issue.lease'] as const)('in use, and a power cut after %s', async (step) => {
    let cut: Promise<LeaseBox> | undefined;
    at = async (seen, when) => {
      if (seen !== step || when !== 'after' || cut !== undefined) return;
      cut = box.cut();
      await cut;
    };
    const { id } = await box.creds('r', like());
    const other = await cut;
    if (other === undefined) throw new Error('the step was not reached');
    try {
      expect(await other.settled(TIMEOUT_MS)).toEqual([]);
      const isThere = step === 'issue.lease';
      expect((await other.lookup(id)) !== undefined).toBe(isThere);
      expect(other.server.logins.size).toBe(isThere ? 3 : 2);
    } finally {
      await other.end();
    }
  });
});
