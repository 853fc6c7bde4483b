/**
 * How many durable writes a second: two sealed rows each, as a secret's metadata and version are, one and 64 in flight?
 *
 * Expected: one at a time the medium decides (two syncs a transaction) and ours is close to raw lmdb; at 64 in flight a
 * transaction holds 64 writes, and what we add is CPU: sealing, expectations, the fingerprint of every row before and after.
 * Raw lmdb is opened with the same settings, gets the same number of puts of as many bytes, and is awaited as a caller
 * would: its promise resolves when the transaction is durable.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { openEnvironment } from '../../host/store/lmdb/reader.ts';
import { systemRandom } from '../../host/system/random.ts';
import { wholeBox } from '../../test/host/whole/box.ts';
import { Scratch } from '../box.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';

const KEY_SIZE = 32;
const PAYLOAD_SIZE = 256;
/** Version, epoch, nonce and tag around a payload. */
const SEALED_SIZE = PAYLOAD_SIZE + 45;
const ROWS_A_WRITE = 2;
/** Of raw lmdb's writes a second, 64 in flight. */
const REACH = 0.6;

type Write = (n: number) => Promise<unknown>;

/** Keeps `inFlight` writes under way for `ms`. @returns writes a second */
async function rate(write: Write, inFlight: number, ms: number, next: () => number): Promise<number> {
  const began = performance.now();
  let done = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() - began < ms) {
      await write(next());
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (done / (performance.now() - began)) * 1000;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** Keys of a write's two rows: 31 bytes alike, so that they lie together; spread over the tree as blind keys are. */
function keysOf(n: number): [Uint8Array, Uint8Array] {
  const key = createHash('sha256').update(String(n)).digest();
  const other = Buffer.from(key);
  other[KEY_SIZE - 1] = (other[KEY_SIZE - 1] ?? 0) ^ 1;
  return [key, other];
}

export async function run({ small }: BenchOptions): Promise<BenchResult> {
  const [rounds, turnMs, before] = small ? [1, 100, 200] : [7, 1000, 10_000];
  const scratch = new Scratch();
  const box = await wholeBox();
  const raw = openEnvironment(join(scratch.folder, 'raw.mdb'), 64 * 1024 * 1024);
  try {
    const { barrier } = box.services;
    const payload = systemRandom.bytes(PAYLOAD_SIZE);
    const value = Buffer.from(systemRandom.bytes(SEALED_SIZE));
    const seal: Write = (n) =>
      barrier.job('revocation', undefined, async (grant) => {
        const puts = keysOf(n).map((key) => barrier.seal(grant, 'job', key, payload));
        await barrier.commit(
          puts,
          puts.map(({ table, key }) => ({ table, key, is: 'absent' })),
        );
      });
    const put: Write = (n) => {
      const [first, second] = keysOf(n);
      void raw.put(Buffer.from(first), value);
      return raw.put(Buffer.from(second), value);
    };
    const numbers = { ours: 0, raw: 0 };
    const nextOurs = (): number => numbers.ours++;
    const nextRaw = (): number => numbers.raw++;
    // Both trees have as many rows when the measuring begins.
    for (const [write, next] of [[seal, nextOurs] as const, [put, nextRaw] as const]) {
      for (let done = 0; done < before; done += 50) {
        await Promise.all(Array.from({ length: 50 }, () => write(next())));
      }
    }
    const rows: BenchRow[] = [];
    for (const inFlight of [64, 1]) {
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let round = 0; round < rounds; round++) {
        ours.push(await rate(seal, inFlight, turnMs, nextOurs));
        theirs.push(await rate(put, inFlight, turnMs, nextRaw));
      }
      const ratio = median(ours) / median(theirs);
      rows.push({
        what: `durable writes of ${ROWS_A_WRITE} rows, ${inFlight} in flight`,
        unit: 'writes/s',
        ours: median(ours),
        rivals: { 'raw lmdb': median(theirs) },
        ratio,
        ...(inFlight === 64 ? { reach: `>= ${REACH}x raw lmdb`, met: ratio >= REACH } : {}),
      });
    }
    return benchResult('store', rows);
  } finally {
    await raw.close();
    await box.end();
    scratch.end();
  }
}
