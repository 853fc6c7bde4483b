/**
 * Checks run in a process of their own: what a cut leaves may make the process that opens it die, and that is a result,
 * not the end of the suite.
 */
import { type ChildProcess, fork } from 'node:child_process';

/** @returns what does not hold of the folder, in sentences; empty if all does */
export type Check = (folder: string, marks: readonly string[]) => Promise<string[]>;

interface Job {
  readonly folder: string;
  readonly marks: readonly string[];
}

/** In the checking program: answers one job after the other. */
export function serveChecks(check: Check): void {
  process.on('message', ({ folder, marks }: Job) => {
    void check(folder, marks).then((wrong) => process.send?.(wrong));
  });
}

/** In the suite: a checking program, started anew when it dies. */
export class Checker {
  readonly #program: string;
  readonly #deadlineMs: number;
  #child: ChildProcess | undefined;

  constructor(program: string, deadlineMs = 10_000) {
    this.#program = program;
    this.#deadlineMs = deadlineMs;
  }

  readonly check: Check = (folder, marks) =>
    new Promise((resolve) => {
      this.#child ??= fork(this.#program, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
      const child = this.#child;
      let complaint = '';
      const listen = (part: Buffer): void => {
        complaint = (complaint + part.toString()).slice(-500);
      };
      child.stderr?.on('data', listen);
      const deadline = setTimeout(() => child.kill('SIGKILL'), this.#deadlineMs);
      const finish = (wrong: string[]): void => {
        clearTimeout(deadline);
        child.removeAllListeners('message').removeAllListeners('exit');
        child.stderr?.off('data', listen);
        resolve(wrong);
      };
      child.once('message', (wrong: string[]) => finish(wrong));
      child.once('exit', (code, signal) => {
        this.#child = undefined;
        finish([`the process that opened it died: ${signal ?? `exit ${code}`} ${complaint}`]);
      });
      child.send({ folder, marks } satisfies Job);
    });

  close(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }
}
