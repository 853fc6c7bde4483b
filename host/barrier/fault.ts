/** What core refuses, in host's faults. */
import { isCoreFault } from '../../core/index.ts';
import type { CoreStatus } from '../../core/types.ts';
import { Fault, type FaultCode } from '../fault.ts';

const FAULTS: Readonly<Record<CoreStatus, readonly [FaultCode, string]>> = {
  refused: ['barrier.refused', 'a stored row does not open: it was changed, moved, or is of another box'],
  sealed: ['appliance.sealed', 'Vault is sealed'],
  denied: ['policy.denied', 'permission denied'],
  path: [
    'input.invalid',
    'the path breaks the grammar of paths: 1 to 32 segments of 1 to 255 bytes, none of them . or .., no control character, no space at an end of one',
  ],
  mount: ['route.absent', 'there is no mount at this path'],
  full: ['core.exhausted', 'too much is under way at once: try again'],
  argument: ['input.too-large', 'the value is larger than a row can hold (1 MiB)'],
  entropy: ['core.exhausted', 'no randomness is left: try again'],
};

/** The fault for what core threw; anything else is thrown on as it is. */
export function hostFault(error: unknown): unknown {
  if (!isCoreFault(error)) return error;
  const [code, sentence] = FAULTS[error.status];
  return new Fault(code, sentence, { cause: error });
}

/** Runs core's work with its refusals as faults. */
export function throughCore<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw hostFault(error);
  }
}
