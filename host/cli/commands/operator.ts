/** `holdfast operator …`: keys, shares and the diagnosis. */
import type { Finding, WayIn } from '../../ports/appliance.ts';
import type { ValueMap } from '../../ports/value.ts';
import { action, expectPositional } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError, RemoteError } from '../environment.ts';
import { cell, formatOf, jsonText, printAnswer, table } from '../output.ts';
import { findingsOf } from '../ways.ts';
import { clock } from './clock.ts';
import { lives } from './lives.ts';
import { generateRoot, rekey } from './quorum.ts';
import { slot } from './slot.ts';
import { tpm } from './tpm.ts';

const rotate: Command = {
  words: 'operator rotate',
  arguments: '',
  summary: 'Seal with a new data key from now on; rows move to it behind the requests.',
  details:
    'With -erase what was destroyed is overwritten too: a new root key, every row under a new data key, and a new file for the\nstore. Gone from the medium as far as it obeys: flash may keep remnants, which only a slot of today could open. -status says\nhow far it is: moving, copying, waiting (for readers), overwriting, none.',
  flags: [
    {
      name: 'erase',
      type: 'bool',
      help: 'Also overwrite what was destroyed; needs free disk, half as much again as the store.',
    },
    { name: 'status', type: 'bool', help: 'Only say whether rows still move, and how far an erase is.' },
  ],
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 0, 0, usage);
    const asked = action(parsed, 'erase', 'status');
    if (asked === 'erase') await api().call('PUT', 'sys/rotate', { body: { erase: true } });
    else if (asked !== 'status') await api().call('PUT', 'sys/rotate');
    const { json } = await api().call('GET', 'sys/rotate');
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

/** The slots as the running server met them, over the socket of this user. */
async function askWays({ control }: Invocation): Promise<readonly Finding[]> {
  try {
    const { json = {} } = await control().call('GET', 'ways', { withoutToken: true });
    const slots = ((json['slots'] ?? []) as readonly ValueMap[]).map(
      (slot) => ({ ...slot, trouble: slot['trouble'] ?? undefined }) as unknown as WayIn,
    );
    if (json['initialized'] !== true) return [];
    return findingsOf(slots, { sealed: json['sealed'] === true, marked: json['marked'] === true, tried: false });
  } catch (error) {
    if (!(error instanceof LocalError) && !(error instanceof RemoteError)) throw error;
    return [];
  }
}

/** What the server itself says; it may not run, and then that is the first thing to know. */
async function askServer({ api }: Invocation): Promise<Finding[]> {
  try {
    const { json = {} } = await api().call('GET', 'sys/seal-status', { withoutToken: true });
    const open = json['sealed'] !== true;
    const health = await api().call('GET', 'sys/health', { withoutToken: true, accept: [501, 503] });
    const reasons = (health.json?.['reasons'] ?? []) as readonly string[];
    return [
      {
        state: open ? 'ok' : 'bad',
        what: 'server',
        sentence: open
          ? 'answers, and the box is open'
          : json['initialized'] === true
            ? `answers, and the box is sealed (${cell(json['progress'])} of ${cell(json['t'])} shares given)`
            : 'answers, and waits to be initialised',
      },
      ...reasons.map(
        (sentence): Finding => ({ state: open ? 'note' : 'bad', what: 'server says', sentence: cell(sentence) }),
      ),
    ];
  } catch (error) {
    if (!(error instanceof LocalError) && !(error instanceof RemoteError)) throw error;
    return [{ state: 'note', what: 'server', sentence: error.message }];
  }
}

const diagnose: Command = {
  words: 'operator diagnose',
  arguments: '',
  summary: 'Say what opens this box and what would not: server, settings, folders, clock, disk, slots.',
  details:
    'Looks at the box whose folders the environment names, as the user of the service, and at the server if it runs: then it says what its\nslots answered when they were tried. Of a stopped box each slot is tried that needs no person. Exit code 0 when nothing is bad, else 2.',
  flags: [],
  async run(invocation) {
    const { environment, parsed, box, usage } = invocation;
    expectPositional(parsed, 0, 0, usage);
    const found = [
      ...(await askServer(invocation)),
      ...(await askWays(invocation)),
      ...((await box?.diagnose(environment)) ?? []),
    ];
    if (formatOf(environment, parsed) === 'json')
      environment.out(`${jsonText(found.map(({ state, what, sentence }) => ({ state, what, sentence })))}\n`);
    else
      environment.out(
        `${table(
          ['State', 'What', 'Finding'],
          found.map(({ state, what, sentence }) => [state, what, sentence]),
        )}\n`,
      );
    return found.some(({ state }) => state === 'bad') ? EXIT.remote : EXIT.ok;
  },
};

export const operator: readonly Command[] = [diagnose, rotate, rekey, generateRoot, lives, tpm, clock, ...slot];
