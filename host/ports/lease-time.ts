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

/** Lease time that a person may vouch for. */
export interface ConfirmedTime extends LeaseTime {
  /** A person says that the wall clock is right now: believed for the life of the process. Lease time goes on as it was. */
  confirm(): void;
}

/** What is kept (sealed) at start, at an orderly stop and with every heartbeat. */
export interface TimeRecord {
  readonly leaseMs: number;
  readonly wallMs: number;
  readonly bootId: string;
  readonly bootMs: number;
}

/** Lease time with its two ends: what an unseal goes on from, and what is kept. For host/seal alone. */
export interface LeaseTimeKeeper extends LeaseTime {
  /**
   * Goes on from what was kept. Called at every unseal: the first of the process counts, later ones find it running.
   * Before it, lease time stands for nothing.
   *
   * @param record       the newest that was kept; undefined on a new box
   * @param highWaterMs  lease time in the freshness row, which every commit renews; 0 on a new box
   */
  resume(record: TimeRecord | undefined, highWaterMs: number): void;
  /** What to keep now. The wall time in it is the newest that was believed, so that a held jump is not taken over. */
  record(): TimeRecord;
}
