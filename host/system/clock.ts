/** The operating system's clocks and timers. Linux. */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import koffi from 'koffi';
import type { Clock } from '../ports/clock.ts';

const CLOCK_REALTIME = 0;
const CLOCK_BOOTTIME = 7;
/** State that adjtimex answers while nothing steers the clock. */
const TIME_ERROR = 5;
/** So long the kernel's answer holds: requests ask, and a system call is some microseconds. */
const STEERED_MS = 1000;
/** Made by systemd-timesyncd once it has set the clock by NTP (systemd-timesyncd.service(8)); gone at the next boot. */
const TIMESYNC_MARK = '/run/systemd/timesync/synchronized';
/** More than `struct timex` has on any Linux (208 bytes on 64 bits). */
const TIMEX_SIZE = 512;

export interface SystemClock extends Clock {
  /** What is less good than it should be, as sentences for health. */
  readonly reasons: readonly string[];
  /** True if something (NTP) steers the clock: by the kernel's word or, where a sandbox forbids to ask it, timesyncd's. */
  synchronised(): boolean;
}

type ClockGettime = (id: number, time: BigInt64Array) => number;
type Adjtimex = (timex: Uint8Array) => number;

function bindLibc(): { readonly gettime: ClockGettime; readonly adjtimex: Adjtimex } {
  const libc = koffi.load('libc.so.6');
  return {
    gettime: libc.func('int clock_gettime(int id, _Out_ void *time)') as ClockGettime,
    adjtimex: libc.func('int adjtimex(_Inout_ void *timex)') as Adjtimex,
  };
}

/** /proc/uptime counts suspend too, in hundredths of a second. */
function uptimeMs(): number {
  return Math.floor(Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000);
}

function readBootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return undefined;
  }
}

/**
 * Milliseconds of wall time and the nanoseconds below belong together: `wallNanos` answers for the reading that the
 * newest `wallMs` gave, so that a time stamp made of both never goes back by a millisecond.
 *
 * @param bind          binds libc; a test passes one that throws
 * @param timesyncMark  asked where adjtimex is refused
 */
export function systemClock(bind: typeof bindLibc = bindLibc, timesyncMark = TIMESYNC_MARK): SystemClock {
  const reasons: string[] = [];
  const bootId = readBootId();
  if (bootId === undefined)
    reasons.push('the kernel does not say which boot this is: every start counts as a new boot');

  const time = new BigInt64Array(2);
  let nanos = 0;
  const read = (gettime: ClockGettime, id: number): number => {
    if (gettime(id, time) !== 0) throw new Error(`clock_gettime(${id}) failed`);
    const below = Number(time[1] ?? 0n);
    nanos = below % 1_000_000;
    return Number(time[0] ?? 0n) * 1000 + Math.floor(below / 1_000_000);
  };

  let wallMs = (): number => Date.now();
  let bootMs = uptimeMs;
  let wallNanos = (): number => Number(process.hrtime.bigint() % 1_000_000n);
  let synchronised = (): boolean => false;
  try {
    const { gettime, adjtimex } = bind();
    read(gettime, CLOCK_BOOTTIME);
    let ofWall = 0;
    wallMs = () => {
      const ms = read(gettime, CLOCK_REALTIME);
      ofWall = nanos;
      return ms;
    };
    wallMs();
    wallNanos = () => ofWall;
    bootMs = () => read(gettime, CLOCK_BOOTTIME);
    let steered = false;
    let askedMs = -STEERED_MS;
    synchronised = () => {
      const nowMs = bootMs();
      if (nowMs - askedMs < STEERED_MS) return steered;
      askedMs = nowMs;
      const state = adjtimex(new Uint8Array(TIMEX_SIZE));
      steered = state < 0 ? existsSync(timesyncMark) : state !== TIME_ERROR;
      return steered;
    };
  } catch {
    reasons.push(
      'libc cannot be called: uptime is read from /proc/uptime, and whether NTP steers the clock is unknown',
    );
  }

  return {
    reasons,
    bootId: bootId ?? randomUUID(),
    wallMs,
    wallNanos,
    bootMs,
    synchronised,
    after(delayMs, job) {
      const timer = setTimeout(job, delayMs);
      timer.unref();
      return { cancel: () => clearTimeout(timer) };
    },
    // A timer of nothing takes a millisecond.
    sleep: (delayMs) =>
      new Promise((resolve) => (delayMs === 0 ? setImmediate(resolve) : setTimeout(resolve, delayMs))),
  };
}

/** The date that a library asks for where house uses milliseconds since 1970. */
export const dateOf = (ms: number): Date => new Date(ms);
