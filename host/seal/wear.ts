/** How often a counter is raised: the flash that it lies in wears out. Years are of lease time, which never goes back. */

/** Of one counter in a year. A TPM's NV index is made for some 100,000 writes in all its life, most for more. */
export const RAISES_A_YEAR = 40_000;
/** Kept for unseals and changes of keys, slots, policies and mounts: what counts of writes do not use up. */
const RESERVE = 4000;
const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

export interface Wear {
  /** Lease time at which the year under way began, ms. */
  readonly sinceMs: number;
  /** Times that the counter was raised, or was to be raised, since then. */
  readonly raised: number;
  /** Lease time of the last of them. */
  readonly lastMs: number;
}

export const unworn = (nowMs: number): Wear => ({ sinceMs: nowMs, raised: 0, lastMs: nowMs });

const inYear = (wear: Wear, nowMs: number): Wear => (nowMs - wear.sinceMs >= YEAR_MS ? unworn(nowMs) : wear);

/** Raised once more. */
export function worn(wear: Wear, nowMs: number): Wear {
  const { sinceMs, raised } = inYear(wear, nowMs);
  return { sinceMs, raised: raised + 1, lastMs: nowMs };
}

/** How far apart counts of writes have to be so that the year's budget lasts, at least `wantedMs` and at most a day. */
export function spacingMs(wear: Wear, nowMs: number, wantedMs: number): number {
  const { sinceMs, raised } = inYear(wear, nowMs);
  const left = RAISES_A_YEAR - RESERVE - raised;
  if (left <= 0) return DAY_MS;
  return Math.min(DAY_MS, Math.max(wantedMs, Math.ceil((sinceMs + YEAR_MS - nowMs) / left)));
}

/** Past the budget a counter is raised once a day, but for changes of keys. */
export function mayRaise(wear: Wear, nowMs: number): boolean {
  const { raised, lastMs } = inYear(wear, nowMs);
  return raised < RAISES_A_YEAR || nowMs - lastMs >= DAY_MS;
}

/** Times raised in the year under way. */
export const raisedInYear = (wear: Wear, nowMs: number): number => inYear(wear, nowMs).raised;
