/**
 * What does a whole read cost without HTTP and without the medium: token, decision, two leaves, opening, the answer's bytes?
 *
 * Expected: five openings and some twenty short hashes in core against as many objects of node:crypto. Reads come 64 at a
 * time, so that a group of leaves is sealed once for all. Ours is the whole of dispatch over LMDB; the log's files are
 * written and not synced. The twin does the same steps with node:crypto over rows in a map, and its group is sealed
 * once for 64 reads too.
 */
import { createHash, randomUUID } from 'node:crypto';
import { send } from '../../host/api/envelope.ts';
import type { LogFiles } from '../../host/ports/log-files.ts';
import { logFiles } from '../../host/system/log-files.ts';
import { type WholeBox, wholeBox } from '../../test/host/whole/box.ts';
import { cpuUs } from '../measure.ts';
import { type BenchOptions, type BenchResult, benchResult } from '../result.ts';
import { Twin } from './twin.ts';

const TOGETHER = 64;
/** As in the product. */
const SEGMENT_BYTES = 16 * 1024 * 1024;
const REACH_US = 14;
const REACH_TWIN = 2;
const DATA = { username: 'bench', password: 'x'.repeat(160) };
const POLICY = 'path "secret/data/*" { capabilities = ["read", "list"] }';

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const nameOf = (n: number, secrets: number): string => `bench/${(n * 7919) % secrets}`;

/** The log's files without the medium: a sync is done at once. */
const unsynced: LogFiles = {
  ...logFiles,
  open: (path) => ({ ...logFiles.open(path), sync: () => Promise.resolve() }),
};

async function reader(box: WholeBox, secrets: number): Promise<string> {
  await box.ok('write', 'sys/policies/acl/reader', { policy: POLICY });
  const write = (n: number): Promise<unknown> => box.ok('write', `secret/data/bench/${n}`, { data: DATA });
  for (let n = 0; n < secrets; n += TOGETHER) {
    await Promise.all(Array.from({ length: Math.min(TOGETHER, secrets - n) }, (_, i) => write(n + i)));
  }
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['reader'] });
  if (auth === undefined) throw new Error('no token was made');
  return auth.clientToken;
}

export async function run({ small }: BenchOptions): Promise<BenchResult> {
  const [secrets, rounds, turns] = small ? [64, 3, 4] : [1000, 21, 100];
  const box = await wholeBox(unsynced, undefined, SEGMENT_BYTES);
  try {
    const token = await reader(box, secrets);
    const twin = new Twin(token, secrets, DATA);
    const one = async (n: number): Promise<string> => {
      const outbound = await box.send('read', `secret/data/${nameOf(n, secrets)}`, {}, token);
      return String(send(outbound, false).body);
    };
    const ours = async (): Promise<number> => {
      const began = cpuUs();
      for (let turn = 0; turn < turns; turn++) {
        await Promise.all(Array.from({ length: TOGETHER }, (_, i) => one(turn * TOGETHER + i)));
      }
      return (cpuUs() - began) / (turns * TOGETHER);
    };
    const theirs = (): number => {
      const began = cpuUs();
      for (let turn = 0; turn < turns; turn++) {
        for (let i = 0; i < TOGETHER; i++) twin.read(randomUUID(), nameOf(turn * TOGETHER + i, secrets));
        twin.flush();
      }
      return (cpuUs() - began) / (turns * TOGETHER);
    };
    const digest = createHash('sha256');
    for (let n = 0; n < 8; n++) {
      const [a, b] = [await one(n), twin.read(randomUUID(), nameOf(n, secrets))];
      const [own, other] = [a, b].map((text) => JSON.stringify(JSON.parse(text).data.data));
      if (own !== other || own === undefined) throw new Error('ours and the twin read different secrets');
      digest.update(own);
    }
    const times: { readonly ours: number[]; readonly twin: number[] } = { ours: [], twin: [] };
    await ours();
    theirs();
    for (let round = 0; round < rounds; round++) {
      times.ours.push(await ours());
      times.twin.push(theirs());
    }
    const [us, twinUs] = [median(times.ours), median(times.twin)];
    const common = { unit: 'us', ours: us, rivals: { 'the same with node:crypto': twinUs } };
    return benchResult(
      'read',
      [
        { what: 'whole read in process', ...common, reach: `<= ${REACH_US} us`, met: us <= REACH_US },
        {
          what: 'the same, to node:crypto',
          ...common,
          ratio: twinUs / us,
          reach: `>= ${REACH_TWIN}x node:crypto`,
          met: twinUs / us >= REACH_TWIN,
        },
      ],
      digest.digest('hex'),
    );
  } finally {
    await box.end();
  }
}
