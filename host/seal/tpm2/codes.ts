/** Return codes of tpm2-tss and the TPM, and what an operator does about each. */
import { Fault, type FaultCode } from '../../fault.ts';

/** A command that failed, with the code as the library gave it. */
export class TpmError extends Error {
  readonly code: number;

  constructor(command: string, code: number) {
    super(`${command}: TPM code 0x${code.toString(16)}`);
    this.name = 'TpmError';
    this.code = code;
  }
}

type Row = readonly [FaultCode, string];

const WRONG_PIN: Row = [
  'slot.refused',
  'the PIN is wrong, and the TPM has counted the attempt: check it before trying again',
];
const OWNER: Row = [
  'slot.unavailable',
  'the TPM asks for an authorisation: clear its owner authorisation, or open the box by another slot',
];
const EDITED: Row = [
  'slot.refused',
  'the slot was changed or belongs to another TPM: open the box by another slot and add this one again',
];
const MOVED: Row = [
  'slot.refused',
  'the machine did not start as it did when the slot was made (its PCRs moved): open the box by another slot and add this one again',
];

/** Bits that name a parameter, handle or session are taken away first (TPM 2.0 Part 2, 6.6). */
const CODES: ReadonlyMap<number, Row> = new Map<number, Row>([
  [0x08e, WRONG_PIN],
  [0x0a2, OWNER],
  [0x09d, MOVED],
  [0x09f, EDITED],
  [0x095, EDITED],
  [0x081, EDITED],
  [0x083, EDITED],
  [0x08c, EDITED],
  [0x096, EDITED],
  [0x098, EDITED],
  [0x09a, EDITED],
  [0x09c, EDITED],
  [0x0a1, EDITED],
  [0x084, EDITED],
  [0x082, EDITED],
  [0x08a, EDITED],
  [0x092, EDITED],
  [0x09b, ['slot.refused', 'the signature over the boot policy is wrong: sign it again with the key of this slot']],
  [
    0x126,
    ['slot.refused', 'the boot policy is older than one that this machine has already used: a downgrade is refused'],
  ],
  [0x128, MOVED],
  [0x921, ['slot.unavailable', 'the TPM is locked out after wrong PINs']],
  [0x922, ['slot.unavailable', 'the TPM is busy: try again']],
  [
    0x902,
    ['slot.unavailable', 'the TPM has no room for another object: flush what others left, or restart the machine'],
  ],
  [
    0x903,
    ['slot.unavailable', 'the TPM has no room for another session: flush what others left, or restart the machine'],
  ],
  [0x100, ['slot.unavailable', 'the TPM was not started: restart the machine']],
]);

const RC_FMT1 = 0x080;

/** @returns the code without the number of the handle, parameter or session; 0x126, 0x921… as they are */
export function plainCode(code: number): number {
  return (code & RC_FMT1) !== 0 ? code & 0x0bf : code;
}

/** The fault that `error` is to the port's callers; what is no TPM code is passed on as it is. */
export function faultOf(error: unknown): unknown {
  if (!(error instanceof TpmError)) return error;
  const layer = error.code >>> 16;
  if (layer === 0x0a || layer === 0x07) {
    return new Fault(
      'slot.unavailable',
      'the TPM cannot be reached: check that it is there and that seal.tpm2.tcti names it',
      {
        cause: error,
      },
    );
  }
  if (layer === 0x09) return new Fault('slot.refused', EDITED[1], { cause: error });
  const row = layer === 0 ? CODES.get(plainCode(error.code)) : undefined;
  const [code, sentence] = row ?? [
    'slot.unavailable',
    `the TPM refused with code 0x${error.code.toString(16)}: see its log`,
  ];
  return new Fault(code, sentence, { cause: error });
}
