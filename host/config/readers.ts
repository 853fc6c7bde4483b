/** How the value of a knob is read: one reader a type, with its bounds and the sentence for what is refused. */
import type { Value } from '../ports/value.ts';

/** Reads one value; `must` goes behind the key's name: "must be …". */
export interface Reader<T> {
  readonly read: (value: Value) => T | undefined;
  readonly must: string;
}

/** A knob: its reader, its unit where it has one, and what it is for. */
export interface Knob<T> extends Reader<T> {
  readonly unit: string;
  readonly says: string;
}

/** @param says  one sentence for the operator; the table of the profiles shows it */
export const knob = <T>(reader: Reader<T>, says: string, unit = ''): Knob<T> => ({ ...reader, says, unit });

export const whole = (min: number, max: number): Reader<number> => ({
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  must: `must be a whole number from ${min} to ${max}`,
});

export const flag = (): Reader<boolean> => ({
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  must: 'must be true or false',
});

export const choice = <const T extends string>(...values: readonly T[]): Reader<T> => ({
  read: (value) => values.find((one) => one === value),
  must: `must be ${values.map((one) => JSON.stringify(one)).join(' or ')}`,
});

const PATH_SIZE_MAX = 4096;
/** An absolute path; '' stands for none. */
export const path = (): Reader<string> => ({
  read: (value) =>
    typeof value === 'string' &&
    (value === '' || value.startsWith('/')) &&
    !value.includes('\0') &&
    value.length <= PATH_SIZE_MAX
      ? value
      : undefined,
  must: 'must be an absolute path',
});

/** Printable ASCII without line ends: what goes to a C library as it is. */
export const line = (most: number): Reader<string> => ({
  read: (value) =>
    typeof value === 'string' && value.length <= most && /^[\x20-\x7e]*$/.test(value) ? value : undefined,
  must: `must be a text of at most ${most} printable ASCII characters`,
});

/** An NV index of the owner's range (TCG Registry of Reserved Handles, 2.2): `0x01800000` to `0x01bfffff`. */
export const ownerIndex = (): Reader<string> => ({
  read: (value) => (typeof value === 'string' && /^0x01[89ab][0-9a-f]{5}$/.test(value) ? value : undefined),
  must: 'must be an NV index of the owner, "0x01800000" to "0x01bfffff"',
});

/** @param least  0 where none is a choice */
export const list = <T>(
  least: number,
  most: number,
  must: string,
  read: (value: Value) => T | undefined,
): Reader<readonly T[]> => ({
  read: (value) => {
    if (!Array.isArray(value) || value.length < least || value.length > most) return undefined;
    const items: T[] = [];
    for (const item of value as readonly Value[]) {
      const one = read(item);
      if (one === undefined) return undefined;
      items.push(one);
    }
    return Object.freeze(items);
  },
  must: `must be a list of ${least} to ${most} ${must}`,
});
