/** A server process for a test: not root, on a folder and a port of its own, gone when its test is gone. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 10_000;

/** Who runs a server: the package's own user when the test is root, else whoever runs the test. */
export class Account {
  readonly #name: string;
  readonly #ids: { readonly uid: number; readonly gid: number } | undefined;

  constructor(name: string) {
    this.#name = name;
    const id = (flag: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
    this.#ids = process.getuid?.() === 0 ? { uid: id('-u'), gid: id('-g') } : undefined;
  }

  /** A new folder of this account alone. */
  folder(prefix: string): string {
    const path = mkdtempSync(join(tmpdir(), prefix));
    this.#own(path);
    return path;
  }

  /** A file that only this account reads, as servers want their keys. */
  write(path: string, text: string): void {
    writeFileSync(path, text, { mode: 0o600 });
    chmodSync(path, 0o600);
    this.#own(path);
  }

  run(command: string, args: readonly string[]): void {
    const done = spawnSync(command, args, { ...this.#ids, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
    if (done.status !== 0) throw new Error(`${command} failed: ${done.error?.message ?? String(done.stderr)}`);
  }

  /** @param end  what the kernel sends the server when this process dies, however it dies */
  spawn(command: string, args: readonly string[], log: string, end: 'QUIT' | 'KILL'): ChildProcess {
    const drop = this.#ids === undefined ? [] : [`--reuid=${this.#name}`, `--regid=${this.#ids.gid}`, '--clear-groups'];
    const out = openSync(log, 'a');
    return spawn('setpriv', [...drop, `--pdeathsig=${end}`, '--', command, ...args], {
      cwd: '/',
      stdio: ['ignore', out, out],
    });
  }

  #own(path: string): void {
    if (this.#ids !== undefined) chownSync(path, this.#ids.uid, this.#ids.gid);
  }
}

/** One server's process over its starts, kills and pauses. */
export class ServerProcess {
  readonly #begin: () => ChildProcess;
  readonly #isUp: () => Promise<boolean>;
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(begin: () => ChildProcess, isUp: () => Promise<boolean>, log: string) {
    this.#begin = begin;
    this.#isUp = isUp;
    this.#log = log;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the server is not running');
    return this.#child.pid;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const child = this.#begin();
    this.#child = child;
    let failed = '';
    child.once('error', (error) => {
      failed = error.message;
    });
    const until = Date.now() + START_MS_MAX;
    while (!(await this.#isUp())) {
      if (failed !== '' || child.exitCode !== null || child.signalCode !== null || Date.now() > until) {
        throw new Error(`the server did not start: ${failed}\n${readFileSync(this.#log, 'utf8').slice(-4000)}`);
      }
      await pause(20);
    }
  }

  /** @returns when the process is gone */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGCONT');
    child.kill(signal);
    await gone;
  }
}

export function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** SIGSTOP, and returns when every thread stands still: until then one may take a statement that is sent afterwards. */
export function standStill(pid: number): void {
  process.kill(pid, 'SIGSTOP');
  const until = Date.now() + STOP_MS_MAX;
  while (!readdirSync(`/proc/${pid}/task`).every((thread) => stateOf(`/proc/${pid}/task/${thread}`) !== 'running')) {
    if (Date.now() > until) throw new Error('the server does not stand still');
  }
}

function stateOf(folder: string): 'stopped' | 'running' {
  try {
    // Behind the name in parentheses, which may hold anything: T (stopped), or what has ended.
    const [state = ''] = readFileSync(`${folder}/stat`, 'latin1').split(') ').at(-1) ?? '';
    return 'TtZX'.includes(state) ? 'stopped' : 'running';
  } catch {
    return 'stopped';
  }
}

/** A port of 127.0.0.1 that nothing listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
