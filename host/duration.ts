/**
 * Durations as clients of this field write them: a number of seconds, Go's form (`1h30m`, `1.5s`, `250ms`), or days
 * (`7d`). Pure; everyone in host may import it.
 */

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** 292 years: what Go's 64-bit nanoseconds hold, and what no sum in milliseconds leaves exactness with. */
export const DURATION_MS_MAX = 9_223_372_036_854;

/**
 * @param text  at most 64 characters
 * @returns whole milliseconds (rounded toward zero), negative where the text is; undefined if it is no duration or its
 *          magnitude is above DURATION_MS_MAX
 */
export function parseDurationMs(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed.length === 0 || trimmed.length > 64) return undefined;
  const negative = trimmed.startsWith('-');
  const body = negative || trimmed.startsWith('+') ? trimmed.slice(1) : trimmed;
  const total = /^\d+(\.\d+)?$/.test(body) ? Number(body) * 1000 : sumOfParts(body);
  if (total === undefined || !(total <= DURATION_MS_MAX)) return undefined;
  const whole = Math.trunc(total);
  return negative && whole !== 0 ? -whole : whole;
}

function sumOfParts(body: string): number | undefined {
  if (!/^(\d+(\.\d*)?(ns|us|µs|μs|ms|s|m|h|d))+$/.test(body)) return undefined;
  let total = 0;
  for (const part of body.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h|d)/g)) {
    total += Number(part[1]) * (UNIT_MS[part[2] ?? ''] ?? Number.NaN);
  }
  return total;
}

/** Go's form of a duration: `0s`, `1h0m0s`, `3h25m19s`, `1.5s`, `-1s`. @param ms whole milliseconds */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  const sign = ms < 0 ? '-' : '';
  const magnitude = Math.abs(ms);
  if (magnitude < 1000) return `${sign}${magnitude}ms`;
  const hours = Math.floor(magnitude / 3_600_000);
  const minutes = Math.floor(magnitude / 60_000) % 60;
  const seconds = `${(magnitude % 60_000) / 1000}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** The warning about a time to live that was cut. Seconds. */
export const capped = (ttl: number, maximum: number): string =>
  `TTL of "${text(ttl)}" exceeded the effective max_ttl of "${text(maximum)}"; TTL value is capped accordingly`;

/** Whole seconds in Go's form without its trailing zeros: `10h`, `1h30m`, `45s`. */
function text(seconds: number): string {
  const parts: (readonly [number, string])[] = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const shown = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count}${unit}`);
  return shown.join('') || '0s';
}
