/** Return codes of tpm2-tss and the TPM, and what an operator does about each. */
import { Fault, type FaultCode } from '../../fault.ts';

/** A command that failed, with the code as the library gave it. */
export class TpmError extends Error {
  readonly code: number;
  readonly command: string;

  constructor(command: string, code: number) {
    super(`${command}: TPM code 0x${code.toString(16)}`);
    this.name = 'TpmError';
    this.code = code;
    this.command = command;
  }
}

type Row = readonly [FaultCode, string];

const refused = (sentence: string): Row => ['slot.refused', sentence];
const unavailable = (sentence: string): Row => ['slot.unavailable', sentence];

/** What to do about a slot that will not open again, with the commands. */
export const ANEW =
  'open the box by its recovery shares (`holdfast unseal`), then make this slot anew (`holdfast slot replace tpm2`)';
const EDITED = refused(`the slot was changed or belongs to another TPM: ${ANEW}`);
const MOVED = refused(`the machine did not start as it did when the slot was made (its PCRs moved): ${ANEW}`);
const OWNER = unavailable(
  'the TPM has an owner authorisation: make its storage key persistent at 0x81000001, or clear the authorisation',
);
const FIRMWARE = unavailable('the firmware has switched this part of the TPM off: switch it on in its setup');
/** Malformed, or without the authentication of its session. */
const FORGED = refused(
  'an answer of the TPM was changed on its way: look at what sits between the TPM and the processor',
);
const FULL = (what: string): Row =>
  unavailable(`the TPM has no room for another ${what}: flush what other programs left, or restart the machine`);

/** Bits that name a parameter, handle or session are taken away first (TPM 2.0 Part 2, 6.6). */
const CODES: ReadonlyMap<number, Row> = new Map<number, Row>([
  [
    0x08e,
    refused('the PIN is wrong, and the TPM has counted the attempt: check it, then `holdfast unseal -slot=tpm2 -pin`'),
  ],
  [0x0a2, OWNER],
  [0x09d, MOVED],
  [0x128, MOVED],
  // Integrity or a wrong parent; of an edited public area: algorithm, attributes, hash, value, type, kdf, scheme, size,
  // symmetric cipher, tag, selector, insufficient bytes, key, reserved bits, curve.
  ...[
    0x09f, 0x081, 0x082, 0x083, 0x084, 0x08a, 0x08c, 0x092, 0x095, 0x096, 0x097, 0x098, 0x09a, 0x09c, 0x0a1, 0x0a6,
  ].map((code) => [code, EDITED] as const),
  [0x09b, refused('the signature over the boot policy is wrong: sign it again with the key of this slot')],
  [0x126, refused('the boot policy is older than one that this machine has already used: a downgrade is refused')],
  [0x085, FIRMWARE],
  [0x120, FIRMWARE],
  [0x100, unavailable('the TPM was not started: restart the machine')],
  [0x101, unavailable('the TPM is in failure mode: switch the machine off and on')],
  [0x12d, unavailable('the TPM must be restarted: switch the machine off and on')],
  [0x14a, unavailable('the TPM lost what it held of an index: restart the machine')],
  [0x14b, unavailable('the memory of the TPM is full: undefine an index that nobody needs')],
  [0x14c, unavailable('the TPM has an index at this place already: undefine it, or choose another')],
  [0x902, FULL('object')],
  [0x903, FULL('session')],
  [0x904, FULL('object or session')],
  [0x905, FULL('session')],
  [0x908, unavailable('the TPM gave way to another command: try again')],
  [0x90a, unavailable('the TPM tests itself: try again')],
  [0x920, unavailable('the TPM slows down writes to its memory: try again later')],
  [
    0x921,
    unavailable(
      'the TPM is locked out after wrong PINs: wait, or open the box by its recovery shares (`holdfast unseal`)',
    ),
  ],
  [0x922, unavailable('the TPM is busy: try again')],
  [0x923, unavailable('the memory of the TPM is not available: try again')],
  [0x7_0011, FORGED],
  [0x7_001b, FORGED],
  [0xa_0008, unavailable('nothing answers where seal.tpm2.tcti says that the TPM is: check it')],
  [
    0xa_000a,
    unavailable('the TPM cannot be reached: check that it is there, that this user may use it, and seal.tpm2.tcti'),
  ],
  [0xa_0015, unavailable('seal.tpm2.tcti names a kind of connection that tpm2-tss does not have: check it')],
]);

const RC_FMT1 = 0x080;
const LAYER = { tpm: 0, esys: 7, mu: 9, tcti: 10, resourceManagerTpm: 12 } as const;

/** @returns the code without the number of the handle, parameter or session; 0x126, 0x921… and other layers' as they are */
export function plainCode(code: number): number {
  const layer = code >>> 16;
  if (layer !== LAYER.tpm && layer !== LAYER.resourceManagerTpm) return code;
  const own = code & 0xffff;
  return (own & RC_FMT1) !== 0 ? own & 0x0bf : own;
}

/** The fault that `error` is to the port's callers; what is no TPM code is passed on as it is. */
export function faultOf(error: unknown): unknown {
  if (!(error instanceof TpmError)) return error;
  const layer = error.code >>> 16;
  const plain = plainCode(error.code);
  // Only the object asks for a PIN: elsewhere it is a hierarchy whose password Holdfast does not have.
  const row = plain === 0x08e && error.command !== 'Unseal' ? OWNER : CODES.get(plain);
  const [code, sentence] =
    row ??
    (layer === LAYER.mu
      ? EDITED
      : layer === LAYER.tcti || layer === LAYER.esys
        ? unavailable(`the connection to the TPM broke (code 0x${error.code.toString(16)}): try again`)
        : unavailable(`the TPM refused with code 0x${error.code.toString(16)}: see its log`));
  return new Fault(code, sentence, { cause: error });
}
