/** Servers in processes of their own, on loopback and in a temporary folder: ours, and the bare ones beside it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const READY_MS = 60_000;

export interface Running {
  readonly target: string;
  readonly pid: number;
  /** Of ours: the root token. */
  readonly token?: string;
  /** Milliseconds from the start of the process to its word that it is ready. */
  readonly startMs: number;
  /** Ends the process in order. Folders stay. */
  stop(): Promise<void>;
}

/** Starts and waits for `ready` on standard output. @throws Error with what it printed, if it ends or stays silent */
export function start(
  args: readonly string[],
  ready: RegExp,
  variables: Readonly<Record<string, string>> = {},
): Promise<{
  readonly child: ChildProcess;
  readonly match: RegExpExecArray;
  readonly startMs: number;
  stop(): Promise<void>;
}> {
  const began = performance.now();
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env['PATH'] ?? '', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  return new Promise((resolve, reject) => {
    let printed = '';
    let settled = false;
    const fail = (why: string): void => {
      if (settled) return;
      settled = true;
      clearTimeout(late);
      child.kill('SIGKILL');
      reject(new Error(`${args.join(' ')}: ${why}\n${printed}`));
    };
    const late = setTimeout(() => fail(`not ready after ${READY_MS} ms`), READY_MS);
    const take = (chunk: Buffer): void => {
      if (settled) return;
      printed += chunk.toString('utf8');
      const match = ready.exec(printed);
      if (match === null) return;
      settled = true;
      clearTimeout(late);
      resolve({ child, match, startMs: performance.now() - began, stop });
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    void ended.then(() => fail('it ended before it was ready'));
  });
}

/** A folder for a run; `end` removes it. */
export class Scratch {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));

  end(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface BoxOptions {
  /** What is started: the program's own file (host/cli/holdfast.mjs), or a bundle that exports `main`. */
  readonly program?: string;
  /** Where the box's folders lie; one that is there is used again. */
  readonly folder: string;
  /** What stands in holdfast.json. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

export const PROGRAM = 'host/cli/holdfast.mjs';

/** A box with a key file, KV version 2 at secret/, plain HTTP on a free port, and the log's `always` unless settings say else. */
export async function startBox({ program = PROGRAM, folder, settings }: BoxOptions): Promise<Running> {
  const config = join(folder, 'config');
  mkdirSync(config, { recursive: true, mode: 0o700 });
  if (settings !== undefined) writeFileSync(join(config, 'holdfast.json'), JSON.stringify(settings), { mode: 0o600 });
  const args = ['server', '--init', '--tls=off', '--listen=127.0.0.1:0', `--data=${folder}/data`, `--config=${config}`];
  const bundle = `const { main } = await import(${JSON.stringify(pathToFileURL(program).href)}); await main(${JSON.stringify(args)});`;
  const command = program.endsWith(PROGRAM) ? [program, ...args] : ['--input-type=module', '-e', bundle];
  const { child, match, startMs, stop } = await start(command, /listens at (\S+)\n/, { HOME: folder });
  return {
    target: match[1] ?? '',
    pid: child.pid ?? 0,
    token: readFileSync(join(config, 'root-token'), 'utf8').trim(),
    startMs,
    stop,
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

export type Bare = 'http' | 'hono' | 'hono-sync';

/** @param rival the bundled bench/http/rival.ts */
export async function startBare(rival: string, kind: Bare, folder: string): Promise<Running> {
  const port = await freePort();
  const { child, startMs, stop } = await start([rival, kind, String(port), folder], /ready/);
  return { target: `http://127.0.0.1:${port}`, pid: child.pid ?? 0, startMs, stop };
}
