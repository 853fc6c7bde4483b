/**
 * Lease time over a clock that may be wrong: it follows CLOCK_BOOTTIME, and reads the wall clock only to know how long
 * the machine was off.
 */
import type { Clock } from '../ports/clock.ts';
import type { LeaseTimeKeeper, TimeRecord } from '../ports/lease-time.ts';

export interface LeaseClockOptions {
  readonly clock: Clock;
  /** `kernel`: the wall clock is believed if it is plausible; `synced`: only if the kernel also says that NTP steers it. */
  readonly trust: 'kernel' | 'synced';
  /** When this program was built: no true clock shows an earlier time. */
  readonly builtMs: number;
  readonly synchronised: () => boolean;
}

/** A running jump of the wall clock above this is held until it is taken back or confirmed. */
const JUMP_MAX_MS = 24 * 3_600_000;
/** The record is renewed this often at least, so a start that cannot measure the gap adds this much. */
const UNKNOWN_GAP_MS = 60_000;
/** Two clocks are read one after the other and in whole milliseconds: what differs by less is no correction. */
const JITTER_MS = 1000;

interface Reading {
  readonly wallMs: number;
  readonly bootMs: number;
}

export class LeaseClock implements LeaseTimeKeeper {
  readonly #options: LeaseClockOptions;
  readonly #clock: Clock;
  /** Lease time is `#leaseMs` at `#bootMs` of uptime, and passes with it. */
  #leaseMs: number;
  #bootMs: number;
  #newestMs: number;
  /** Lease time minus wall time while the wall clock is believed. */
  #offsetMs = 0;
  /** The newest reading that was believed; undefined until there is one. */
  #believed: Reading | undefined;
  /** What the first belief of this boot compares with. */
  #kept: TimeRecord;
  #confirmed = false;
  #resumed = false;

  constructor(options: LeaseClockOptions) {
    this.#options = options;
    this.#clock = options.clock;
    const { builtMs } = options;
    this.#kept = { leaseMs: builtMs, wallMs: builtMs, bootId: '', bootMs: 0 };
    this.#bootMs = this.#clock.bootMs();
    this.#leaseMs = builtMs;
    this.#newestMs = builtMs;
  }

  resume(record: TimeRecord | undefined, highWaterMs: number): void {
    if (this.#resumed) return;
    this.#resumed = true;
    const kept = record ?? this.#kept;
    const bootMs = this.#clock.bootMs();
    this.#kept = kept;
    this.#believed = undefined;
    this.#bootMs = bootMs;
    if (kept.bootId === this.#clock.bootId && bootMs >= kept.bootMs) {
      // The machine was on all the time: the gap is known to the millisecond, whatever the wall clock did.
      this.#leaseMs = Math.max(kept.leaseMs + (bootMs - kept.bootMs), highWaterMs);
      const before = { wallMs: kept.wallMs, bootMs: kept.bootMs };
      if (this.#implausible(kept.wallMs) === undefined) this.#believed = before;
    } else {
      this.#leaseMs = Math.max(kept.leaseMs, highWaterMs);
      if (!this.#look()) this.#leaseMs += record === undefined ? 0 : UNKNOWN_GAP_MS;
    }
    this.#raise(0);
    this.#look();
  }

  nowMs(): number {
    const now = this.#leaseMs + (this.#clock.bootMs() - this.#bootMs);
    // Uptime never goes back, but its source may (a restored virtual machine).
    if (now > this.#newestMs) this.#newestMs = now;
    return this.#newestMs;
  }

  nowNanos(): number {
    return this.#clock.wallNanos();
  }

  bootMs(): number {
    return this.#clock.bootMs();
  }

  wallOf(leaseMs: number): number {
    return leaseMs - this.#offsetMs;
  }

  believed(): boolean {
    return this.#look();
  }

  reasons(): readonly string[] {
    if (this.#look()) return [];
    return [this.#why(this.#clock.wallMs(), this.#clock.bootMs()) ?? 'the wall clock is not believed'];
  }

  /** A person says that the wall clock is right now. Changes the mapping; lease time goes on as it was. */
  confirm(): void {
    this.#confirmed = true;
    this.#believed = { wallMs: this.#clock.wallMs(), bootMs: this.#clock.bootMs() };
    this.#offsetMs = this.nowMs() - this.#believed.wallMs;
  }

  record(): TimeRecord {
    this.#look();
    const bootMs = this.#clock.bootMs();
    const leaseMs = this.nowMs();
    const seen = this.#believed;
    const wallMs = seen === undefined ? this.#kept.wallMs : seen.wallMs + (bootMs - seen.bootMs);
    // Without belief the kept wall time still belongs to the kept lease time: a later belief measures from there.
    if (seen === undefined) return { ...this.#kept, bootId: '', bootMs: 0 };
    return { leaseMs, wallMs, bootId: this.#clock.bootId, bootMs };
  }

  #raise(leastMs: number): void {
    const now = this.#clock.bootMs();
    const lease = this.#leaseMs + (now - this.#bootMs);
    this.#bootMs = now;
    this.#leaseMs = Math.max(lease, leastMs);
    this.#newestMs = Math.max(this.#newestMs, this.#leaseMs);
  }

  #implausible(wallMs: number): string | undefined {
    if (wallMs < this.#options.builtMs) return 'the wall clock shows a time before this program was built';
    return undefined;
  }

  /** Why a reading is not believed, or undefined. */
  #why(wallMs: number, bootMs: number): string | undefined {
    const implausible = this.#implausible(wallMs);
    if (implausible !== undefined) return implausible;
    if (this.#options.trust === 'synced' && !this.#confirmed && !this.#options.synchronised()) {
      return 'the kernel does not say that its clock is synchronised (time.trust is synced): let NTP hold it, or give your word: `holdfast operator clock -confirm`';
    }
    const seen = this.#believed;
    if (seen === undefined) {
      return wallMs < this.#kept.wallMs
        ? 'the wall clock is behind the time that this box has already seen'
        : undefined;
    }
    const jump = wallMs - (seen.wallMs + (bootMs - seen.bootMs));
    if (Math.abs(jump) <= JUMP_MAX_MS) return undefined;
    const hours = Math.round(Math.abs(jump) / 3_600_000);
    return `the wall clock jumped ${jump > 0 ? 'forward' : 'back'} by ${hours} h while the machine ran: held until it is taken back, or confirmed: \`holdfast operator clock -confirm\``;
  }

  /** Reads the wall clock and takes it over if it is believed. */
  #look(): boolean {
    const wallMs = this.#clock.wallMs();
    const bootMs = this.#clock.bootMs();
    if (this.#why(wallMs, bootMs) !== undefined) return false;
    if (!this.#resumed) return true;
    if (this.#believed === undefined) {
      // The first belief since the power-off: the wall clock says how long that was.
      this.#raise(this.#kept.leaseMs + (wallMs - this.#kept.wallMs));
    }
    const offset = this.nowMs() - wallMs;
    if (Math.abs(offset - this.#offsetMs) > JITTER_MS) this.#offsetMs = offset;
    this.#believed = { wallMs, bootMs };
    return true;
  }
}
