/**
 * SHA-256 and HMAC of what core hashes: names and keys (tens of bytes), audit lines (about 1,150), four of them at a time.
 *
 * Expected: node:crypto wins in bulk by the processor's SHA instructions, which WASM has not; ours wins where setting up a
 * hash object costs more than hashing.
 */
import { createHash, createHmac } from 'node:crypto';
import { AD, INPUT, KEY, OUT, Primitives } from '../../test/core/primitives/load.ts';
import { SeededRandom } from '../../test/reference/random.ts';
import { FULL, measure, SMALL } from '../measure.ts';
import type { BenchOptions, BenchRow } from '../result.ts';

const LINE = 1150;

function row(what: string, times: { readonly ours: number; readonly node: number }): BenchRow {
  return { what, unit: 'ns', ours: times.ours, rivals: { 'node:crypto': times.node }, ratio: times.node / times.ours };
}

/** @returns the rows, and what goes into the digest */
export function hashes({ small }: BenchOptions): { readonly rows: BenchRow[]; readonly digest: Buffer } {
  const options = small ? SMALL : FULL;
  const random = new SeededRandom(2027);
  const core = new Primitives();
  const call = (name: string): ((...args: number[]) => number) => {
    const found = core.exports[name];
    if (typeof found !== 'function') throw new TypeError(`the module has no export ${name}`);
    return found;
  };
  const [sha256, hmac, leaves] = [call('sha256'), call('hmac'), call('leafHashx4')];
  const out = Buffer.alloc(128);
  const result = core.memory.subarray(OUT, OUT + 32);
  const results = core.memory.subarray(OUT, OUT + 128);
  const key = random.bytes(32);
  core.put(AD, key);
  core.call('hmacKey', KEY, AD, 32);
  const whole = createHash('sha256');
  const rows: BenchRow[] = [];
  for (const size of [64, LINE]) {
    const data = random.bytes(size);
    const ours = (work: () => number) => (): void => {
      core.memory.set(data, INPUT);
      work();
      out.set(result);
    };
    const hashed = ours(() => sha256(OUT, INPUT, size));
    const keyed = ours(() => hmac(OUT, KEY, INPUT, size));
    hashed();
    if (!createHash('sha256').update(data).digest().equals(out.subarray(0, 32))) throw new Error('SHA-256 is wrong');
    keyed();
    if (!createHmac('sha256', key).update(data).digest().equals(out.subarray(0, 32))) throw new Error('HMAC is wrong');
    whole.update(out.subarray(0, 32));
    const node = (): void => void createHash('sha256').update(data).digest();
    const nodeKeyed = (): void => void createHmac('sha256', key).update(data).digest();
    rows.push(row(`SHA-256 ${size} B`, measure({ ours: hashed, node }, options)));
    rows.push(row(`HMAC-SHA256 ${size} B`, measure({ ours: keyed, node: nodeKeyed }, options)));
  }
  const lines = Array.from({ length: 4 }, () => random.bytes(LINE));
  const places = lines.flatMap((_, i) => [INPUT + i * 4096, LINE]);
  const four = (): void => {
    lines.forEach((line, i) => {
      core.memory.set(line, INPUT + i * 4096);
    });
    leaves(OUT, ...places);
    out.set(results);
  };
  four();
  const prefix = Buffer.alloc(1);
  const nodeFour = (): void => {
    lines.forEach((line, i) => {
      createHash('sha256')
        .update(prefix)
        .update(line)
        .digest()
        .copy(out, i * 32);
    });
  };
  const ours = Buffer.from(out);
  nodeFour();
  if (!ours.equals(out)) throw new Error('the leaf hashes are wrong');
  rows.push(row(`four leaves of ${LINE} B`, measure({ ours: four, node: nodeFour }, options)));
  return { rows, digest: whole.update(ours).digest() };
}
