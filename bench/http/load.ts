/**
 * Drives one HTTP server: a closed loop (each connection sends its next request when the answer is there) or a fixed
 * rate, where latency counts from the moment at which a request *should* have been sent, so that a stall of the server
 * is not left out of the figures.
 */
import { performance } from 'node:perf_hooks';
import { cpuSeconds, privateMiB } from '../process.ts';
import { Connection } from './connection.ts';
import { type Counted, type LoadResult, newCounted, newHistogram, resultOf } from './figures.ts';

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

/** Pause after a broken connection, so that a server that is gone is not called in a tight loop. */
const RECONNECT_MS = 20;
const TIMER_US = 1500;

const nowUs = (): number => Math.round(performance.now() * 1000);
const ownCpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

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

/** What has been counted since the warm-up, and in the second under way. */
class Books {
  counted = newCounted();
  second = newHistogram();

  enter(kind: string, us: number, status: number): void {
    if (status === 0 || status >= 400) this.counted.failures++;
    // A connection that broke gave no answer: it has no latency.
    if (status === 0) return;
    const value = Math.max(1, us);
    this.counted.all.recordValue(value);
    this.second.recordValue(value);
    let own = this.counted.byKind.get(kind);
    if (own === undefined) {
      own = newHistogram();
      this.counted.byKind.set(kind, own);
    }
    own.recordValue(value);
  }
}

/** Timers fire up to a millisecond late, which would be counted as the server's: the last stretch is waited for in turns. */
function at(dueUs: number, job: () => void): void {
  const wait = dueUs - nowUs();
  if (wait > TIMER_US) setTimeout(at, (wait - TIMER_US) / 1000, dueUs, job);
  else if (wait > 0) setImmediate(at, dueUs, job);
  else job();
}

/** One connection's loop. Resolves when the run is over and its last answer is there. */
function work(
  connection: Connection,
  options: LoadOptions,
  deal: ReturnType<typeof dealer>,
  due: () => number,
  end: () => number,
  books: Books,
): Promise<void> {
  const token = options.token === undefined ? '' : `x-vault-token: ${options.token}\r\n`;
  return new Promise((resolve) => {
    const fire = (intended: number): void => {
      const { kind, n } = deal();
      const shot = kind.shot(n);
      const headers = shot.anonymous === true ? '' : token;
      connection.send(connection.encode(shot.method, shot.path, headers, shot.body), (status) => {
        books.enter(kind.name, nowUs() - intended, status);
        if (status === 0) setTimeout(next, RECONNECT_MS);
        else next();
      });
    };
    const next = (): void => {
      const intended = due();
      const now = nowUs();
      if (intended >= end() || now >= end()) resolve();
      else if (intended <= now) fire(intended);
      else at(intended, () => fire(intended));
    };
    next();
  });
}

/** Runs the load and answers what was counted after the warm-up. @throws Error if the server answers nothing at all */
export async function count(options: LoadOptions): Promise<Counted> {
  const { target, ca, pid } = options;
  const connections = Array.from({ length: options.connections }, () => new Connection(target, ca));
  const deal = dealer(options.mix);
  const books = new Books();
  const began = nowUs();
  // From when the warm-up really ended: on a busy machine a timer may come later than a short run would be over.
  let measureFrom = began + options.warmupMs * 1000;
  let end = Number.POSITIVE_INFINITY;
  let scheduled = 0;
  /** When the next request is due: at once in a closed loop, on the grid of the rate else. */
  const due = (): number =>
    options.rate === undefined ? nowUs() : Math.round(began + (scheduled++ * 1_000_000) / options.rate);

  let serverBefore = pid === undefined ? 0 : cpuSeconds(pid);
  let clientBefore = ownCpuSeconds();
  const warm = setTimeout(() => {
    books.counted = newCounted();
    measureFrom = nowUs();
    end = measureFrom + options.durationMs * 1000;
    if (pid !== undefined) serverBefore = cpuSeconds(pid);
    clientBefore = ownCpuSeconds();
  }, options.warmupMs);
  const ticker = setInterval(() => {
    const second = Math.round((nowUs() - measureFrom) / 1_000_000);
    const { totalCount } = books.second;
    const p99Us = books.second.getValueAtPercentile(99);
    books.second = newHistogram();
    if (second > 0) books.counted.timeline.push({ second, requests: totalCount, p99Us });
    const phase = second <= 0 ? 'warm-up' : `${second} s of ${options.durationMs / 1000}`;
    options.onProgress?.(
      `${phase}: ${totalCount} answers/s, p99 ${(p99Us / 1000).toFixed(2)} ms, ${books.counted.failures} failed`,
    );
  }, 1000);

  await Promise.all(connections.map((one) => work(one, options, deal, due, () => end, books)));
  clearTimeout(warm);
  clearInterval(ticker);
  for (const connection of connections) connection.close();
  const { counted } = books;
  if (counted.all.totalCount === 0) throw new Error(`no answer came from ${target}`);
  counted.seconds = (nowUs() - measureFrom) / 1_000_000;
  counted.clientCpu = ownCpuSeconds() - clientBefore;
  counted.serverCpu = pid === undefined ? undefined : cpuSeconds(pid) - serverBefore;
  counted.memoryMiB = pid === undefined ? undefined : privateMiB(pid);
  return counted;
}

/** `count` and what it comes to. */
export const drive = async (options: LoadOptions): Promise<LoadResult> =>
  resultOf(await count(options), options.rate === undefined);
