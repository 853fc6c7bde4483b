/**
 * Does a read cost more when there are more secrets, and a list more than its directory?
 *
 * Expected: a read is some walks down LMDB's trees, which grow by a level at 60 times the rows, and the openings that it
 * always has; what is colder is the cache. A list is a range scan and an opening for each name, so the time for a name stays.
 *
 * In process, as the benchmark `read` has it: the whole of dispatch over LMDB, the log's files written and not synced, and
 * CPU counted. Secrets lie 1,000 to a directory; reads meet all of them in an order that no cache likes.
 */
import { createHash } from 'node:crypto';
import { send } from '../../host/api/envelope.ts';
import type { LogFiles } from '../../host/ports/log-files.ts';
import { logFiles } from '../../host/system/log-files.ts';
import { type WholeBox, wholeBox } from '../../test/host/whole/box.ts';
import { cpuUs } from '../measure.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';

const TOGETHER = 64;
const SEGMENT_BYTES = 16 * 1024 * 1024;
const DIRECTORY = 1000;
/** The largest of the sizes to the cheapest: what still counts as flat. */
const FLAT = 1.5;
const DATA = { username: 'bench', password: 'x'.repeat(160) };
const FULL = { secrets: [1000, 10_000, 100_000], names: [100, 1000, 10_000], rounds: 11, reads: 3200, lists: 20_000 };
const SMALL = { secrets: [50, 100, 200], names: [10, 20, 40], rounds: 3, reads: 128, lists: 40 };

const unsynced: LogFiles = {
  ...logFiles,
  open: (path) => ({ ...logFiles.open(path), sync: () => Promise.resolve() }),
};
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

const secretAt = (n: number): string => `all/${Math.floor(n / DIRECTORY)}/${n}`;

/** Runs `work` for each number of [from, to), 64 at a time. */
async function together(from: number, to: number, work: (n: number) => Promise<unknown>): Promise<void> {
  for (let n = from; n < to; n += TOGETHER) {
    await Promise.all(Array.from({ length: Math.min(TOGETHER, to - n) }, (_, i) => work(n + i)));
  }
}

class Growing {
  readonly #box: WholeBox;
  #secrets = 0;

  constructor(box: WholeBox) {
    this.#box = box;
  }

  write(path: string): Promise<unknown> {
    return this.#box.ok('write', `secret/data/${path}`, { data: DATA });
  }

  async growTo(secrets: number): Promise<void> {
    await together(this.#secrets, secrets, (n) => this.write(secretAt(n)));
    this.#secrets = secrets;
  }

  /** @returns microseconds of CPU a read */
  async reads(count: number, from: number): Promise<number> {
    const began = cpuUs();
    await together(from, from + count, async (n) => {
      // A prime that divides no size: every secret has its turn, none beside the one before.
      const path = secretAt((n * 7919) % this.#secrets);
      String(send(await this.#box.send('read', `secret/data/${path}`), false).body);
    });
    return (cpuUs() - began) / count;
  }

  /** @returns microseconds of CPU for a name of the directory */
  async lists(names: number, count: number): Promise<number> {
    const began = cpuUs();
    for (let i = 0; i < count; i++) {
      const answer = await this.#box.send('list', `secret/metadata/names/${names}`);
      String(send(answer, false).body);
    }
    return (cpuUs() - began) / (count * names);
  }
}

/** A row for each size, and one that says what the largest costs beside the cheapest: what is fixed weighs on the small ones. */
function rowsOf(what: string, unit: string, costs: ReadonlyMap<number, number>, of: string): BenchRow[] {
  const [largest = 0, dearest = Number.NaN] = [...costs].at(-1) ?? [];
  const rise = dearest / Math.min(...costs.values());
  return [
    ...[...costs].map(([size, cost]) => ({
      what: `${what}, ${size.toLocaleString('en')} ${of}`,
      ...{ unit, ours: cost, rivals: {} },
    })),
    {
      what: `${what}, ${largest.toLocaleString('en')} ${of} to the cheapest size`,
      ...{ unit: 'times', ours: rise, rivals: {} },
      ...{ reach: `<= ${FLAT} times: flat`, met: rise <= FLAT },
    },
  ];
}

export async function run({ small, onProgress }: BenchOptions): Promise<BenchResult> {
  const size = small ? SMALL : FULL;
  const say = onProgress ?? ((): void => undefined);
  const box = await wholeBox(unsynced, undefined, SEGMENT_BYTES);
  try {
    const growing = new Growing(box);
    for (const names of size.names) await together(0, names, (n) => growing.write(`names/${names}/${n}`));
    const read = new Map<number, number>();
    for (const secrets of size.secrets) {
      say(`writing up to ${secrets} secrets`);
      await growing.growTo(secrets);
      const costs: number[] = [];
      await growing.reads(size.reads, 0);
      for (let round = 1; round <= size.rounds; round++)
        costs.push(await growing.reads(size.reads, round * size.reads));
      read.set(secrets, median(costs));
    }
    const list = new Map<number, number[]>(size.names.map((names) => [names, []]));
    for (let round = 0; round <= size.rounds; round++) {
      for (const names of size.names) {
        const cost = await growing.lists(names, Math.max(1, Math.floor(size.lists / names)));
        // The first round warms up.
        if (round > 0) list.get(names)?.push(cost);
      }
    }
    const perName = new Map([...list].map(([names, costs]) => [names, median(costs)]));
    const last = await box.ok('list', `secret/metadata/names/${size.names[0]}`);
    const digest = createHash('sha256').update(JSON.stringify(last.data)).digest('hex');
    return benchResult(
      'growth',
      [
        ...rowsOf('read', 'us of CPU', read, 'secrets'),
        ...rowsOf('list, for a name', 'us of CPU', perName, 'names in the directory'),
      ],
      digest,
    );
  } finally {
    await box.end();
  }
}
