// Builds what runs: core (AssemblyScript → dist/core.wasm) and the host (esbuild → dist/holdfast.mjs).
// `node build.mjs core` builds the first only; `--coverage` adds the -O0 core with its source map.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));
const wanted = process.argv.slice(2);
mkdirSync(join(root, 'dist'), { recursive: true });

function assembly(target) {
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  const run = spawnSync(process.execPath, [asc, '--config', 'asconfig.json', '--target', target], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'pipe'],
    encoding: 'utf8',
  });
  // The optimiser's word that another round might save bytes: nobody can do anything about it.
  process.stderr.write((run.stderr ?? '').replace(/^Last converge was suboptimal\.\n/gm, ''));
  if (run.status !== 0) {
    console.error(`holdfast: the core did not compile (target ${target}); its messages are above`);
    process.exit(1);
  }
}

assembly('release');
if (wanted.includes('--coverage')) assembly('coverage');

if (!wanted.includes('core')) {
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    entryPoints: { holdfast: 'host/main.ts', 'pkcs11-child': 'host/seal/pkcs11/child.ts' },
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    legalComments: 'none',
    // The last two are what pg would use of other run-times; it asks for them only there.
    external: ['lmdb', 'koffi', 'pkcs11js', 'pg-native', 'pg-cloudflare'],
    banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" },
    logLevel: 'warning',
  });
}
