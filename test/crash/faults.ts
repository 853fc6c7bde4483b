/** Makes calls of a process under the shim fail: the file that `struct control` of shim/shim.c lies in. */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';

const SIZE = 96;
const SUFFIX_AT = 32;
const SUFFIX_SIZE_MAX = 63;
const SEEN_AT = 20;

const KINDS = { write: 1, sync: 2, allocate: 4, /** Writes half of the first buffer and says so. */ short: 8 } as const;
export type FaultKind = keyof typeof KINDS;

export interface FaultPlan {
  readonly kinds: readonly FaultKind[];
  readonly error: 'EIO' | 'ENOSPC';
  /** End of the path of the files that it concerns (`''`: all); behind a `*`: what their path holds. */
  readonly suffix: string;
  /** Calls that pass before the first that fails. */
  readonly skip: number;
  /** Calls that fail (default: all from then on). */
  readonly times?: number;
}

/** The process under the shim may hold its own control, or another process may. */
export class FaultControl {
  readonly #descriptor: number;

  /** Makes the file where it is absent: before the process starts. */
  constructor(path: string) {
    this.#descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    writeSync(this.#descriptor, Buffer.alloc(SIZE), 0, SIZE, 0);
  }

  arm({ kinds, error, suffix, skip, times = 0xffff_ffff }: FaultPlan): void {
    if (suffix.length > SUFFIX_SIZE_MAX) throw new RangeError('the suffix is too long');
    const bytes = Buffer.alloc(SIZE);
    const mask = kinds.reduce((sum, kind) => sum | KINDS[kind], 0);
    for (const [at, number] of [1, mask, skip, os.errno[error], times].entries()) bytes.writeUInt32LE(number, at * 4);
    bytes.write(suffix, SUFFIX_AT, 'latin1');
    writeSync(this.#descriptor, bytes, 0, SIZE, 0);
  }

  /** @returns how many calls matched the plan until now, and how many of them failed */
  look(): { readonly seen: number; readonly hits: number } {
    const bytes = Buffer.alloc(SIZE);
    readSync(this.#descriptor, bytes, 0, SIZE, 0);
    return { seen: bytes.readUInt32LE(SEEN_AT), hits: bytes.readUInt32LE(SEEN_AT + 4) };
  }

  /** Lets everything pass again. @returns what `look` returns */
  disarm(): { readonly seen: number; readonly hits: number } {
    const counts = this.look();
    writeSync(this.#descriptor, Buffer.alloc(SIZE), 0, SIZE, 0);
    return counts;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
