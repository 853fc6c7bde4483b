/** When a PIN may be tried on a token. */
import { ATTEMPTS_MAX } from '../pin.ts';
import * as c from './constants.ts';
import { explain } from './trouble.ts';

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
