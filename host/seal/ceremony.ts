/**
 * What the recovery quorum does together, share by share: a rekey (new shares, new root) and a new root token. It ends with
 * the threshold's share, by a cancel, or with the box. A rekey with verification has a second round, of the new shares: until
 * its end they are kept nowhere and open nothing, and the old ones go on.
 */
import { Fault, isFault } from '../fault.ts';
import type { CeremonyStatus, RekeyStatus, RekeyWish, SharesMade } from '../ports/appliance.ts';
import type { Random } from '../ports/random.ts';
import type { SealSlot } from '../ports/seal-slot.ts';
import { Secret } from '../secret.ts';
import { Collected } from './collected.ts';
import type { KeyChanges, KeyHolder } from './keys.ts';
import { idOf } from './openers.ts';
import type { SlotRow } from './slot-format.ts';
import type { SlotKey } from './slots.ts';

export interface CeremonyParts {
  readonly random: Random;
  readonly keys: KeyChanges;
  readonly holder: () => KeyHolder;
  readonly shamir: (threshold: number, shares: number) => SealSlot;
  /** A new token with the root policy. */
  readonly rootToken: () => Promise<Secret>;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
}

/** Characters of a service token: what a one-time pad for it is made of. */
const TOKEN_LENGTH = 28;
const OTP = /^[0-9A-Za-z]{28}$/;

const GENERATION_AGAIN = 'given key has already been provided during this generation operation';
const VERIFY_AGAIN = 'given key has already been provided during this verify operation';
const NO_VERIFICATION = 'no rekey verification in progress';

export class Ceremonies {
  readonly #parts: CeremonyParts;
  readonly #rekey: Collected;
  readonly #verification: Collected;
  readonly #root: Collected;
  #wanted: RekeyWish = { shares: 0, threshold: 0, verify: false };
  /** The slot of shares that were shown and are not verified. It holds no secret: only its shares open it. */
  #candidate: SlotKey | undefined;
  #otp: Secret | undefined;

  constructor(parts: CeremonyParts) {
    this.#parts = parts;
    const { random, shamir } = parts;
    this.#rekey = new Collected({ random, shamir, slot: () => this.#quorum() });
    this.#root = new Collected({ random, shamir, slot: () => this.#quorum() });
    this.#verification = new Collected({ random, shamir, slot: () => this.#unverified() });
  }

  /** Ends every attempt: the box closes. */
  clear(): void {
    this.#endRekey();
    this.#endRoot();
  }

  #quorum(): SlotRow {
    const found = this.#parts.holder().slots.find(({ header }) => header.kind === 'shamir');
    if (found === undefined) throw new Fault('appliance.rolled-back', 'rolled back: the box has no recovery shares');
    return found;
  }

  #unverified(): SlotKey {
    if (this.#candidate === undefined) throw new Fault('input.invalid', NO_VERIFICATION);
    return this.#candidate;
  }

  rekeyStatus(): RekeyStatus {
    const started = this.#rekey.started;
    const { threshold, shares, verify } = this.#wanted;
    return {
      ...this.#rekey.status(),
      ...(started ? { t: threshold, n: shares, verify } : { t: 0, n: 0, verify: false }),
    };
  }

  startRekey(wish: RekeyWish): void {
    const { shares, threshold, verify } = wish;
    checkQuorum(shares, threshold);
    this.#rekey.begin('rekey');
    this.#wanted = { shares, threshold, verify };
    this.#parts.note('seal.rekey-started', { shares, threshold, verification: verify ? 'required' : 'none' });
  }

  /** @param nonce of the attempt; undefined for a caller who may cancel any */
  cancelRekey(nonce: string | undefined): void {
    this.#rekey.checkCancel(nonce);
    // While the new shares are being put in force.
    this.#verification.checkCancel(undefined);
    if (this.#rekey.started) this.#parts.note('seal.rekey-cancelled', {});
    this.#endRekey();
  }

  /** @returns the new shares, once, when the quorum is complete; the caller owns them */
  async offerRekey(share: Secret, nonce: string): Promise<SharesMade | undefined> {
    if (this.#candidate !== undefined) {
      share[Symbol.dispose]();
      throw new Fault(
        'input.invalid',
        'rekey operation already finished; verification must be performed: give the new shares to sys/rekey/verify',
      );
    }
    const words = { none: 'no barrier rekey in progress', again: GENERATION_AGAIN };
    if (!(await this.#rekey.offer(share, nonce, words))) return undefined;
    const { shares, threshold, verify } = this.#wanted;
    const { keys, holder, shamir, note } = this.#parts;
    const adapter = shamir(threshold, shares);
    try {
      if (!verify) return { shares: await keys.rekey(holder(), adapter, { threshold, shares }) };
      const prepared = await keys.prepareShares(holder(), adapter, { threshold, shares });
      if (this.#rekey.nonce !== nonce) {
        for (const one of prepared.shares) one[Symbol.dispose]();
        throw new Fault('input.invalid', words.none);
      }
      this.#candidate = prepared.key;
      this.#verification.begin('rekey verification');
      note('seal.rekey-unverified', { shares, threshold });
      return { shares: prepared.shares, verificationNonce: this.#verification.nonce };
    } finally {
      if (this.#candidate !== undefined) this.#rekey.collectAgain();
      else if (this.#rekey.nonce === nonce) this.#rekey.end();
    }
  }

  /** @throws Fault `input.invalid` without a rekey */
  verificationStatus(): RekeyStatus {
    if (!this.#rekey.started) throw new Fault('input.invalid', 'no rekey configuration found');
    const { threshold, shares, verify } = this.#wanted;
    const idle = { nonce: '', started: false, progress: 0, required: threshold };
    return {
      ...(this.#candidate === undefined ? idle : this.#verification.status()),
      ...{ t: threshold, n: shares, verify },
    };
  }

  /**
   * One of the new shares, with its ownership.
   *
   * @returns true when they are in force; the old ones open an old disk only
   * @throws Fault `slot.refused` shares that are not the new ones: give them again; nothing changed
   */
  async offerVerification(share: Secret, nonce: string): Promise<boolean> {
    const words = { none: NO_VERIFICATION, again: VERIFY_AGAIN };
    if (!(await this.#verification.offer(share, nonce, words))) return false;
    const slot = this.#unverified();
    const { keys, holder } = this.#parts;
    try {
      await keys.replaceShares(holder(), slot);
    } catch (error) {
      // A full disk, or rows that are still verified: the shares are known and may be given again.
      if (isFault(error) && !holder().slots.some((one) => idOf(one) === idOf(slot))) this.#verification.collectAgain();
      else this.#endRekey();
      throw error;
    }
    this.#endRekey();
    return true;
  }

  /** Forgets the new shares that were given back; the next ones name another nonce. The rekey goes on. */
  restartVerification(nonce: string | undefined): void {
    this.#unverified();
    this.#verification.checkCancel(nonce);
    this.#verification.end();
    this.#verification.begin('rekey verification');
    this.#parts.note('seal.rekey-verification-restarted', {});
  }

  #endRekey(): void {
    this.#rekey.end();
    this.#verification.end();
    this.#candidate = undefined;
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
    this.#root.checkCancel(nonce);
    if (this.#root.started) this.#parts.note('seal.generate-root-cancelled', {});
    this.#endRoot();
  }

  /** @returns the new root token XOR the pad in unpadded base64, when the quorum is complete */
  async offerRoot(share: Secret, nonce: string): Promise<string | undefined> {
    const words = { none: 'no root generation in progress', again: GENERATION_AGAIN };
    if (!(await this.#root.offer(share, nonce, words))) return undefined;
    // Of this attempt, whatever ends it meanwhile: a token never goes out without its pad.
    using otp = this.#otp;
    this.#otp = undefined;
    if (otp === undefined) throw new Fault('input.invalid', words.none);
    try {
      using token = await this.#parts.rootToken();
      const pad = otp.bytes;
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
