/** The state of the box, for the endpoints that answer before any token can be checked. Implemented by host/seal. */
import type { Secret } from '../secret.ts';
import type { CounterStatus } from './counter.ts';
import type { LockoutParameters, LockoutState } from './lockout.ts';
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
  /** A person sealed it: nothing opens it by itself. */
  readonly marked: boolean;
  /** Fingerprint check still running in slices. */
  readonly verifying: boolean;
}

/** A way into the box, as one may know it before it is open. */
export interface WayIn {
  /** 16 bytes in hex. */
  readonly id: string;
  readonly kind: SlotKind;
  /** By itself, by a person with a PIN or with shares, or not: its kind is not allowed, its device not configured here. */
  readonly opens: 'itself' | 'pin' | 'shares' | 'not-allowed' | 'not-configured';
  /** How many of how many shares; 0 for devices. */
  readonly threshold: number;
  readonly shares: number;
  /** Why it did not open the box when it was last tried. */
  readonly trouble: string | undefined;
}

export interface InitResult {
  readonly shares: readonly Secret[];
  readonly rootToken: Secret;
}

/** One line of a diagnosis. */
export interface Finding {
  /** `bad` stops the box, or will; `note` is to be known. */
  readonly state: 'ok' | 'note' | 'bad';
  readonly what: string;
  /** What is so and, where it is bad, what to do. No secret. */
  readonly sentence: string;
}

/** Of what the recovery quorum does together, share by share. */
export interface CeremonyStatus {
  /** '' unless one is under way. */
  readonly nonce: string;
  readonly started: boolean;
  /** Shares given so far, and how many it takes. */
  readonly progress: number;
  readonly required: number;
}

export interface RekeyWish {
  readonly shares: number;
  readonly threshold: number;
  /** The new shares count when a threshold of them was given back; until then the old ones do. */
  readonly verify: boolean;
}

/** Of a rekey, or of the verification of its shares; `t` of `n` new ones are wanted, both 0 without one. */
export interface RekeyStatus extends CeremonyStatus {
  readonly t: number;
  readonly n: number;
  readonly verify: boolean;
}

export interface SharesMade {
  readonly shares: readonly Secret[];
  /** What the shares are given back under; undefined: they are in force. */
  readonly verificationNonce?: string;
}

export interface SlotInfo {
  /** 16 bytes in hex. */
  readonly id: string;
  readonly kind: SlotKind;
  /** Wall time, milliseconds. */
  readonly createdMs: number;
  /** How many of how many shares; 0 for devices. */
  readonly threshold: number;
  readonly shares: number;
  /** Opens the box without a person. */
  readonly automatic: boolean;
  /** Opens it by a PIN that a person brings. */
  readonly asksPin: boolean;
  /** `seal.allowed` has its kind. */
  readonly allowed: boolean;
  /** Of all slots the one that a thief of the whole machine would take. */
  readonly weakest: boolean;
  /** What its device counts for the box; undefined: nothing. */
  readonly counter: CounterStatus | undefined;
}

/** What a person brings with a change of slots. */
export interface SlotOffer {
  readonly pin?: Secret | undefined;
  /** Leaves the key file as a way in beside the first TPM or HSM. */
  readonly keepKeyfile?: boolean;
}

/** A slot that was made, and what went with it. */
export interface SlotAdded extends SlotInfo {
  /** Ids of the slots that are gone: the one replaced, or the key file that the first TPM or HSM retires. */
  readonly removed: readonly string[];
  /** What is not as it should be; the change itself is done. */
  readonly warnings: readonly string[];
}

/** The TPM's count of wrong PINs, under an authorisation that the box keeps. All but `state` on a person's command alone. */
export interface LockoutService {
  /** @throws Fault `input.invalid` where no TPM is configured, `slot.unavailable` */
  state(): Promise<LockoutState & { readonly kept: boolean }>;
  /** Makes the authorisation, keeps it sealed and sets it. @returns it, once; owned by the caller @throws Fault */
  take(): Promise<Secret>;
  reset(): Promise<void>;
  setParameters(parameters: Partial<LockoutParameters>): Promise<void>;
}

/** Keys of an open box: rotation, slots, and what the recovery quorum does. */
export interface KeyService {
  /** A new data key: rows move to it behind the requests. */
  rotate(): Promise<void>;
  /**
   * A new root and data key, and then a new file for the store: what was destroyed before is overwritten, behind the requests.
   *
   * @throws Fault `store.full` no room for a second file: nothing changed
   */
  erase(): Promise<void>;
  /** Epochs that rows may still use beside the newest, rows moved by the rotation under way, and how far an erase is. */
  progress(): {
    readonly running: boolean;
    readonly moved: number;
    readonly epochs: readonly number[];
    readonly erase: 'none' | 'moving' | 'copying' | 'waiting' | 'overwriting';
  };
  slots(): readonly SlotInfo[];
  /** Ids may be shortened to what tells them apart, 8 digits at least. @throws Fault `route.absent`, `input.invalid` */
  addSlot(kind: SlotKind, offer?: SlotOffer): Promise<SlotAdded>;
  /**
   * A new slot and the old one out, in one change with a new root.
   *
   * @param kind  of the new one; the old one's if absent
   */
  replaceSlot(id: string, kind?: SlotKind, offer?: SlotOffer): Promise<SlotAdded>;
  /** Recovers the slot's key and throws it away. @throws Fault `slot.refused`, `slot.unavailable`, `route.absent` */
  testSlot(id: string, offer?: SlotOffer): Promise<void>;
  /** Takes a way in away: a new root. @returns warnings @throws Fault `route.absent`, `input.invalid` */
  removeSlot(id: string, offer?: SlotOffer): Promise<readonly string[]>;
  readonly lockout: LockoutService;
  rekeyStatus(): RekeyStatus;
  startRekey(wish: RekeyWish): void;
  /**
   * Until the new shares are in force, verification included: then the old ones stay.
   *
   * @param nonce of the attempt; undefined for a caller who may cancel any
   */
  cancelRekey(nonce: string | undefined): void;
  /** One of the present shares. @returns the new ones, once, with the last; the caller owns them */
  offerRekey(share: Secret, nonce: string): Promise<SharesMade | undefined>;
  /** `started` from the last of the old shares on. @throws Fault `input.invalid` without a rekey */
  verificationStatus(): RekeyStatus;
  /** One of the new shares. @returns true when they are in force @throws Fault `slot.refused`; the old ones stay */
  offerVerification(share: Secret, nonce: string): Promise<boolean>;
  /** Under a new nonce, from the first share on. @param nonce as `cancelRekey`'s, but of the verification */
  restartVerification(nonce: string | undefined): void;
  rootStatus(): CeremonyStatus & { readonly otpLength: number };
  startRoot(otp: string): string | undefined;
  cancelRoot(nonce: string | undefined): void;
  offerRoot(share: Secret, nonce: string): Promise<string | undefined>;
}

export interface Appliance {
  status(): SealStatus;
  /**
   * Makes the box, with the slots of `seal.initial`.
   *
   * @param options.keyfile  by `server --init`: with a key file where `seal.initial` has one, and KV version 2 at `secret/`
   * @throws Fault `input.invalid` with Vault's words; `slot.refused`, `slot.unavailable` from a device
   */
  initialise(options: {
    readonly shares: number;
    readonly threshold: number;
    readonly keyfile: boolean;
  }): Promise<InitResult>;
  /**
   * One more share; opens the box when the threshold is reached.
   *
   * @param accept  `rolled-back`: the holder takes the box as it is though a counter says that it is an old one. It counts
   *                when every share of the round came with it
   * @throws Fault `slot.refused` bad shares; progress is cleared
   */
  offerShare(share: Secret, accept?: 'rolled-back'): Promise<SealStatus>;
  resetShares(): SealStatus;
  /** The ways into the box, open or not. */
  ways(): readonly WayIn[];
  /**
   * A person opens the box by one slot, with its PIN where it has one. Takes the seal mark away. An open box answers its
   * status, and no device hears of it.
   *
   * @throws Fault `route.absent`, `slot.refused`, `slot.unavailable`
   */
  unsealBy(id: string, pin: Secret | undefined): Promise<SealStatus>;
  /** Tries the automatic slots; false if none opened it. */
  unsealAutomatically(): Promise<boolean>;
  /** For the open box: its operations are reached through requests, which a sealed box refuses before. */
  readonly keyService: KeyService;
  /** Why nothing outside the box may be made or ended now: it may be a copy. Undefined: it is the one that lives. */
  heldBecause(): string | undefined;
  /**
   * A person's word that this box lives, among copies of it: a new appliance id, root key, audit keys and log. Resolves when
   * the word is durable; the rest follows at once, with requests shut out for a moment, after a power cut at the next unseal.
   */
  lives(): Promise<void>;
  /** Leaves the durable seal mark; automatic slots stay shut until a person unseals. */
  seal(): Promise<void>;
}
