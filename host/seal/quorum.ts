/** Shares that people bring, one by one, until the threshold is reached. */
import { timingSafeEqual } from 'node:crypto';
import type { Random } from '../ports/random.ts';
import type { Secret } from '../secret.ts';

export class Quorum {
  readonly #random: Random;
  #shares: Secret[] = [];
  #nonce = '';

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

  /** Takes ownership of the share. One that was brought before does not advance. */
  add(share: Secret): void {
    const known = this.#shares.some((one) => one.length === share.length && timingSafeEqual(one.bytes, share.bytes));
    if (known) {
      share[Symbol.dispose]();
      return;
    }
    if (this.#nonce === '') this.#nonce = this.#random.uuid();
    this.#shares.push(share);
  }

  /** The round's shares, with their ownership; the next share begins a new round. */
  take(): { readonly shares: readonly Secret[] } & Disposable {
    const shares = this.#shares;
    this.#shares = [];
    this.#nonce = '';
    return {
      shares,
      [Symbol.dispose]: () => {
        for (const share of shares) share[Symbol.dispose]();
      },
    };
  }

  clear(): void {
    this.take()[Symbol.dispose]();
  }
}
