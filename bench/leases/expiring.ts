/** Thousands of leases whose ends lie within a minute, while others read. */
import type { DatabaseServer } from '../../test/databases/servers.ts';
import { Scratch } from '../box.ts';
import { privateMiB } from '../process.ts';
import type { BenchRow } from '../result.ts';
import type { LeaseBox } from './box.ts';
import { median, pause, readsP99, type Size, times } from './calls.ts';
import { beside } from './pgbench.ts';

const GROWTH_MIB = 16;
/** Logins take longer to make than is expected, at most so many times. */
const SLOWER = 1.5;
const READS_MS_MAX = 1000;
const LOOK_MS = 50;
const GONE_S_MAX = 300;
/** Seconds for which pgbench drops logins. */
const BESIDE_S = 20;
/** Milliseconds between the choice of a role and the start of its lease that the spread allows for. */
const CHOICE_MS = 1000;
/** The box's time of leases and the clock on the wall may be apart by so much. */
const CLOCK_MS = 100;
/** Its multiples, without whole numbers, lie evenly spread from 0 to 1: neighbours in making are none in ending. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

interface Made {
  readonly id: string;
  /** It ends between these, in milliseconds since 1970: its time to live after it was asked for, and after it was answered. */
  readonly fromMs: number;
  readonly toMs: number;
}

interface Ending {
  readonly firstMs: number;
  readonly lastMs: number;
  /** Seconds that all of them took to make. */
  readonly madeS: number;
}

/**
 * Makes leases that all end within the window: of several roles, each lease by the one whose time to live leads from now to
 * the end that is its lot.
 */
async function makeEnding(box: LeaseBox, size: Size, perSecond: number): Promise<Ending> {
  const { expiring, windowS, stepS, spareS } = size;
  const leadS = Math.ceil(spareS + (SLOWER * expiring) / perSecond);
  const role = (ttlS: number): string => `ends-after-${ttlS}`;
  for (let ttlS = stepS; ttlS < leadS + windowS + stepS; ttlS += stepS) await box.role(role(ttlS), ttlS);
  const beganMs = Date.now();
  const openMs = beganMs + leadS * 1000;
  const closeMs = openMs + windowS * 1000;
  const spreadMs = (windowS - stepS) * 1000 - CHOICE_MS;
  const made: Made[] = [];
  await times(expiring, async (turn) => {
    const wantedMs = openMs + ((turn * GOLDEN) % 1) * spreadMs;
    for (;;) {
      const askedMs = Date.now();
      if (askedMs >= openMs) throw new Error(`${expiring} leases were not made before the first of them ended`);
      const ttlS = stepS * Math.ceil((wantedMs - askedMs) / 1000 / stepS);
      const lease = (await box.ask('GET', `database/creds/${role(ttlS)}`)) as {
        readonly lease_id: string;
        readonly lease_duration: number;
      };
      const toMs = Date.now() + lease.lease_duration * 1000;
      if (toMs <= closeMs) {
        made.push({ id: lease.lease_id, fromMs: askedMs + lease.lease_duration * 1000, toMs });
        return;
      }
      // The answer came so late that its end may lie behind the window.
      await box.ask('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id });
    }
  });
  const madeS = (Date.now() - beganMs) / 1000;
  const firstMs = Math.min(...made.map(({ fromMs }) => fromMs));
  // Those that may be the last: which one is, the box says.
  const latestMs = Math.max(...made.map(({ fromMs }) => fromMs));
  const ends = await Promise.all(made.filter(({ toMs }) => toMs >= latestMs).map((lease) => endOf(box, lease)));
  return { firstMs, lastMs: Math.max(...ends), madeS };
}

/** As the box has it, in milliseconds since 1970. @throws Error it is not where the answer said */
async function endOf(box: LeaseBox, { id, fromMs, toMs }: Made): Promise<number> {
  const { data } = (await box.ask('PUT', 'sys/leases/lookup', { lease_id: id })) as {
    readonly data: { readonly expire_time: string };
  };
  const endMs = Date.parse(data.expire_time);
  if (endMs < fromMs - CLOCK_MS || endMs > toMs + CLOCK_MS)
    throw new Error(`a lease ends at ${data.expire_time}, not when it was said to`);
  return endMs;
}

/** @returns when the last login was gone @throws Error some stay */
async function lastGone(logins: () => Promise<number>, lastMs: number): Promise<number> {
  await pause(lastMs - Date.now());
  for (let left = await logins(); left > 0; left = await logins()) {
    if (Date.now() > lastMs + GONE_S_MAX * 1000) throw new Error(`${left} logins are still there`);
    await pause(LOOK_MS);
  }
  return Date.now();
}

/** While the server ends logins, and the box has nothing to do with it. */
async function readsBeside(
  box: LeaseBox,
  server: DatabaseServer,
  { expiring, windowS }: Size,
  readsMs: number,
): Promise<readonly number[]> {
  const scratch = new Scratch();
  const pace = { folder: scratch.folder, perSecond: expiring / windowS, seconds: Math.min(BESIDE_S, windowS) };
  try {
    return await beside(server, pace, () => readsP99(box, readsMs));
  } finally {
    scratch.end();
  }
}

/** @param perSecond  how many logins a second the box makes */
export async function expiringRows(
  box: LeaseBox,
  server: DatabaseServer,
  size: Size,
  perSecond: number,
): Promise<BenchRow[]> {
  const logins = async (): Promise<number> => {
    const [row] = await server.sql("SELECT count(*)::int AS n FROM pg_roles WHERE rolname LIKE 'v-%'");
    return Number(row?.['n']);
  };
  if ((await logins()) > 0) throw new Error('logins of the parts before are still there');
  const empty = privateMiB(box.pid);
  const { firstMs, lastMs, madeS } = await makeEnding(box, size, perSecond);
  const there = await logins();
  if (there !== size.expiring) throw new Error(`${there} logins are there, not ${size.expiring}`);

  const readsMs = Math.min(READS_MS_MAX, size.turnMs);
  const before: number[] = [];
  do before.push(await readsP99(box, readsMs));
  while (Date.now() + 2 * readsMs < firstMs);
  const memory = privateMiB(box.pid);
  await pause(firstMs - Date.now());

  let watching = true;
  const watched = lastGone(logins, lastMs).finally(() => {
    watching = false;
  });
  // Its failure is heard below; one of the reads comes first.
  watched.catch(() => undefined);
  const during: number[] = [];
  let most = memory;
  while (watching) {
    during.push(await readsP99(box, readsMs));
    most = Math.max(most, privateMiB(box.pid));
  }
  const goneMs = await watched;
  const without = await readsBeside(box, server, size, readsMs);

  const what = `${size.expiring.toLocaleString('en')} leases that end within ${size.windowS} s`;
  return [
    {
      what: `${what}: from the end of the last lease to the last login gone`,
      unit: 's',
      ours: (goneMs - lastMs) / 1000,
      rivals: {},
      note: `made in ${madeS.toFixed(1)} s by roles of different default_ttl; from the first end to the last ${((lastMs - firstMs) / 1000).toFixed(1)} s`,
    },
    {
      what: `${what}: memory of the box, the most meanwhile`,
      unit: 'MiB',
      ours: most,
      rivals: { 'before the first end': memory, 'before they were made': empty },
      reach: `<= ${GROWTH_MIB} MiB more than before the first end`,
      met: most - memory <= GROWTH_MIB,
    },
    {
      what: `${what}: reads meanwhile, p99, median of ${during.length} spells of ${readsMs / 1000} s`,
      unit: 'ms',
      ours: median(during),
      rivals: {
        'as many leases, none ending': median(before),
        'no leases, as many logins a second dropped by pgbench': median(without),
      },
      ratio: median(during) / median(before),
    },
  ];
}
