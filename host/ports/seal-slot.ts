import type { Secret } from '../secret.ts';

export type SlotKind = 'tpm2' | 'pkcs11' | 'shamir' | 'keyfile';

/** What a person or the machine brings to open a slot. `shares` are in Vault's form: y bytes, then the x byte. */
export interface Offered {
  readonly shares?: readonly Secret[];
  readonly pin?: Secret;
}

export interface CreatedSlot {
  /** X25519 private key, 32 bytes, owned by the caller. */
  readonly key: Secret;
  /** At most 4,096 bytes, safe to store in the clear. */
  readonly blob: Uint8Array;
  /** The shares to hand to people, once: kind `shamir` only. */
  readonly shares?: readonly Secret[];
}

/** Attempts at a PIN that were begun and not seen to succeed, 0 to 3; a refused PIN counts as all of them. */
export interface PinMark {
  read(): number;
  /** Resolves when it is durable. */
  write(attempts: number): Promise<void>;
}

/** One way to recover a key that unwraps the root key. Contract: test/contract/seal-slot.ts, run against every adapter. */
export interface SealSlot {
  readonly kind: SlotKind;
  /** True if a slot that is made here as it is configured opens the box without a person. */
  readonly automatic: boolean;
  /** True if `recover` with another context fails in the device itself; core binds the context in any case. */
  readonly bindsContext: boolean;
  /**
   * Makes a new slot key and protects it.
   *
   * @param context  bound to the result as far as the device can; `recover` needs the same bytes
   * @param offered  a PIN that the device asks for, or that the slot is to ask for from now on
   * @throws Fault `slot.unavailable` if the device (or the file system) does not answer
   */
  create(context: Uint8Array, offered?: Offered): Promise<CreatedSlot>;
  /**
   * @throws Fault `slot.refused` if the blob changed, the device refuses, or what was offered is wrong; never retried by itself
   * @throws Fault `slot.unavailable` if the device (or the key file) is not there
   */
  recover(blob: Uint8Array, context: Uint8Array, offered: Offered): Promise<Secret>;
  /**
   * Forgets what lies outside the blob (the key file, the token's key). Called after the slot is gone from the keyring.
   *
   * @param kept  blobs of the slots of this kind that stay: what they need stays too
   */
  discard(blob: Uint8Array, kept?: readonly Uint8Array[], offered?: Offered): Promise<void>;
  /** Whether a slot of this blob waits for a PIN that a person brings. Absent: none does. */
  asksPin?(blob: Uint8Array): boolean;
}
