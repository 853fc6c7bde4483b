/**
 * Contenders measured in turns within one run, so that noise of the machine meets all of them alike. What is counted is CPU
 * time of the process, not the clock's: on a machine that others use too, a turn also waits for its turn.
 */

export interface MeasureOptions {
  /** How often each contender has its turn. */
  readonly rounds: number;
  /** Nanoseconds of CPU in one turn; how many calls that is, is found out first. */
  readonly turnNs: number;
}

export const SMALL: MeasureOptions = { rounds: 3, turnNs: 100_000 };
export const FULL: MeasureOptions = { rounds: 31, turnNs: 4_000_000 };

/** Microseconds of CPU that this process has used in all its threads: the collector's too. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function turn(work: () => void, calls: number): number {
  const began = cpuUs();
  for (let i = 0; i < calls; i++) work();
  return ((cpuUs() - began) * 1000) / calls;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** @returns nanoseconds of CPU a call, the median over its turns, by name */
export function measure<Name extends string>(
  contenders: Readonly<Record<Name, () => void>>,
  { rounds, turnNs }: MeasureOptions,
): Record<Name, number> {
  const names = Object.keys(contenders) as Name[];
  const calls = new Map<Name, number>();
  for (const name of names) {
    turn(contenders[name], 1);
    const first = turn(contenders[name], Math.max(1, Math.min(2000, Math.floor(turnNs / 20_000))));
    calls.set(name, Math.max(1, Math.round(turnNs / Math.max(first, 1))));
  }
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another one: nobody always comes after the greediest for memory.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length] as Name;
      times.get(name)?.push(turn(contenders[name], calls.get(name) ?? 1));
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(times.get(name) ?? [])])) as Record<Name, number>;
}
