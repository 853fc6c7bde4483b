/** One token as slot and counter use it: opened in a process of its own for each use, logged in, and seen gone. */
import type { Offered, PinMark } from '../../ports/seal-slot.ts';
import { Secret } from '../../secret.ts';
import { ATTEMPTS_MAX, isPin, readPinFile } from '../pin.ts';
import { SERIAL_SIZE } from './blob.ts';
import { CKF_LOGIN_REQUIRED } from './constants.ts';
import { type ChildOptions, Conversation, Refusal } from './conversation.ts';
import { mayTry, type Word } from './pin.ts';
import { explain } from './trouble.ts';
import type { Trouble } from './wire.ts';

export interface TokenOptions extends ChildOptions {
  /** Path of the module (`seal.pkcs11.module`). */
  readonly module: string;
  /** What some modules (NSS) are given at their start; empty for the others. */
  readonly parameters: string;
  /** Label of the token (`seal.pkcs11.token`). */
  readonly token: string;
  /** File of the PIN (`seal.pkcs11.pinFile`); without it a person offers the PIN each time. */
  readonly pinFile?: string | undefined;
  readonly mark: PinMark;
}

export interface Opened {
  readonly talk: Conversation;
  readonly serial: Uint8Array;
  readonly mechanisms: number;
}

/** What a use of the token needs before it is logged in. */
export interface Use {
  readonly word: Word;
  readonly offered: Offered;
  /** The session may make and destroy keys. */
  readonly write: boolean;
  /** The token must have this serial number: another is not told the PIN. */
  readonly serial?: Uint8Array;
}

const PIN_IS_WRONG: ReadonlySet<Trouble> = new Set<Trouble>(['pin-refused', 'pin-locked', 'pin-unset']);

export class TokenUse {
  readonly #options: TokenOptions;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: TokenOptions) {
    this.#options = options;
  }

  /** One use at a time: two logins at once could count as two wrong PINs. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work).catch((error: unknown) => {
      throw asFault(error);
    });
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  /** A session that is lost in the middle is opened again, once. */
  async use<T>(use: Use, work: (opened: Opened) => Promise<T>): Promise<T> {
    try {
      return await this.useOnce(use, work);
    } catch (error) {
      if (!(error instanceof Refusal) || error.trouble !== 'session-lost') throw error;
    }
    return await this.useOnce(use, work);
  }

  async useOnce<T>(use: Use, work: (opened: Opened) => Promise<T>): Promise<T> {
    const { module, parameters, token } = this.#options;
    const talk = new Conversation(this.#options);
    try {
      const [serial, flags, mechanisms] = await talk.ask(
        'open',
        Buffer.from(module),
        Buffer.from(parameters),
        Buffer.from(token),
        Buffer.of(use.write ? 1 : 0),
      );
      if (serial?.length !== SERIAL_SIZE || flags?.length !== 4 || mechanisms?.length !== 1) throw explain('crashed');
      if (use.serial !== undefined && !serial.equals(use.serial)) throw explain('token-other');
      await this.#login(talk, flags.readUInt32BE(0), use);
      return await work({ talk, serial, mechanisms: mechanisms[0] ?? 0 });
    } finally {
      await talk.end();
    }
  }

  async #login(talk: Conversation, flags: number, { word, offered }: Use): Promise<void> {
    if ((flags & CKF_LOGIN_REQUIRED) === 0) return;
    const { mark, pinFile } = this.#options;
    const attempts = mark.read();
    mayTry(flags, attempts, word);
    if (offered.pin === undefined && pinFile === undefined) throw explain('pin-absent');
    using pin =
      offered.pin === undefined
        ? readPinFile(pinFile ?? '', 'seal.pkcs11.pinFile')
        : new Secret(Uint8Array.from(offered.pin.bytes));
    if (!isPin(pin.bytes)) throw explain('pin-refused');
    await mark.write(Math.min(attempts + 1, ATTEMPTS_MAX));
    try {
      await talk.ask('login', pin.bytes);
    } catch (error) {
      if (error instanceof Refusal && PIN_IS_WRONG.has(error.trouble)) await mark.write(ATTEMPTS_MAX);
      throw error;
    }
    await mark.write(0);
  }
}

function asFault(error: unknown): unknown {
  if (error instanceof Refusal) return explain(error.trouble);
  return error;
}
