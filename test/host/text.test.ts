import { describe, expect, test } from 'vitest';
import { DURATION_MS_MAX, formatDuration, parseDurationMs } from '../../host/duration.ts';
import { parseTimestampMs, timestampNanos, timestampSeconds } from '../../host/timestamp.ts';

describe('durations', () => {
  test.each([
    ['0', 0],
    ['60', 60_000],
    ['1.5', 1500],
    ['5s', 5000],
    ['1h30m', 5_400_000],
    ['768h', 2_764_800_000],
    ['7d', 604_800_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['-1s', -1000],
    ['-1', -1000],
    ['1us', 0],
  ])('%s is read as %d ms', (text, ms) => expect(parseDurationMs(text)).toBe(ms));

  test.each([
    '',
    ' ',
    'x',
    '1x',
    '1h-2m',
    'h',
    '1 h',
    '1e3',
    '0x10',
    'Infinity',
    'NaN',
    '1'.repeat(65),
    '9223372036855',
    '--1',
  ])('%j is no duration', (text) => expect(parseDurationMs(text)).toBeUndefined());

  test.each([
    [0, '0s'],
    [12_319_000, '3h25m19s'],
    [3_600_000, '1h0m0s'],
    [60_000, '1m0s'],
    [1500, '1.5s'],
    [-1000, '-1s'],
    [250, '250ms'],
  ])('%d ms is written %s', (ms, text) => expect(formatDuration(ms)).toBe(text));

  test('what is written is read as the same', () => {
    for (let ms = 1; ms < DURATION_MS_MAX; ms = ms * 3 + 7) expect(parseDurationMs(formatDuration(ms))).toBe(ms);
  });
});

describe('timestamps', () => {
  test('agree with the platform for days from 1970 to 9999', () => {
    for (let ms = 0; ms < 253_402_300_799_999; ms += 86_400_000 * 97 + 12_345_678) {
      expect(timestampNanos(ms, 0)).toBe(new Date(ms).toISOString().replace('Z', '000000Z'));
    }
  });

  test('leap days and ends of years', () => {
    for (const text of [
      '2000-02-29T23:59:59Z',
      '2024-12-31T00:00:00Z',
      '2100-03-01T00:00:00Z',
      '1970-01-01T00:00:00Z',
    ]) {
      expect(timestampSeconds(Date.parse(text))).toBe(text);
      expect(parseTimestampMs(text)).toBe(Date.parse(text));
    }
  });

  test('carry nanoseconds', () => expect(timestampNanos(1_000, 42)).toBe('1970-01-01T00:00:01.000000042Z'));
  test('offsets count', () =>
    expect(parseTimestampMs('2026-01-01T01:30:00.5+01:30')).toBe(Date.parse('2026-01-01T00:00:00.500Z')));
  test('refuse other forms', () => {
    for (const text of [
      '',
      '2026-1-1',
      'yesterday',
      '2026-13-01T00:00:00Z',
      '2026-02-29T00:00:00Z',
      '2026-01-01T24:00:00Z',
    ])
      expect(parseTimestampMs(text)).toBeUndefined();
  });
});
