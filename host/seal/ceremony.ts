/**
 * What the recovery quorum does together, share by share: a rekey (new shares, new root) and a new root token. An attempt
 * has a nonce, which every share names; it ends with the threshold's share, by a cancel, or with the box.
 */
import { timingSafeEqual } from 'node:crypto';
import { Fault } from '../fault.ts';
import type { CeremonyStatus } from '../ports/appliance.ts';
import type { Random } from '../ports/random.ts';
import type { SealSlot } from '../ports/seal-slot.ts';
import { Secret } from '../secret.ts';
import type { KeyChanges, KeyHolder } from './keys.ts';
import type { SlotRow } from './slot-format.ts';
import { proveSlot } from './slots.ts';

export interface CeremonyParts {
  readonly random: Random;
  readonly keys: KeyChanges;
  readonly holder: () => KeyHolder;
  readonly shamir: (threshold: number, shares: number) => SealSlot;
  /** A new token with the root policy. */
  readonly rootToken: () => Promise<Secret>;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
}

interface Attempt {
  readonly nonce: string;
  readonly shares: Secret[];
}

/** Characters of a service token: what a one-time pad for it is made of. */
const TOKEN_LENGTH = 28;
const OTP = /^[0-9A-Za-z]{28}$/;

/** Collects the shares of one attempt and proves the quorum by them. */
class Collected {
  readonly #parts: CeremonyParts;
  attempt: Attempt | undefined;

  constructor(parts: CeremonyParts) {
    this.#parts = parts;
  }

  begin(what: string): Attempt {
    if (this.attempt !== undefined) throw new Fault('input.invalid', `${what} already in progress`);
    this.attempt = { nonce: this.#parts.random.uuid(), shares: [] };
    return this.attempt;
  }

  end(): void {
    for (const share of this.attempt?.shares ?? []) share[Symbol.dispose]();
    this.attempt = undefined;
  }

  quorum(): SlotRow {
    const found = this.#parts.holder().slots.find(({ header }) => header.kind === 'shamir');
    if (found === undefined) throw new Fault('appliance.rolled-back', 'rolled back: the box has no recovery shares');
    return found;
  }

  /**
   * Takes one share, with its ownership.
   *
   * @returns true when the quorum is proved; its shares are wiped
   * @throws Fault `input.invalid` in Vault's words; `slot.refused` shares that are not the box's: the attempt starts anew
   */
  async offer(share: Secret, nonce: string, none: string): Promise<boolean> {
    const attempt = this.attempt;
    try {
      if (attempt === undefined) throw new Fault('input.invalid', none);
      if (attempt.nonce !== nonce) {
        throw new Fault('input.invalid', 'incorrect nonce supplied: it must be that of the attempt under way');
      }
      if (attempt.shares.some((one) => one.length === share.length && timingSafeEqual(one.bytes, share.bytes))) {
        throw new Fault('input.invalid', 'given key has already been provided during this generation operation');
      }
    } catch (error) {
      share[Symbol.dispose]();
      throw error;
    }
    attempt.shares.push(share);
    const quorum = this.quorum();
    const { threshold, shares } = quorum.header;
    if (attempt.shares.length < threshold) return false;
    const taken = attempt.shares.splice(0);
    try {
      await proveSlot(this.#parts.shamir(threshold, shares), quorum, { shares: taken });
      return true;
    } finally {
      for (const one of taken) one[Symbol.dispose]();
    }
  }

  status(): CeremonyStatus {
    return {
      nonce: this.attempt?.nonce ?? '',
      started: this.attempt !== undefined,
      progress: this.attempt?.shares.length ?? 0,
      required: this.quorum().header.threshold,
    };
  }
}

export class Ceremonies {
  readonly #parts: CeremonyParts;
  readonly #rekey: Collected;
  readonly #root: Collected;
  #wanted = { shares: 0, threshold: 0 };
  #otp: Secret | undefined;

  constructor(parts: CeremonyParts) {
    this.#parts = parts;
    this.#rekey = new Collected(parts);
    this.#root = new Collected(parts);
  }

  /** Ends every attempt: the box closes. */
  clear(): void {
    this.#rekey.end();
    this.#endRoot();
  }

  rekeyStatus(): CeremonyStatus & { readonly t: number; readonly n: number } {
    const started = this.#rekey.attempt !== undefined;
    return { ...this.#rekey.status(), t: started ? this.#wanted.threshold : 0, n: started ? this.#wanted.shares : 0 };
  }

  startRekey(shares: number, threshold: number): void {
    checkQuorum(shares, threshold);
    this.#rekey.begin('rekey');
    this.#wanted = { shares, threshold };
    this.#parts.note('seal.rekey-started', { shares, threshold });
  }

  /** @param nonce of the attempt; undefined for a caller who may cancel any */
  cancelRekey(nonce: string | undefined): void {
    this.#checkCancel(this.#rekey, nonce);
    if (this.#rekey.attempt !== undefined) this.#parts.note('seal.rekey-cancelled', {});
    this.#rekey.end();
  }

  /** @returns the new shares, once, when the quorum is complete; the caller owns them */
  async offerRekey(share: Secret, nonce: string): Promise<readonly Secret[] | undefined> {
    if (!(await this.#rekey.offer(share, nonce, 'no barrier rekey in progress'))) return undefined;
    const { shares, threshold } = this.#wanted;
    const { keys, holder, shamir } = this.#parts;
    try {
      return await keys.rekey(holder(), shamir(threshold, shares), { threshold, shares });
    } finally {
      this.#rekey.end();
    }
  }

  rootStatus(): CeremonyStatus & { readonly otpLength: number } {
    return { ...this.#root.status(), otpLength: TOKEN_LENGTH };
  }

  /**
   * @param given  the one-time pad that the new token is handed out under; '' makes one
   * @returns the pad if it was made here: it is shown this once
   */
  startRoot(given: string): string | undefined {
    if (given !== '' && !OTP.test(given)) throw new Fault('input.invalid', 'OTP string has incorrect length');
    this.#root.begin('root generation');
    const otp = given === '' ? this.#drawOtp() : given;
    this.#otp = new Secret(Buffer.from(otp));
    this.#parts.note('seal.generate-root-started', {});
    return given === '' ? otp : undefined;
  }

  cancelRoot(nonce: string | undefined): void {
    this.#checkCancel(this.#root, nonce);
    if (this.#root.attempt !== undefined) this.#parts.note('seal.generate-root-cancelled', {});
    this.#endRoot();
  }

  /** @returns the new root token XOR the pad in unpadded base64, when the quorum is complete */
  async offerRoot(share: Secret, nonce: string): Promise<string | undefined> {
    if (!(await this.#root.offer(share, nonce, 'no root generation in progress'))) return undefined;
    try {
      using token = await this.#parts.rootToken();
      const pad = this.#otp?.bytes ?? new Uint8Array(0);
      const encoded = Buffer.from(token.bytes.map((byte, i) => byte ^ (pad[i] ?? 0)));
      this.#parts.note('seal.root-generated', {});
      const text = encoded.toString('base64').replace(/=+$/, '');
      encoded.fill(0);
      return text;
    } finally {
      this.#endRoot();
    }
  }

  /** Letters and digits without bias: bytes above 247 are drawn again. */
  #drawOtp(): string {
    const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
    let otp = '';
    while (otp.length < TOKEN_LENGTH) {
      for (const byte of this.#parts.random.bytes(TOKEN_LENGTH)) {
        if (byte < 248 && otp.length < TOKEN_LENGTH) otp += alphabet[byte % 62] ?? '';
      }
    }
    return otp;
  }

  #checkCancel(collected: Collected, nonce: string | undefined): void {
    if (collected.attempt === undefined || nonce === undefined || collected.attempt.nonce === nonce) return;
    throw new Fault('policy.denied', 'cancelling needs the nonce of the attempt, or a token with sudo');
  }

  #endRoot(): void {
    this.#root.end();
    this.#otp?.[Symbol.dispose]();
    this.#otp = undefined;
  }
}

const SHARE_COUNT_MAX = 255;

/** @throws Fault `input.invalid` in Vault's words */
export function checkQuorum(shares: number, threshold: number): void {
  const invalid = (sentence: string): never => {
    throw new Fault('input.invalid', `invalid seal configuration: ${sentence}`);
  };
  if (!Number.isInteger(shares) || shares < 1) invalid('shares must be at least one');
  if (shares > SHARE_COUNT_MAX) invalid(`shares must be less than ${SHARE_COUNT_MAX + 1}`);
  if (!Number.isInteger(threshold) || threshold < 1) invalid('threshold must be at least one');
  if (threshold > shares) invalid('threshold cannot be larger than shares');
  if (shares > 1 && threshold === 1) invalid('threshold must be greater than one for multiple shares');
}
