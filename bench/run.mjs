// `npm run bench -- NAME [options]`: bundles bench/main.ts (Node 20 does not read TypeScript) and runs it.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
if (!existsSync(join(root, 'node_modules/esbuild'))) {
  console.error('the bench needs the development packages: run `npm ci --include=dev` first');
  process.exit(1);
}
if (!existsSync(join(root, 'dist/core.wasm')) || !existsSync(join(root, 'dist/holdfast.mjs'))) {
  const built = spawnSync(process.execPath, ['build.mjs'], { cwd: root, stdio: 'inherit' });
  if (built.status !== 0) process.exit(1);
}
const { build } = await import('esbuild');
mkdirSync(join(root, 'dist/bench'), { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: { main: 'bench/main.ts', rival: 'bench/http/rival.ts' },
  outdir: 'dist/bench',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
});
const run = spawnSync(process.execPath, ['--expose-gc', join(root, 'dist/bench/main.mjs'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, HOLDFAST_BENCH_ROOT: root },
});
process.exit(run.status ?? 1);
