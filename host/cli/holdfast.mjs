#!/usr/bin/env node
// The one executable: starts the built program, with the compiled code of earlier starts where Node keeps it (22.8).
// Builtins only, and nothing newer than what any Node of the last years parses: it must be able to say what is missing.
import { existsSync } from 'node:fs';
import module from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const program = join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'holdfast.mjs');
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`holdfast needs Node 20.19 or newer; this is ${process.version}`);
  process.exitCode = 1;
} else if (!existsSync(program)) {
  console.error(
    'holdfast is not built yet: run `npm start` (it installs, builds and starts), or `npm ci && npm run build`',
  );
  process.exitCode = 1;
} else {
  module.enableCompileCache?.(join(fileURLToPath(new URL('../..', import.meta.url)), 'dist', 'cache'));
  const { main } = await import(pathToFileURL(program).href);
  await main(process.argv.slice(2));
}
