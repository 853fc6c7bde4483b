/**
 * A power cut before and after every named step of a lease's life: afterwards every login of the fake server is explained
 * by a lease, every lease has its login, and nothing is left half done.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import * as rows from '../../../host/leases/row.ts';
import { KEPT_MS } from '../../../host/leases/spares.ts';
import { STEPS, type Step, type StepHook } from '../../../host/leases/steps.ts';
import { type LeaseBox, leaseBox, TIMEOUT_MS } from './rig.ts';

type When = 'before' | 'after';

/** Everything that leases do to the store and to backends has a name in the table: nothing else in the room does it. */
test('nothing in host/leases commits or calls a backend but through a named step', () => {
  // Those two are the queue of whatever is due, of any kind: they commit for engines, and no lease.
  const queue = ['expiry.ts', 'record-due.ts'];
  const names = readdirSync('host/leases').filter((name) => !queue.includes(name));
  const files = names.map((name) => [name, readFileSync(`host/leases/${name}`, 'utf8')] as const);
  const outside = /\b(?:barrier|store)\.commit\(|\bview\.update\(|#barrier\.commit\(/;
  const backend = /\b(?:backend|server)\.(end|remains|renew|strangers)\(|wanted\.create\(/g;
  const used = new Set<string>();
  for (const [name, text] of files) {
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
    if (name !== 'steps.ts') expect([name, outside.test(code)]).toEqual([name, false]);
    for (const { index } of code.matchAll(backend)) {
      // The call stands in the arguments of a step, at most a few lines behind its beginning.
      const before = code.slice(Math.max(0, index - 400), index);
      expect([name, /steps?\.outside\(|#create\(/.test(before)]).toEqual([name, true]);
    }
    for (const [, step = ''] of code.matchAll(/\.(?:durable|outside)\(\s*(?:force \? )?['`]([^'`]+)['`]/g))
      used.add(step);
    for (const [, step = ''] of code.matchAll(/\? '(revoke\.force)' : 'revoke\.mark'/g)) {
      used.add(step);
      used.add('revoke.mark');
    }
  }
  const kinds = [...used].flatMap((step) =>
    step.startsWith('$') ? ['revoke', 'undo'].map((kind) => step.replace(/^\$\{kind\}/, kind)) : [step],
  );
  expect(new Set(kinds)).toEqual(new Set(Object.keys(STEPS)));
});

/** Stops the box's work at one step until it is let go. */
class Gate {
  readonly seen = new Set<Step>();
  #at: readonly [Step, When] | undefined;
  #reached: (() => void) | undefined;
  #go: (() => void) | undefined;

  readonly hook: StepHook = (step, when) => {
    this.seen.add(step);
    if (this.#at?.[0] !== step || this.#at[1] !== when) return;
    this.#at = undefined;
    this.#reached?.();
    return new Promise<void>((resolve) => {
      this.#go = resolve;
    });
  };

  /** @returns resolves when the work stands there */
  arm(step: Step, when: When): Promise<void> {
    this.#at = [step, when];
    return new Promise<void>((resolve) => {
      this.#reached = resolve;
    });
  }

  release(): void {
    this.#go?.();
  }
}

const gate = new Gate();
/** Brings a box to where the step happens. Settles when its work is over; what it throws is not looked at. */
type Flow = (box: LeaseBox) => Promise<unknown>;

const issue: Flow = (box) => box.send('read', 'fake/creds/r');
const revoke: Flow = async (box) => {
  const { id } = await box.creds('r');
  return await box.send('write', 'sys/leases/revoke', { lease_id: id });
};
const force: Flow = async (box) => {
  const { id } = await box.creds('f');
  return await box.send('write', `sys/leases/revoke-force/${id}`);
};
const renew: Flow = async (box) => {
  const { id } = await box.creds('r', { ttl: 60 });
  return await box.send('write', 'sys/leases/renew', { lease_id: id, increment: 120 });
};
/** The name is taken. */
const taken: Flow = async (box) => {
  box.server.logins.set('somebody', 1);
  const outbound = await box.send('read', 'fake/creds/r', { name: 'somebody' });
  expect(outbound).toMatchObject({ kind: 'error', status: 500 });
  expect(box.server.logins.has('somebody')).toBe(true);
  box.server.logins.delete('somebody');
};
/** Making fails after the server has made it. */
const failing: Flow = async (box) => {
  let once = true;
  box.server.after = (call) => {
    if (call !== 'create' || !once) return;
    once = false;
    throw new Fault('database.unreachable', 'the connection broke');
  };
  await box.send('read', 'fake/creds/r');
  await box.until(() => box.rows('Q') + box.rows('I') === 0, TIMEOUT_MS);
};
/** The mount moves while the credential is made: its lease cannot be written. */
const unwritten: Flow = async (box) => {
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
  const token = auth?.clientToken ?? '';
  box.server.after = async (call) => {
    if (call !== 'create') return;
    box.server.after = () => {};
    await box.ok('write', 'auth/token/revoke', { token });
  };
  return await box.send('read', 'fake/creds/r', {}, token);
};
/** The server refuses once. */
const later: Flow = async (box) => {
  const { id, name } = await box.creds('r');
  box.server.refused.set(name, 'somebody is logged in');
  await box.send('write', 'sys/leases/revoke', { lease_id: id });
  box.server.refused.clear();
  await box.until(() => box.rows('Q') === 0, 2000);
};
/** One after the other: the commit of a lease writes the intent of the next one. */
const again: Flow = async (box) => {
  for (let turn = 0; turn < 3; turn++) await box.send('read', 'fake/creds/r', { like: 'others' });
};
/** Nobody comes for the one in reserve. */
const unused: Flow = async (box) => {
  await again(box);
  box.skip(KEPT_MS + 1);
  await box.services.leases.sweep();
};
const reconcile: Flow = (box) => box.send('read', 'sys/leases/reconcile');

/** Rows that name no lease: what damage leaves, and no way through the service. */
async function stray(box: LeaseBox, key: Buffer, payload: Uint8Array): Promise<void> {
  const { barrier } = box.services;
  await barrier.job('lease', undefined, (grant) => barrier.commit([barrier.seal(grant, 'lease', key, payload)]));
}
const nowhere = { directory: Buffer.alloc(16, 1), entry: Buffer.alloc(16, 2) };
const tidy: Flow = async (box) => {
  await stray(box, rows.tokenKey('03'.repeat(16), nowhere.directory, nowhere.entry), new Uint8Array(1));
  return await box.send('write', 'sys/leases/tidy');
};
const clear: Flow = async (box) => {
  const queued = { sinceMs: 0, reason: 'damage', attempts: 0, fault: '' };
  await stray(box, rows.queueKey({ lane: Buffer.alloc(16, 4), nextMs: 0, ...nowhere }), rows.encodeQueued(queued));
  await box.services.leases.sweep();
  await box.until(() => box.rows('Q') === 0);
};

const FLOWS: Readonly<Record<Step, Flow>> = {
  'tidy.clear': tidy,
  'queue.clear': clear,
  'issue.intent': issue,
  'issue.create': issue,
  'issue.lease': issue,
  'issue.unused': unused,
  'issue.drop': taken,
  'issue.end': unwritten,
  'issue.confirm': unwritten,
  'issue.undone': unwritten,
  'undo.mark': failing,
  'undo.end': failing,
  'undo.confirm': failing,
  'undo.wait': failing,
  'undo.delete': failing,
  'renew.tell': renew,
  'renew.lease': renew,
  'revoke.mark': revoke,
  'revoke.force': force,
  'revoke.end': revoke,
  'revoke.confirm': revoke,
  'revoke.delete': revoke,
  'queue.later': later,
  'reconcile.strangers': reconcile,
};

const boxes: LeaseBox[] = [];
afterAll(async () => {
  for (const box of boxes) await box.end();
});
const made = (async () => {
  const box = await leaseBox({ leaseHook: gate.hook });
  boxes.push(box);
  return box;
})();

const CASES = Object.entries(FLOWS).flatMap(([step, flow]) =>
  (['before', 'after'] as const).map((when) => [step as Step, when, flow] as const),
);

test.each(CASES)('a power cut at %s, %s', async (step, when, flow) => {
  const box = await made;
  const reached = gate.arm(step, when);
  const done = flow(box);
  await reached;
  // A statement that was on its way when the power went arrives behind the first look.
  let arrives = step === 'issue.intent' || step === 'issue.create' || step === 'undo.end';
  const cut = await box.cut((server) => {
    server.logins.delete('somebody');
    server.after = (call, names) => {
      if (call !== 'remains' || !arrives) return;
      arrives = false;
      for (const name of names) server.logins.set(name, 1);
    };
  });
  try {
    gate.release();
    await done;
    box.server.after = () => {};
    const strangers = await cut.settled(TIMEOUT_MS);
    expect(strangers).toEqual([]);
    // Every lease has its login, and none has two.
    const { data } = await cut.ok('read', 'sys/leases/count');
    expect(cut.server.logins.size).toBe(data?.['lease_count']);
    // Whoever was answered has a lease: what was acknowledged is there.
    await cut.ok('write', 'sys/leases/revoke-prefix/fake');
    await cut.ok('write', 'sys/leases/tidy');
    expect(cut.server.names()).toEqual([]);
    expect([cut.rows('L'), cut.rows('T'), cut.rows('Q'), cut.rows('I')]).toEqual([0, 0, 0, 0]);
  } finally {
    await cut.end();
  }
  expect(await box.settled(TIMEOUT_MS)).toEqual([]);
});

test('every step was met', async () => {
  await made;
  const rest = Object.keys(FLOWS).filter((step) => !gate.seen.has(step as Step));
  expect(rest).toEqual([]);
});
