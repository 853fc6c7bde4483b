/** Text that knows where its parts come from and how many random bits they carry: for judging name templates. */

/** Characters (code points, one at least) of one kind. */
export interface Run {
  readonly text: string;
  /** Random bits that each character carries, at least. */
  readonly bits: number;
  /** `fixed`: the same in every name; `box`: of the box's id; `varies`: another in each name, or may be. */
  readonly kind: 'fixed' | 'box' | 'varies';
}

/** Runs in order; neighbours may be of one kind. */
export type Tracked = readonly Run[];

/** Where names take chance and time from. */
export interface Drawn {
  /** 1 to 65,536 fresh bytes. */
  readonly bytes: (length: number) => Uint8Array;
  /** Wall time, ms. */
  readonly nowMs: number;
}

export function tracked(text: string, kind: Run['kind'], bits = 0): Tracked {
  return text === '' ? [] : [{ text, bits, kind }];
}

/** True for text whose characters may have two UTF-16 units. */
const PAIRS = /[\ud800-\udfff]/;

export const countOf = (text: string): number => (PAIRS.test(text) ? [...text].length : text.length);
export const plain = (text: Tracked): string => text.map((run) => run.text).join('');
export const joined = (parts: readonly Tracked[]): Tracked => parts.flat();
export const lengthOf = (text: Tracked): number => text.reduce((sum, run) => sum + countOf(run.text), 0);
export const bitsOf = (text: Tracked): number => text.reduce((sum, run) => sum + countOf(run.text) * run.bits, 0);

/** The same runs with another text in each. */
export function mapped(text: Tracked, change: (text: string) => string): Tracked {
  return text.flatMap((run) => tracked(change(run.text), run.kind, run.bits));
}

/** Characters `start` (0 at least) up to and without `end`. */
export function sliced(text: Tracked, start: number, end = Number.POSITIVE_INFINITY): Tracked {
  let at = 0;
  return mapped(text, (whole) => {
    const from = Math.max(0, start - at);
    const to = Math.max(0, end - at);
    at += countOf(whole);
    return PAIRS.test(whole) ? [...whole].slice(from, to).join('') : whole.slice(from, to);
  });
}

/** What is derived from `source` as a whole (a hash, an encoding): its bits, spread, at most `most` a character. */
export function derived(text: string, source: Tracked, most: number): Tracked {
  const each = Math.min(most, bitsOf(source) / Math.max(1, text.length));
  const fixed = source.every(({ kind }) => kind === 'fixed');
  return tracked(text, fixed ? 'fixed' : 'varies', each);
}

/** The most whole characters that fit into so many bytes of UTF-8. */
export function cutBytes(text: Tracked, lengthMax: number): Tracked {
  const whole = plain(text);
  if (Buffer.byteLength(whole) <= lengthMax) return text;
  let size = 0;
  let count = 0;
  for (const character of whole) {
    size += Buffer.byteLength(character);
    if (size > lengthMax) break;
    count++;
  }
  return sliced(text, 0, count);
}
