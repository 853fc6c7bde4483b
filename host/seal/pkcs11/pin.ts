/**
 * When a PIN may be tried. A wrong one, tried again at each start, locks a token for good: so an attempt is marked before it
 * is made, durably, and the mark goes only when the token took the PIN.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import type { Store } from '../../ports/store.ts';
import { Secret } from '../../secret.ts';
import * as c from './constants.ts';
import { explain } from './trouble.ts';

/** Attempts that were begun and not seen to succeed, 0 to `ATTEMPTS_MAX`; a refused PIN counts as all of them. */
export interface PinMark {
  read(): number;
  /** Resolves when it is durable. */
  write(attempts: number): Promise<void>;
}

/** Attempts in a row that a power cut or a crash may cut short before a person has to come. */
export const ATTEMPTS_MAX = 3;
export const PIN_SIZE_MAX = 255;

const ROW = Buffer.from('pin/pkcs11', 'ascii');
const VERSION = 1;

/** The mark as a row of table `boot`, which is read and written without keys. What is no mark counts as a refused PIN. */
export function storedPinMark(store: Pick<Store, 'get' | 'commit'>): PinMark {
  return {
    read() {
      const value = store.get('boot', ROW);
      if (value === undefined) return 0;
      const attempts = value[1] ?? ATTEMPTS_MAX;
      return value.length === 2 && value[0] === VERSION ? Math.min(attempts, ATTEMPTS_MAX) : ATTEMPTS_MAX;
    },
    async write(attempts) {
      if (attempts === 0) await store.commit({ puts: [{ table: 'boot', key: ROW }] });
      else await store.commit({ puts: [{ table: 'boot', key: ROW, value: Buffer.of(VERSION, attempts) }] });
    },
  };
}

/**
 * Who wants the login: a person who offers the PIN; a person who asked for something that needs one (`slot add`), with the
 * PIN of the file; or nobody (a start).
 */
export type Word = 'pin' | 'command' | 'none';

/** @throws Fault `slot.refused` if the token must not be tried on this word */
export function mayTry(flags: number, attempts: number, word: Word): void {
  if ((flags & c.CKF_USER_PIN_LOCKED) !== 0) throw explain('pin-locked');
  if (word === 'pin') return;
  if ((flags & c.CKF_USER_PIN_FINAL_TRY) !== 0) throw explain('pin-final');
  if (word === 'command') return;
  if ((flags & c.CKF_USER_PIN_COUNT_LOW) !== 0) throw explain('pin-low');
  if (attempts >= ATTEMPTS_MAX) throw explain('pin-marked');
}

/** @throws Fault `slot.unavailable` unless `path` is a file of one line that this user alone reads */
export function readPinFile(path: string): Secret {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    throw explain('pin-file');
  }
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile() || (status.mode & 0o077) !== 0) throw explain('pin-file');
    using text = new Secret(Buffer.alloc(PIN_SIZE_MAX + 2));
    const length = readSync(descriptor, text.bytes, 0, PIN_SIZE_MAX + 2, 0);
    const size = text.bytes[length - 1] === 0x0a ? length - 1 : length;
    const line = text.bytes.subarray(0, size);
    if (!isPin(line)) throw explain('pin-file');
    return new Secret(Uint8Array.from(line));
  } finally {
    closeSync(descriptor);
  }
}

/** One line of 1 to 255 bytes. */
export function isPin(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.length <= PIN_SIZE_MAX && bytes.every((byte) => byte >= 0x20 && byte !== 0x7f);
}
