/**
 * The TPM's lockout authorisation, made here, kept sealed and shown once: a PIN is worth something only while nobody else
 * can set the count of wrong ones back.
 */
import type { Core } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { LockoutDevice, LockoutParameters, LockoutState } from '../ports/lockout.ts';
import type { Random } from '../ports/random.ts';
import type { Store } from '../ports/store.ts';
import { Secret } from '../secret.ts';
import type { KeyHolder } from './keys.ts';
import { JobRow } from './rows.ts';

export interface LockoutParts {
  readonly core: Core;
  readonly store: Store;
  readonly lease: LeaseTime;
  readonly random: Random;
  /** Undefined where no TPM is configured. */
  readonly device: LockoutDevice | undefined;
  readonly holder: () => KeyHolder;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
  readonly leavesDurable: () => Promise<void>;
}

/** As text: a person types it into the tools of the TPM. 128 bits in hex. */
const AUTH_SIZE = 16;

export class Lockout {
  readonly #parts: LockoutParts;
  readonly #row: JobRow;

  constructor(parts: LockoutParts) {
    this.#parts = parts;
    this.#row = new JobRow(parts.core, parts.lease, 'tpm-lockout');
  }

  async state(): Promise<LockoutState & { readonly kept: boolean }> {
    const kept = this.#kept();
    kept?.[Symbol.dispose]();
    return { ...(await this.#device().state()), kept: kept !== undefined };
  }

  /**
   * Makes the authorisation and sets it. Kept before it is set: a power cut between the two leaves one that is used by the
   * next try.
   *
   * @returns it, once; owned by the caller
   */
  take(): Promise<Secret> {
    const { store, random, holder, note, leavesDurable } = this.#parts;
    return holder().exclusive(async () => {
      const device = this.#device();
      const kept = this.#kept();
      if ((await device.state()).authSet) {
        kept?.[Symbol.dispose]();
        throw new Fault(
          'input.invalid',
          kept === undefined
            ? 'the TPM has a lockout authorisation already, which somebody else set: a slot may have a PIN, and whoever set it changes its parameters'
            : 'the lockout authorisation of the TPM is set and kept here already; it was shown once',
        );
      }
      const auth = kept ?? new Secret(Buffer.from(Buffer.from(random.bytes(AUTH_SIZE)).toString('hex'), 'ascii'));
      try {
        await leavesDurable();
        if (kept === undefined) await store.commit({ puts: [this.#row.put({ auth: Uint8Array.from(auth.bytes) })] });
        await device.setAuth(auth);
        note('tpm.lockout-taken', {});
        return auth;
      } catch (error) {
        auth[Symbol.dispose]();
        throw error;
      }
    });
  }

  /** Sets the count of wrong PINs back to 0. */
  async reset(): Promise<void> {
    await this.#withKept((device, auth) => device.reset(auth));
    this.#parts.note('tpm.lockout-reset', {});
  }

  async setParameters(parameters: Partial<LockoutParameters>): Promise<void> {
    const { failuresMax, intervalS, recoveryS } = { ...(await this.#device().state()), ...parameters };
    await this.#withKept((device, auth) => device.setParameters(auth, { failuresMax, intervalS, recoveryS }));
    this.#parts.note('tpm.lockout-parameters', { failuresMax, intervalS, recoveryS });
  }

  async #withKept(work: (device: LockoutDevice, auth: Secret) => Promise<void>): Promise<void> {
    const { holder, leavesDurable } = this.#parts;
    await holder().exclusive(async () => {
      using auth = this.#kept();
      if (auth === undefined) {
        throw new Fault(
          'input.invalid',
          'the lockout authorisation of the TPM is not kept here: `holdfast operator tpm -take-lockout` makes one',
        );
      }
      await leavesDurable();
      await work(this.#device(), auth);
    });
  }

  #kept(): Secret | undefined {
    const auth = this.#row.read(this.#parts.store)?.['auth'];
    return auth instanceof Uint8Array ? new Secret(Uint8Array.from(auth)) : undefined;
  }

  #device(): LockoutDevice {
    const { device } = this.#parts;
    if (device !== undefined) return device;
    throw new Fault('input.invalid', 'no TPM is configured here: see the settings seal.allowed and seal.tpm2.tcti');
  }
}
