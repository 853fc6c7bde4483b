/** Time and timers for everything in host. Contract: test/contract/clock.ts. */
export interface Clock {
  /** Milliseconds since 1970, UTC, as believed now (the operating system's wall clock; it may jump). */
  wallMs(): number;
  /** Nanoseconds of the wall clock below the millisecond, 0 to 999,999, for time stamps that must be unique in a log. */
  wallNanos(): number;
  /** Milliseconds that the machine was on since boot, suspend included (CLOCK_BOOTTIME); never goes back while it is on. */
  bootMs(): number;
  /** Identifies this boot of the machine; another value after a reboot. */
  readonly bootId: string;
  /** Runs `job` once after `delayMs` (0 to 2^31-1). The timer does not keep the process alive. */
  after(delayMs: number, job: () => void): Timer;
  /** Resolves after `delayMs`; 0: when whatever has arrived has had its turn. */
  sleep(delayMs: number): Promise<void>;
}

export interface Timer {
  cancel(): void;
}
