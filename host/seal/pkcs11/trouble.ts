/** What went wrong, as a fault of the port with a sentence that says what to do next. */
import { Fault, type FaultCode } from '../../fault.ts';
import type { Trouble } from './wire.ts';

/** What the box itself finds, beside what the child answers. */
type Found = 'crashed' | 'hung' | 'token-other' | 'pin-low' | 'pin-final' | 'pin-marked' | 'pin-absent' | 'blob-wrong';

const SENTENCES: Readonly<Record<Trouble | Found, readonly [FaultCode, string]>> = {
  'binding-missing': [
    'slot.unavailable',
    'the npm package pkcs11js is not there or was not compiled: install a C++ compiler, make and python3, then run `npm rebuild pkcs11js` in the folder of holdfast',
  ],
  'module-missing': [
    'slot.unavailable',
    'the PKCS#11 module cannot be loaded: install the package of the HSM, and check the path in seal.pkcs11.module',
  ],
  'module-failed': [
    'slot.unavailable',
    'the PKCS#11 module does not start: check its configuration (SOFTHSM2_CONF, TPM2_PKCS11_STORE or what its maker names) and that this user may read it',
  ],
  'token-absent': [
    'slot.unavailable',
    'no token has the label that seal.pkcs11.token names: plug the HSM in, or correct the label',
  ],
  'token-ambiguous': [
    'slot.unavailable',
    'several tokens have the label that seal.pkcs11.token names: unplug or relabel the others',
  ],
  'token-other': [
    'slot.unavailable',
    'the token has the right label and another serial number: it is not the one that this slot was made with, and was not told the PIN; plug that one in',
  ],
  'pin-refused': [
    'slot.refused',
    'the token refused the PIN, which is not tried again by itself: correct the file in seal.pkcs11.pinFile, then open the slot once by it: `holdfast unseal -slot=pkcs11 -pin`',
  ],
  'pin-marked': [
    'slot.refused',
    'a PIN was refused before, or attempts were cut short, so it is not tried by itself: correct the file in seal.pkcs11.pinFile, then open the slot once by it: `holdfast unseal -slot=pkcs11 -pin`',
  ],
  'pin-low': [
    'slot.refused',
    'the token counts a wrong PIN, so none is tried by itself: check the file in seal.pkcs11.pinFile, then open the slot once by it: `holdfast unseal -slot=pkcs11 -pin`',
  ],
  'pin-final': [
    'slot.refused',
    'one more wrong PIN locks the token, so none is tried by itself: be sure of the PIN, then open the slot once by it: `holdfast unseal -slot=pkcs11 -pin`',
  ],
  'pin-locked': [
    'slot.refused',
    'the PIN of the token is locked: its security officer can set a new one; until then open the box by its recovery shares',
  ],
  'pin-unset': ['slot.refused', 'the token has no user PIN yet: set one with the tools of its maker'],
  'pin-absent': [
    'slot.refused',
    'the token asks for a PIN: name its file in seal.pkcs11.pinFile, or offer the PIN (-pin)',
  ],
  'key-absent': [
    'slot.unavailable',
    'the token has no key of this slot: plug in the token that the slot was made with, or open the box by its recovery shares and replace the slot',
  ],
  'key-ambiguous': [
    'slot.refused',
    'the token has several keys with the id of this slot: somebody made a copy; open the box by its recovery shares and replace the slot',
  ],
  'key-weak': [
    'slot.refused',
    'the key of this slot is not one that was made in the token and never could leave it: open the box by its recovery shares and replace the slot',
  ],
  'blob-wrong': [
    'slot.refused',
    'what is stored of this slot was changed or damaged: open the box by its recovery shares and replace the slot',
  ],
  'data-refused': [
    'slot.refused',
    'the token works and does not open what is stored of this slot, which was changed or belongs to another: open the box by its recovery shares and replace the slot',
  ],
  'session-lost': [
    'slot.unavailable',
    'the token was lost in the middle, and again when asked once more: check how it is plugged in',
  ],
  'token-failed': [
    'slot.unavailable',
    'the token failed at what it was asked: look at the logs of its maker, then try again',
  ],
  'mechanism-missing': [
    'slot.unavailable',
    'the token can neither AES-256-GCM nor RSA-OAEP as a slot needs it: use another token',
  ],
  'count-absent': ['appliance.rolled-back', "the token's counter is gone, or this is another token"],
  'count-other': ['appliance.rolled-back', "the token's counter was changed by somebody else"],
  'data-unknown': [
    'slot.unavailable',
    'the token keeps no data objects, and so no counter: the slot works without one',
  ],
  'message-wrong': [
    'slot.unavailable',
    'the program that loads the PKCS#11 module is of another version: install holdfast anew',
  ],
  crashed: [
    'slot.unavailable',
    'the PKCS#11 module ended its process: the next try starts it anew; if it happens again, look for a newer module',
  ],
  hung: [
    'slot.unavailable',
    'the PKCS#11 module gave no answer in time and was stopped: check the HSM and the way to it, then try again',
  ],
};

export function explain(what: Trouble | Found): Fault {
  const [code, sentence] = SENTENCES[what];
  return new Fault(code, sentence);
}
