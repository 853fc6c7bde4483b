/** Shares of one attempt, collected until they prove a slot. An attempt has a nonce, which every share names. */
import { timingSafeEqual } from 'node:crypto';
import { Fault } from '../fault.ts';
import type { CeremonyStatus } from '../ports/appliance.ts';
import type { Random } from '../ports/random.ts';
import type { SealSlot } from '../ports/seal-slot.ts';
import type { Secret } from '../secret.ts';
import { proveSlot, type SlotKey } from './slots.ts';

export interface CollectedParts {
  readonly random: Random;
  readonly shamir: (threshold: number, shares: number) => SealSlot;
  /** The slot that the shares are of. @throws Fault if there is none */
  readonly slot: () => SlotKey;
}

/** What a share is refused with, in the reference's words. */
export interface OfferWords {
  readonly none: string;
  readonly again: string;
}

interface Attempt {
  readonly nonce: string;
  readonly shares: Secret[];
  /** The threshold is reached: what follows from it goes on, and nobody gives it up or adds to it. */
  proved: boolean;
}

const CARRIED_OUT = 'the shares of this attempt are complete and it is being carried out: read its status in a moment';

export class Collected {
  readonly #parts: CollectedParts;
  #attempt: Attempt | undefined;

  constructor(parts: CollectedParts) {
    this.#parts = parts;
  }

  get started(): boolean {
    return this.#attempt !== undefined;
  }

  /** '' unless one is under way. */
  get nonce(): string {
    return this.#attempt?.nonce ?? '';
  }

  /** @param what  in the refusal of a second one */
  begin(what: string): void {
    if (this.#attempt !== undefined) throw new Fault('input.invalid', `${what} already in progress`);
    this.#attempt = { nonce: this.#parts.random.uuid(), shares: [], proved: false };
  }

  end(): void {
    for (const share of this.#attempt?.shares ?? []) share[Symbol.dispose]();
    this.#attempt = undefined;
  }

  /** What a proved quorum was for did not come about: the same attempt collects from nothing. */
  collectAgain(): void {
    if (this.#attempt !== undefined) this.#attempt.proved = false;
  }

  /**
   * @param nonce  undefined for a caller who may give any attempt up
   * @throws Fault `policy.denied` for whoever does not name the attempt; `input.invalid` while it is carried out
   */
  checkCancel(nonce: string | undefined): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    if (nonce !== undefined && attempt.nonce !== nonce) {
      throw new Fault('policy.denied', 'cancelling needs the nonce of the attempt, or a token with sudo');
    }
    if (attempt.proved) throw new Fault('input.invalid', CARRIED_OUT);
  }

  /**
   * Takes one share, with its ownership.
   *
   * @returns true when the quorum is proved; its shares are wiped. The caller carries it out, and ends the attempt
   * @throws Fault `input.invalid` in the reference's words; `slot.refused` shares that are not the slot's: the attempt
   *         collects from nothing
   */
  async offer(share: Secret, nonce: string, { none, again }: OfferWords): Promise<boolean> {
    const attempt = this.#attempt;
    try {
      if (attempt === undefined) throw new Fault('input.invalid', none);
      if (attempt.nonce !== nonce) {
        throw new Fault('input.invalid', 'incorrect nonce supplied: it must be that of the attempt under way');
      }
      if (attempt.proved) throw new Fault('input.invalid', CARRIED_OUT);
      if (attempt.shares.some((one) => one.length === share.length && timingSafeEqual(one.bytes, share.bytes))) {
        throw new Fault('input.invalid', again);
      }
    } catch (error) {
      share[Symbol.dispose]();
      throw error;
    }
    attempt.shares.push(share);
    const slot = this.#parts.slot();
    const { threshold, shares } = slot.header;
    if (attempt.shares.length < threshold) return false;
    const taken = attempt.shares.splice(0);
    // From here on: two last shares at once would carry it out twice, and the second answer void the first.
    attempt.proved = true;
    try {
      await proveSlot(this.#parts.shamir(threshold, shares), slot, { shares: taken });
    } catch (error) {
      attempt.proved = false;
      throw error;
    } finally {
      for (const one of taken) one[Symbol.dispose]();
    }
    // The box was closed meanwhile.
    if (this.#attempt !== attempt) throw new Fault('input.invalid', none);
    return true;
  }

  status(): CeremonyStatus {
    return {
      nonce: this.nonce,
      started: this.started,
      progress: this.#attempt?.shares.length ?? 0,
      required: this.#parts.slot().header.threshold,
    };
  }
}
