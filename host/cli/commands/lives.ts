/** `holdfast operator lives`: which of several copies of a box this is. */
import { expectPositional } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT } from '../environment.ts';
import { printAnswer } from '../output.ts';

export const lives: Command = {
  words: 'operator lives',
  arguments: '',
  summary: 'Say whether this box may be a copy of one that lives, and with -this that it is the one.',
  details:
    'A box that was restored or moved is held: it serves, and makes and ends nothing outside it until a person has said which copy lives.\nWith -this it becomes another appliance (new id, root key, audit keys, log under a new origin; batch tokens end), with requests shut\nout for a moment. It cannot be taken back: say it on one copy, and start no other again.',
  flags: [{ name: 'this', type: 'bool', help: 'This one lives.' }],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    if (parsed.bool('this')) {
      await api().call('PUT', 'sys/lives', { body: { lives: true } });
      environment.out('Success! This box lives, as another appliance from now on (`holdfast status` shows its id).\n');
      return EXIT.ok;
    }
    const { json } = await api().call('GET', 'sys/lives');
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};
