/** Where the enrolled counters lie and how often each was raised: one sealed row of table `job` (core/spec/freshness.md). */
import type { CounterKind } from '../ports/counter.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import type { Wear } from './wear.ts';

const VERSION = 1;

export interface CounterRecord {
  /** 16 bytes in hex. */
  readonly id: string;
  readonly kind: CounterKind;
  /** What its device needs to find it and to know it again. */
  readonly place: ValueMap;
  readonly wear: Wear;
}

export function encodeCounters(records: readonly CounterRecord[]): ValueMap {
  return {
    version: VERSION,
    counters: records.map(({ id, kind, place, wear }) => ({ id, kind, place, ...wear })),
  };
}

const isMap = (value: Value | undefined): value is ValueMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

function recordOf(value: Value): CounterRecord | undefined {
  if (!isMap(value)) return undefined;
  const { id, kind, place, sinceMs, raised, lastMs } = value;
  if (typeof id !== 'string' || !/^[0-9a-f]{32}$/.test(id) || (kind !== 'tpm2' && kind !== 'pkcs11')) return undefined;
  if (!isMap(place)) return undefined;
  if (typeof sinceMs !== 'number' || typeof raised !== 'number' || typeof lastMs !== 'number') return undefined;
  return { id, kind, place, wear: { sinceMs, raised, lastMs } };
}

/** Undefined for what is no such list: a later version's. An absent row is an empty list. */
export function decodeCounters(value: ValueMap | undefined): readonly CounterRecord[] | undefined {
  if (value === undefined) return [];
  const { version, counters } = value;
  if (version !== VERSION || !Array.isArray(counters)) return undefined;
  const records = (counters as readonly Value[]).map(recordOf);
  return records.every((one) => one !== undefined) ? records : undefined;
}
