/** One self-contained HTML page with the curves of one or several load runs: no script, no font, nothing fetched. */
import type { LoadResult } from './figures.ts';

export interface Titled {
  readonly title: string;
  readonly result: LoadResult;
}

const WIDTH = 760;
const HEIGHT = 260;
const LEFT = 70;
const BOTTOM = 34;
const COLOURS = ['#1f6f8b', '#c8553d', '#5b8c5a', '#7a5195', '#b8860b', '#444444'];

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const colour = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000000';

interface Line {
  readonly title: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  readonly xLabels: readonly (readonly [x: number, text: string])[];
}

/** A round number of at least `value`, for the top of an axis. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= value) ?? 10;
  return step * power;
}

function chart({ title, unit, lines, xLabels }: Chart): string {
  const all = lines.flatMap((line) => line.points);
  const xs = [...all.map(([x]) => x), ...xLabels.map(([x]) => x)];
  const low = Math.min(...xs);
  const high = Math.max(...xs, low + 1e-9);
  const top = roundUp(Math.max(...all.map(([, y]) => y)));
  const x = (value: number): string => (LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - 10)).toFixed(1);
  const y = (value: number): string => (HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 12)).toFixed(1);
  const grid = [0, 0.25, 0.5, 0.75, 1].map(
    (part) =>
      `<line x1="${LEFT}" x2="${WIDTH - 10}" y1="${y(top * part)}" y2="${y(top * part)}" class="grid"/>` +
      `<text x="${LEFT - 8}" y="${Number(y(top * part)) + 4}" class="left">${(top * part).toLocaleString('en')}</text>`,
  );
  const labels = xLabels.map(
    ([at, text]) => `<text x="${x(at)}" y="${HEIGHT - 12}" class="under">${escaped(text)}</text>`,
  );
  const drawn = lines.map(
    ({ points }, index) =>
      `<polyline fill="none" stroke="${colour(index)}" stroke-width="2" points="${points.map(([px, py]) => `${x(px)},${y(py)}`).join(' ')}"/>`,
  );
  return (
    `<figure><figcaption>${escaped(title)} <small>${escaped(unit)}</small></figcaption>` +
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">${[...grid, ...labels, ...drawn].join('')}</svg></figure>`
  );
}

/** Percentiles on a scale of nines: 90 stands at 1, 99 at 2, 99.9 at 3. */
const nines = (percentile: number): number => (percentile >= 100 ? 4.3 : -Math.log10(1 - percentile / 100));

const ms = (us: number): string => (us / 1000).toFixed(us < 10_000 ? 3 : 1);

export function page(heading: string, runs: readonly Titled[]): string {
  const rows = runs.map(({ title, result }, index) => {
    const { latency } = result;
    const cells = [
      result.requests.toLocaleString('en'),
      String(result.failures),
      result.requestsPerSecond.toLocaleString('en'),
      result.requestsPerCpuSecond?.toLocaleString('en') ?? '–',
      ms(latency.p50Us),
      ms(latency.p90Us),
      ms(latency.p99Us),
      ms(latency.p999Us),
      ms(latency.maxUs),
      result.memoryMiB === undefined ? '–' : result.memoryMiB.toFixed(0),
    ];
    return `<tr><th><i style="background:${colour(index)}"></i>${escaped(title)}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  const seconds = Math.max(...runs.flatMap(({ result }) => result.timeline.map((point) => point.second)), 1);
  const ticks = [1, Math.ceil(seconds / 2), seconds].map((second): [number, string] => [second, `${second} s`]);
  const charts = [
    chart({
      title: 'Latency by percentile',
      unit: 'milliseconds',
      lines: runs.map(({ title, result }) => ({
        title,
        points: result.curve.map(({ percentile, us }) => [nines(percentile), us / 1000] as const),
      })),
      xLabels: [
        [0, '0'],
        [nines(50), '50'],
        [1, '90'],
        [2, '99'],
        [3, '99.9'],
        [4, '99.99'],
      ],
    }),
    chart({
      title: 'Answers a second',
      unit: 'over the run',
      lines: runs.map(({ title, result }) => ({
        title,
        points: result.timeline.map(({ second, requests }) => [second, requests] as const),
      })),
      xLabels: ticks,
    }),
    chart({
      title: '99th percentile of each second',
      unit: 'milliseconds',
      lines: runs.map(({ title, result }) => ({
        title,
        points: result.timeline.map(({ second, p99Us }) => [second, p99Us / 1000] as const),
      })),
      xLabels: ticks,
    }),
  ];
  const heads = ['', 'answers', 'failed', 'a second', 'a CPU second', 'p50 ms', 'p90', 'p99', 'p99.9', 'max', 'MiB'];
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escaped(heading)}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>
body{font:15px/1.45 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}td,th{padding:.3rem .5rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child{text-align:left;font-weight:600}i{display:inline-block;width:.8em;height:.8em;margin-right:.5em;border-radius:2px}
figure{margin:2rem 0}figcaption{font-weight:600}small{font-weight:400;color:#666}svg{width:100%;height:auto}
.grid{stroke:#e4e4e4}text{font:11px system-ui,sans-serif;fill:#555}.left{text-anchor:end}.under{text-anchor:middle}
</style></head><body><h1>${escaped(heading)}</h1><table><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead>
<tbody>${rows.join('')}</tbody></table>${charts.join('')}</body></html>
`;
}
