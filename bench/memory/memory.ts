/**
 * How much memory has the box for itself: new, idle with its secrets, under load, and after very many requests?
 *
 * Expected: V8's heap and core's fixed regions idle; under load the young generation and buffers come to it. What grows with
 * the number of requests is a leak. Counted are RssAnon, RssShmem and VmSwap; mapped pages of files (the store, the programs), which
 * the kernel takes back when it needs them, are shown beside. The bare hono server has its turn in the same run.
 */

import { type Running, Scratch, startBare, startBox } from '../box.ts';
import { bundleRival } from '../build.ts';
import { count, type Kind } from '../http/load.ts';
import { fill, kinds } from '../http/target.ts';
import { mappedMiB, privateMiB } from '../process.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';

const IDLE_MIB = 100;
const LOAD_MIB = 150;
/** What a garbage collector's mood is worth; a leak of ten bytes a request is more. */
const GROWTH_MIB = 8;
const SETTLE_MS = 3000;
const SAMPLE_MS = 200;

interface Size {
  readonly secrets: number;
  readonly settleMs: number;
  readonly loadMs: number;
  readonly requests: number;
}

const FULL: Size = { secrets: 10_000, settleMs: SETTLE_MS, loadMs: 10_000, requests: 1_000_000 };
const SMALL: Size = { secrets: 50, settleMs: 50, loadMs: 300, requests: 500 };

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Memory {
  readonly idle: number;
  readonly load: number;
  readonly mapped: number;
}

/** Runs a load and answers the most that the process had meanwhile. */
async function most(server: Running, mix: readonly Kind[], durationMs: number): Promise<number> {
  let highest = 0;
  const sampler = setInterval(() => {
    highest = Math.max(highest, privateMiB(server.pid));
  }, SAMPLE_MS);
  try {
    const { target, token } = server;
    const load = { target, connections: 64, warmupMs: 0, durationMs, mix };
    const { failures } = await count(token === undefined ? load : { ...load, token });
    if (failures > 0) throw new Error(`${failures} answers under load were failures`);
  } finally {
    clearInterval(sampler);
  }
  return Math.max(highest, privateMiB(server.pid));
}

async function memoryOf(server: Running, mix: readonly Kind[], size: Size): Promise<Memory> {
  await pause(size.settleMs);
  const idle = privateMiB(server.pid);
  const load = await most(server, mix, size.loadMs);
  return { idle, load, mapped: mappedMiB(server.pid) };
}

/** Reads until so many are answered; the least memory within the second tenth and within the last. */
async function growth(
  server: Running,
  mix: readonly Kind[],
  requests: number,
): Promise<{ readonly grown: number; readonly done: number }> {
  const { target, token = '' } = server;
  const tenths: number[] = [];
  let done = 0;
  while (done < requests) {
    const run = await count({
      target,
      token,
      connections: 64,
      warmupMs: 0,
      durationMs: requests > 10_000 ? 1000 : 50,
      mix,
    });
    done += run.all.totalCount;
    const tenth = Math.min(9, Math.floor((done / requests) * 10));
    const now = privateMiB(server.pid);
    tenths[tenth] = Math.min(tenths[tenth] ?? now, now);
  }
  const early = tenths[1] ?? tenths.find((value) => value !== undefined) ?? 0;
  return { grown: (tenths[9] ?? tenths.at(-1) ?? 0) - early, done };
}

export async function run({ small, program, onProgress }: BenchOptions): Promise<BenchResult> {
  const size = small ? SMALL : FULL;
  const scratch = new Scratch();
  const running: Running[] = [];
  const own = { folder: `${scratch.folder}/box`, ...(program === undefined ? {} : { program }) };
  const begin = async (server: Promise<Running>): Promise<Running> => {
    const started = await server;
    running.push(started);
    return started;
  };
  try {
    const fresh = await begin(startBox(own));
    await pause(size.settleMs);
    const newMiB = privateMiB(fresh.pid);
    const { target, token = '' } = fresh;
    await fill({ target, token, connections: 16, warmupMs: 0, durationMs: 0 }, 'secret', size.secrets);
    await fresh.stop();
    const box = await begin(startBox(own));
    const bare = await begin(startBare(await bundleRival(), 'hono', scratch.folder));
    const shares = new Map([
      ['read', 80],
      ['write', 15],
      ['list', 5],
    ]);
    const mix = kinds({ mount: 'secret', secrets: size.secrets, shares, login: undefined });
    onProgress?.('under load');
    const ours = await memoryOf(box, mix, size);
    const hono = await memoryOf(bare, mix.slice(0, 2), size);
    onProgress?.(`${size.requests} reads`);
    const { grown, done } = await growth(box, mix.slice(0, 1), size.requests);
    const row = (what: string, value: number, most: number, rival: number): BenchRow => ({
      what,
      unit: 'MiB',
      ours: value,
      rivals: { hono: rival },
      reach: `<= ${most} MiB`,
      met: value <= most,
    });
    return benchResult('memory', [
      { what: 'new, no secrets', unit: 'MiB', ours: newMiB, rivals: {} },
      {
        ...row(`idle, ${size.secrets.toLocaleString('en')} secrets`, ours.idle, IDLE_MIB, hono.idle),
        note: `and ${ours.mapped.toFixed(0)} MiB of mapped files (hono ${hono.mapped.toFixed(0)})`,
      },
      row('under load, 64 connections', ours.load, LOAD_MIB, hono.load),
      {
        what: `growth over ${done.toLocaleString('en')} reads`,
        unit: 'MiB',
        ours: grown,
        rivals: {},
        reach: `<= ${GROWTH_MIB} MiB`,
        met: grown <= GROWTH_MIB,
      },
    ]);
  } finally {
    await Promise.all(running.map((server) => server.stop()));
    scratch.end();
  }
}
