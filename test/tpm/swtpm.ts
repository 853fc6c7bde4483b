/** A TPM for a test: swtpm on a folder of its own. A power cut is SIGKILL and a new process on the same folder. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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
    const args = ['socket', '--tpm2', '--daemon', '--tpmstate', `dir=${this.#folder}`, '--pid', `file=${pidFile}`];
    args.push('--server', `type=unixio,path=${this.socket}`, '--ctrl', `type=unixio,path=${this.socket}.ctrl`);
    args.push('--flags', 'not-need-init,startup-clear');
    const { status } = spawnSync('swtpm', args, { stdio: 'ignore' });
    if (status !== 0) throw new Error('swtpm did not start');
    this.#pid = Number(readFileSync(pidFile, 'latin1'));
  }

  get running(): boolean {
    return this.#pid !== 0 && existsSync(`/proc/${this.#pid}`);
  }

  kill(): void {
    if (this.#pid !== 0) process.kill(this.#pid, 'SIGKILL');
    const cell = new Int32Array(new SharedArrayBuffer(4));
    while (this.running && !/\) Z /.test(statOf(this.#pid))) Atomics.wait(cell, 0, 0, 2);
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

function statOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return ') Z ';
  }
}
