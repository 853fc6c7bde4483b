/** The box's side of one use of the child: starts it, asks with a deadline, and sees it gone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import type { Fault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import { explain } from './trouble.ts';
import { ASK, type Ask, encodeMessage, type Message, MessageReader, type Trouble, troubleOf } from './wire.ts';

export interface ChildOptions {
  readonly clock: Clock;
  /** The built child.ts. */
  readonly program: string;
  /** What the module needs (SOFTHSM2_CONF, TPM2_PKCS11_STORE …). What is the box's own does not reach it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** For each answer, milliseconds. */
  readonly deadlineMs: number;
  /** For the answer to `generate`, milliseconds: a TPM may look for primes for a minute. */
  readonly generateDeadlineMs: number;
}

/** An answer that is a reason why not. */
export class Refusal extends Error {
  readonly trouble: Trouble;

  constructor(trouble: Trouble) {
    super(trouble);
    this.trouble = trouble;
  }
}

/** Variables of the box, of its clients and of Node: no module needs them, and some hold secrets. */
const KEPT_BACK = /^(HOLDFAST_|VAULT_|NODE_|CREDENTIALS_DIRECTORY$|NOTIFY_SOCKET$)/;
/** A killed process is gone at once, unless the kernel holds it in a driver: then it is waited for no longer. */
const GONE_MS = 2000;

export class Conversation {
  readonly #options: ChildOptions;
  readonly #child: ChildProcess;
  readonly #channel: Duplex;
  readonly #reader = new MessageReader();
  readonly #closed: Promise<void>;
  #waiting: { readonly settle: (message: Message) => void; readonly fail: (fault: Fault) => void } | undefined;
  #broken = false;

  constructor(options: ChildOptions) {
    this.#options = options;
    const environment = Object.fromEntries(
      Object.entries(options.environment).filter(([name, value]) => value !== undefined && !KEPT_BACK.test(name)),
    );
    this.#child = spawn(process.execPath, ['--no-warnings', options.program], {
      cwd: '/',
      env: environment,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    this.#closed = new Promise((resolve) => {
      this.#child.once('close', () => resolve());
      // The process could not be started: nothing will close.
      this.#child.once('error', () => resolve());
    });
    this.#child.once('exit', () => this.#break());
    this.#child.once('error', () => this.#break());
    const channel = this.#child.stdio[3];
    if (!(channel instanceof Duplex)) throw new Error('descriptor 3 of a child is a socket');
    this.#channel = channel;
    channel.on('error', () => this.#break());
    channel.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  /**
   * @returns the fields of the answer, owned by the caller
   * @throws Refusal  the child answered why not
   * @throws Fault `slot.unavailable` if the child ended or gave no answer within the deadline
   */
  async ask(what: Ask, ...fields: Uint8Array[]): Promise<readonly Buffer[]> {
    if (this.#broken || this.#waiting !== undefined) throw explain('crashed');
    const { clock, deadlineMs, generateDeadlineMs } = this.#options;
    const message = encodeMessage(ASK[what].code, fields);
    const answered = new Promise<Message>((settle, fail) => {
      this.#waiting = { settle, fail };
    });
    const deadline = clock.after(what === 'generate' ? generateDeadlineMs : deadlineMs, () => {
      this.#waiting?.fail(explain('hung'));
      this.#kill();
    });
    this.#channel.write(message, () => message.fill(0));
    let answer: Message;
    try {
      answer = await answered;
    } finally {
      deadline.cancel();
      this.#waiting = undefined;
    }
    if (answer.code === 0) return answer.fields;
    const trouble = troubleOf(answer);
    for (const field of answer.fields) field.fill(0);
    if (trouble === undefined) {
      this.#kill();
      throw explain('crashed');
    }
    throw new Refusal(trouble);
  }

  /** Lets the module clean up (a TPM keeps the sessions of one that could not), then sees the process gone. Never throws. */
  async end(): Promise<void> {
    if (!this.#broken) await this.ask('end').catch(() => this.#kill());
    const { clock } = this.#options;
    const late = clock.after(GONE_MS, () => this.#kill());
    let never: { cancel(): void } | undefined;
    const held = new Promise<void>((resolve) => {
      never = clock.after(2 * GONE_MS, resolve);
    });
    await Promise.race([this.#closed, held]);
    late.cancel();
    never?.cancel();
    this.#channel.destroy();
  }

  #take(bytes: Buffer): void {
    try {
      for (const message of this.#reader.add(bytes)) {
        if (this.#waiting === undefined) throw new Error('an answer to no question');
        this.#waiting.settle(message);
      }
    } catch {
      this.#break();
      this.#kill();
    }
  }

  #break(): void {
    this.#broken = true;
    this.#waiting?.fail(explain('crashed'));
  }

  #kill(): void {
    this.#broken = true;
    this.#child.kill('SIGKILL');
  }
}
