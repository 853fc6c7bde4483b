/** The state of the box, for the endpoints that answer before any token can be checked. Implemented by host/seal. */
import type { Secret } from '../secret.ts';
import type { SlotKind } from './seal-slot.ts';

export interface SealStatus {
  readonly type: 'shamir' | 'tpm2' | 'pkcs11' | 'keyfile';
  readonly initialized: boolean;
  readonly sealed: boolean;
  /** Threshold and number of the recovery quorum's shares. */
  readonly t: number;
  readonly n: number;
  readonly progress: number;
  readonly nonce: string;
  /** Which slot opened the box, e.g. `keyfile`; undefined while sealed. */
  readonly openedBy?: SlotKind;
  readonly clusterId: string;
  readonly reasons: readonly string[];
  /** Fingerprint check still running in slices. */
  readonly verifying: boolean;
}

export interface InitResult {
  readonly shares: readonly Secret[];
  readonly rootToken: Secret;
}

export interface Appliance {
  status(): SealStatus;
  /** @throws Fault `input.invalid` with Vault's words */
  initialise(options: {
    readonly shares: number;
    readonly threshold: number;
    readonly keyfile: boolean;
  }): Promise<InitResult>;
  /** One more share; opens the box when the threshold is reached. @throws Fault `slot.refused` bad shares; progress is cleared */
  offerShare(share: Secret): Promise<SealStatus>;
  resetShares(): SealStatus;
  /** Tries the automatic slots; false if none opened it. */
  unsealAutomatically(): Promise<boolean>;
  /** Leaves the durable seal mark; automatic slots stay shut until a person unseals. */
  seal(): Promise<void>;
}
