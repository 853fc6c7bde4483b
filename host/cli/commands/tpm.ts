/** `holdfast operator tpm`: the TPM's count of wrong PINs, which all programs of the machine share. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { cell, formatOf, printAnswer } from '../output.ts';

const NUMBERS = [
  { flag: 'max-tries', field: 'max_tries', help: 'Wrong PINs that lock the TPM.' },
  { flag: 'recovery-time', field: 'recovery_time', help: 'Seconds until one of them is forgiven.' },
  {
    flag: 'lockout-recovery',
    field: 'lockout_recovery',
    help: 'Seconds until the lockout authorisation is asked again after a wrong one; 0: at the next start.',
  },
] as const;

function numbersOf({ parsed }: Invocation): ValueMap {
  return Object.fromEntries(
    NUMBERS.flatMap(({ flag, field }) => {
      const text = parsed.text(flag);
      if (text === undefined) return [];
      if (!/^\d{1,10}$/.test(text)) throw new LocalError(`-${flag} is a whole number`);
      return [[field, Number(text)]];
    }),
  );
}

export const tpm: Command = {
  words: 'operator tpm',
  arguments: '',
  summary: 'Show or change how the TPM counts wrong PINs; the whole machine shares it.',
  details:
    'A slot with a PIN needs the lockout authorisation of the TPM to be set: -take-lockout makes one, keeps it sealed in the box and shows it\nonce. Nothing of this is done unless it is asked for here.',
  flags: [
    { name: 'take-lockout', type: 'bool', help: 'Make and set the lockout authorisation, which is empty until then.' },
    { name: 'reset-lockout', type: 'bool', help: 'Set the count of wrong PINs back to 0.' },
    ...NUMBERS.map(({ flag, help }) => ({ name: flag, type: 'text' as const, value: 'N', help })),
  ],
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 0, 0, usage);
    const numbers = numbersOf(invocation);
    const asked = [parsed.bool('take-lockout'), parsed.bool('reset-lockout'), Object.keys(numbers).length > 0];
    if (asked.filter(Boolean).length > 1) throw new LocalError('one change at a time');
    const [take, reset, change] = asked;
    if (take === true) {
      const { json } = await api().call('PUT', 'sys/tpm/lockout/take');
      if (formatOf(environment, parsed) === 'json' || parsed.text('field') !== undefined) {
        printAnswer(environment, parsed, json);
        return EXIT.ok;
      }
      const auth = cell((json?.['data'] as ValueMap | undefined)?.['lockout_auth']);
      environment.out(
        `Lockout authorisation of the TPM: ${auth}\n\nIt is shown this once, and kept sealed in the box. Keep it elsewhere too: without it a TPM that is locked out\nwaits, or is cleared by its firmware.\n`,
      );
      return EXIT.ok;
    }
    if (reset === true) await api().call('PUT', 'sys/tpm/lockout/reset');
    if (change === true) await api().call('PUT', 'sys/tpm/lockout/parameters', { body: numbers });
    const { json } = await api().call('GET', 'sys/tpm/lockout');
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};
