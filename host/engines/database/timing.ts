/** When a static role is to be rotated. Periods run in lease time, schedules in wall time. */
import { Fault } from '../../fault.ts';
import type { Random } from '../../ports/random.ts';
import type { DatabaseParts } from './parts.ts';
import type { StaticRecord } from './records.ts';

const BACKOFF_MIN_MS = 5000;
const BACKOFF_MAX_MS = 1_800_000;
/** What a schedule whose points are over waits for: nothing comes of it, and nobody forgets it. */
const FAR_MS = 366 * 86_400_000;

/** Seconds; what Vault refuses below. */
export const PERIOD_MIN = 5;
export const WINDOW_MIN = 3600;

type Times = Pick<StaticRecord, 'period' | 'schedule'>;

/** Lease time of the next rotation. @param afterMs  lease time of the last one, or now */
export async function nextDue(
  { lease, schedules }: Pick<DatabaseParts, 'lease' | 'schedules'>,
  { period, schedule }: Times,
  afterMs: number,
): Promise<number> {
  if (schedule === '') return afterMs + period * 1000;
  const wallMs = lease.wallOf(afterMs);
  const next = (await schedules.parse(schedule)).next(wallMs);
  return next === undefined ? afterMs + FAR_MS : afterMs + (next - wallMs);
}

/** What a schedule allows: by its window, a rotation that is late waits for the next point. */
export function isTooLate({ schedule, window, dueMs }: StaticRecord, nowMs: number): boolean {
  return schedule !== '' && window > 0 && nowMs > dueMs + window * 1000;
}

/** Until the next attempt: twice as long each time, up to half an hour, spread by a fifth either way. */
export function backoffMs(attempts: number, random: Random): number {
  const base = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempts, 20));
  const spread = Buffer.from(random.bytes(4)).readUInt32BE() / 0xffff_ffff;
  return Math.round(base * (0.8 + 0.4 * spread));
}

/** @throws Fault `input.invalid` in Vault's words */
export function checkTimes(given: {
  readonly period: number | undefined;
  readonly schedule: string | undefined;
  readonly window: number | undefined;
}): void {
  const refuse = (sentence: string): never => {
    throw new Fault('input.invalid', sentence);
  };
  const { period, schedule, window } = given;
  if (period !== undefined && schedule !== undefined) {
    refuse(
      'mutually exclusive fields rotation_period and rotation_schedule were both specified; only one of them can be provided',
    );
  }
  if (period !== undefined && period < PERIOD_MIN) refuse(`rotation_period must be ${PERIOD_MIN} seconds or more`);
  if (window === undefined) return;
  if (period !== undefined) refuse('rotation_window is invalid with use of rotation_period');
  if (window !== 0 && window < WINDOW_MIN) refuse(`rotation_window must be ${WINDOW_MIN} seconds or more`);
}
