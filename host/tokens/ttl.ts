/** How long tokens live: plain arithmetic on seconds and milliseconds. */
import { capped } from '../duration.ts';

export interface TtlRequest {
  /** Seconds; undefined: not stated. */
  readonly ttl: number | undefined;
  readonly period: number;
  readonly explicitMaxTtl: number;
  /** Of the mount, after the system's: seconds. */
  readonly defaultTtl: number;
  readonly maxTtl: number;
}

export interface TtlDecision {
  readonly ttl: number;
  readonly warnings: readonly string[];
}

/** The time to live of a token that is made now. */
export function creationTtl(request: TtlRequest): TtlDecision {
  const { period, explicitMaxTtl, maxTtl } = request;
  // A period knows no maximum but the explicit one.
  if (period > 0) {
    const ttl = explicitMaxTtl > 0 ? Math.min(period, explicitMaxTtl) : period;
    return { ttl, warnings: ttl < period ? [capped(period, explicitMaxTtl)] : [] };
  }
  const wanted = request.ttl ?? request.defaultTtl;
  const ceiling = explicitMaxTtl > 0 ? Math.min(explicitMaxTtl, maxTtl) : maxTtl;
  return wanted > ceiling ? { ttl: ceiling, warnings: [capped(wanted, ceiling)] } : { ttl: wanted, warnings: [] };
}

export interface RenewalRequest {
  readonly nowMs: number;
  readonly issueMs: number;
  /** Seconds; 0 or undefined: as long as at its creation. */
  readonly increment: number | undefined;
  readonly creationTtl: number;
  readonly period: number;
  readonly explicitMaxTtl: number;
  readonly maxTtl: number;
}

/**
 * When a token ends that is renewed now, in milliseconds: never past its issue and maximum by a millisecond.
 *
 * @returns undefined if its maximum has been reached
 */
export function renewedExpiry(request: RenewalRequest): number | undefined {
  const { nowMs, issueMs, period, explicitMaxTtl } = request;
  const wanted = period > 0 ? period : request.increment || request.creationTtl;
  const limits = [
    ...(period > 0 ? [] : [issueMs + request.maxTtl * 1000]),
    ...(explicitMaxTtl > 0 ? [issueMs + explicitMaxTtl * 1000] : []),
  ];
  const end = Math.min(nowMs + wanted * 1000, ...limits);
  return end <= nowMs ? undefined : end;
}
