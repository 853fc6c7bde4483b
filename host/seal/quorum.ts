/** Shares that people bring, one by one, until the threshold is reached. */
import { timingSafeEqual } from 'node:crypto';
import { Fault } from '../fault.ts';
import type { Random } from '../ports/random.ts';
import type { Secret } from '../secret.ts';

const SHARE_SIZES = { min: 16, max: 33 } as const;

/** A share of a key of another size is a mistake of typing, told before it counts. @throws Fault; the share is wiped then */
export function checkShareSize(share: Secret): void {
  const { length } = share;
  if (length >= SHARE_SIZES.min && length <= SHARE_SIZES.max) return;
  share[Symbol.dispose]();
  const bound =
    length < SHARE_SIZES.min ? `shorter than minimum ${SHARE_SIZES.min}` : `longer than maximum ${SHARE_SIZES.max}`;
  throw new Fault('input.invalid', `key is ${bound} bytes`);
}

export class Quorum {
  readonly #random: Random;
  #shares: Secret[] = [];
  #nonce = '';
  #accepts = false;

  constructor(random: Random) {
    this.#random = random;
  }

  get progress(): number {
    return this.#shares.length;
  }

  /** Names this round while shares are pending; '' before the first. */
  get nonce(): string {
    return this.#nonce;
  }

  /**
   * Takes ownership of the share. One that was brought before does not advance.
   *
   * @param accepts  its holder takes a store that was rolled back as it is: a round needs the word of all, or of none
   * @throws Fault `input.invalid` a share that says otherwise than those before it
   */
  add(share: Secret, accepts = false): void {
    if (this.#shares.length > 0 && accepts !== this.#accepts) {
      share[Symbol.dispose]();
      throw new Fault(
        'input.invalid',
        `the shares before this one were given ${accepts ? 'without' : 'with'} accept: give every share of a round the same way, or reset`,
      );
    }
    this.#accepts = accepts;
    const known = this.#shares.some((one) => one.length === share.length && timingSafeEqual(one.bytes, share.bytes));
    if (known) {
      share[Symbol.dispose]();
      return;
    }
    if (this.#nonce === '') this.#nonce = this.#random.uuid();
    this.#shares.push(share);
  }

  /** The round's shares, with their ownership; the next share begins a new round. */
  take(): { readonly shares: readonly Secret[]; readonly accepts: boolean } & Disposable {
    const shares = this.#shares;
    const accepts = this.#accepts;
    this.#accepts = false;
    this.#shares = [];
    this.#nonce = '';
    return {
      shares,
      accepts,
      [Symbol.dispose]: () => {
        for (const share of shares) share[Symbol.dispose]();
      },
    };
  }

  clear(): void {
    this.take()[Symbol.dispose]();
  }
}
