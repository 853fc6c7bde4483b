/**
 * How many logins a second are made and ended, beside the bare driver doing the same statements on connections that are open;
 * and what the box's other work feels of it.
 *
 * Expected: the server decides. The box adds two commits of its own (the intent, the lease), two audit leaves and a password's
 * verifier to each login; sixteen in flight share commits and hide them. Ended are many at once: one call drops up to a
 * hundred, one commit queues or deletes them.
 */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { NetworkProxy } from '../../test/databases/proxy.ts';
import { type DatabaseServer, type ServerKind, startServer } from '../../test/databases/servers.ts';
import { Scratch } from '../box.ts';
import { count, type Kind } from '../http/load.ts';
import { fill, kinds } from '../http/target.ts';
import { privateMiB } from '../process.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';
import { type LeaseBox, leaseBox, prepared } from './box.ts';
import { type BareDriver, bareDriver } from './driver.ts';

const ISSUE_REACH = 0.8;
const REVOKE_REACH = 600;
const P99_REACH = 1.1;
const GROWTH_MIB = 16;
const SECRETS = 200;

interface Size {
  readonly rounds: number;
  readonly turnMs: number;
  readonly revoked: number;
  readonly expiring: number;
}

const FULL: Size = { rounds: 5, turnMs: 2000, revoked: 2500, expiring: 10_000 };
const SMALL: Size = { rounds: 1, turnMs: 300, revoked: 40, expiring: 20 };
/** Seconds over which leases of the last part end. */
const EXPIRE_S = { full: 60, small: 2 } as const;

const creds = (role: string): Kind => ({
  name: role,
  weight: 1,
  shot: () => ({ method: 'GET', path: `/v1/database/creds/${role}` }),
});
const reads = (): Kind[] =>
  kinds({ mount: 'secret', secrets: SECRETS, shares: new Map([['read', 1]]), login: undefined });
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Logins a second. @throws Error an answer was a failure */
async function issuing(box: LeaseBox, role: string, connections: number, durationMs: number): Promise<number> {
  const { target, token = '' } = box;
  const done = await count({ target, token, connections, warmupMs: 50, durationMs, mix: [creds(role)] });
  if (done.failures > 0) throw new Error(`${done.failures} logins were not made`);
  return done.all.totalCount / done.seconds;
}

/** The bare driver's, with as many under way. @param made takes the names */
async function bare(driver: BareDriver, inFlight: number, durationMs: number, made: string[]): Promise<number> {
  const began = performance.now();
  let done = 0;
  const expiration = '2099-01-01 00:00:00+0000';
  const caller = async (): Promise<void> => {
    while (performance.now() - began < durationMs) {
      const name = `b-${randomBytes(10).toString('hex')}`;
      await driver.create({ name, password: randomBytes(15).toString('base64'), expiration });
      made.push(name);
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  return (done * 1000) / (performance.now() - began);
}

async function issueRows(kind: ServerKind, server: DatabaseServer, box: LeaseBox, size: Size): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const made: string[] = [];
  for (const inFlight of [1, 16]) {
    const driver = await bareDriver(server, inFlight);
    try {
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let round = 0; round < size.rounds; round++) {
        ours.push(await issuing(box, 'issued', inFlight, size.turnMs));
        theirs.push(await bare(driver, inFlight, size.turnMs, made));
      }
      const ratio = median(ours) / median(theirs);
      rows.push({
        what: `${kind} logins issued, ${inFlight} in flight`,
        unit: 'logins/s',
        ours: median(ours),
        rivals: { 'bare driver': median(theirs) },
        ratio,
        reach: `>= ${ISSUE_REACH}x the bare driver`,
        met: ratio >= ISSUE_REACH,
      });
    } finally {
      await driver.close();
    }
  }
  rows.push(await revokeRow(kind, server, box, size, made));
  return rows;
}

/** A prefix of leases, until the answer says that all are gone; the driver drops as many, sixteen in flight. */
async function revokeRow(
  kind: ServerKind,
  server: DatabaseServer,
  box: LeaseBox,
  { revoked }: Size,
  made: string[],
): Promise<BenchRow> {
  await box.ask('PUT', 'sys/leases/revoke-prefix/database/creds/issued');
  await make(box, 'revoked', revoked);
  const began = performance.now();
  await box.ask('PUT', 'sys/leases/revoke-prefix/database/creds/revoked');
  const ours = (revoked * 1000) / (performance.now() - began);
  const driver = await bareDriver(server, 16);
  try {
    const names = made.slice(0, revoked);
    const from = performance.now();
    const caller = async (): Promise<void> => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) await driver.drop(name);
    };
    const dropped = names.length;
    await Promise.all(Array.from({ length: 16 }, caller));
    const theirs = (dropped * 1000) / (performance.now() - from);
    return {
      what: `${kind}: ${revoked.toLocaleString('en')} leases revoked by their prefix`,
      unit: 'leases/s',
      ours,
      rivals: { 'bare driver': theirs },
      ratio: ours / theirs,
      ...(kind === 'postgresql' ? { reach: `>= ${REVOKE_REACH} a second`, met: ours >= REVOKE_REACH } : {}),
    };
  } finally {
    await driver.close();
  }
}

/** So many leases of a role, sixteen at a time. */
async function make(box: LeaseBox, role: string, wanted: number): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next++ < wanted) await box.ask('GET', `database/creds/${role}`);
  };
  await Promise.all(Array.from({ length: 16 }, caller));
}

/** The 99th percentile of reads, in milliseconds. */
async function readsP99(box: LeaseBox, durationMs: number): Promise<number> {
  const { target, token = '' } = box;
  const done = await count({ target, token, connections: 4, warmupMs: 50, durationMs, mix: reads() });
  if (done.failures > 0) throw new Error(`${done.failures} reads failed`);
  return done.all.getValueAtPercentile(99) / 1000;
}

/** Reads while one database takes packets and never answers, and callers wait for it; in turns with a quiet box. */
async function halfOpen(box: LeaseBox, proxy: NetworkProxy, { rounds, turnMs }: Size): Promise<BenchRow> {
  const quiet: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < 2 * rounds; round++) {
    quiet.push(await readsP99(box, turnMs));
    proxy.hold();
    const waiting = Array.from({ length: 8 }, () => box.ask('GET', 'database/creds/issued').catch(() => undefined));
    beside.push(await readsP99(box, turnMs));
    proxy.resume();
    await Promise.all(waiting);
  }
  const ratio = median(beside) / median(quiet);
  return {
    what: 'reads, p99, while a database is half open and 8 callers wait for it',
    unit: 'ms',
    ours: median(beside),
    rivals: { 'the same box with nobody waiting': median(quiet) },
    ratio,
    reach: `<= ${P99_REACH}x the quiet box`,
    met: ratio <= P99_REACH,
  };
}

/** Leases that end within a short time, while others read. */
async function expiring(box: LeaseBox, server: DatabaseServer, size: Size, seconds: number): Promise<BenchRow[]> {
  const before = await readsP99(box, size.turnMs);
  await make(box, 'short', size.expiring);
  const names = async (): Promise<number> => {
    const [row] = await server.sql("SELECT count(*)::int AS n FROM pg_roles WHERE rolname LIKE 'v-%'");
    return Number(row?.['n']);
  };
  const memory = privateMiB(box.pid);
  let most = memory;
  const p99s: number[] = [];
  // Leases were made over some time: they end over as much.
  const until = performance.now() + (seconds + 300) * 1000;
  while ((await names()) > 0) {
    if (performance.now() > until) throw new Error(`${await names()} logins are still there`);
    p99s.push(await readsP99(box, Math.min(1000, size.turnMs)));
    most = Math.max(most, privateMiB(box.pid));
    await pause(10);
  }
  const what = `${size.expiring.toLocaleString('en')} leases of a minute, ending as fast as they were made, all gone`;
  return [
    {
      what: `${what}: memory that came to it`,
      unit: 'MiB',
      ours: Math.max(0.01, most - memory),
      rivals: {},
      reach: `<= ${GROWTH_MIB} MiB`,
      met: most - memory <= GROWTH_MIB,
    },
    {
      what: `${what}: reads, p99, median of seconds`,
      unit: 'ms',
      ours: median(p99s),
      rivals: { before },
      ratio: median(p99s) / before,
    },
  ];
}

export async function run({ small, program, onProgress }: BenchOptions): Promise<BenchResult> {
  const size = small ? SMALL : FULL;
  const seconds = small ? EXPIRE_S.small : EXPIRE_S.full;
  const rows: BenchRow[] = [];
  for (const kind of ['postgresql', 'mariadb'] as const) {
    const scratch = new Scratch();
    const server = await startServer(kind, { durable: true });
    const proxy = await NetworkProxy.before(server);
    let box: LeaseBox | undefined;
    try {
      await prepared(server);
      box = await leaseBox(scratch, server, { issued: 3600, revoked: 3600, short: seconds }, { program });
      const { target, token = '' } = box;
      await fill({ target, token, connections: 16, warmupMs: 0, durationMs: 0 }, 'secret', SECRETS);
      onProgress?.(`${kind}: issuing and revoking`);
      rows.push(...(await issueRows(kind, server, box, size)));
      if (kind !== 'postgresql') continue;
      onProgress?.(`${kind}: ${size.expiring} leases that end`);
      rows.push(...(await expiring(box, server, size, seconds)));
      onProgress?.(`${kind}: half open`);
      await box.ask('POST', 'database/config/main', { connection_url: server.url(proxy.port) });
      rows.push(await halfOpen(box, proxy, size));
    } finally {
      await box?.stop();
      await proxy.close();
      await server.close();
      scratch.end();
    }
  }
  return benchResult('leases', rows);
}
