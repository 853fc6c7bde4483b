/** What the parts of the bench of leases have in common: how much of each, and how the box is asked. */
import { count } from '../http/load.ts';
import { kinds } from '../http/target.ts';
import { IN_FLIGHT_MAX, type LeaseBox } from './box.ts';

export interface Size {
  /** Milliseconds for which each side runs before the first round counts. */
  readonly warmMs: number;
  readonly rounds: number;
  /** Of one side, in one round. */
  readonly turnMs: number;
  readonly revoked: number;
  readonly expiring: number;
  /** Seconds within which these end. */
  readonly windowS: number;
  /** Their roles' times to live are multiples of it. */
  readonly stepS: number;
  /** Seconds to spare between the making of the last, as it is expected, and the end of the first. */
  readonly spareS: number;
}

/** Secrets at `secret/`, for the reads. */
export const SECRETS = 200;

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** Of each round: its turns lie close together, and what the machine does else met both. */
export const ratios = (ours: readonly number[], theirs: readonly number[]): number[] =>
  ours.map((value, round) => value / (theirs[round] ?? Number.NaN));

export const rangeOf = (values: readonly number[]): string =>
  `ratio by round: ${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)}`;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

/** Runs `work` so often, with sixteen under way. @param work  has the number of its turn, from 0 */
export async function times(wanted: number, work: (turn: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < wanted) await work(next++);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT_MAX }, caller));
}

/** The 99th percentile of reads of secrets on four connections, in milliseconds. @throws Error a read failed */
export async function readsP99({ target, token = '' }: LeaseBox, durationMs: number): Promise<number> {
  const mix = kinds({ mount: 'secret', secrets: SECRETS, shares: new Map([['read', 1]]), login: undefined });
  const done = await count({ target, token, connections: 4, warmupMs: 50, durationMs, mix });
  if (done.failures > 0) throw new Error(`${done.failures} reads failed`);
  return done.all.getValueAtPercentile(99) / 1000;
}
