/** A TPM for a test: swtpm on a folder of its own. A power cut is SIGKILL and a new process on the same folder. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of 2 ms each. */
const WAITS_MAX = 5000;

export class SoftTpm {
  readonly #folder = mkdtempSync(join(tmpdir(), 'holdfast-tpm-'));
  #pid = 0;

  constructor() {
    this.start();
  }

  get socket(): string {
    return join(this.#folder, 's');
  }

  get tcti(): string {
    return `swtpm:path=${this.socket}`;
  }

  start(): void {
    const pidFile = join(this.#folder, 'pid');
    for (const file of [this.socket, `${this.socket}.ctrl`, pidFile]) rmSync(file, { force: true });
    const args = ['socket', '--tpm2', '--tpmstate', `dir=${this.#folder}`, '--pid', `file=${pidFile}`];
    args.push('--server', `type=unixio,path=${this.socket}`, '--ctrl', `type=unixio,path=${this.socket}.ctrl`);
    args.push('--flags', 'not-need-init,startup-clear');
    // A child of this process, not a daemon: whoever starts it collects it. It writes its pid when its sockets listen.
    const child = spawn('swtpm', args, { stdio: 'ignore' });
    child.once('error', () => undefined);
    this.#pid = child.pid ?? 0;
    for (let waits = 0; !written(pidFile); waits++) {
      if (!this.running || waits === WAITS_MAX) throw new Error('swtpm did not start');
      pause();
    }
  }

  get running(): boolean {
    return this.#pid !== 0 && !/\) Z /.test(statOf(this.#pid));
  }

  kill(): void {
    if (this.running) process.kill(this.#pid, 'SIGKILL');
    while (this.running) pause();
    this.#pid = 0;
  }

  powerCut(): void {
    this.kill();
    this.start();
  }

  /** To the factory: another TPM in the same place. */
  reset(): void {
    this.kill();
    for (const file of readdirSync(this.#folder)) rmSync(join(this.#folder, file), { force: true });
    this.start();
  }

  close(): void {
    this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}

function written(path: string): boolean {
  try {
    return readFileSync(path, 'latin1') !== '';
  } catch {
    return false;
  }
}

function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return ') Z ';
  }
}
