/** `holdfast operator clock`: an operator's word for the time, where no NTP gives it. */
import { expectPositional } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../environment.ts';
import { printAnswer } from '../output.ts';

export const clock: Command = {
  words: 'operator clock',
  arguments: '',
  summary: 'Say whether the box believes its clock; -confirm is your word that it is right.',
  details:
    'Where time.trust is synced and nothing holds the clock (an air-gapped box), credentials with a life wait for this word. Set the clock of\nthe machine first. It holds until the box is started again, is a leaf of the log, and never makes anything live longer.',
  flags: [{ name: 'confirm', type: 'bool', help: 'The clock of this machine is right now.' }],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    const { json } = parsed.bool('confirm')
      ? await api().call('PUT', 'sys/time/confirm')
      : await api().call('GET', 'sys/time');
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};
