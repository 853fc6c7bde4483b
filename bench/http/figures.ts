/** Latencies in HDR histograms, and what a load run comes to. */
import { type Histogram, build as histogram } from 'hdr-histogram-js';

export interface Latency {
  readonly count: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

export interface LoadResult {
  readonly requests: number;
  /** Answers of 400 and above, and connections that broke. */
  readonly failures: number;
  readonly seconds: number;
  readonly requestsPerSecond: number;
  readonly requestsPerCpuSecond?: number;
  readonly cpuMicrosPerRequest?: number;
  readonly memoryMiB?: number;
  /** CPU seconds a second, of the load generator and (with its pid) of the server. */
  readonly clientCpuShare: number;
  readonly serverCpuShare?: number;
  /** True if the generator, and not the server, was what could not go faster. */
  readonly clientBound: boolean;
  readonly latency: Latency;
  readonly byKind: Readonly<Record<string, Latency>>;
  /** One point a second: answers and their 99th percentile, for the curves. */
  readonly timeline: readonly { readonly second: number; readonly requests: number; readonly p99Us: number }[];
  /** Percentile to microseconds, for the curve of latencies. */
  readonly curve: readonly { readonly percentile: number; readonly us: number }[];
}

/** What one or several runs of the same load counted. */
export interface Counted {
  readonly all: Histogram;
  readonly byKind: Map<string, Histogram>;
  failures: number;
  seconds: number;
  clientCpu: number;
  /** Undefined without a pid. */
  serverCpu: number | undefined;
  memoryMiB: number | undefined;
  readonly timeline: { second: number; requests: number; p99Us: number }[];
}

/** A generator that has less of a core than this left over is what limits the run. */
const CLIENT_FULL = 0.9;
const SERVER_FULL = 0.9;
const PERCENTILES = [0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100] as const;

export const newHistogram = (): Histogram =>
  histogram({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });

export const newCounted = (): Counted => ({
  all: newHistogram(),
  byKind: new Map(),
  failures: 0,
  seconds: 0,
  clientCpu: 0,
  serverCpu: undefined,
  memoryMiB: undefined,
  timeline: [],
});

const sum = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : a + b;

/** Adds a run of the same load to those before. */
export function addRun(to: Counted, run: Counted): void {
  to.all.add(run.all);
  for (const [kind, own] of run.byKind) {
    const before = to.byKind.get(kind);
    if (before === undefined) to.byKind.set(kind, own);
    else before.add(own);
  }
  to.failures += run.failures;
  to.seconds += run.seconds;
  to.clientCpu += run.clientCpu;
  to.serverCpu = sum(to.serverCpu, run.serverCpu);
  to.memoryMiB = run.memoryMiB ?? to.memoryMiB;
  const last = to.timeline.at(-1)?.second ?? 0;
  for (const point of run.timeline) to.timeline.push({ ...point, second: last + point.second });
}

function latencyOf(h: Histogram): Latency {
  const at = (p: number): number => h.getValueAtPercentile(p);
  return {
    count: h.totalCount,
    meanUs: Math.round(h.mean * 10) / 10,
    p50Us: at(50),
    p90Us: at(90),
    p99Us: at(99),
    p999Us: at(99.9),
    maxUs: h.maxValue,
  };
}

const tenths = (value: number): number => Math.round(value * 10) / 10;
const hundredths = (value: number): number => Math.round(value * 100) / 100;

/** @param closedLoop  only then does a generator that works without pause say anything */
export function resultOf(counted: Counted, closedLoop = true): LoadResult {
  const { all, failures, seconds, clientCpu, serverCpu, memoryMiB } = counted;
  const requests = all.totalCount;
  const clientCpuShare = hundredths(clientCpu / seconds);
  const serverCpuShare = serverCpu === undefined ? undefined : hundredths(serverCpu / seconds);
  return {
    requests,
    failures,
    seconds,
    requestsPerSecond: Math.round(requests / seconds),
    ...(serverCpu === undefined || serverCpu <= 0
      ? {}
      : {
          requestsPerCpuSecond: Math.round(requests / serverCpu),
          cpuMicrosPerRequest: tenths((serverCpu * 1e6) / requests),
        }),
    ...(memoryMiB === undefined ? {} : { memoryMiB: tenths(memoryMiB) }),
    clientCpuShare,
    ...(serverCpuShare === undefined ? {} : { serverCpuShare }),
    clientBound:
      closedLoop && clientCpuShare >= CLIENT_FULL && (serverCpuShare === undefined || serverCpuShare < SERVER_FULL),
    latency: latencyOf(all),
    byKind: Object.fromEntries([...counted.byKind].map(([name, h]) => [name, latencyOf(h)])),
    timeline: counted.timeline,
    curve: PERCENTILES.map((percentile) => ({ percentile, us: all.getValueAtPercentile(percentile) })),
  };
}
