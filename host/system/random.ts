/** Randomness of the operating system. */
import { randomFillSync, randomUUID } from 'node:crypto';
import type { Random } from '../ports/random.ts';

const LENGTH_MAX = 65_536;

export const systemRandom: Random = {
  bytes(length) {
    if (!Number.isInteger(length) || length < 1 || length > LENGTH_MAX) {
      throw new RangeError(`randomness comes in 1 to ${LENGTH_MAX} bytes`);
    }
    // Not randomBytes: its result may be a part of Node's shared pool, which nobody can wipe.
    return randomFillSync(new Uint8Array(length));
  },
  uuid: () => randomUUID(),
};
