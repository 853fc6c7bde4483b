/**
 * Drives one HTTP server: a closed loop (each connection sends its next request when the answer is there) or a fixed
 * rate, where latency counts from the moment at which a request *should* have been sent, so that a stall of the server
 * is not left out of the figures.
 */
import { readFileSync } from 'node:fs';
import { type Histogram, build as histogram } from 'hdr-histogram-js';
import { Client } from 'undici';

export interface Shot {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly body?: string;
  /** Without the token of the run. */
  readonly anonymous?: boolean;
}

export interface Kind {
  readonly name: string;
  /** Share of the requests, relative to the others. */
  readonly weight: number;
  /** The `n`-th request of this kind. */
  shot(n: number): Shot;
}

export interface LoadOptions {
  /** `http://…`, `https://…` or `unix:PATH`. */
  readonly target: string;
  readonly ca?: string;
  readonly token?: string;
  readonly connections: number;
  /** Requests a second over all connections; absent: closed loop. */
  readonly rate?: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly mix: readonly Kind[];
  /** The server's process, for its CPU time and memory. */
  readonly pid?: number;
  readonly onProgress?: (line: string) => void;
}

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
  readonly latency: Latency;
  readonly byKind: Readonly<Record<string, Latency>>;
  /** One point a second: answers and their 99th percentile, for the curves. */
  readonly timeline: readonly { readonly second: number; readonly requests: number; readonly p99Us: number }[];
  /** Percentile to microseconds, for the curve of latencies. */
  readonly curve: readonly { readonly percentile: number; readonly us: number }[];
}

/** Pause after a broken connection, so that a server that is gone is not called in a tight loop. */
const RECONNECT_MS = 20;

const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** User and system CPU seconds of a process and its threads (proc(5), stat, in ticks of 10 ms). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** MiB that the process has for itself (RssAnon + RssShmem); the pages of mapped files are not counted. */
export function privateMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kib = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
  return (kib('RssAnon') + kib('RssShmem')) / 1024;
}

/** MiB of mapped file pages, shown beside. */
export function mappedMiB(pid: number): number {
  return Number(/RssFile:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
}

const newHistogram = (): Histogram =>
  histogram({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });

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

/** Deals the kinds out in their shares, evenly spread and without chance: the same run twice sends the same requests. */
function dealer(mix: readonly Kind[]): () => { kind: Kind; n: number } {
  const total = mix.reduce((sum, kind) => sum + kind.weight, 0);
  const owed = mix.map(() => 0);
  const sent = mix.map(() => 0);
  return () => {
    let best = 0;
    for (const [index, kind] of mix.entries()) {
      owed[index] = (owed[index] ?? 0) + kind.weight / total;
      if ((owed[index] ?? 0) > (owed[best] ?? 0)) best = index;
    }
    owed[best] = (owed[best] ?? 0) - 1;
    const n = sent[best] ?? 0;
    sent[best] = n + 1;
    const kind = mix[best];
    if (kind === undefined) throw new Error('a mix needs at least one kind of request');
    return { kind, n };
  };
}

/** One request; resolves with its status when the whole answer is there, 0 if the connection broke. */
function fire(client: Client, shot: Shot, token: string | undefined): Promise<number> {
  const headers: Record<string, string> = {};
  if (token !== undefined && shot.anonymous !== true) headers['x-vault-token'] = token;
  if (shot.body !== undefined) headers['content-type'] = 'application/json';
  return new Promise((resolve) => {
    let status = 0;
    client.dispatch(
      { path: shot.path, method: shot.method, headers, ...(shot.body === undefined ? {} : { body: shot.body }) },
      {
        onRequestStart: () => {},
        onResponseStart: (_controller, statusCode) => {
          status = statusCode;
        },
        onResponseData: () => {},
        onResponseEnd: () => resolve(status),
        onResponseError: () => resolve(0),
      },
    );
  });
}

export function connect(target: string, ca?: string): Client {
  if (target.startsWith('unix:')) return new Client('http://localhost', { socketPath: target.slice(5), pipelining: 1 });
  return new Client(new URL(target).origin, { pipelining: 1, ...(ca === undefined ? {} : { connect: { ca } }) });
}

interface Books {
  all: Histogram;
  byKind: Map<string, Histogram>;
  second: Histogram;
  failures: number;
}

const newBooks = (): Books => ({ all: newHistogram(), byKind: new Map(), second: newHistogram(), failures: 0 });

function enter(books: Books, kind: string, us: number, status: number): void {
  if (status === 0 || status >= 400) books.failures++;
  // A connection that broke gave no answer: it has no latency.
  if (status === 0) return;
  const value = Math.max(1, us);
  books.all.recordValue(value);
  books.second.recordValue(value);
  let own = books.byKind.get(kind);
  if (own === undefined) {
    own = newHistogram();
    books.byKind.set(kind, own);
  }
  own.recordValue(value);
}

/** Runs the load and answers what was seen after the warm-up. @throws Error if the server answers nothing at all */
export async function drive(options: LoadOptions): Promise<LoadResult> {
  const clients = Array.from({ length: options.connections }, () => connect(options.target, options.ca));
  const deal = dealer(options.mix);
  let books = newBooks();
  const began = nowUs();
  const measureFrom = began + options.warmupMs * 1000;
  const end = measureFrom + options.durationMs * 1000;
  let scheduled = 0;

  /** When the next request is due: at once in a closed loop, on the grid of the rate else. */
  const due = (): number => (options.rate === undefined ? nowUs() : began + (scheduled++ * 1_000_000) / options.rate);

  const worker = async (client: Client): Promise<void> => {
    for (;;) {
      const intended = due();
      if (intended >= end || nowUs() >= end) return;
      const wait = intended - nowUs();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait / 1000));
      const { kind, n } = deal();
      const status = await fire(client, kind.shot(n), options.token);
      enter(books, kind.name, nowUs() - intended, status);
      if (status === 0) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  };

  let cpuBefore = 0;
  const timeline: { second: number; requests: number; p99Us: number }[] = [];
  const warm = setTimeout(() => {
    books = newBooks();
    if (options.pid !== undefined) cpuBefore = cpuSeconds(options.pid);
  }, options.warmupMs);
  const ticker = setInterval(() => {
    const second = Math.round((nowUs() - measureFrom) / 1_000_000);
    const { totalCount } = books.second;
    const p99Us = books.second.getValueAtPercentile(99);
    books.second = newHistogram();
    if (second > 0) timeline.push({ second, requests: totalCount, p99Us });
    const phase = second <= 0 ? 'warm-up' : `${second} s of ${options.durationMs / 1000}`;
    options.onProgress?.(
      `${phase}: ${totalCount} answers/s, p99 ${(p99Us / 1000).toFixed(2)} ms, ${books.failures} failed`,
    );
  }, 1000);

  await Promise.all(clients.map(worker));
  const seconds = (nowUs() - measureFrom) / 1_000_000;
  clearTimeout(warm);
  clearInterval(ticker);
  const cpu = options.pid === undefined ? undefined : cpuSeconds(options.pid) - cpuBefore;
  const memory = options.pid === undefined ? undefined : privateMiB(options.pid);
  await Promise.all(clients.map((client) => client.destroy()));
  const requests = books.all.totalCount;
  if (requests === 0) throw new Error(`no answer came from ${options.target}`);
  const curve = [0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100].map((percentile) => ({
    percentile,
    us: books.all.getValueAtPercentile(percentile),
  }));
  return {
    requests,
    failures: books.failures,
    seconds,
    requestsPerSecond: Math.round(requests / seconds),
    ...(cpu === undefined || cpu <= 0
      ? {}
      : {
          requestsPerCpuSecond: Math.round(requests / cpu),
          cpuMicrosPerRequest: Math.round((cpu * 1e7) / requests) / 10,
        }),
    ...(memory === undefined ? {} : { memoryMiB: Math.round(memory * 10) / 10 }),
    latency: latencyOf(books.all),
    byKind: Object.fromEntries([...books.byKind].map(([name, h]) => [name, latencyOf(h)])),
    timeline,
    curve,
  };
}
