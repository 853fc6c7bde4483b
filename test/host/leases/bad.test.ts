/** Bad days: servers that hang, refuse, lie or die, a box that is sealed or held meanwhile, answers that cannot be given. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import type { Step } from '../../../host/leases/steps.ts';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { Secret } from '../../../host/secret.ts';
import { type LeaseBox, leaseBox, pause, TIMEOUT_MS } from './rig.ts';

let held: string | undefined;
/** What the disk refuses. */
let full: ReadonlySet<Step> = new Set();
/** What happens just before a step, once. */
let meanwhile: { readonly step: Step; readonly work: () => Promise<unknown> } | undefined;
let box: LeaseBox;
beforeEach(async () => {
  held = undefined;
  full = new Set();
  meanwhile = undefined;
  box = await leaseBox({
    held: () => held,
    leaseHook: async (step, when) => {
      if (when === 'after') return;
      if (full.has(step)) throw new Fault('store.full', 'the disk is full: free some space');
      if (meanwhile?.step !== step) return;
      const { work } = meanwhile;
      meanwhile = undefined;
      await work();
    },
  });
});
afterEach(() => box.end());

const refusal = (outbound: Outbound): readonly [number, string] =>
  outbound.kind === 'error' ? [outbound.status, outbound.errors.join('; ')] : [outbound.answer.status ?? 200, ''];
const never = (): Promise<void> => new Promise(() => {});
const events = async (): Promise<string[]> => {
  const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: 0, to: 10_000 });
  const body = raw !== undefined && 'body' in raw ? String(raw.body) : '';
  return [...body.matchAll(/"event":"(lease\.[a-z]+)"/g)].map(([, event = '']) => event);
};

describe('while a credential is made', () => {
  test('a full disk makes none: nothing is asked of the server', async () => {
    full = new Set<Step>(['issue.intent']);
    expect((await box.send('read', 'fake/creds/r')).kind).toBe('error');
    expect(box.server.calls).toEqual([]);
    expect(box.rows('I')).toBe(0);
  });

  test('a mount that is removed, or moved, before its intent is written makes none', async () => {
    meanwhile = { step: 'issue.intent', work: () => box.ok('delete', 'sys/mounts/fake') };
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(404);
    expect([box.server.names(), box.rows('I'), box.rows('Q')]).toEqual([[], 0, 0]);
    await box.ok('write', 'sys/mounts/fake', { type: 'fake' });
    meanwhile = { step: 'issue.intent', work: () => box.ok('write', 'sys/remount', { from: 'fake', to: 'moved' }) };
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(404);
    expect([box.server.names(), box.rows('I'), box.rows('Q')]).toEqual([[], 0, 0]);
    expect(box.server.calls).toEqual([]);
  });

  test('and one that is tuned meanwhile makes it all the same', async () => {
    meanwhile = { step: 'issue.intent', work: () => box.ok('write', 'sys/mounts/fake/tune', { max_lease_ttl: '3h' }) };
    await box.creds('r');
    expect([box.server.names().length, box.rows('L') > 0, box.rows('I')]).toEqual([1, true, 0]);
  });

  test('a disk that fills up meanwhile ends it again before the answer', async () => {
    full = new Set<Step>(['issue.lease']);
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(507);
    expect(box.server.calls.map(({ call }) => call)).toEqual(['create', 'end', 'remains']);
    expect(box.server.names()).toEqual([]);
    expect([box.rows('L'), box.rows('I'), box.rows('Q')]).toEqual([0, 0, 0]);
  });

  test('and with a server that is gone by then, it is ended when that is back', async () => {
    full = new Set<Step>(['issue.lease']);
    box.server.before = (call) => {
      if (call === 'end') throw new Fault('database.unreachable', 'no route to the host');
    };
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(507);
    expect(box.server.names()).toHaveLength(1);
    box.server.before = () => {};
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('a server that never answers costs the request its time, and what came of it is ended', async () => {
    box.server.after = (call) => (call === 'create' ? never() : undefined);
    const asked = box.send('read', 'fake/creds/r');
    await box.until(() => box.server.logins.size === 1);
    box.skip(2 * TIMEOUT_MS);
    expect(refusal(await asked)).toEqual([502, expect.stringContaining('did not answer within')]);
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('a fault of the server is the answer, in its words', async () => {
    box.server.before = () => {
      throw new Fault('database.refused', 'permission denied to create role');
    };
    expect(refusal(await box.send('read', 'fake/creds/r'))).toEqual([400, 'permission denied to create role']);
    box.server.before = () => {};
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
  });

  test('a seal does not wait for the server, and the next unseal undoes it', async () => {
    box.server.after = (call) => (call === 'create' ? never() : undefined);
    const asked = box.send('read', 'fake/creds/r');
    await box.until(() => box.server.logins.size === 1);
    const before = performance.now();
    await box.box.seal();
    expect(performance.now() - before).toBeLessThan(TIMEOUT_MS);
    expect(refusal(await asked)).toEqual([503, 'Vault is sealed']);
    expect(box.server.names()).toHaveLength(1);
    await box.box.offerShare(new Secret(Buffer.from(box.share)));
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('its token is revoked: it is ended, and nobody is told its name', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
    const token = auth?.clientToken ?? '';
    box.server.after = async (call) => {
      if (call === 'create') await box.ok('write', 'auth/token/revoke', { token });
    };
    expect((await box.send('read', 'fake/creds/r', {}, token)).kind).toBe('error');
    expect(box.server.names()).toEqual([]);
    expect([box.rows('L'), box.rows('T'), box.rows('I')]).toEqual([0, 0, 0]);
  });

  test('its token is revoked in the last moment before the lease is written: the same', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
    const token = auth?.clientToken ?? '';
    meanwhile = { step: 'issue.lease', work: () => box.ok('write', 'auth/token/revoke', { token }) };
    expect((await box.send('read', 'fake/creds/r', {}, token)).kind).toBe('error');
    expect(box.server.names()).toEqual([]);
    expect([box.rows('L'), box.rows('T'), box.rows('I')]).toEqual([0, 0, 0]);
  });

  test('its token ends by its own time: it is ended', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], ttl: '2s' });
    box.server.after = (call) => {
      if (call === 'create') box.skip(2001);
    };
    const outbound = await box.send('read', 'fake/creds/r', { ttl: 600 }, auth?.clientToken ?? '');
    expect(refusal(outbound)[0]).toBe(403);
    await box.until(() => box.server.names().length === 0, 1000);
    expect(await box.settled(TIMEOUT_MS)).toEqual([]);
  });

  test('its token is renewed in that moment: the lease is written all the same', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], ttl: '1h' });
    const token = auth?.clientToken ?? '';
    meanwhile = { step: 'issue.lease', work: () => box.ok('write', 'auth/token/renew', { token }) };
    const { id } = await box.creds('r', {}, token);
    expect(await box.lookup(id)).toMatchObject({ id });
  });

  test('its mount is removed: that waits for it, and takes it along', async () => {
    let removal: Promise<Outbound> | undefined;
    box.server.after = (call) => {
      if (call === 'create') removal = box.send('delete', 'sys/mounts/fake');
    };
    const answer = await box.send('read', 'fake/creds/r');
    expect((await removal)?.kind).toBe('answer');
    expect(box.server.names()).toEqual([]);
    expect(refusal(answer)[0]).toBe(404);
    expect([box.rows('L'), box.rows('I'), box.rows('Q')]).toEqual([0, 0, 0]);
  });

  test('a name that somebody has is left alone', async () => {
    box.server.logins.set('theirs', 7);
    expect(refusal(await box.send('read', 'fake/creds/r', { name: 'theirs' }))[0]).toBe(500);
    box.skip(60_000);
    await box.services.leases.sweep();
    await pause(50);
    expect(box.server.logins.get('theirs')).toBe(7);
    expect(box.rows('I')).toBe(0);
  });
});

describe('while a lease is renewed', () => {
  test('it is revoked: it stays revoked', async () => {
    const { id, name } = await box.creds('r', { ttl: 60 });
    let go = (): void => {};
    const waits = new Promise<void>((resolve) => {
      go = resolve;
    });
    // The lease's row is there all the time: its credential is not ended yet.
    box.server.before = (call) => (call === 'end' ? waits : undefined);
    meanwhile = {
      step: 'renew.lease',
      work: () => box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: false }),
    };
    expect(refusal(await box.send('write', 'sys/leases/renew', { lease_id: id, increment: 600 }))).toEqual([
      400,
      'lease not found',
    ]);
    go();
    expect(await box.settled()).toEqual([]);
    expect(box.server.logins.has(name)).toBe(false);
    expect([box.rows('L'), box.rows('T')]).toEqual([0, 0]);
  });

  test('and while it is queued to be ended, it is renewed: it ends at its new end, or is ended', async () => {
    const { id, name } = await box.creds('r', { ttl: 60 });
    meanwhile = {
      step: 'revoke.mark',
      work: () => box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 600 }),
    };
    await box.ok('write', 'sys/leases/revoke', { lease_id: id });
    expect(box.server.logins.has(name)).toBe(false);
    expect([box.rows('L'), box.rows('T'), box.rows('Q')]).toEqual([0, 0, 0]);
    // No due row is left that names it.
    box.skip(700_000);
    await box.until(() => [...box.store.range('expiry')].every(({ key }) => key[8] !== 4));
  });

  test('the server is gone: nothing has changed', async () => {
    const { id } = await box.creds('r', { ttl: 60 });
    const before = await box.lookup(id);
    box.server.before = () => {
      throw new Fault('database.unreachable', 'no route to the host');
    };
    expect(refusal(await box.send('write', 'sys/leases/renew', { lease_id: id, increment: 600 }))[0]).toBe(502);
    expect(await box.lookup(id)).toMatchObject({ expire_time: before?.['expire_time'], last_renewal: null });
  });
});

describe('while credentials end', () => {
  test('a dead server delays nobody, is named with its reason, and is asked until it answers', async () => {
    const dead = await box.creds('r', { backend: 'dead' });
    const alive = await box.creds('r');
    box.server.before = (_call, names) => (names.includes(dead.name) ? never() : undefined);
    let answered = false;
    const waiting = box.send('write', 'sys/leases/revoke', { lease_id: dead.id }).finally(() => {
      answered = true;
    });
    await box.ok('write', 'sys/leases/revoke', { lease_id: alive.id });
    expect(answered).toBe(false);
    expect(refusal(await waiting)).toEqual([502, expect.stringContaining('the backend dead did not answer')]);
    expect(box.box.status().reasons).toEqual([
      'backends whose credentials cannot be ended now: 1; `holdfast lease stuck` says which and why',
    ]);
    const stuck = await box.ok('read', 'sys/leases', { type: 'irrevocable' });
    expect(stuck.data).toMatchObject({ lease_count: 1, leases: [{ lease_id: dead.id, mount_id: /^fake_/ }] });
    expect(await box.lookup(dead.id)).toBeUndefined();
    box.server.before = () => {};
    expect(await box.settled(60_000)).toEqual([]);
    expect(box.server.names()).toEqual([]);
    expect(box.box.status().reasons).toEqual([]);
    expect(await events()).toContain('lease.revoked');
  });

  test('one that the server refuses does not keep the others, and is tried again', async () => {
    const made = [];
    for (let i = 0; i < 5; i++) made.push(await box.creds('r'));
    box.server.refused.set(made[2]?.name ?? '', 'role owns objects');
    const answer = await box.send('write', 'sys/leases/revoke-prefix/fake/creds/r');
    expect(refusal(answer)).toEqual([502, expect.stringContaining('role owns objects')]);
    await box.until(() => box.server.logins.size === 1);
    expect(box.box.status().reasons).toEqual([
      'credentials that could not be ended yet: 1; `holdfast lease stuck` says which and why',
    ]);
    const count = await box.ok('read', 'sys/leases/count', { type: 'irrevocable' });
    expect(count.data).toMatchObject({ lease_count: 1 });
    box.server.refused.clear();
    // Whoever asks again does not wait for the time of the next attempt.
    await box.ok('write', 'sys/leases/revoke', { lease_id: made[2]?.id ?? '' });
    expect(box.server.names()).toEqual([]);
    expect(box.box.status().reasons).toEqual([]);
  });

  test('a server that answers for each that it cannot be reached is one dead server, not many stuck leases', async () => {
    const made = [];
    for (let i = 0; i < 6; i++) made.push(await box.creds('r'));
    for (const { name } of made) box.server.refused.set(name, 'no route to the host');
    box.server.before = (call) => {
      if (call === 'remains') throw new Fault('database.unreachable', 'no route to the host');
    };
    await box.send('write', 'sys/leases/revoke-prefix/fake/creds/r', { sync: false });
    await box.until(() =>
      box.box.status().reasons.join().includes('backends whose credentials cannot be ended now: 1'),
    );
    expect(box.server.calls.filter(({ call }) => call === 'end').length).toBeLessThan(3);
    box.server.before = () => {};
    box.server.refused.clear();
    expect(await box.settled(5000)).toEqual([]);
    expect(box.box.status().reasons).toEqual([]);
  });

  test('one that fails every call that it is in does not keep the others', async () => {
    const made = [];
    for (let i = 0; i < 12; i++) made.push(await box.creds('r'));
    const poison = made[5]?.name ?? '';
    box.server.before = (call, names) => {
      if (call === 'end' && names.includes(poison)) throw new Error('a bug of the backend');
    };
    await box.send('write', 'sys/leases/revoke-prefix/fake/creds/r', { sync: false });
    await box.until(() => box.rows('Q') === 1, 2000);
    expect(box.server.names()).toEqual([poison]);
    await box.until(async () => (await box.ok('read', 'sys/leases')).data?.['lease_count'] === 1, 2000);
    const stuck = await box.ok('read', 'sys/leases');
    expect(stuck.data).toMatchObject({ leases: [{ error: 'internal error' }] });
    box.server.before = () => {};
    expect(await box.settled(60_000)).toEqual([]);
  });

  test('a server that is away for long is asked with one credential at a time, then with many again', async () => {
    const made = [];
    for (let i = 0; i < 40; i++) made.push(await box.creds('r'));
    let away = true;
    box.server.before = (call) => {
      if (away && call === 'end') throw new Fault('database.unreachable', 'no route to the host');
    };
    await box.send('write', 'sys/leases/revoke-prefix/fake/creds/r', { sync: false });
    const ends = () => box.server.calls.filter(({ call }) => call === 'end');
    await box.until(() => ends().length >= 40, 300_000);
    expect(ends().at(-1)?.names).toHaveLength(1);
    away = false;
    expect(await box.settled(300_000)).toEqual([]);
    expect(
      Math.max(
        ...ends()
          .slice(40)
          .map(({ names }) => names.length),
      ),
    ).toBeGreaterThan(5);
    expect(box.server.names()).toEqual([]);
  });

  test('a server that only says so is not believed', async () => {
    const { id, name } = await box.creds('r');
    box.server.liars.add(name);
    const answer = await box.send('write', 'sys/leases/revoke', { lease_id: id });
    expect(refusal(answer)).toEqual([502, expect.stringContaining('still has it')]);
    expect(box.rows('L')).toBeGreaterThan(0);
    box.server.liars.clear();
    expect(await box.settled(60_000)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('force lets go of what the server keeps, and says so in the log', async () => {
    const { name } = await box.creds('r');
    box.server.refused.set(name, 'no');
    await box.ok('write', 'sys/leases/revoke-force/fake/creds/r');
    expect(box.rows('L')).toBe(0);
    expect(box.server.names()).toEqual([name]);
    expect(await events()).toContain('lease.forced');
    // What no lease explains is found.
    const { data } = await box.ok('read', 'sys/leases/reconcile');
    expect(data).toEqual({ backends: [{ mount: 'fake/', backend: 'one', strangers: [name] }] });
  });

  test('force takes along what was queued without it, though its server is dead', async () => {
    const { id } = await box.creds('r');
    box.server.before = () => {
      throw new Fault('database.unreachable', 'no route to the host');
    };
    expect(refusal(await box.send('write', 'sys/leases/revoke', { lease_id: id }))[0]).toBe(502);
    await box.ok('write', 'sys/leases/revoke-force/fake');
    expect([box.rows('L'), box.rows('Q'), box.rows('T')]).toEqual([0, 0, 0]);
  });

  test('force takes along what is being undone: a server that is dead for good does not hold its mount', async () => {
    const dead = (): never => {
      throw new Fault('database.unreachable', 'no route to the host');
    };
    box.server.after = dead;
    box.server.before = (call) => (call === 'create' ? undefined : dead());
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(502);
    await box.until(() => box.rows('I') + box.rows('Q') === 2);
    await box.ok('write', 'sys/leases/revoke-force/other');
    expect(box.rows('I')).toBe(1);
    await box.ok('write', 'sys/leases/revoke-force/fake');
    await box.until(() => box.rows('I') + box.rows('Q') === 0);
    await box.ok('delete', 'sys/mounts/fake');
    expect(await events()).toContain('lease.forced');
    // The server has it still, and nothing of the box knows of it: that is what force means.
    expect(box.server.names()).toHaveLength(1);
  });

  test('force that a seal cuts off has asked nobody yet: the lease stays, and is ended after the unseal', async () => {
    await box.creds('r');
    box.server.before = (call) => (call === 'end' ? never() : undefined);
    const forced = box.send('write', 'sys/leases/revoke-force/fake/creds/r');
    await box.until(() => box.server.calls.some(({ call }) => call === 'end'));
    await box.box.seal();
    await forced;
    expect([box.rows('L') > 0, box.rows('Q')]).toEqual([true, 1]);
    box.server.before = () => {};
    await box.box.offerShare(new Secret(Buffer.from(box.share)));
    expect(await box.settled(5000)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('whoever does not wait is answered 202', async () => {
    const { id } = await box.creds('r');
    const answer = await box.ok('write', 'sys/leases/revoke', { lease_id: id, sync: false });
    expect(answer.status).toBe(202);
    expect(await box.settled()).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('a mount whose server is dead cannot be reached, and goes when its leases have', async () => {
    await box.creds('r');
    box.server.before = () => {
      throw new Fault('database.unreachable', 'no route to the host');
    };
    expect(refusal(await box.send('delete', 'sys/mounts/fake'))[0]).toBe(502);
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(404);
    expect(refusal(await box.send('write', 'sys/mounts/fake', { type: 'fake' }))).toEqual([
      400,
      'path is already in use at fake/',
    ]);
    expect(refusal(await box.send('write', 'sys/remount', { from: 'fake', to: 'other' }))[0]).toBe(400);
    box.server.before = () => {};
    await box.until(async () => {
      await box.services.leases.sweep();
      return box.services.mounts.list().every(({ path }) => path !== 'fake/') && box.rows('L') === 0;
    }, 10_000);
    await box.until(
      async () => (await box.send('write', 'sys/mounts/fake', { type: 'fake' })).kind === 'answer',
      10_000,
    );
    expect(box.server.names()).toEqual([]);
  });

  test('a mount stays until what was half made in it is undone', async () => {
    box.server.after = (call) => {
      if (call === 'create') throw new Fault('database.unreachable', 'the connection broke');
    };
    expect(refusal(await box.send('read', 'fake/creds/r'))[0]).toBe(502);
    box.server.after = () => {};
    let removed = false;
    const removal = box.send('delete', 'sys/mounts/fake').then((outbound) => {
      removed = true;
      return outbound;
    });
    await pause(200);
    expect([removed, box.rows('I')]).toEqual([false, 1]);
    await box.until(() => removed, 500);
    expect((await removal).kind).toBe('answer');
    expect([box.rows('I'), box.rows('Q')]).toEqual([0, 0]);
    expect(box.server.names()).toEqual([]);
  });

  test('a mount that moves ends its leases first', async () => {
    const { id } = await box.creds('r');
    await box.ok('write', 'sys/remount', { from: 'fake', to: 'moved' });
    expect(box.server.names()).toEqual([]);
    expect(await box.lookup(id)).toBeUndefined();
    expect((await box.ok('read', 'moved/creds/r')).lease?.id).toMatch(/^moved\/creds\/r\//);
  });
});

describe('a held box', () => {
  test('makes and ends nothing outside until it is said to be the one that lives', async () => {
    const { id, name } = await box.creds('r', { ttl: 30 });
    held = 'this box may be a copy of one that lives';
    expect(refusal(await box.send('read', 'fake/creds/r'))).toEqual([503, expect.stringContaining(held)]);
    expect(refusal(await box.send('write', 'sys/leases/renew', { lease_id: id }))[0]).toBe(503);
    expect(refusal(await box.send('write', 'sys/leases/revoke', { lease_id: id }))).toEqual([
      503,
      expect.stringContaining('is queued and not ended yet'),
    ]);
    box.skip(60_000);
    await pause(100);
    expect(box.server.logins.has(name)).toBe(true);
    // Looking is no change.
    expect((await box.ok('read', 'sys/leases/reconcile')).data).toMatchObject({ backends: [{ strangers: [] }] });
    held = undefined;
    expect(await box.settled(5000)).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });
});

describe('an answer with a lease', () => {
  test('is not given for the last use of a token, and its login ends with that token', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], num_uses: 1 });
    const answer = await box.send('read', 'fake/creds/r', {}, auth?.clientToken ?? '');
    expect(refusal(answer)[0]).toBe(400);
    expect(JSON.stringify(answer)).not.toContain('v-');
    await box.until(() => box.server.logins.size === 0);
    expect(await box.settled()).toEqual([]);
  });

  test('is wrapped with its lease, and unwrapped with it', async () => {
    const wrapped = await box.ok('read', 'fake/creds/r', {}, box.root, { wrapTtl: 60 });
    expect([wrapped.lease, wrapped.data]).toEqual([undefined, undefined]);
    const { lease, data } = await box.ok('write', 'sys/wrapping/unwrap', {}, wrapped.wrapInfo?.token ?? '');
    expect(lease).toMatchObject({ renewable: true });
    expect(box.server.logins.has(String(data?.['username']))).toBe(true);
    expect(await box.lookup(lease?.id ?? '')).toMatchObject({ path: 'fake/creds/r' });
  });

  test('lives at most as long as a batch token, and goes with the parent of one', async () => {
    const policy = 'path "*" { capabilities = ["create", "read", "update", "sudo"] }';
    await box.ok('write', 'sys/policies/acl/all', { policy });
    const { auth: parent } = await box.ok('write', 'auth/token/create', { policies: ['all'], ttl: '1h' });
    const { auth } = await box.ok(
      'write',
      'auth/token/create',
      { policies: ['all'], type: 'batch', ttl: 100 },
      parent?.clientToken ?? '',
    );
    const { id, answer } = await box.creds('r', { ttl: 3600 }, auth?.clientToken ?? '');
    expect(answer.lease?.durationSeconds).toBeLessThanOrEqual(100);
    const { lease } = await box.ok('write', 'sys/leases/renew', { lease_id: id, increment: 3600 });
    expect(lease?.durationSeconds).toBeLessThanOrEqual(100);
    await box.ok('write', 'auth/token/revoke', { token: parent?.clientToken ?? '' });
    expect(await box.settled()).toEqual([]);
    expect(box.server.names()).toEqual([]);
  });

  test('may be looked up and renewed by whoever has its id and the default policy, and revoked by none of them', async () => {
    const { id } = await box.creds('r');
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['default'] });
    const token = auth?.clientToken ?? '';
    expect((await box.ok('write', 'sys/leases/lookup', { lease_id: id }, token)).data).toMatchObject({ id });
    expect((await box.ok('write', 'sys/leases/renew', { lease_id: id }, token)).lease).toMatchObject({ id });
    for (const path of [
      'sys/leases/revoke',
      'sys/revoke-prefix/fake',
      'sys/leases/revoke-force/fake',
      'sys/leases/tidy',
    ]) {
      expect(refusal(await box.send('write', path, { lease_id: id }, token))[0]).toBe(403);
    }
    expect(refusal(await box.send('read', 'sys/leases', {}, token))[0]).toBe(403);
    expect(await box.lookup(id)).toMatchObject({ id });
  });
});

test('tidying ends leases whose token is gone, and clears rows that name none', async () => {
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
  const { name } = await box.creds('r', {}, auth?.clientToken ?? '');
  const tokenId = box.services.tokens.idOf(auth?.clientToken ?? '') ?? '';
  // Damage that no way through the service leaves.
  await box.store.commit({ puts: [{ table: 'token', key: Buffer.from(tokenId, 'hex') }] });
  const done = await box.ok('write', 'sys/leases/tidy');
  expect(done).toMatchObject({ status: 202, warnings: [expect.stringContaining('1 leases without a token')] });
  expect(await box.settled()).toEqual([]);
  expect(box.server.logins.has(name)).toBe(false);
  expect(await events()).toContain('lease.tidied');
});
