/** What every benchmark answers: rows with our figure, those of the rivals of the same run, and what was to be reached. */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';

export interface BenchRow {
  /** What was measured, e.g. `seal 256 B`. */
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** By name, in the same unit. */
  readonly rivals: Readonly<Record<string, number>>;
  /** How many times as good as the rival that the reach names. */
  readonly ratio?: number;
  /** The sentence of what is to be reached, e.g. `>= 5x node:crypto`. */
  readonly reach?: string;
  readonly met?: boolean;
  /** What else is to be known of it, in words. */
  readonly note?: string;
}

export interface BenchResult {
  readonly name: string;
  readonly commit: string;
  readonly node: string;
  readonly cpu: string;
  /** ISO 8601. */
  readonly date: string;
  /** Digest of what was computed: a run that computed nothing shows. */
  readonly digest?: string;
  readonly rows: readonly BenchRow[];
}

export interface BenchOptions {
  /** The size that runs as a test: seconds, not minutes. */
  readonly small: boolean;
  /** Another build of the box, measured beside the one in dist in the same run. */
  readonly against?: string;
  /** The build to measure instead of the one in dist. */
  readonly program?: string;
  readonly onProgress?: (line: string) => void;
}

export type Bench = (options: BenchOptions) => Promise<BenchResult>;

function commit(): string {
  try {
    const head = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
    const dirty = execFileSync('git', ['status', '--porcelain', '--untracked-files=no'], { encoding: 'utf8' }) !== '';
    return dirty ? `${head}+changes` : head;
  } catch {
    return 'unknown';
  }
}

export function benchResult(name: string, rows: readonly BenchRow[], digest?: string): BenchResult {
  return {
    name,
    commit: commit(),
    node: process.version,
    cpu: `${cpus()[0]?.model ?? 'unknown'} x ${cpus().length}`,
    date: new Date().toISOString(),
    ...(digest === undefined ? {} : { digest }),
    rows,
  };
}

const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);

/** The rows as a table: ours, each rival, and reach beside result. */
export function renderResult(result: BenchResult): string {
  const lines = result.rows.map((row) => {
    const rivals = Object.entries(row.rivals).map(([name, value]) => `${name} ${figure(value)}`);
    const ratio = row.ratio === undefined ? '' : ` | ${row.ratio.toFixed(2)}x`;
    const reach = row.reach === undefined ? '' : ` | reach ${row.reach}: ${row.met === true ? 'met' : 'NOT met'}`;
    const beside = rivals.length === 0 ? '' : ` (${rivals.join(', ')})`;
    const note = row.note === undefined ? '' : `\n      ${row.note}`;
    return `  ${row.what}: ${figure(row.ours)} ${row.unit}${beside}${ratio}${reach}${note}`;
  });
  return [`${result.name} (${result.commit}, ${result.node}, ${result.cpu})`, ...lines].join('\n');
}
