/** `holdfast slot …`: the ways into an open box. */
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { readFileText, readSecret } from '../input.ts';
import { cell, formatOf, jsonText, printAnswer, table } from '../output.ts';

export const PIN_FLAGS: readonly FlagDeclaration[] = [
  { name: 'pin', type: 'bool', help: 'Offer a PIN: it is asked for, or read from standard input.' },
  { name: 'pin-file', type: 'text', value: 'FILE', help: 'Offer the PIN that stands in this file.' },
];

/** The PIN that a person offers; undefined for none. Never taken from the arguments. @param asked  whether it is needed */
export async function offeredPin({ environment, parsed }: Invocation, asked = false): Promise<string | undefined> {
  const file = parsed.text('pin-file');
  if (file !== undefined && parsed.bool('pin')) throw new LocalError('-pin and -pin-file do not go together');
  if (file !== undefined) {
    const line = readFileText(environment, file, '-pin-file').replace(/\r?\n$/, '');
    if (line === '') throw new LocalError('the file of -pin-file is empty');
    return line;
  }
  return parsed.bool('pin') || asked ? await readSecret(environment, 'PIN (it is not shown): ', 'keep') : undefined;
}

/** What a slot command is told of one slot, by id or, where there is one of it alone, by kind. */
interface Named {
  readonly id: string;
  readonly kind: string;
}

/** @throws LocalError a kind of which there is none, or several */
export function chosen(slots: readonly Named[], text: string): string {
  const ofKind = slots.filter(({ kind }) => kind === text);
  const [one, two] = ofKind;
  if (two !== undefined)
    throw new LocalError(`there are several slots of kind ${text}: name one by its id (slot list)`);
  if (one !== undefined) return one.id;
  if (/^(tpm2|pkcs11|keyfile|shamir)$/.test(text)) throw new LocalError(`this box has no slot of kind ${text}`);
  return text;
}

async function idOf({ api, parsed }: Invocation): Promise<string> {
  const text = parsed.positional[0] ?? '';
  if (!/^[a-z]/.test(text) || /^[0-9a-f]{8,}$/.test(text)) return text;
  const { json } = await api().call('LIST', 'sys/slots');
  const info = ((json?.['data'] as ValueMap | undefined)?.['key_info'] ?? {}) as ValueMap;
  return chosen(Object.values(info) as unknown as readonly Named[], text);
}

function opens(slot: ValueMap): string {
  if (slot['kind'] === 'shamir') return `${cell(slot['threshold'])} of ${cell(slot['shares'])} shares`;
  if (slot['asks_pin'] === true) return 'with its PIN';
  return slot['automatic'] === true ? 'by itself' : 'not here';
}

/** What its device counts. Advisory: whoever has the PIN can set it back. */
function counter(counted: ValueMap | undefined): string {
  if (counted === undefined) return '';
  const what = `counter at ${cell(counted['count'])}`;
  if (counted['away'] !== null) return `${what} is away`;
  return counted['advisory'] === true ? `${what} (advisory)` : what;
}

const list: Command = {
  words: 'slot list',
  arguments: '',
  summary: 'List the ways into the box; the weakest one is marked.',
  flags: [],
  async run({ environment, parsed, api, usage }) {
    expectPositional(parsed, 0, 0, usage);
    const { json } = await api().call('LIST', 'sys/slots');
    const info = ((json?.['data'] as ValueMap | undefined)?.['key_info'] ?? {}) as ValueMap;
    if (formatOf(environment, parsed) === 'json') environment.out(`${jsonText(info)}\n`);
    else {
      const rows = Object.values(info).map((value) => {
        const slot = value as ValueMap;
        const notes = [
          slot['weakest'] === true ? 'weakest' : '',
          slot['allowed'] === false ? 'not allowed' : '',
          counter(slot['counter'] as ValueMap | undefined),
        ];
        const note = notes.filter((one) => one !== '').join(', ');
        return [cell(slot['id']), cell(slot['kind']), opens(slot), cell(slot['created_time']), note];
      });
      environment.out(`${table(['Id', 'Kind', 'Opens', 'Created', 'Note'], rows)}\n`);
    }
    return EXIT.ok;
  },
};

const add: Command = {
  words: 'slot add',
  arguments: 'KIND',
  summary: 'Add a way into the box: tpm2, pkcs11, keyfile, as the settings name it.',
  details:
    'The first TPM or HSM takes the key file away, and a new root key with it. With -pin a TPM slot asks for that PIN each time; the\nPIN of a token is the one it has. Without -pin the file that the settings name is read.',
  flags: [
    ...PIN_FLAGS,
    { name: 'keep-keyfile', type: 'bool', help: 'Keep the key file as a way in beside the first TPM or HSM.' },
  ],
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 1, 1, usage);
    const pin = await offeredPin(invocation);
    const body = {
      kind: parsed.positional[0] ?? '',
      ...(pin === undefined ? {} : { pin }),
      ...(parsed.bool('keep-keyfile') ? { keep_keyfile: true } : {}),
    };
    const { json } = await api().call('PUT', 'sys/slots', { body });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const replace: Command = {
  words: 'slot replace',
  arguments: 'ID|KIND',
  summary: 'Make a new slot in the place of one, after a device died or was exchanged.',
  details:
    'The new slot comes and the old one goes in one change with a new root key: who holds the old device opens an old disk only. The old\ndevice need not answer.',
  flags: [
    ...PIN_FLAGS,
    { name: 'kind', type: 'text', value: 'KIND', help: 'Kind of the new slot (that of the old one).' },
  ],
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 1, 1, usage);
    const pin = await offeredPin(invocation);
    const kind = parsed.text('kind');
    const body = { ...(pin === undefined ? {} : { pin }), ...(kind === undefined ? {} : { kind }) };
    const id = await idOf(invocation);
    const { json } = await api().call('PUT', `sys/slots/${encodeURIComponent(id)}/replace`, { body });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const test: Command = {
  words: 'slot test',
  arguments: 'ID|KIND',
  summary: 'Say whether the box would open by this slot now.',
  flags: PIN_FLAGS,
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 1, 1, usage);
    const pin = await offeredPin(invocation);
    const id = await idOf(invocation);
    const body = pin === undefined ? {} : { pin };
    const { json } = await api().call('PUT', `sys/slots/${encodeURIComponent(id)}/test`, { body });
    printAnswer(environment, parsed, json);
    return EXIT.ok;
  },
};

const remove: Command = {
  words: 'slot remove',
  arguments: 'ID|KIND',
  summary: 'Take a way in away: a new root key, so that who held it opens an old disk only.',
  details: 'The recovery shares stay: a box never loses its last way in.',
  flags: PIN_FLAGS,
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    expectPositional(parsed, 1, 1, usage);
    const pin = await offeredPin(invocation);
    const path = `sys/slots/${encodeURIComponent(await idOf(invocation))}`;
    const { json } =
      pin === undefined
        ? await api().call('DELETE', path)
        : await api().call('PUT', `${path}/remove`, { body: { pin } });
    for (const warning of (json?.['warnings'] ?? []) as readonly string[])
      environment.error(`WARNING: ${cell(warning)}\n`);
    environment.out(
      'Success! The slot is gone; rows move to the new key behind the requests (operator rotate -status).\n',
    );
    return EXIT.ok;
  },
};

export const slot: readonly Command[] = [list, add, test, replace, remove];
