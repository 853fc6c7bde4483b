/** Runs a process under the shim and gives back what it did to a folder. Needs `cc`. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Baseline } from './disk.ts';
import { Marker, type RigEvent, readEvents } from './events.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '..', '..');

/** Compiles the shim once for its text; returns the path of the shared object. */
export function buildShim(): string {
  const source = join(HERE, 'shim', 'shim.c');
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const folder = join(ROOT, 'tmp', 'rig');
  const target = join(folder, `shim-${digest}.so`);
  if (existsSync(target)) return target;
  mkdirSync(folder, { recursive: true });
  const draft = `${target}.${process.pid}`;
  const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'];
  const run = spawnSync('cc', [...flags, '-o', draft, source, '-ldl', '-lpthread'], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`the shim did not compile: ${run.stderr}${run.error?.message ?? ''}`);
  renameSync(draft, target);
  return target;
}

/** Bundles a TypeScript program for a child process; returns its path. Node 20 does not run TypeScript itself. */
export async function bundle(entry: string, packages: 'bundle' | 'external' = 'bundle'): Promise<string> {
  const name = posix.basename(entry).replace(/\.ts$/, '');
  const outfile = join(ROOT, 'tmp', 'rig', `${name}-${process.pid}.mjs`);
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages,
    external: ['lmdb', 'koffi'],
    banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" },
    logLevel: 'warning',
  });
  return outfile;
}

/** The environment that puts a process under the shim. */
export function shimEnvironment(folder: string, log: string, control?: string): Record<string, string> {
  return {
    LD_PRELOAD: buildShim(),
    RIG_FOLDER: folder,
    RIG_LOG: log,
    ...(control === undefined ? {} : { RIG_CONTROL: control }),
    // Else libuv may hand file operations to the kernel where no shim sees them.
    UV_USE_IO_URING: '0',
  };
}

export interface RecordedRun {
  readonly events: readonly RigEvent[];
  readonly baseline: Baseline;
  readonly exitCode: number | null;
  readonly output: string;
}

export interface RecordOptions {
  readonly command: readonly [string, ...string[]];
  /** Absolute; what lies in it at the start counts as durable. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Talks to the running process and marks what it learns; then the process is to end by itself, or be ended here. */
  readonly drive?: (child: ChildProcess, marker: Marker) => Promise<void>;
  /** Milliseconds after which the process is killed and the run fails. */
  readonly deadlineMs?: number;
}

/** @throws Error if the process runs over its deadline, or does what the rig cannot replay */
export async function recordRun(options: RecordOptions): Promise<RecordedRun> {
  const { command, folder, env = {}, drive, deadlineMs = 60_000 } = options;
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-rig-'));
  const log = join(scratch, 'log');
  const baseline = readBaseline(folder);
  const marker = new Marker(log);
  try {
    const child = spawn(command[0], command.slice(1), {
      env: { ...process.env, ...env, ...shimEnvironment(folder, log) },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()));
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    const deadline = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
    await drive?.(child, marker);
    const exitCode = await ended;
    clearTimeout(deadline);
    if (child.signalCode === 'SIGKILL' && drive === undefined) throw new Error(`the recorded process hung: ${output}`);
    return { events: readEvents(log), baseline, exitCode, output };
  } finally {
    marker.close();
    // A process of the killed one (that of an HSM's module) may write its last lines yet.
    rmSync(scratch, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
}

/** What lies in a folder now: it counts as durable. */
export function readBaseline(folder: string): Baseline {
  const files: { path: string; inode: number; data: Buffer }[] = [];
  const folders: { path: string; inode: number }[] = [];
  const visit = (path: string): void => {
    const full = join(folder, path);
    const info = statSync(full);
    if (!info.isDirectory()) {
      files.push({ path, inode: info.ino, data: readFileSync(full) });
      return;
    }
    folders.push({ path, inode: info.ino });
    for (const name of readdirSync(full)) visit(posix.join(path, name));
  };
  visit('');
  return { files, folders };
}
