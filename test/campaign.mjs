// `npm run campaign -- NAME [--size N]`: the long forms of tests whose small forms run in `npm test`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const CAMPAIGNS = {
  power: {
    help: 'power cuts of a whole box under a mixed load: N points of the run, each with three states of the disk (1000)',
    size: 1000,
    variable: 'HOLDFAST_CUT_POINTS',
    args: ['test/crash/box.test.ts', '-t', 'power cut'],
  },
  kill: {
    help: 'a whole box killed N times on one folder (200)',
    size: 200,
    variable: 'HOLDFAST_KILL_ROUNDS',
    args: ['test/crash/box.test.ts', '-t', 'killed'],
  },
  erase: {
    help: 'power cuts and kills of a box that erases while it serves: N points, each with three states of the disk (300)',
    size: 300,
    variable: 'HOLDFAST_ERASE_POINTS',
    args: ['test/crash/erase.test.ts', 'test/crash/power.test.ts', '-t', 'erase|moves into'],
  },
  slots: {
    help: 'power cuts of a real server and its device, N for each kind of slot: key file, shares, TPM, TPM with a PIN, HSM (100)',
    size: 100,
    variable: 'HOLDFAST_SLOT_ROUNDS',
    args: ['test/crash/slots.test.ts'],
  },
  faults: {
    help: 'EIO and ENOSPC at every write and sync of a store and of a whole box: N calls of each kind at most (all)',
    size: 100_000,
    variable: 'HOLDFAST_FAULT_POINTS',
    args: ['test/crash/fault.test.ts', 'test/crash/box-fault.test.ts'],
  },
  crash: {
    help: 'a box ended at every named step of leases and rotations, by kill and by power cut, before real database servers: N cases of each (all)',
    size: 100_000,
    variable: 'HOLDFAST_CRASH_CASES',
    args: ['test/crash/leases-postgresql.test.ts', 'test/crash/leases-mariadb.test.ts'],
  },
  leases: {
    help: 'N leases of one role: opening, memory, listing (100000)',
    size: 100_000,
    variable: 'HOLDFAST_LEASE_COUNT',
    args: ['test/host/leases/size.test.ts'],
  },
  fuzz: {
    help: 'N odd requests of each kind to a running box; HOLDFAST_FUZZ_SEED chooses others (100000)',
    size: 100_000,
    variable: 'HOLDFAST_FUZZ_COUNT',
    args: ['test/fuzz/fuzz.test.ts'],
  },
};

const [name = '', flag, size] = process.argv.slice(2);
const campaign = Object.hasOwn(CAMPAIGNS, name) ? CAMPAIGNS[name] : undefined;
const count = flag === '--size' ? Number(size) : campaign?.size;
if (campaign === undefined || !Number.isInteger(count) || count < 1) {
  console.error('usage: npm run campaign -- NAME [--size N]\n');
  for (const [word, { help }] of Object.entries(CAMPAIGNS)) console.error(`  ${word.padEnd(8)}${help}`);
  process.exit(name === '--help' || name === '' ? 0 : 64);
}
const run = spawnSync(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...campaign.args], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, [campaign.variable]: String(count) },
});
process.exit(run.status ?? 1);
