/** Commands of the person who runs the box: status, init, unseal, seal. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { readSecret } from '../input.ts';
import { fieldText, formatOf, jsonText, pairs } from '../output.ts';
import { chosen, offeredPin, PIN_FLAGS } from './slot.ts';

function printStatus({ environment, parsed }: Invocation, status: ValueMap): void {
  const field = parsed.text('field');
  if (field !== undefined) environment.out(fieldText(status, field));
  else if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(status)}\n`);
  else {
    const rows: ValueMap = {
      'Seal Type': status['type'] ?? '',
      Initialized: status['initialized'] ?? false,
      Sealed: status['sealed'] ?? true,
      'Total Shares': status['n'] ?? 0,
      Threshold: status['t'] ?? 0,
      ...(status['sealed'] === true
        ? { 'Unseal Progress': `${status['progress'] ?? 0}/${status['t'] ?? 0}`, 'Unseal Nonce': status['nonce'] ?? '' }
        : {}),
      Version: status['version'] ?? '',
      'Storage Type': status['storage_type'] ?? '',
      ...(status['cluster_id'] ? { 'Cluster ID': status['cluster_id'] } : {}),
    };
    environment.out(`${pairs(rows, Object.keys(rows))}\n`);
  }
}

const status: Command = {
  words: 'status',
  arguments: '',
  summary: 'Show whether the box is initialised and open. Exit code 0 open, 2 sealed, 1 no answer.',
  flags: [],
  async run(invocation) {
    expectPositional(invocation.parsed, 0, 0, invocation.usage);
    const { json = {} } = await invocation.api().call('GET', 'sys/seal-status', { withoutToken: true });
    printStatus(invocation, json);
    return json['sealed'] === true ? EXIT.remote : EXIT.ok;
  },
};

function wholeNumber(text: string | undefined, fallback: number, name: string): number {
  if (text === undefined) return fallback;
  if (!/^\d{1,3}$/.test(text)) throw new LocalError(`-${name} is a whole number`);
  return Number(text);
}

const init: Command = {
  words: 'init',
  arguments: '',
  summary: 'Initialise an empty box: prints the shares of its key and the root token, once.',
  details:
    'Give each share to another person. The box opens when -key-threshold of them are given to `holdfast unseal`.',
  flags: [
    { name: 'key-shares', type: 'text', value: 'N', help: 'How many shares (5).' },
    { name: 'key-threshold', type: 'text', value: 'N', help: 'How many of them open the box (3).' },
    { name: 'status', type: 'bool', help: 'Only say whether the box is initialised: exit code 0 yes, 2 no.' },
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    if (parsed.bool('status')) {
      const { json } = await api().call('GET', 'sys/init', { withoutToken: true });
      const initialized = json?.['initialized'] === true;
      environment.out(initialized ? 'The box is initialised.\n' : 'The box is not initialised.\n');
      return initialized ? EXIT.ok : EXIT.remote;
    }
    const body = {
      secret_shares: wholeNumber(parsed.text('key-shares'), 5, 'key-shares'),
      secret_threshold: wholeNumber(parsed.text('key-threshold'), 3, 'key-threshold'),
    };
    const { json = {} } = await api().call('PUT', 'sys/init', { body, withoutToken: true });
    if (formatOf(environment, parsed) === 'json') {
      environment.out(`${jsonText(json)}\n`);
      return EXIT.ok;
    }
    const keys = (json['keys_base64'] ?? []) as readonly string[];
    for (const [index, key] of keys.entries()) environment.out(`Unseal Key ${index + 1}: ${key}\n`);
    environment.out(`\nInitial Root Token: ${String(json['root_token'])}\n\n`);
    environment.out(
      `The box is initialised with ${keys.length} shares; ${body.secret_threshold} of them open it. They are shown this once.\n` +
        'Give each to another person, then open the box with `holdfast unseal`.\n',
    );
    return EXIT.ok;
  },
};

async function unsealBySlot(invocation: Invocation, text: string): Promise<number> {
  const { environment, parsed, control } = invocation;
  if (parsed.positional.length > 0 || parsed.bool('reset'))
    throw new LocalError('-slot goes without shares and -reset');
  const { json: known = {} } = await control().call('GET', 'ways', { withoutToken: true });
  const slots = (known['slots'] ?? []) as unknown as readonly { id: string; kind: string; opens: string }[];
  const slot = chosen(slots, text);
  if (known['sealed'] === false) {
    environment.out(
      `The box is open already: nothing was tried. \`holdfast slot test ${slot}\` tries this slot (-pin: with its PIN).\n`,
    );
    return EXIT.ok;
  }
  const asks = slots.some(({ id, opens }) => id.startsWith(slot) && opens === 'pin');
  const pin = await offeredPin(invocation, asks);
  const body = { slot, ...(pin === undefined ? {} : { pin }) };
  await control().call('PUT', 'unseal', { body, withoutToken: true });
  environment.out('Success! The box is open.\n');
  return EXIT.ok;
}

const unseal: Command = {
  words: 'unseal',
  arguments: '[-]',
  summary:
    'Give one share of the key, or open the box by one slot; secrets are asked for, or read from standard input.',
  details:
    'A box that says "rolled back" opens only when every holder adds -accept=rolled-back: they take it as it is, though its\ncounter says that a newer one exists or existed. The log begins with their word.\n\nWith -slot the box of this machine is opened by a slot of its own: as the user of the service (sudo -u holdfast), over a socket in the\nconfiguration folder that nobody else may use. A slot with a PIN asks for it. It is what opens a box after `holdfast seal`.\nOn a box that is open already nothing is tried: `holdfast slot test` does that.',
  flags: [
    { name: 'reset', type: 'bool', help: 'Forget the shares given so far.' },
    { name: 'accept', type: 'text', value: 'WORD', help: 'rolled-back: take a box that was rolled back as it is.' },
    { name: 'slot', type: 'text', value: 'ID|KIND', help: 'Open the box by this slot.' },
    ...PIN_FLAGS,
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    if (parsed.text('slot') !== undefined) return await unsealBySlot(invocation, parsed.text('slot') ?? '');
    if (parsed.bool('pin') || parsed.text('pin-file') !== undefined) throw new LocalError('a PIN goes with -slot');
    if (parsed.positional.length > 1 || (parsed.positional.length === 1 && parsed.positional[0] !== '-')) {
      throw new LocalError(
        'a share is never an argument: every user of this machine could read it. It is asked for, or read from standard input',
      );
    }
    const accept = parsed.text('accept');
    if (accept !== undefined && accept !== 'rolled-back') throw new LocalError('-accept takes one word: rolled-back');
    const body = parsed.bool('reset')
      ? { reset: true }
      : {
          key: await readSecret(environment, 'Share (it is not shown): '),
          ...(accept === undefined ? {} : { accept }),
        };
    const { json = {} } = await api().call('PUT', 'sys/unseal', { body, withoutToken: true });
    printStatus(invocation, json);
    return EXIT.ok;
  },
};

const seal: Command = {
  words: 'seal',
  arguments: '',
  summary: 'Close the box: keys are wiped, and it stays shut over restarts until a person unseals it.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    await api().call('PUT', 'sys/seal');
    environment.out('Success! The box is sealed.\n');
    return EXIT.ok;
  },
};

export const operate: readonly Command[] = [status, init, unseal, seal];
