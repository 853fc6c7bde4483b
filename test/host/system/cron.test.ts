import { describe, expect, test } from 'vitest';
import { cronSchedules } from '../../../host/system/cron.ts';

const NOW = Date.UTC(2026, 10, 27, 13, 5, 9);
const next = async (text: string, afterMs = NOW): Promise<string> => {
  const ms = (await cronSchedules.parse(text)).next(afterMs);
  return ms === undefined ? 'never' : new Date(ms).toISOString();
};

describe('a schedule', () => {
  test.each([
    ['30 2 * * 6', '2026-11-28T02:30:00.000Z'],
    ['*/5 * * * *', '2026-11-27T13:10:00.000Z'],
    ['0 0 * * MON-FRI', '2026-11-30T00:00:00.000Z'],
    ['0 0 1 JUL *', '2027-07-01T00:00:00.000Z'],
    ['0 0 29 2 *', '2028-02-29T00:00:00.000Z'],
    ['@daily', '2026-11-28T00:00:00.000Z'],
    ['CRON_TZ=Europe/Zurich 0 3 * * *', '2026-11-28T02:00:00.000Z'],
    ['TZ=America/New_York  0 3 * * *', '2026-11-28T08:00:00.000Z'],
  ])('%s', async (text, expected) => {
    expect(await next(text)).toBe(expected);
  });

  test('goes on from where it is asked', async () => {
    expect(await next('0 * * * *', Date.UTC(2026, 0, 1, 0, 0, 0))).toBe('2026-01-01T01:00:00.000Z');
    // Clocks go forward at 01:00 UTC: half past two is not there that day.
    expect(await next('CRON_TZ=Europe/Zurich 30 4 * * *', Date.UTC(2026, 2, 29, 0, 0, 0))).toBe(
      '2026-03-29T02:30:00.000Z',
    );
  });

  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '0 24 * * *',
    '0 0 L * *',
    '0 0 15W * *',
    '0 0 * * 5#2',
    '0 0 30 2 *',
    '@every 5m',
    '@reboot',
    'CRON_TZ=No/Where 0 0 * * *',
    'CRON_TZ=../etc/passwd 0 0 * * *',
    `0 0 * * ${'1,'.repeat(200)}1`,
    '0 0 * * *; DROP',
  ])('%j is refused', async (text) => {
    await expect(cronSchedules.parse(text)).rejects.toThrow('could not parse rotation_schedule');
  });
});
