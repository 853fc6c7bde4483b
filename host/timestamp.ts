/** Points in time as text, RFC 3339 in UTC. Pure; everyone in host may import it. */

const MS_MAX = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z, the last that RFC 3339 can write

/** Days since 1970-01-01 to year, month, day (proleptic Gregorian; the algorithm counts eras of 400 years from March). */
function civil(days: number): [year: number, month: number, day: number] {
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  return [yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day];
}

const two = (n: number): string => (n < 10 ? `0${n}` : `${n}`);

let lastSecond = Number.NaN;
let lastText = '';

/** `2026-11-24T10:00:00` of a whole second; the newest one is kept, since most calls fall into the same second. */
function wholeSecond(second: number): string {
  if (second === lastSecond) return lastText;
  const days = Math.floor(second / 86_400);
  const inDay = second - days * 86_400;
  const [year, month, day] = civil(days);
  const clock = `${two(Math.floor(inDay / 3600))}:${two(Math.floor(inDay / 60) % 60)}:${two(inDay % 60)}`;
  lastText = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${clock}`;
  lastSecond = second;
  return lastText;
}

/**
 * RFC 3339 with nine digits of fraction.
 *
 * @param ms     milliseconds since 1970, 0 to the end of year 9999 (what is outside is taken to the nearest end)
 * @param nanos  nanoseconds below the millisecond, 0 to 999,999
 */
export function timestampNanos(ms: number, nanos: number): string {
  const bounded = Math.min(Math.max(Math.floor(ms), 0), MS_MAX);
  const second = Math.floor(bounded / 1000);
  const fraction = (bounded - second * 1000) * 1_000_000 + nanos;
  return `${wholeSecond(second)}.${String(fraction).padStart(9, '0')}Z`;
}

/** RFC 3339 in whole seconds. @param ms as in `timestampNanos` */
export function timestampSeconds(ms: number): string {
  return `${wholeSecond(Math.floor(Math.min(Math.max(ms, 0), MS_MAX) / 1000))}Z`;
}

/** Days since 1970-01-01 of a date (the inverse of `civil`). */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Milliseconds of an RFC 3339 text (what is below a millisecond is cut), or undefined; no leap seconds. */
export function parseTimestampMs(text: string): number | undefined {
  const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/.exec(text);
  if (parts === null) return undefined;
  const at = (index: number): number => Number(parts[index] ?? 0);
  const days = daysOf(at(1), at(2), at(3));
  const [year, month, day] = civil(days);
  if (year !== at(1) || month !== at(2) || day !== at(3)) return undefined;
  if (at(4) > 23 || at(5) > 59 || at(6) > 59 || at(9) > 23 || at(10) > 59) return undefined;
  const fraction = Number((parts[7] ?? '').padEnd(3, '0').slice(0, 3));
  const offset = (at(9) * 60 + at(10)) * 60_000 * (parts[8] === '-' ? -1 : 1);
  return ((days * 24 + at(4)) * 60 + at(5)) * 60_000 + at(6) * 1000 + fraction - offset;
}
