/** A box in a process of its own, from outside: orders, its death, and what it did to its folder. */
import { type ChildProcess, fork } from 'node:child_process';
import type { Baseline } from '../disk.ts';
import { type RigEvent, readEvents } from '../events.ts';
import { readBaseline, shimEnvironment } from '../record.ts';
import type { Message, Order, Setting } from './protocol.ts';

const ORDER_MS = 90_000;

/** The process died before it answered. */
export class Died extends Error {}

export interface Recording {
  readonly baseline: Baseline;
  readonly events: readonly RigEvent[];
}

export class BoxProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  readonly #recorded: { readonly log: string; readonly baseline: Baseline } | undefined;
  readonly #skip: (ms: number) => void;
  #reached: (point: string) => void = () => undefined;
  #complaint = '';
  #n = 0;
  #dead = false;

  /**
   * @param log  where the shim writes what the process does to its data folder; undefined: nobody looks
   * @param skip  told of every move of time
   */
  constructor(program: string, setting: Setting, log: string | undefined, skip: (ms: number) => void) {
    this.#skip = skip;
    const data = `${setting.folder}/data`;
    this.#recorded = log === undefined ? undefined : { log, baseline: readBaseline(data) };
    this.#child = fork(program, [JSON.stringify(setting)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...(log === undefined ? {} : shimEnvironment(data, log)) },
    });
    this.#child.stderr?.on('data', (part: Buffer) => {
      this.#complaint = (this.#complaint + part.toString()).slice(-2000);
    });
    this.#child.on('message', (message: Message) => this.#take(message));
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', () => {
        this.#dead = true;
        for (const { reject } of this.#waiting.values()) reject(new Died(`the box died: ${this.#complaint}`));
        resolve();
      });
    });
  }

  #take(message: Message): void {
    if ('skipped' in message) {
      this.#skip(message.skipped);
      return;
    }
    if ('reached' in message) {
      this.#reached(message.reached);
      return;
    }
    const waiting = this.#waiting.get(message.n);
    this.#waiting.delete(message.n);
    if ('error' in message) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message.result);
  }

  /** @throws Died; Error what the box says */
  async ask<T>(order: Order): Promise<T> {
    if (this.#dead) throw new Died(`the box is dead: ${this.#complaint}`);
    const n = ++this.#n;
    const late = setTimeout(() => {
      this.#waiting
        .get(n)
        ?.reject(new Error(`the box did not ${order.do} within ${ORDER_MS / 1000} s: ${this.#complaint}`));
    }, ORDER_MS);
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#waiting.set(n, { resolve: (result) => resolve(result as T), reject });
        // What does not arrive any more is answered by its exit.
        this.#child.send({ ...order, n }, () => undefined);
      });
    } finally {
      clearTimeout(late);
    }
  }

  /** Resolves when it stands at the point where it was told to stay. */
  standing(): Promise<string> {
    return new Promise((resolve) => {
      this.#reached = resolve;
    });
  }

  /** SIGKILL, unless it is dead already. @returns when it is gone */
  async kill(): Promise<void> {
    if (!this.#dead) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Of a dead process. */
  recording(): Recording {
    if (this.#recorded === undefined) throw new Error('nobody looked at what this box did');
    return { baseline: this.#recorded.baseline, events: readEvents(this.#recorded.log) };
  }
}
