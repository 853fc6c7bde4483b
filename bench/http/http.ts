/**
 * What does one request cost over HTTP, the audit log on disk before the answer?
 *
 * Expected: at 64 connections the log's sync is shared by all and costs next to nothing, so what counts is CPU: that of HTTP
 * itself (bare hono) and once more as much for token, decision, opening and two leaves. At one connection every answer waits
 * for a sync of its own, and a bare handler that appends as many bytes and waits for one sync is the bound.
 *
 * Box and bare servers run in processes of their own over loopback, plain HTTP, and have their turns within each round. The
 * load generator is JavaScript in this process; where it was what could not go faster, the row says so: then requests a
 * second mean little, requests a CPU second of the server's process still hold.
 */

import { type Bare, type Running, Scratch, startBare, startBox } from '../box.ts';
import { bundleRival } from '../build.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';
import { addRun, type Counted, type LoadResult, newCounted, resultOf } from './figures.ts';
import { count, type Kind } from './load.ts';
import { fill, kinds } from './target.ts';

/** `interval`: ours with audit.sync=interval, for reads at few connections alone. */
export type Name = 'ours' | 'before' | 'interval' | Bare;
type What = 'read' | 'write' | 'list' | 'lookup';

interface Size {
  readonly rounds: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly secrets: number;
  readonly connections: readonly number[];
  readonly kinds: readonly What[];
}

const ALL: readonly What[] = ['read', 'write', 'list', 'lookup'];
const FULL: Size = {
  rounds: 5,
  warmupMs: 300,
  durationMs: 1000,
  secrets: 10_000,
  connections: [64, 4, 1],
  kinds: ALL,
};
const SMALL: Size = { rounds: 1, warmupMs: 20, durationMs: 80, secrets: 50, connections: [4], kinds: ALL };

/** Of bare hono's requests a CPU second, at 64 connections. */
const REACH_HONO = process.versions.node.startsWith('20.') ? 0.5 : 0.45;
/** Of the requests a second of bare hono that appends and syncs. */
const REACH_SYNC = 0.85;
/** So few that the log's sync is not shared by many. */
const FEW = 4;
const BODY = JSON.stringify({ data: { username: 'bench', password: 'x'.repeat(160) } });

interface Contender {
  readonly name: Name;
  readonly server: Running;
  readonly kinds: ReadonlyMap<What, Kind>;
}

function ourKinds(secrets: number): Map<What, Kind> {
  const shares = new Map(ALL.map((what) => [what, 1]));
  const all = kinds({ mount: 'secret', secrets, shares, login: undefined });
  return new Map(all.map((kind) => [kind.name as What, kind]));
}

/** A bare server knows two requests: one without a body and one with. */
const BARE_KINDS: ReadonlyMap<What, Kind> = new Map([
  ['read', { name: 'read', weight: 1, shot: () => ({ method: 'GET', path: '/v1/secret/data/bench/0/1' }) }],
  [
    'write',
    { name: 'write', weight: 1, shot: () => ({ method: 'POST', path: '/v1/secret/data/bench/0/1', body: BODY }) },
  ],
]);

/** `read 64 hono` → what was counted. */
class Counts {
  readonly #counts = new Map<string, Counted>();

  add(name: Name, what: What, connections: number, run: Counted): void {
    const key = `${what} ${connections} ${name}`;
    let all = this.#counts.get(key);
    if (all === undefined) {
      all = newCounted();
      this.#counts.set(key, all);
    }
    addRun(all, run);
  }

  get(name: Name, what: What, connections: number): LoadResult | undefined {
    const own = this.#counts.get(`${what} ${connections} ${name}`);
    return own === undefined ? undefined : resultOf(own);
  }
}

async function measure(contenders: readonly Contender[], size: Size, say: (line: string) => void): Promise<Counts> {
  const counts = new Counts();
  for (let round = 0; round < size.rounds; round++) {
    for (const connections of size.connections) {
      say(`round ${round + 1} of ${size.rounds}, ${connections} connections`);
      for (const what of size.kinds) {
        for (let i = 0; i < contenders.length; i++) {
          // Each round begins with another one.
          const { name, server, kinds: known } = contenders[(i + round) % contenders.length] as Contender;
          const kind = known.get(what);
          if (kind === undefined || (name === 'interval' && connections > FEW)) continue;
          const { target, pid, token } = server;
          const run = await count({
            ...{ target, pid, connections, warmupMs: size.warmupMs, durationMs: size.durationMs, mix: [kind] },
            ...(token === undefined ? {} : { token }),
          });
          if (run.failures > 0) throw new Error(`${run.failures} of ${name}'s answers to ${what} were failures`);
          counts.add(name, what, connections, run);
        }
      }
    }
  }
  return counts;
}

const ms = (us: number): string => (us / 1000).toFixed(2);

function noteOf(results: readonly (readonly [Name, LoadResult])[]): string {
  const latencies = results.map(
    ([name, { latency, requestsPerSecond }]) =>
      `${name} ${ms(latency.p50Us)}/${ms(latency.p99Us)} at ${requestsPerSecond.toLocaleString('en')}/s`,
  );
  const bound = results.filter(([, { clientBound }]) => clientBound).map(([name]) => name);
  const beside = bound.length === 0 ? '' : `; the load generator was the limit for ${bound.join(', ')}`;
  return `p50/p99 ms: ${latencies.join(', ')}${beside}`;
}

function rowsOf(counts: Counts, names: readonly Name[], what: What, connections: number): BenchRow[] {
  const own = counts.get('ours', what, connections);
  if (own === undefined) return [];
  // A list and a lookup are answered by bare servers as a read is.
  const bare: What = what === 'write' ? 'write' : 'read';
  const all = names.flatMap((name): [Name, LoadResult][] => {
    const result = counts.get(name, name === 'before' ? what : bare, connections);
    return name === 'ours' || result === undefined ? [] : [[name, result]];
  });
  const results = all.filter(([name]) => name !== 'interval');
  const by = new Map(all);
  const perCpu = (result: LoadResult | undefined): number => result?.requestsPerCpuSecond ?? Number.NaN;
  const toHono = perCpu(own) / perCpu(by.get('hono'));
  const toSync = own.requestsPerSecond / (by.get('hono-sync')?.requestsPerSecond ?? Number.NaN);
  const title = `${what}, ${connections} connection${connections === 1 ? '' : 's'}`;
  const reached = what === 'read' && connections === 64;
  const rows: BenchRow[] = [
    {
      what: title,
      unit: 'requests a CPU second',
      ours: perCpu(own),
      rivals: Object.fromEntries(results.map(([name, result]) => [name, perCpu(result)])),
      ...(Number.isNaN(toHono) ? {} : { ratio: toHono }),
      ...(reached ? { reach: `>= ${REACH_HONO}x hono`, met: toHono >= REACH_HONO } : {}),
      note: `${own.cpuMicrosPerRequest ?? '?'} us CPU a request; ${noteOf([['ours', own], ...results])}`,
    },
  ];
  if (what === 'read' && connections <= FEW) {
    const interval = by.get('interval');
    if (interval !== undefined) {
      rows.push({
        what: `${title}, in a second, audit.sync=interval`,
        unit: 'requests/s',
        ours: interval.requestsPerSecond,
        rivals: { always: own.requestsPerSecond },
        ratio: interval.requestsPerSecond / own.requestsPerSecond,
      });
    }
    rows.push({
      what: `${title}, in a second`,
      unit: 'requests/s',
      ours: own.requestsPerSecond,
      rivals: { 'hono-sync': by.get('hono-sync')?.requestsPerSecond ?? Number.NaN },
      ratio: toSync,
      reach: `>= ${REACH_SYNC}x hono-sync`,
      met: toSync >= REACH_SYNC,
    });
  }
  return rows;
}

/** @param only  some kinds and numbers of connections instead of all */
export async function run(options: BenchOptions, only: Partial<Size> = {}): Promise<BenchResult> {
  const size: Size = { ...(options.small ? SMALL : FULL), ...only };
  const scratch = new Scratch();
  const started: Contender[] = [];
  const say = options.onProgress ?? ((): void => undefined);
  try {
    const programs: [Name, string | undefined][] = [['ours', options.program]];
    if (options.against !== undefined) programs.push(['before', options.against]);
    if (size.connections.some((count) => count <= FEW)) programs.push(['interval', options.program]);
    for (const [name, program] of programs) {
      const server = await startBox({
        folder: `${scratch.folder}/${name}`,
        ...(program === undefined ? {} : { program }),
        ...(name === 'interval' ? { settings: { audit: { sync: 'interval' } } } : {}),
      });
      const all = ourKinds(size.secrets);
      const reads = new Map([...all].filter(([what]) => what === 'read'));
      started.push({ name, server, kinds: name === 'interval' ? reads : all });
      say(`writing ${size.secrets} secrets to ${name}`);
      await fill(
        { target: server.target, token: server.token ?? '', connections: 16, warmupMs: 0, durationMs: 0 },
        'secret',
        size.secrets,
      );
    }
    const rival = await bundleRival();
    for (const name of ['http', 'hono', 'hono-sync'] as const) {
      started.push({ name, server: await startBare(rival, name, scratch.folder), kinds: BARE_KINDS });
    }
    const counts = await measure(started, size, say);
    const names = started.map(({ name }) => name);
    const rows = size.kinds.flatMap((what) =>
      size.connections.flatMap((connections) => rowsOf(counts, names, what, connections)),
    );
    return benchResult('http', rows);
  } finally {
    await Promise.all(started.map(({ server }) => server.stop()));
    scratch.end();
  }
}
