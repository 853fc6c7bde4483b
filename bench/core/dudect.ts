/**
 * Does the time of what handles secrets depend on them? After dudect (Reparaz, Balasch, Verbauwhede 2016): two classes of
 * inputs in random order, Welch's t-test over their times, cropped at several percentiles. As there, |t| above 10 counts as
 * a leak; below it none was shown by so many samples, which is no proof. A comparison that stops at the first difference
 * must be caught, or the measurement sees nothing.
 *
 * The controls give both classes bytes of the same kind, in different places: what they show is the rig, not the code, so
 * a row is read against its control and over many runs, never from one. In 24 runs (Node 20.20, 200,000 samples) the
 * medians and maxima were: controls 1.9 and 8.9 (open), 2.3 and 17.2 (seal); equalBytes 1.7 and 2.8, xchachaOpen 1.8 and
 * 3.7 (10.7 once in 14 runs before), shamirCombine 1.4 and 2.8. xchachaSeal had 4.2 and 10.3, more than its control; with
 * 1,000,000 samples (12 runs) the medians were 7.5 and, of its control, 4.5. Whether that is code or rig is open.
 */
import { INPUT, KEY, NONCE, OUT, Primitives } from '../../test/core/primitives/load.ts';
import { SeededRandom } from '../../test/reference/random.ts';
import { type BenchOptions, type BenchResult, type BenchRow, benchResult } from '../result.ts';

export const LEAK = 10;

/** Mean and variance in one pass (Welford). */
class Moments {
  n = 0;
  mean = 0;
  #squares = 0;

  add(value: number): void {
    this.n++;
    const delta = value - this.mean;
    this.mean += delta / this.n;
    this.#squares += delta * (value - this.mean);
  }

  get variance(): number {
    return this.n > 1 ? this.#squares / (this.n - 1) : 0;
  }
}

export function welch(a: readonly number[], b: readonly number[]): number {
  const [first, second] = [new Moments(), new Moments()];
  for (const value of a) first.add(value);
  for (const value of b) second.add(value);
  const spread = Math.sqrt(first.variance / first.n + second.variance / second.n);
  return spread === 0 ? 0 : (first.mean - second.mean) / spread;
}

/** The largest |t| over the whole samples and over what lies below some percentiles of all. */
export function largestT(fixed: readonly number[], random: readonly number[]): number {
  const all = [...fixed, ...random].sort((a, b) => a - b);
  const crops = [1, 0.99, 0.95, 0.9, 0.8, 0.6].map((share) => all[Math.ceil(all.length * share) - 1] ?? 0);
  return Math.max(
    ...crops.map((limit) => {
      const below = (values: readonly number[]): number[] => values.filter((value) => value <= limit);
      const [a, b] = [below(fixed), below(random)];
      return a.length < 100 || b.length < 100 ? 0 : Math.abs(welch(a, b));
    }),
  );
}

interface Target {
  readonly what: string;
  /** Lays the input of a class (0 fixed, 1 random) into place; both classes do the same work here. */
  readonly prepare: (kind: number) => void;
  readonly run: () => number;
  /** Calls a sample: the clock's steps must be small beside it. */
  readonly calls: number;
}

function timesOf({ prepare, run, calls }: Target, samples: number, random: SeededRandom): [number[], number[]] {
  const times: [number[], number[]] = [[], []];
  const warmup = Math.ceil(samples / 10);
  for (let i = -warmup; i < samples; i++) {
    const kind = random.below(2) as 0 | 1;
    prepare(kind);
    const began = process.hrtime.bigint();
    for (let call = 0; call < calls; call++) run();
    const took = Number(process.hrtime.bigint() - began);
    if (i >= 0) times[kind].push(took);
  }
  return times;
}

const LENGTH = 512;
const TOUCHED = 0x7f0000;

function targets(core: Primitives, random: SeededRandom): readonly Target[] {
  const call = (name: string): ((...args: number[]) => number) => {
    const found = core.exports[name];
    if (typeof found !== 'function') throw new TypeError(`the module has no export ${name}`);
    return found;
  };
  const { memory } = core;
  const secret = random.bytes(LENGTH);
  // Nothing but its bytes may tell a class: no branch of ours is taken for it, and after an input is laid every line of
  // both classes is read, so that branch history and caches are the same.
  const PLACES = 16;
  const repeated = (make: () => Buffer): Buffer[] => Array.from({ length: PLACES }, make);
  let touched = 0;
  const layer = (value: Buffer | undefined): ((kind: number, to: number, length: number) => void) => {
    const fixed = repeated(() => (value === undefined ? random.bytes(LENGTH) : Buffer.concat([value], LENGTH)));
    const both = Buffer.concat([...fixed, ...repeated(() => random.bytes(LENGTH))]);
    return (kind, to, length) => {
      const at = (kind * PLACES + random.below(PLACES)) * LENGTH;
      memory.set(both.subarray(at, at + length), to);
      for (let line = 0; line < both.length; line += 64) touched ^= both[line] ?? 0;
      memory[TOUCHED] = touched;
    };
  };
  core.put(KEY, random.bytes(32));
  core.put(NONCE, random.bytes(24));
  const COMPARED = OUT + 0x1000;
  core.put(COMPARED, secret);
  const laySecret = layer(secret);
  const compare = (what: string, name: string): Target => {
    const equal = call(name);
    return {
      what,
      prepare: (kind) => laySecret(kind, INPUT, LENGTH),
      run: () => equal(COMPARED, INPUT, LENGTH),
      calls: 20,
    };
  };
  const sealed = core.seal(random.bytes(32), random.bytes(24), Buffer.alloc(0), Buffer.alloc(LENGTH));
  core.put(INPUT, sealed);
  // Of the right tag only the last bit is wrong: a comparison that stops early would take longest.
  const nearly = Buffer.from(sealed.subarray(LENGTH));
  nearly[15] = (nearly[15] ?? 0) ^ 0x80;
  const [open, seal, combine] = [call('xchachaOpen'), call('xchachaSeal'), call('shamirCombine')];
  const [layNearly, layZeros] = [layer(nearly), layer(Buffer.alloc(LENGTH))];
  const TAG = 0x500000;
  const SHARES = 0x600000;
  const VALUE = 0x700000;
  const KEYS = 0x780000;
  const layRandom = layer(undefined);
  return [
    {
      what: 'control: xchachaOpen, random tags in two places',
      prepare: (kind) => {
        memory.set(sealed.subarray(0, LENGTH), TAG);
        layRandom(kind, TAG + LENGTH, 16);
      },
      run: () => open(OUT, KEY, NONCE, TAG, 0, TAG, LENGTH),
      calls: 2,
    },
    {
      what: 'control: xchachaSeal, random bytes in two places',
      prepare: (kind) => {
        layRandom(kind, VALUE, LENGTH);
        layRandom(kind, KEYS, 32);
      },
      run: () => seal(OUT, KEYS, NONCE, VALUE, 0, VALUE, LENGTH),
      calls: 2,
    },
    compare('equalBytes, equal or not', 'equalBytes'),
    compare('leaky twin of equalBytes', 'leakyEqualBytes'),
    {
      what: 'xchachaOpen, tag nearly right or random',
      prepare: (kind) => {
        memory.set(sealed.subarray(0, LENGTH), TAG);
        layNearly(kind, TAG + LENGTH, 16);
      },
      run: () => open(OUT, KEY, NONCE, TAG, 0, TAG, LENGTH),
      calls: 2,
    },
    {
      what: 'xchachaSeal, key and plaintext zero or random',
      prepare: (kind) => {
        layZeros(kind, VALUE, LENGTH);
        layZeros(kind, KEYS, 32);
      },
      run: () => seal(OUT, KEYS, NONCE, VALUE, 0, VALUE, LENGTH),
      calls: 2,
    },
    {
      what: 'shamirCombine, y bytes zero or random',
      prepare: (kind) => {
        for (let i = 0; i < 3; i++) {
          layZeros(kind, SHARES + i * 17, 16);
          memory[SHARES + i * 17 + 16] = i + 1;
        }
      },
      run: () => combine(OUT, SHARES, 17, 3),
      calls: 1,
    },
  ];
}

/** The leaky twin must be caught; controls have nothing to reach. */
export function run({ small }: BenchOptions): Promise<BenchResult> {
  const random = new SeededRandom(2028);
  const core = new Primitives();
  const rows: BenchRow[] = targets(core, random).map((target) => {
    const [fixed, drawn] = timesOf(target, small ? 4000 : 200_000, random);
    const t = largestT(fixed, drawn);
    const leaky = target.what.startsWith('leaky');
    if (target.what.startsWith('control')) return { what: target.what, unit: '|t|', ours: t, rivals: {} };
    return {
      what: target.what,
      unit: '|t|',
      ours: t,
      rivals: {},
      reach: leaky ? `> ${LEAK}: it must be caught` : `< ${LEAK}`,
      met: leaky ? t > LEAK : t < LEAK,
    };
  });
  return Promise.resolve(benchResult('dudect', rows));
}
