/** sys/tpm/lockout: the TPM's count of wrong PINs. What is changed here is met by every program of the machine. */
import { Fault } from '../../fault.ts';
import type { KeyService } from '../../ports/appliance.ts';
import type { Field, Operation, OperationContext } from '../../ports/engine.ts';

const NUMBER_MAX = 2 ** 32 - 1;

const count = (description: string): Field => ({ type: 'int', description });

function numberOf({ fields }: OperationContext, name: string, least: number): number | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  const number = Number(value);
  if (Number.isInteger(number) && number >= least && number <= NUMBER_MAX) return number;
  throw new Fault('input.invalid', `${name} must be a whole number from ${least} to ${NUMBER_MAX}`);
}

export function tpmOperations(keys: () => KeyService): readonly Operation[] {
  return [
    {
      name: 'tpm-lockout',
      pattern: 'tpm/lockout',
      verb: 'read',
      sudo: true,
      summary: 'How many wrong PINs the TPM has counted, and when it forgives one.',
      fields: {},
      run: async () => {
        const { failures, failuresMax, intervalS, recoveryS, authSet, kept } = await keys().lockout.state();
        return {
          data: {
            failures,
            max_tries: failuresMax,
            recovery_time: intervalS,
            lockout_recovery: recoveryS,
            ...{ auth_set: authSet, auth_kept: kept },
          },
        };
      },
    },
    {
      name: 'tpm-lockout-take',
      pattern: 'tpm/lockout/take',
      verb: 'write',
      root: true,
      summary: 'Make the lockout authorisation of the TPM, keep it sealed, and answer it this once.',
      fields: {},
      run: async () => {
        using auth = await keys().lockout.take();
        return { data: { lockout_auth: Buffer.from(auth.bytes).toString('ascii') } };
      },
    },
    {
      name: 'tpm-lockout-reset',
      pattern: 'tpm/lockout/reset',
      verb: 'write',
      root: true,
      summary: 'Set the count of wrong PINs of the TPM back to 0, by the authorisation that is kept here.',
      fields: {},
      run: async () => {
        await keys().lockout.reset();
        return undefined;
      },
    },
    {
      name: 'tpm-lockout-parameters',
      pattern: 'tpm/lockout/parameters',
      verb: 'write',
      root: true,
      summary: 'Change how many wrong PINs lock the TPM and how fast it forgives; what is not named stays.',
      fields: {
        max_tries: count('Wrong PINs that lock the TPM.'),
        recovery_time: count('Seconds until one of them is forgiven.'),
        lockout_recovery: count(
          'Seconds until the lockout authorisation is asked again after a wrong one; 0: at the next start.',
        ),
      },
      run: async (context) => {
        const failuresMax = numberOf(context, 'max_tries', 1);
        const intervalS = numberOf(context, 'recovery_time', 1);
        const recoveryS = numberOf(context, 'lockout_recovery', 0);
        if (failuresMax === undefined && intervalS === undefined && recoveryS === undefined)
          throw new Fault('input.invalid', 'name one of max_tries, recovery_time, lockout_recovery');
        await keys().lockout.setParameters({
          ...(failuresMax === undefined ? {} : { failuresMax }),
          ...(intervalS === undefined ? {} : { intervalS }),
          ...(recoveryS === undefined ? {} : { recoveryS }),
        });
        return undefined;
      },
    },
  ];
}
