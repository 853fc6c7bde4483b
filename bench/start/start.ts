/**
 * How long from the start of the process until the box serves its secrets?
 *
 * Expected: Node itself takes a third, the program's code another (from the compile cache where Node keeps one), then core,
 * the store and its keyring, the log's last groups. The number of secrets does not count: what is verified over all rows is
 * verified in slices while the box serves. An empty Node and bare hono have their turns in the same run.
 */
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { Scratch, startBare, startBox } from '../box.ts';
import { bundleRival } from '../build.ts';
import { fill } from '../http/target.ts';
import { type BenchOptions, type BenchResult, benchResult } from '../result.ts';

const REACH_MS = 150;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

function emptyNode(): number {
  const began = performance.now();
  spawnSync(process.execPath, ['-e', '']);
  return performance.now() - began;
}

export async function run({ small, program, onProgress }: BenchOptions): Promise<BenchResult> {
  const [secrets, rounds] = small ? [50, 1] : [10_000, 11];
  const scratch = new Scratch();
  const own = { folder: `${scratch.folder}/box`, ...(program === undefined ? {} : { program }) };
  try {
    const rival = await bundleRival();
    const first = await startBox(own);
    try {
      const { target, token = '' } = first;
      onProgress?.(`writing ${secrets} secrets`);
      await fill({ target, token, connections: 16, warmupMs: 0, durationMs: 0 }, 'secret', secrets);
    } finally {
      await first.stop();
    }
    const times: Record<'ours' | 'answered' | 'node' | 'hono', number[]> = {
      ours: [],
      answered: [],
      node: [],
      hono: [],
    };
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      const box = await startBox(own);
      try {
        const headers = { 'x-vault-token': box.token ?? '' };
        const answer = await fetch(`${box.target}/v1/secret/data/bench/0/1`, { headers });
        if (answer.status !== 200) throw new Error(`a box that said it was ready answered ${answer.status}`);
        times.answered.push(performance.now() - began);
        times.ours.push(box.startMs);
      } finally {
        await box.stop();
      }
      times.node.push(emptyNode());
      const bare = await startBare(rival, 'hono', scratch.folder);
      await bare.stop();
      times.hono.push(bare.startMs);
    }
    const ours = median(times.ours);
    return benchResult('start', [
      {
        what: `process started to ready, ${secrets.toLocaleString('en')} secrets, no leases yet`,
        unit: 'ms',
        ours,
        rivals: { 'empty node': median(times.node), hono: median(times.hono) },
        reach: `<= ${REACH_MS} ms`,
        met: ours <= REACH_MS,
        note: `the first secret was read ${median(times.answered).toFixed(0)} ms after the start`,
      },
    ]);
  } finally {
    scratch.end();
  }
}
