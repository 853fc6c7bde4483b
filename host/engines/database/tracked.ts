/** Text whose characters know where they come from and how many random bits they carry: for judging name templates. */

export interface Character {
  /** One code point. */
  readonly character: string;
  /** Random bits that it carries, at least. */
  readonly bits: number;
  /** `fixed`: the same in every name; `box`: of the box's id; `varies`: another in each name, or may be. */
  readonly kind: 'fixed' | 'box' | 'varies';
}

export type Tracked = readonly Character[];

/** Where names take chance and time from. */
export interface Drawn {
  /** 1 to 65,536 fresh bytes. */
  readonly bytes: (length: number) => Uint8Array;
  /** Wall time, ms. */
  readonly nowMs: number;
}

export function tracked(text: string, kind: Character['kind'], bits = 0): Tracked {
  return [...text].map((character) => ({ character, bits, kind }));
}

export const plain = (text: Tracked): string => text.map(({ character }) => character).join('');
export const joined = (parts: readonly Tracked[]): Tracked => parts.flat();
export const bitsOf = (text: Tracked): number => text.reduce((sum, { bits }) => sum + bits, 0);

/** What is derived from `source` as a whole (a hash, an encoding): its bits, spread, at most `most` a character. */
export function derived(text: string, source: Tracked, most: number): Tracked {
  const each = Math.min(most, bitsOf(source) / Math.max(1, text.length));
  const fixed = source.every(({ kind }) => kind === 'fixed');
  return tracked(text, fixed ? 'fixed' : 'varies', each);
}

/** The most whole characters that fit into so many bytes of UTF-8. */
export function cutBytes(text: Tracked, lengthMax: number): Tracked {
  let size = 0;
  for (const [index, { character }] of text.entries()) {
    size += Buffer.byteLength(character);
    if (size > lengthMax) return text.slice(0, index);
  }
  return text;
}
