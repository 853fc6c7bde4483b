/** `holdfast operator …`: keys, shares and the diagnosis. */
import type { Finding, WayIn } from '../../ports/appliance.ts';
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError, RemoteError } from '../environment.ts';
import { readInputText, readSecret } from '../input.ts';
import { cell, formatOf, jsonText, pairs, printAnswer, table } from '../output.ts';
import { findingsOf } from '../ways.ts';
import { clock } from './clock.ts';
import { lives } from './lives.ts';
import { slot } from './slot.ts';
import { tpm } from './tpm.ts';

const NONCE_FLAG: FlagDeclaration = {
  name: 'nonce',
  type: 'text',
  value: 'NONCE',
  help: 'Of the attempt: told to who began it.',
};
const STATUS_FLAG: FlagDeclaration = { name: 'status', type: 'bool', help: 'Only say how far the attempt is.' };
const CANCEL_FLAG: FlagDeclaration = { name: 'cancel', type: 'bool', help: 'Give the attempt up. Needs -nonce.' };

const count = ({ parsed }: Invocation, name: string, fallback: number): number => {
  const text = parsed.text(name) ?? String(fallback);
  if (!/^\d{1,3}$/.test(text)) throw new LocalError(`-${name} is a whole number`);
  return Number(text);
};

/** Exactly one of these flags, or none: what is asked of the attempt. */
function action({ parsed }: Invocation, ...names: readonly string[]): string {
  const said = names.filter((name) => parsed.bool(name));
  if (said.length > 1) throw new LocalError(`-${said.join(' and -')} do not go together`);
  return said[0] ?? 'share';
}

function printAttempt({ environment, parsed }: Invocation, json: ValueMap): void {
  if (formatOf(environment, parsed) === 'json') {
    environment.out(`${jsonText(json)}\n`);
    return;
  }
  const rows: ValueMap = {
    Started: json['started'] ?? false,
    ...(json['nonce'] ? { Nonce: json['nonce'] } : {}),
    Progress: `${json['progress'] ?? 0}/${json['required'] ?? 0}`,
    ...(json['n'] ? { 'New Shares': json['n'], 'New Threshold': json['t'] ?? 0 } : {}),
    Complete: json['complete'] ?? false,
  };
  environment.out(`${pairs(rows, Object.keys(rows))}\n`);
}

async function giveShare(invocation: Invocation, path: string): Promise<ValueMap> {
  const nonce = invocation.parsed.text('nonce');
  if (nonce === undefined) throw new LocalError('-nonce is missing: it was told to who began with -init');
  const key = await readSecret(invocation.environment, 'Share (it is not shown): ');
  const { json = {} } = await invocation.api().call('PUT', path, { body: { key, nonce }, withoutToken: true });
  return json;
}

async function cancel(invocation: Invocation, path: string): Promise<number> {
  const nonce = invocation.parsed.text('nonce') ?? '';
  await invocation.api().call('DELETE', path, { withoutToken: true }, `?nonce=${encodeURIComponent(nonce)}`);
  invocation.environment.out('Success! The attempt is given up.\n');
  return EXIT.ok;
}

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
    const asked = action(invocation, 'erase', 'status');
    if (asked === 'erase') await api().call('PUT', 'sys/rotate', { body: { erase: true } });
    else if (asked !== 'status') await api().call('PUT', 'sys/rotate');
    const { json } = await api().call('GET', 'sys/rotate');
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const rekey: Command = {
  words: 'operator rekey',
  arguments: '',
  summary: 'Replace the recovery shares: -init once, then each holder gives a share.',
  details:
    'The new shares are printed once, after the last of the present ones. The box answers this only where its settings say\nseal.ceremonies: on. A share is asked for, or read from standard input.',
  flags: [
    { name: 'init', type: 'bool', help: 'Begin: prints the nonce that the holders name.' },
    { name: 'key-shares', type: 'text', value: 'N', help: 'How many new shares (5).' },
    { name: 'key-threshold', type: 'text', value: 'N', help: 'How many of them open the box (3).' },
    ...[NONCE_FLAG, STATUS_FLAG, CANCEL_FLAG],
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    switch (action(invocation, 'init', 'status', 'cancel')) {
      case 'init': {
        const body = {
          secret_shares: count(invocation, 'key-shares', 5),
          secret_threshold: count(invocation, 'key-threshold', 3),
        };
        const { json = {} } = await api().call('PUT', 'sys/rekey/init', { body, withoutToken: true });
        printAttempt(invocation, json);
        return EXIT.ok;
      }
      case 'status': {
        const { json = {} } = await api().call('GET', 'sys/rekey/init', { withoutToken: true });
        printAttempt(invocation, json);
        return EXIT.ok;
      }
      case 'cancel':
        return await cancel(invocation, 'sys/rekey/init');
      default: {
        const json = await giveShare(invocation, 'sys/rekey/update');
        const keys = (json['keys_base64'] ?? []) as readonly string[];
        if (json['complete'] !== true || formatOf(environment, parsed) === 'json') {
          printAttempt(invocation, json);
          return EXIT.ok;
        }
        for (const [index, key] of keys.entries()) environment.out(`Unseal Key ${index + 1}: ${key}\n`);
        environment.out('\nThe shares before these open an old disk only. These are shown this once.\n');
        return EXIT.ok;
      }
    }
  },
};

/** The token that came under a pad. @throws LocalError if the two are not of one attempt */
function underPad(encoded: string, otp: string): string {
  const bytes = Buffer.from(encoded, 'base64');
  const token = Buffer.from(bytes.map((byte, i) => byte ^ (otp.charCodeAt(i) || 0))).toString('latin1');
  if (bytes.length !== otp.length || !/^hvs\.[0-9A-Za-z]{24}$/.test(token)) {
    throw new LocalError('the encoded token and the one-time pad are not of one attempt');
  }
  return token;
}

const generateRoot: Command = {
  words: 'operator generate-root',
  arguments: '',
  summary: 'Make a root token by the recovery shares: -init once, then each holder gives a share.',
  details:
    'The token comes under a one-time pad, which -init shows once; -decode asks for both and prints the token. The box answers\nthis only where its settings say seal.ceremonies: on.',
  flags: [
    { name: 'init', type: 'bool', help: 'Begin: prints the nonce and the one-time pad.' },
    {
      name: 'decode',
      type: 'bool',
      help: 'Read the encoded token and the pad (asked for, or two lines of input), and print the token.',
    },
    ...[NONCE_FLAG, STATUS_FLAG, CANCEL_FLAG],
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    const path = 'sys/generate-root/attempt';
    switch (action(invocation, 'init', 'decode', 'status', 'cancel')) {
      case 'init': {
        const { json = {} } = await api().call('PUT', path, { body: {}, withoutToken: true });
        printAttempt(invocation, json);
        if (formatOf(environment, parsed) !== 'json')
          environment.out(`\nOne-time pad (shown this once): ${cell(json['otp'])}\n`);
        return EXIT.ok;
      }
      case 'decode': {
        const [encoded = '', otp = ''] = environment.inputIsTerminal
          ? [
              await readSecret(environment, 'Encoded token: '),
              await readSecret(environment, 'One-time pad (it is not shown): '),
            ]
          : (await readInputText(environment)).split(/\r?\n/);
        environment.out(`${underPad(encoded, otp)}\n`);
        return EXIT.ok;
      }
      case 'status': {
        const { json = {} } = await api().call('GET', path, { withoutToken: true });
        printAttempt(invocation, json);
        return EXIT.ok;
      }
      case 'cancel':
        return await cancel(invocation, path);
      default: {
        const json = await giveShare(invocation, 'sys/generate-root/update');
        printAttempt(invocation, json);
        if (json['complete'] === true && formatOf(environment, parsed) !== 'json')
          environment.out(
            `\nEncoded token: ${cell(json['encoded_token'])}\n\`holdfast operator generate-root -decode\` reads it.\n`,
          );
        return EXIT.ok;
      }
    }
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
