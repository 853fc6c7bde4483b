/** Leases and a clock that is wrong, drifts, jumps, or goes on without the machine. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { type LeaseBox, leaseBox, TIMEOUT_MS } from './rig.ts';

const DAY_MS = 86_400_000;
const TEN_YEARS_MS = 3652 * DAY_MS;

let box: LeaseBox;
let atStep: (() => void) | undefined;
beforeEach(async () => {
  atStep = undefined;
  box = await leaseBox({
    leaseHook: (step, when) => {
      if (step !== 'revoke.end' || when !== 'before') return;
      atStep?.();
      atStep = undefined;
    },
  });
});
afterEach(() => box.end());

const refusal = (outbound: Outbound): readonly [number, string] =>
  outbound.kind === 'error' ? [outbound.status, outbound.errors.join('; ')] : [outbound.answer.status ?? 200, ''];
const renew = (id: string, increment: number) => box.send('write', 'sys/leases/renew', { lease_id: id, increment });
const now = (): number => box.services.barrier.lease.nowMs();
/** Lease time in ms at which a lease ends, by the box's own row. */
async function endOf(id: string): Promise<number> {
  const lease = await box.services.leases.lookup(id);
  return lease?.expireMs ?? 0;
}

describe('no sequence of renewals passes the maximum by a millisecond', () => {
  const MAX_MS = 100_000;

  test.each([
    ['a second before it', 1000],
    ['a millisecond before it', 1],
  ])('renewed %s', async (_when, leftMs) => {
    box.still();
    const issued = now();
    const { id, name } = await box.creds('r', { ttl: 60, max_ttl: 100 });
    expect(await endOf(id)).toBe(issued + 60_000);
    box.skip(50_000);
    expect((await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 3600 })).warnings).toEqual([
      'TTL of "1h" exceeded the effective max_ttl of "50s"; TTL value is capped accordingly',
    ]);
    expect(await endOf(id)).toBe(issued + MAX_MS);
    box.skip(MAX_MS - 50_000 - leftMs);
    const answer = await renew(id, 3600);
    expect(answer).toMatchObject({ kind: 'answer', answer: { lease: { durationSeconds: Math.floor(leftMs / 1000) } } });
    expect(await endOf(id)).toBe(issued + MAX_MS);
    expect(box.server.logins.get(name)).toBe(box.services.barrier.lease.wallOf(issued + MAX_MS));
    box.skip(leftMs);
    expect(await box.lookup(id)).toBeUndefined();
    expect(refusal(await renew(id, 3600))[0]).toBe(400);
    await box.until(() => !box.server.logins.has(name));
  });

  test('at it, there is nothing left to renew', async () => {
    box.still();
    const { id, name } = await box.creds('r', { ttl: 100, max_ttl: 100 });
    box.skip(MAX_MS);
    expect(refusal(await renew(id, 3600))).toEqual([400, expect.stringMatching(/^lease (expired|not found)$/)]);
    await box.until(() => !box.server.logins.has(name));
  });

  test('the mount’s maximum counts too, as it is now', async () => {
    box.still();
    const issued = now();
    const { id } = await box.creds('r', { ttl: 60 });
    await box.ok('write', 'sys/mounts/fake/tune', { default_lease_ttl: '30s', max_lease_ttl: '70s' });
    await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 3600 });
    expect(await endOf(id)).toBe(issued + 70_000);
    await box.ok('write', 'sys/mounts/fake/tune', { default_lease_ttl: '5s', max_lease_ttl: '10s' });
    box.skip(20_000);
    expect(refusal(await renew(id, 3600))).toEqual([400, 'the lease has reached its maximum: ask for a new one']);
    const { answer } = await box.creds('r', { ttl: 60, max_ttl: 50 });
    expect(answer.lease?.durationSeconds).toBe(10);
  });
});

describe('while the time is not believed', () => {
  test.each([
    ['ten years ahead', TEN_YEARS_MS],
    ['ten years back', -TEN_YEARS_MS],
    ['in 1970', -Date.now()],
  ])(
    'the clock jumps to %s: nothing is made or renewed, leases are found and end by the time that passes',
    async (_where, ms) => {
      const { id, name } = await box.creds('r', { ttl: 60 });
      box.jump(ms);
      expect(refusal(await box.send('read', 'fake/creds/r'))).toEqual([503, expect.stringContaining('not believed')]);
      expect(refusal(await renew(id, 60))[0]).toBe(503);
      expect(box.server.calls.map(({ call }) => call)).toEqual(['create']);
      expect((await box.lookup(id))?.['ttl']).toBeGreaterThan(55);
      box.skip(61_000);
      expect(await box.lookup(id)).toBeUndefined();
      await box.until(() => !box.server.logins.has(name));
      box.jump(-ms);
      expect((await box.creds('r')).id).not.toBe('');
    },
  );

  test('a lease can be revoked', async () => {
    const { id } = await box.creds('r');
    box.jump(TEN_YEARS_MS);
    await box.ok('write', 'sys/leases/revoke', { lease_id: id });
    expect(box.server.names()).toEqual([]);
  });
});

describe('over a restart', () => {
  test('with the clock back in 1970 leases live on, and end by uptime', async () => {
    const { id, name } = await box.creds('r', { ttl: 600 });
    const end = await endOf(id);
    box.jump(-Date.now());
    await box.restart(5000);
    expect(await endOf(id)).toBe(end);
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(503);
    expect((await box.lookup(id))?.['ttl']).toBeGreaterThan(500);
    box.skip(700_000);
    await box.until(() => !box.server.logins.has(name));
  });

  test('ten years later everything is over, and ends', async () => {
    const { id, name } = await box.creds('r', { ttl: 600 });
    await box.restart(TEN_YEARS_MS);
    expect(await box.lookup(id)).toBeUndefined();
    await box.until(() => !box.server.logins.has(name));
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
  });

  test('one that was being ended goes on ending, whatever the clock says', async () => {
    const { id, name } = await box.creds('r');
    box.server.refused.set(name, 'no');
    await box.send('write', 'sys/leases/revoke', { lease_id: id });
    box.jump(-TEN_YEARS_MS);
    box.server.refused.clear();
    await box.restart(1000);
    expect(await box.settled(60_000)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });
});

describe('a clock that is set or drifts', () => {
  test.each([
    ['an hour forward', 3_600_000],
    ['an hour back', -3_600_000],
  ])('%s moves what is shown, and no lease by a second', async (_how, ms) => {
    box.still();
    const { id } = await box.creds('r', { ttl: 600 });
    const before = Date.parse(String((await box.lookup(id))?.['expire_time']));
    const end = await endOf(id);
    box.jump(ms);
    // What the heartbeat does within the minute: looking at the clock.
    expect(box.services.barrier.lease.believed()).toBe(true);
    expect(await endOf(id)).toBe(end);
    expect((await box.lookup(id))?.['ttl']).toBe(600);
    // Two clocks are read one after the other: a millisecond may lie between.
    const shown = Date.parse(String((await box.lookup(id))?.['expire_time']));
    expect(Math.abs(shown - (before + ms))).toBeLessThanOrEqual(1);
  });

  test('a slow drift of ten minutes an hour adds nothing to a lease', async () => {
    box.still();
    const { id, name } = await box.creds('r', { ttl: 7200 });
    for (let minutes = 0; minutes < 120; minutes += 10) {
      box.skip(600_000);
      box.jump(-100_000);
      if (minutes < 110) expect((await box.lookup(id))?.['ttl']).toBe(7200 - (minutes + 10) * 60);
    }
    await box.until(() => !box.server.logins.has(name));
  });

  test.each([
    ['forward', TEN_YEARS_MS],
    ['back', -TEN_YEARS_MS],
  ])('a jump %s in the middle of a revocation does not keep it from its end', async (_how, ms) => {
    const { id } = await box.creds('r');
    atStep = () => box.jump(ms);
    await box.ok('write', 'sys/leases/revoke', { lease_id: id });
    expect(box.server.names()).toEqual([]);
    expect([box.rows('L'), box.rows('Q')]).toEqual([0, 0]);
  });
});
