/** How long a token that has an expiry is honoured while the wall clock is not believed. */
import type { TokenInfo } from '../ports/engine.ts';
import type { LeaseTime } from '../ports/lease-time.ts';

/** Uptime in ms since the latest of boot, issue and renewal. */
const HONOURED_MS = 3_600_000;

/** False for a token that may be over long since: nobody can say how long the box was off. One without an expiry is untouched. */
export function isHonoured(
  { expireMs, creationMs, issueMs, lastRenewalMs }: TokenInfo,
  lease: Pick<LeaseTime, 'nowMs' | 'bootMs' | 'believed'>,
): boolean {
  if (expireMs === 0) return true;
  const sinceMs = Math.max(issueMs || creationMs, lastRenewalMs);
  // The latest of the three decides; what costs least is asked first, since every request comes by.
  return lease.nowMs() - sinceMs <= HONOURED_MS || lease.bootMs() <= HONOURED_MS || lease.believed();
}
