/** A slot whose key is shared among people: any `threshold` of `shares` open it. It is the recovery quorum. */
import { hkdfSync, timingSafeEqual } from 'node:crypto';
import type { Core } from '../../../core/types.ts';
import { Fault } from '../../fault.ts';
import type { Random } from '../../ports/random.ts';
import type { CreatedSlot, Offered, SealSlot } from '../../ports/seal-slot.ts';
import { Secret } from '../../secret.ts';

export const SHARE_COUNT_MAX = 255;
const KEY_SIZE = 32;
/** y bytes, then the x byte (Vault's form). */
export const SHARE_SIZE = KEY_SIZE + 1;

/** Blob, version 1: version, threshold, shares, check value. */
const CHECK_SIZE = 16;
const HEAD_SIZE = 3;
const BLOB_SIZE = HEAD_SIZE + CHECK_SIZE;

export interface ShamirOptions {
  readonly core: Pick<Core, 'shamirSplit' | 'shamirCombine'>;
  readonly random: Random;
  /** For `create`; a slot that exists says its own. 1 ≤ threshold ≤ shares ≤ 255 */
  readonly threshold: number;
  readonly shares: number;
}

export class ShamirSlot implements SealSlot {
  readonly kind = 'shamir';
  readonly automatic = false;
  readonly bindsContext = true;
  readonly #options: ShamirOptions;

  constructor(options: ShamirOptions) {
    this.#options = options;
  }

  async create(context: Uint8Array): Promise<CreatedSlot> {
    const { core, random, threshold, shares } = this.#options;
    const key = new Secret(random.bytes(KEY_SIZE));
    const head = Buffer.of(1, threshold, shares);
    return {
      key,
      blob: Buffer.concat([head, checkOf(key, head, context)]),
      shares: core.shamirSplit(key.bytes, shares, threshold).map((share) => new Secret(share)),
    };
  }

  async recover(blob: Uint8Array, context: Uint8Array, offered: Offered): Promise<Secret> {
    const threshold = blob[1] ?? 0;
    const shares = offered.shares ?? [];
    if (blob.length !== BLOB_SIZE || blob[0] !== 1 || threshold === 0) throw refused();
    if (shares.length < threshold || shares.length > SHARE_COUNT_MAX) throw refused();
    if (shares.some((share) => share.length !== SHARE_SIZE)) throw refused();
    // Two shares of one x have no polynomial; core refuses x = 0 and doubles too.
    if (new Set(shares.map((share) => share.bytes[KEY_SIZE])).size !== shares.length) throw refused();
    let key: Secret;
    try {
      key = new Secret(Uint8Array.from(this.#options.core.shamirCombine(shares.map((share) => share.bytes))));
    } catch (error) {
      throw refused(error);
    }
    if (
      key.length === KEY_SIZE &&
      timingSafeEqual(checkOf(key, blob.subarray(0, HEAD_SIZE), context), blob.subarray(HEAD_SIZE))
    )
      return key;
    key[Symbol.dispose]();
    throw refused();
  }

  /** Nothing lies outside the blob but what people hold. */
  async discard(): Promise<void> {}
}

/** Tells right shares from wrong ones; the key has 256 random bits, so it gives nothing to guess. */
function checkOf(key: Secret, head: Uint8Array, context: Uint8Array): Uint8Array {
  const info = Buffer.concat([Buffer.from('holdfast/v1/shamir', 'ascii'), head, context]);
  return new Uint8Array(hkdfSync('sha256', key.bytes, Buffer.alloc(0), info, CHECK_SIZE));
}

function refused(cause?: unknown): Fault {
  return new Fault('slot.refused', 'the shares do not open this box', { cause });
}
