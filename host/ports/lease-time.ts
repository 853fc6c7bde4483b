/**
 * The time that leases, tokens and tables of what ends when live by. Implemented by host/system/lease-time.ts.
 *
 * It counts as wall time does (milliseconds since 1970) and never goes back: it follows CLOCK_BOOTTIME while the machine
 * is on, and takes the believed difference of the wall clock across a power-off.
 */
export interface LeaseTime {
  /** Milliseconds since 1970. Never lower than any value it gave before, over restarts too. */
  nowMs(): number;
  /** Nanoseconds below the millisecond, 0 to 999,999: tells apart what happens within one millisecond. */
  nowNanos(): number;
  /** The wall time that belongs to a lease time, for answers (`expire_time`): equal unless the wall clock was corrected. */
  wallOf(leaseMs: number): number;
  /** False while the wall clock is not believed: a token that has an expiry is then honoured for at most 1 h of uptime. */
  believed(): boolean;
  /** CLOCK_BOOTTIME now, milliseconds since boot: what that hour of uptime is counted by. */
  bootMs(): number;
  /** Sentences for sys/health: why the wall clock is not believed; empty while it is. */
  reasons(): readonly string[];
}
