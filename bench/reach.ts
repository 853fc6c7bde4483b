/** What was to be reached beside what was measured, printed as it is; what no benchmark measures yet is named. */
import type { BenchResult, BenchRow } from './result.ts';

interface Missing {
  readonly what: string;
  readonly why: string;
}

const MISSING: readonly Missing[] = [
  {
    what: 'start with 10,000 leases over HTTP',
    why: '`npm run campaign -- leases` opens a box of 100 and of 100,000 in process',
  },
  { what: 'transit encrypt beside a server named by --target', why: 'the box has no transit engine yet' },
  { what: 'approle login beside a server named by --target', why: 'the box has no approle method yet' },
  {
    what: 'token lookup and secret write beside a server named by --target',
    why: 'run `http --target` on both servers with the same load: no other server is started here',
  },
  {
    what: 'reads with 1,000,000 secrets and with 100,000 leases',
    why: 'a run goes to 100,000 secrets: more take longer to write than all the rest',
  },
  {
    what: 'audit.sync=interval at 1 and 4 connections beside a rival',
    why: 'our own figure is in http; no other server is started here',
  },
];

const line = (cells: readonly string[], widths: readonly number[]): string =>
  cells
    .map((cell, i) => cell.padEnd(widths[i] ?? 0))
    .join('  ')
    .trimEnd();

const resultOf = ({ ratio, ours, unit, reach }: BenchRow): string =>
  reach?.includes('x ') === true && ratio !== undefined ? `${ratio.toFixed(2)}x` : `${ours.toPrecision(4)} ${unit}`;

export function renderTable(results: readonly BenchResult[]): string {
  const rows = results.flatMap(({ name, rows: all }) =>
    all
      .filter((row) => row.reach !== undefined)
      .map((row) => [name, row.what, row.reach ?? '', resultOf(row), row.met === true ? 'met' : 'NOT met']),
  );
  const head = ['bench', 'what', 'reach', 'result', ''];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)));
  const met = rows.filter((row) => row[4] === 'met').length;
  return [
    line(head, widths),
    ...rows.map((row) => line(row, widths)),
    `${met} of ${rows.length} met`,
    '',
    'not measured:',
    ...MISSING.map(({ what, why }) => `  ${what}: ${why}`),
  ].join('\n');
}
