// What `npm start` needs before it can start: a Node that is new enough, the packages of the lock file, and a build that is
// not older than its sources. Builtins only: it runs on a clone without node_modules.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const at = (...parts) => join(root, ...parts);

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`holdfast needs Node 20.19 or newer; this is ${process.version}`);
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

/** Milliseconds of the last change, 0 where there is nothing. */
const changed = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

/** The newest change below a folder. */
function newest(folder) {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(path) : changed(path));
  }
  return latest;
}

function run(why, command, args) {
  console.error(`holdfast: ${why}`);
  // What the steps print goes to standard error: standard output is the program's.
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error) fail(`holdfast: ${command} could not be started: ${result.error.message}`);
  if (result.status !== 0) fail(`holdfast: ${command} ${args.join(' ')} failed; its messages are above`);
}

// npm writes this file at the end of an install: older than the lock file means that the lock file changed since.
if (changed(at('node_modules/.package-lock.json')) < changed(at('package-lock.json'))) {
  run('installing packages (once) …', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund']);
}

const sources = Math.max(
  newest(at('core')),
  newest(at('host')),
  newest(at('firmware-config')),
  changed(at('build.mjs')),
  changed(at('asconfig.json')),
  changed(at('node_modules/.package-lock.json')),
);
const built = Math.min(changed(at('dist/core.wasm')), changed(at('dist/holdfast.mjs')));
if (built < sources) run('building (once) …', process.execPath, ['build.mjs']);
