import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startServer } from '../databases/servers.ts';
import { namesOn } from './leases/logins.ts';
import { bundle } from './record.ts';

/** Mounts are made in a namespace of their own, which ends with the process. */
const NAMESPACES = [['-m'], ['-r', '-m']];

/** The namespaces in which this machine lets us mount; undefined: in none. */
function mountable(): readonly string[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mount-'));
  try {
    return NAMESPACES.find((each) => {
      return spawnSync('unshare', [...each, 'sh', '-c', `mount -t tmpfs none "$0"`, folder]).status === 0;
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const flags = mountable();

function underSmallDisk(folder: string, megabytes: number, command: readonly string[]) {
  const script = `mount -t tmpfs -o size=${megabytes}m none "$0" && exec "$@"`;
  const inner = ['sh', '-c', script, folder, ...command];
  return spawnSync('unshare', [...(flags ?? []), ...inner], { encoding: 'utf8', timeout: 120_000 });
}

/** Shows as a skip where nobody may mount, and fails in CI. The same calls fail in fault.test.ts without a mount. */
const onFullDisk = test.skipIf(flags === undefined && process.env['CI'] === undefined);

onFullDisk(
  'a box on a full disk refuses writes, reads and revokes on, opens again, and takes writes once there is room',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
    const program = await bundle(join(import.meta.dirname, 'load', 'box-full.ts'));
    try {
      const run = underSmallDisk(folder, 32, [process.execPath, program, folder]);
      expect(flags, 'this machine lets nobody mount, as root or in a user namespace').toBeDefined();
      expect([run.status, run.stderr]).toEqual([0, '']);
      const seen = JSON.parse(run.stdout);
      expect(seen).toMatchObject({
        opened: [true, true],
        unread: [],
        unreadAfter: [],
        revoked: [200, 200, 200, 200, 200],
        ok: true,
      });
      // A full disk makes no login; each revocation ends one, on the full disk, after a restart on it, and with room again.
      expect(seen).toMatchObject({ issued: [507, 200], logins: [4, 3, 2, 2] });
      expect(seen.acked).toBeGreaterThan(100);
      expect(new Set(seen.refused)).toEqual(new Set([507]));
      // Opened again the disk is as full as it was; with room it takes writes, and nothing acknowledged is missing.
      expect(seen).toMatchObject({ still: 507, again: 200, missing: [] });
      // What was destroyed is erased where there is room for a second file, and else nothing is begun.
      expect(seen.erase).toEqual([507, 200]);
    } finally {
      rmSync(program, { force: true });
      rmSync(folder, { recursive: true, force: true });
    }
  },
  150_000,
);

/** The same beside a server that this process talks to meanwhile. */
function besideSmallDisk(folder: string, megabytes: number, command: readonly string[]) {
  const script = `mount -t tmpfs -o size=${megabytes}m none "$0" && exec "$@"`;
  const child = spawn('unshare', [...(flags ?? []), 'sh', '-c', script, folder, ...command], { timeout: 120_000 });
  return new Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }>(
    (resolve) => {
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
      child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
      child.once('close', (status) => resolve({ status, stdout, stderr }));
    },
  );
}

onFullDisk(
  'a box on a full disk makes no login, ends those that it made, and makes some again once there is room',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
    const program = await bundle(join(import.meta.dirname, 'load', 'lease-full.ts'), 'external');
    const server = await startServer('postgresql');
    try {
      const own = await namesOn(server);
      const { username, password } = server.manager;
      const run = await besideSmallDisk(folder, 32, [
        ...[process.execPath, program, folder, server.url(), username, password],
      ]);
      expect(flags, 'this machine lets nobody mount, as root or in a user namespace').toBeDefined();
      expect([run.status, run.stderr]).toEqual([0, '']);
      const seen = JSON.parse(run.stdout);
      expect(seen).toMatchObject({ opened: [true, true], ready: [200, 200, 200], refused: 40, again: [200, 200] });
      expect(seen.full).toEqual([507, 507, 507, 507, 507, 507]);
      expect(new Set(seen.revoked)).toEqual(new Set([200]));
      // Every login has its lease: nothing of those that were refused or revoked is there.
      const made = [...(await namesOn(server))].filter((name) => !own.has(name));
      expect(made).toHaveLength(seen.leases);
      expect(made.length).toBeGreaterThan(20);
      expect(made).toEqual(expect.arrayContaining(seen.kept));
    } finally {
      await server.close();
      rmSync(program, { force: true });
      rmSync(folder, { recursive: true, force: true });
    }
  },
  150_000,
);
