// `npm test`: everything the tests need, then all of them. Builtins only: it starts on a clone without node_modules.
// Closes with `N passed, N failed, N skipped` alone on a line; exits 0 only if nothing failed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const began = process.hrtime.bigint();
console.log(`node ${process.version}`);

/** What the tests start for real, and the Debian package it comes from. */
const PARTS = [
  { need: () => onPath('strace'), package: 'strace' },
  { need: () => onPath('script'), package: 'bsdutils' },
  { need: () => onPath('cc'), package: 'gcc' },
  { need: () => existsSync('/usr/include/stdio.h'), package: 'libc6-dev' },
  { need: () => onPath('openssl'), package: 'openssl' },
  { need: () => onPath('systemd-analyze') && onPath('systemd-sysusers'), package: 'systemd' },
  { need: () => onPath('python3', '/usr/bin'), package: 'python3' },
  { need: () => onPath('swtpm'), package: 'swtpm' },
  { need: () => library('libtss2-esys.so.0'), package: 'libtss2-esys-3.0.2-0' },
  { need: () => library('libtss2-tctildr.so.0'), package: 'libtss2-tctildr0' },
  { need: () => library('libtss2-rc.so.0'), package: 'libtss2-rc0' },
  { need: () => existsSync('/usr/lib/python3/dist-packages/hvac'), package: 'python3-hvac' },
  { need: () => onPath('c++'), package: 'g++' },
  { need: () => onPath('make'), package: 'make' },
  { need: () => existsSync('/usr/lib/softhsm/libsofthsm2.so') && onPath('softhsm2-util'), package: 'softhsm2' },
  { need: () => onPath('certutil'), package: 'libnss3-tools' },
  { need: () => onPath('tpm2_flushcontext'), package: 'tpm2-tools' },
  { need: () => existsSync('/usr/share/doc/libtpm2-pkcs11-1'), package: 'libtpm2-pkcs11-1' },
  { need: () => onPath('setpriv') && onPath('ipcrm'), package: 'util-linux' },
  { need: () => existsSync('/usr/lib/postgresql/15/bin/postgres'), package: 'postgresql-15' },
  { need: () => existsSync('/usr/sbin/mariadbd') && onPath('mariadb-install-db'), package: 'mariadb-server' },
];

/** As the loader finds it on Debian: in a folder named after the machine's kind. */
function library(name) {
  const kinds = { x64: 'x86_64', arm64: 'aarch64' };
  return existsSync(`/usr/lib/${kinds[process.arch]}-linux-gnu/${name}`);
}

function onPath(name, only) {
  const folders = only ? [only] : (process.env.PATH ?? '').split(':');
  return folders.some((folder) => folder !== '' && existsSync(join(folder, name)));
}

function end(passed, failed, skipped) {
  const seconds = Number((process.hrtime.bigint() - began) / 1_000_000n) / 1000;
  console.log(`took ${seconds.toFixed(0)} s`);
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

function step(title, command, args, options = {}) {
  console.log(`\n# ${title}`);
  const run = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (run.error) console.error(`${command} could not be started: ${run.error.message}`);
  return run.status === 0;
}

/**
 * Packages of servers start a server of their own when they are installed, unless policy-rc.d says no (101). The tests use
 * none of them, and a machine that is asked to run tests should not find itself with two more services.
 */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    install();
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

function installParts() {
  const missing = PARTS.filter((part) => !part.need()).map((part) => part.package);
  if (missing.length === 0) return true;
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    console.error(`\nThe tests need what this machine does not have. Install it, then run npm test again:`);
    console.error(`  sudo apt-get install -y --no-install-recommends ${missing.join(' ')}`);
    return false;
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args) =>
    step(`apt-get ${args.join(' ')}`, 'apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  withoutServices(() => {
    if (apt('install', '-y', '--no-install-recommends', ...missing)) return;
    apt('update');
    apt('install', '-y', '--no-install-recommends', ...missing);
  });
  const still = PARTS.filter((part) => !part.need()).map((part) => part.package);
  if (still.length > 0) console.error(`apt-get did not bring: ${still.join(' ')}`);
  return still.length === 0;
}

function installPackages() {
  const mark = join(root, 'node_modules/.package-lock.json');
  const lock = join(root, 'package-lock.json');
  // An optional dependency, left out where the first install found no compiler.
  const compiled = existsSync(join(root, 'node_modules/pkcs11js/build/Release/pkcs11.node'));
  if (compiled && existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs) return true;
  // Node's headers lie beside it on most machines: node-gyp would fetch them anew.
  const beside = join(dirname(realpathSync(process.execPath)), '..');
  const env = existsSync(join(beside, 'include/node/node_api.h'))
    ? { ...process.env, npm_config_nodedir: beside }
    : process.env;
  return step('npm ci', 'npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { env });
}

const only = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

if (!installParts()) end(0, 1, 0);
if (!installPackages()) end(0, 1, 0);
if (!step('build', process.execPath, ['build.mjs', '--coverage'])) end(0, 1, 0);

let failed = 0;
let passed = 0;
const bin = (name) => join(root, 'node_modules/.bin', name);
for (const [title, command, args] of [
  ['types', bin('tsc'), ['--noEmit', '-p', '.']],
  ['format and lint', bin('biome'), ['ci', '--error-on-warnings', '.']],
]) {
  if (step(title, command, args)) passed++;
  else failed++;
}

const report = join(scratch, 'report.json');
step('tests', process.execPath, [
  join(root, 'node_modules/vitest/vitest.mjs'),
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...only,
]);
if (!existsSync(report)) end(passed, failed + 1, 0);
const counts = JSON.parse(readFileSync(report, 'utf8'));
passed += counts.numPassedTests;
failed += counts.numFailedTests;
// A file that fails to load, or a hook that fails, has no failed test of its own.
const broken = counts.testResults.filter(
  (file) => file.status === 'failed' && !file.assertionResults.some((one) => one.status === 'failed'),
);
for (const file of broken) console.error(`the file itself failed: ${file.name}\n  ${file.message}`);
failed += broken.length;
const skipped = counts.numPendingTests + counts.numTodoTests;

end(passed, failed, skipped);
