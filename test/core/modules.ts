/**
 * The WASM modules that tests of core load: the shipped one, and parts compiled alone because the shipped one does not
 * export them. With HOLDFAST_COVERAGE_DIR set (test/core/branch-coverage/), the instrumented twins of that folder are taken.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// Bundled benches run from elsewhere and name the clone.
const root = process.env['HOLDFAST_BENCH_ROOT'] ?? join(dirname(fileURLToPath(import.meta.url)), '../..');

/** Entry files, from the clone's root. */
export const ENTRIES = {
  core: 'core/assembly/index.ts',
  primitives: 'test/core/primitives/assembly/entry.ts',
  policy: 'test/core/policy/assembly/entry.ts',
} as const;

export type ModuleName = keyof typeof ENTRIES;

interface AscConfig {
  readonly options: object;
  readonly targets: Readonly<Record<string, object>>;
}

/**
 * Compiles one entry with the options of asconfig.json.
 *
 * @param target   of asconfig.json: `release` as shipped, `coverage` at -O0 with names, and a source map beside it
 * @param outFile  absolute; replaced at once, so that test files that compile at the same time do not disturb each other
 * @throws Error with the compiler's messages
 */
export function compile(entry: string, target: 'release' | 'coverage', outFile: string, baseDir = root): void {
  const config = JSON.parse(readFileSync(join(root, 'asconfig.json'), 'utf8')) as AscConfig;
  const folder = `${outFile}.${process.pid}`;
  mkdirSync(folder, { recursive: true });
  const { outFile: _shipped, ...options } = { outFile: '', ...config.targets[target] };
  const own = join(folder, 'asconfig.json');
  // The entries of the shipped configuration would be compiled too, so each module has a configuration of its own.
  const names = target === 'coverage' ? { debug: true } : {};
  writeFileSync(own, JSON.stringify({ options: { ...config.options, ...options, ...names } }));
  const out = join(folder, 'out.wasm');
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  const run = spawnSync(process.execPath, [asc, entry, '--config', own, '--outFile', out], {
    cwd: baseDir,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  try {
    if (run.status !== 0) throw new Error(`${entry} did not compile:\n${run.stdout}${run.stderr}`);
    if (existsSync(`${out}.map`)) renameSync(`${out}.map`, `${outFile}.map`);
    renameSync(out, outFile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds of the newest source of core and of an entry. */
function newestSource(entry: string): number {
  const folder = join(root, 'core/assembly');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file));
  return Math.max(...[...files, join(root, entry), join(root, 'asconfig.json')].map((file) => statSync(file).mtimeMs));
}

/** File of a module, compiled first if it is older than its sources. */
export function wasmFile(name: ModuleName): string {
  const folder = process.env['HOLDFAST_COVERAGE_DIR'];
  if (folder !== undefined) return join(folder, `${name}.wasm`);
  if (name === 'core') return join(root, 'dist/core.wasm');
  const file = join(root, 'dist/test', `${name}.wasm`);
  mkdirSync(dirname(file), { recursive: true });
  if (!existsSync(file) || statSync(file).mtimeMs < newestSource(ENTRIES[name]))
    compile(ENTRIES[name], 'release', file);
  return file;
}
