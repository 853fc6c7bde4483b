/**
 * Branch coverage of core/assembly: compiles each module of test/core/modules.ts at -O0, puts a counter on every arm, runs
 * the same suite on them that runs on the shipped build, and says which arms nothing took.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, ENTRIES, type ModuleName } from '../modules.ts';
import { type Arm, instrument } from './instrument.ts';

export interface Coverage {
  readonly total: number;
  readonly covered: number;
  readonly uncovered: readonly Arm[];
  /** `branch coverage of core/assembly: N of M (P %)`. */
  readonly sentence: string;
}

/** @param hits keys of the arms that ran */
export function coverageOf(arms: readonly Arm[], hits: ReadonlySet<string>, within: string): Coverage {
  const own = new Map(arms.filter(({ file }) => file.startsWith(within)).map((arm) => [arm.key, arm]));
  const uncovered = [...own.values()]
    .filter(({ key }) => !hits.has(key))
    .sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column);
  const [total, covered] = [own.size, own.size - uncovered.length];
  const percent = total === 0 ? 100 : (100 * covered) / total;
  const rounded = covered === total ? '100' : Math.min(percent, 99.99).toFixed(2);
  return { total, covered, uncovered, sentence: `branch coverage of ${within}: ${covered} of ${total} (${rounded} %)` };
}

/** `file:line:column kind (function)`, a line each. */
export function renderArms(arms: readonly Arm[]): string {
  return arms.map((arm) => `  ${arm.file}:${arm.line}:${arm.column} ${arm.kind} (${arm.key})`).join('\n');
}

/** Compiles and instruments one entry into a folder. */
export function prepare(entry: string, folder: string, name: string): readonly Arm[] {
  const file = join(folder, `${name}.wasm`);
  compile(entry, 'coverage', file);
  const { wasm, arms } = instrument(readFileSync(file), readFileSync(`${file}.map`, 'utf8'));
  writeFileSync(file, wasm);
  return arms;
}

function suite(folder: string): Promise<{ readonly passed: boolean; readonly output: string }> {
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/core/branch-coverage/vitest.config.ts'];
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
  const env = {
    ...Object.fromEntries(inherited),
    HOLDFAST_COVERAGE_DIR: folder,
    HOLDFAST_CORE_WASM: join(folder, 'core.wasm'),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ passed: error === null, output: stdout + stderr });
    });
  });
}

/** @throws Error if the suite fails on the instrumented modules */
export async function measure(): Promise<Coverage> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-coverage-'));
  try {
    const names = (Object.keys(ENTRIES) as ModuleName[]).filter((name) => existsSync(ENTRIES[name]));
    const arms = names.flatMap((name) => prepare(ENTRIES[name], folder, name));
    const { passed, output } = await suite(folder);
    if (!passed) throw new Error(`the suite fails on the instrumented core:\n${output}`);
    const hits = new Set<string>();
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.hits.json'))) {
      for (const key of JSON.parse(readFileSync(join(folder, file), 'utf8')) as string[]) hits.add(key);
    }
    return coverageOf(arms, hits, 'core/assembly');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
