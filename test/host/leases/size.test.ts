/** Many leases. `npm run campaign -- leases` runs it with 100,000. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PART_ROWS } from '../../../host/leases/table.ts';
import { bulk } from './bulk.ts';
import { type LeaseBox, leaseBox, pause } from './rig.ts';

const COUNT = Number(process.env['HOLDFAST_LEASE_COUNT'] ?? 10_000);
const FEW = 100;
const LONG_MS = 600_000;

let box: LeaseBox;
beforeEach(async () => {
  box = await leaseBox();
});
afterEach(() => box.end());

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of the heap that are held, after what is not held is gone. */
async function held(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    collect();
    await pause(20);
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

test(`opening a box, and its memory, do not grow with its leases: ${FEW} against ${COUNT}`, {
  timeout: LONG_MS,
}, async () => {
  const open = async (): Promise<readonly [number, number]> => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      await box.services.close();
      times.push(await timed(() => box.services.open()));
    }
    return [Math.min(...times), await held()];
  };
  await bulk(box, { count: FEW, role: 'few', ttlMs: () => 3_600_000 });
  await open();
  const [few, fewBytes] = await open();
  await bulk(box, { count: COUNT - FEW, role: 'many', ttlMs: (i) => 3_600_000 + i });
  // The fake server's own list is no memory of the box.
  const logins = box.server.logins.size;
  box.server.logins.clear();
  const [many, manyBytes] = await open();
  console.log(
    `opened in ${few.toFixed(1)} ms with ${FEW} leases, ${many.toFixed(1)} ms with ${COUNT}; memory ${((manyBytes - fewBytes) / COUNT).toFixed(1)} bytes a lease more`,
  );
  expect(logins).toBe(COUNT);
  // Less than a twentieth of the least that one lease's row would take in memory.
  expect((manyBytes - fewBytes) / COUNT).toBeLessThan(200);
  expect(many).toBeLessThan(10 * few + 50);
  const { data } = await box.ok('read', 'sys/leases/count');
  expect(data?.['lease_count']).toBe(COUNT);
});

test(`${COUNT} leases of one role are listed, found, and joined by one more`, { timeout: LONG_MS }, async () => {
  const ids = await bulk(box, { count: COUNT, role: 'one', ttlMs: () => 3_600_000 });
  const { data } = await box.ok('list', 'sys/leases/lookup/fake/creds/one');
  const keys = data?.['keys'] as readonly string[];
  const tails = ids.map((id) => id.slice('fake/creds/one/'.length)).sort((a, b) => (a < b ? -1 : 1));
  expect(keys).toEqual(tails);
  expect(await box.lookup(ids.at(-1) ?? '')).toMatchObject({ id: ids.at(-1) });
  const { id } = await box.creds('one');
  expect(await box.lookup(id)).toMatchObject({ id });
});

test('10,000 leases that expire within a minute are all gone, and memory stays where it was', {
  timeout: LONG_MS,
}, async () => {
  const count = 10_000;
  await bulk(box, { count, role: 'minute', ttlMs: (i) => 10_000 + i * 6 });
  await held();
  const before = await held();
  let most = 0;
  let look = 0;
  await box.until(async () => {
    if (look++ % 20 === 0) most = Math.max(most, await held());
    // Another request is answered meanwhile.
    if (look % 50 === 0) await box.ok('read', 'sys/leases/count', { type: 'irrevocable' });
    return box.server.logins.size === 0 && box.rows('Q') === 0;
  }, 500);
  console.log(`${count} expired; at most ${((most - before) / 1e6).toFixed(1)} MB more than before`);
  expect([box.rows('L'), box.rows('T')]).toEqual([0, 0]);
  expect(most - before).toBeLessThan(32e6);
});

test('a prefix of 2,500 leases ends', { timeout: LONG_MS }, async () => {
  const count = 2500;
  await bulk(box, { count, role: 'prefix', ttlMs: () => 3_600_000 });
  const ms = await timed(() => box.ok('write', 'sys/leases/revoke-prefix/fake/creds/prefix'));
  console.log(`${count} leases revoked by prefix in ${ms.toFixed(0)} ms: ${Math.round((count * 1000) / ms)} a second`);
  expect(box.server.names()).toEqual([]);
  expect([box.rows('L'), box.rows('T'), box.rows('Q')]).toEqual([0, 0, 0]);
  // Several a call: no backend is asked for one after the other.
  const ends = box.server.calls.filter(({ call }) => call === 'end');
  expect(ends.length).toBeLessThan(count / 20);
});

test('what ends soon after other leases of its backend goes with many a call at once', async () => {
  const wave = async (role: string): Promise<number[]> => {
    await bulk(box, { count: 40, role, ttlMs: () => 5000 });
    const before = box.server.calls.length;
    box.skip(5001);
    await box.until(() => box.server.logins.size === 0 && box.rows('L') === 0);
    return box.server.calls.slice(before).flatMap(({ call, names }) => (call === 'end' ? [names.length] : []));
  };
  // Nobody knows yet how many the backend takes.
  expect((await wave('first'))[0]).toBe(1);
  expect(await wave('second')).toEqual([40]);
  box.skip(60_001);
  expect((await wave('later'))[0]).toBe(1);
});

test('leases that end at the same moment let others have their turn in between', async () => {
  await bulk(box, { count: 1000, role: 'same', ttlMs: () => 5000 });
  const { core } = box.services.barrier;
  const open = core.openTable.bind(core);
  let inTurn = 0;
  let most = 0;
  let all = 0;
  core.openTable = (...row) => {
    all++;
    most = Math.max(most, ++inTurn);
    return open(...row);
  };
  let going = true;
  const turn = (): void => {
    inTurn = 0;
    if (going) setImmediate(turn);
  };
  turn();
  try {
    box.skip(5001);
    await box.until(() => box.server.logins.size === 0 && box.rows('L') === 0);
  } finally {
    going = false;
    core.openTable = open;
  }
  expect(all).toBeGreaterThanOrEqual(3000);
  // Two rows a lease at most. What is due, what is marked and what two calls have ended may meet in one turn.
  expect(most).toBeLessThanOrEqual(8 * PART_ROWS);
});
