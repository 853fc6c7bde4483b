/** What is due and does not end keeps nothing that is due behind it. */
import { afterEach, expect, test } from 'vitest';
import type { Barrier } from '../../../host/barrier/barrier.ts';
import { expiryKey } from '../../../host/barrier/expiry-row.ts';
import { Fault } from '../../../host/fault.ts';
import { Expiry } from '../../../host/leases/expiry.ts';
import type { Clock } from '../../../host/ports/clock.ts';
import { openMemoryStore } from '../../../host/store/memory/memory.ts';

/** More than three runs take. */
const MANY = 800;
const NOW_MS = 1_000_000;

const store = openMemoryStore();
afterEach(async () => {
  await store.commit({
    puts: [...store.range('expiry', {})].map(({ key }) => ({ table: 'expiry', key })),
    expect: [],
  });
});

interface Runner {
  readonly expiry: Expiry;
  readonly reported: Map<string, number>;
  /** Runs what its timer is set for. @returns milliseconds until the run after it */
  tick(): Promise<number>;
}

function runner(): Runner {
  const timers: { readonly ms: number; readonly job: () => void }[] = [];
  const reported = new Map<string, number>();
  const barrier = { store, lease: { nowMs: () => NOW_MS } } as unknown as Barrier;
  const after = (ms: number, job: () => void) => {
    timers.push({ ms, job });
    return { cancel: () => undefined };
  };
  const clock = { after } as unknown as Clock;
  const expiry = new Expiry(barrier, clock, ({ kind, count }) => {
    reported.set(kind, (reported.get(kind) ?? 0) + count);
  });
  expiry.start();
  const tick = async (): Promise<number> => {
    const set = timers.length;
    timers.at(-1)?.job();
    while (timers.length === set) await new Promise((resolve) => setImmediate(resolve));
    return timers.at(-1)?.ms ?? Number.NaN;
  };
  return { expiry, reported, tick };
}

async function dueRows(kind: 'token' | 'rotation' | 'lease', from: number, count: number): Promise<void> {
  const id = (n: number): Buffer => Buffer.from(n.toString(16).padStart(32, '0'), 'hex');
  await store.commit({
    puts: Array.from({ length: count }, (_, n) => ({
      table: 'expiry' as const,
      key: expiryKey(from + n, kind, id(n)),
      value: Buffer.of(1),
    })),
    expect: [],
  });
}

const remove = (key: Uint8Array): Promise<unknown> => store.commit({ puts: [{ table: 'expiry', key }], expect: [] });

test.each([
  ['a fault', () => new Fault('store.full', 'the disk is full')],
  ['a bug', () => new TypeError('of one row')],
])('%s of each of eight hundred rows keeps none behind them', async (_, thrown) => {
  await dueRows('rotation', 1, MANY);
  await dueRows('token', MANY + 10, 3);
  const { expiry, reported } = runner();
  let tries = 0;
  expiry.handle('rotation', async () => {
    tries++;
    throw thrown();
  });
  expiry.handle('token', async ({ key }) => void (await remove(key)));
  for (let runs = 0; await expiry.run(); runs++) expect(runs).toBeLessThan(10);
  expect(reported).toEqual(new Map([['token', 3]]));
  // Each was tried once, and they are what is said to be stuck; the next pass tries them again.
  expect([tries, expiry.stuck]).toEqual([MANY, MANY]);
  await expiry.run();
  expect(tries).toBeGreaterThan(MANY);
});

test('rows of a kind that nobody ends do not make it run for ever', async () => {
  await dueRows('rotation', 1, MANY);
  const { expiry } = runner();
  let runs = 0;
  while (await expiry.run()) expect(++runs).toBeLessThan(10);
  expect(expiry.stuck).toBe(0);
});

test('a group that fails keeps nothing behind it either', async () => {
  await dueRows('lease', 1, MANY);
  await dueRows('token', MANY + 10, 1);
  const { expiry, reported } = runner();
  expiry.handleGroup('lease', async () => {
    throw new Fault('store.full', 'the disk is full');
  });
  expiry.handle('token', async ({ key }) => void (await remove(key)));
  while (await expiry.run());
  expect([reported.get('token'), expiry.stuck]).toEqual([1, MANY]);
});

test.each([
  ['nothing', [], 1000],
  ['a row of the next hour', [3_600_000], 1000],
  ['a row of this second', [400, 700], 400],
  ['one that comes due at once: others are waited for a little', [5], 100],
  ['one that is due, and that nobody ends: it is no reason to hurry', [-10, 300], 1000],
])('the next run waits for %s', async (_, inMs, expected) => {
  for (const ms of inMs) await dueRows('rotation', NOW_MS + ms, 1);
  expect(await runner().tick()).toBe(expected);
});
