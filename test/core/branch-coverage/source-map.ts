/** Source maps (revision 3) of a WASM module: all mappings lie in one line, whose columns are byte offsets. */

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function numbers(segment: string): number[] {
  const values: number[] = [];
  let [value, shift] = [0, 0];
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value += (bits & 31) * 2 ** shift;
    shift += 5;
    if (bits < 32) {
      values.push(value % 2 === 1 ? -Math.floor(value / 2) : value / 2);
      [value, shift] = [0, 0];
    }
  }
  return values;
}

export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** @returns the place of the last mapping at or before an offset */
export function placesOf(map: string): (offset: number) => Place | undefined {
  const { mappings, sources } = JSON.parse(map) as { mappings: string; sources: string[] };
  const entries: { readonly offset: number; readonly place: Place }[] = [];
  let [offset, source, line, column] = [0, 0, 0, 0];
  for (const segment of mappings.split(/[,;]/)) {
    const [a = 0, b = 0, c = 0, d = 0] = numbers(segment);
    offset += a;
    source += b;
    line += c;
    column += d;
    entries.push({ offset, place: { file: sources[source] ?? '', line: line + 1, column: column + 1 } });
  }
  return (wanted) => {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle]?.offset ?? 0) <= wanted) low = middle + 1;
      else high = middle;
    }
    return entries[low - 1]?.place;
  };
}
