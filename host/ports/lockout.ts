/** A device's count of wrong PINs, which the whole machine shares (TPM 2.0, dictionary attack protection). */
import type { Secret } from '../secret.ts';

export interface LockoutState {
  /** Wrong PINs that are counted now; at `failuresMax` the device answers no PIN any more. */
  readonly failures: number;
  readonly failuresMax: number;
  /** Seconds until one failure is forgiven, from the last. */
  readonly intervalS: number;
  /** Seconds until the lockout authorisation is asked again after a wrong one; 0: at the next start of the machine. */
  readonly recoveryS: number;
  /** Without it anybody can set the count back. */
  readonly authSet: boolean;
}

export interface LockoutParameters {
  /** 1 to 4,294,967,295, as the others but for `recoveryS`, which may be 0. */
  readonly failuresMax: number;
  readonly intervalS: number;
  readonly recoveryS: number;
}

/** Implemented by host/seal/tpm2. All but `state` change what other programs of the machine meet. */
export interface LockoutDevice {
  /** @throws Fault `slot.unavailable` */
  state(): Promise<LockoutState>;
  /** Sets the authorisation, empty until then. @throws Fault `slot.refused` if it is not empty */
  setAuth(auth: Secret): Promise<void>;
  /** Sets the count back to 0. @throws Fault `slot.refused` if the authorisation is another */
  reset(auth: Secret): Promise<void>;
  /** Faults as `reset`. */
  setParameters(auth: Secret, parameters: LockoutParameters): Promise<void>;
}
