/** Bundles what has to run in a process of its own: Node 20 does not read TypeScript. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** @returns the bundled bench/http/rival.ts, in dist/bench where its packages are found */
export async function bundleRival(): Promise<string> {
  const { build } = await import('esbuild');
  mkdirSync('dist/bench', { recursive: true });
  const outfile = join(process.cwd(), 'dist/bench/rival.mjs');
  await build({
    entryPoints: ['bench/http/rival.ts'],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  return outfile;
}
