/** The TPM's protection against guessing, under the lockout authorisation: only on an explicit command of a person. */
import { Fault } from '../../fault.ts';
import type { LockoutDevice, LockoutParameters, LockoutState } from '../../ports/lockout.ts';
import type { Secret } from '../../secret.ts';
import { faultOf, plainCode, TpmError } from './codes.ts';
import { lockoutState, openSrk, startSession } from './device.ts';
import type { Esys, Tss } from './tss.ts';
import { LOCKOUT, NONE, sized } from './wire.ts';

const AUTH_FAIL = 0x08e;
const BAD_AUTH = 0x0a2;
const LOCKED_OUT = 0x921;

export class TpmLockout implements LockoutDevice {
  readonly #tss: Tss;

  constructor(tss: Tss) {
    this.#tss = tss;
  }

  state(): Promise<LockoutState> {
    return this.#run(lockoutState);
  }

  setAuth(auth: Secret): Promise<void> {
    return this.#run(async (esys) => {
      const session = await startSession(esys, await openSrk(esys), 'hmac');
      const next = esys.struct('TPM2B_DIGEST', sized(auth.bytes));
      await esys.call('HierarchyChangeAuth', LOCKOUT, session, NONE, NONE, next);
    });
  }

  reset(auth: Secret): Promise<void> {
    return this.#authorised(auth, (esys, session) =>
      esys.call('DictionaryAttackLockReset', LOCKOUT, session, NONE, NONE),
    );
  }

  setParameters(auth: Secret, { failuresMax, intervalS, recoveryS }: LockoutParameters): Promise<void> {
    return this.#authorised(auth, (esys, session) =>
      esys.call('DictionaryAttackParameters', LOCKOUT, session, NONE, NONE, failuresMax, intervalS, recoveryS),
    );
  }

  #authorised(auth: Secret, work: (esys: Esys, session: number) => Promise<void>): Promise<void> {
    return this.#run(async (esys) => {
      const session = await startSession(esys, await openSrk(esys), 'hmac');
      await esys.call('TR_SetAuth', LOCKOUT, esys.struct('TPM2B_DIGEST', sized(auth.bytes)));
      await work(esys, session);
    });
  }

  async #run<T>(work: (esys: Esys) => Promise<T>): Promise<T> {
    try {
      return await this.#tss.run(work);
    } catch (error) {
      throw explained(error);
    }
  }
}

function explained(error: unknown): unknown {
  if (!(error instanceof TpmError) || !/^(DictionaryAttack|HierarchyChange)/.test(error.command)) return faultOf(error);
  const code = plainCode(error.code);
  if (code === AUTH_FAIL || code === BAD_AUTH) {
    return new Fault(
      'slot.refused',
      'the TPM has another lockout authorisation than the one that is kept here: whoever set it changes its parameters',
      { cause: error },
    );
  }
  if (code === LOCKED_OUT) {
    return new Fault(
      'slot.unavailable',
      'the TPM takes no lockout authorisation for now, after a wrong one: wait for the time that `holdfast operator tpm` names, or restart the machine',
      { cause: error },
    );
  }
  return faultOf(error);
}
