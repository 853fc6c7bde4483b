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
// What is measured is the box in dist as its sources are now, unless another build or a running server is named.
if (!process.argv.some((arg) => /^--(box|target)(=|$)/.test(arg))) {
  const prepared = spawnSync(process.execPath, ['host/cli/prepare.mjs'], { cwd: root, stdio: 'inherit' });
  if (prepared.status !== 0) process.exit(1);
}
const { build } = await import('esbuild');
mkdirSync(join(root, 'dist/bench'), { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: { main: 'bench/cli.ts' },
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
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, HOLDFAST_BENCH_ROOT: root },
});
process.exit(run.status ?? 1);
