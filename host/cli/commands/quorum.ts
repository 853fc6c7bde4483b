/** `holdfast operator rekey` and `generate-root`: what the recovery quorum does together, share by share. */
import type { ValueMap } from '../../ports/value.ts';
import { action, expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError } from '../environment.ts';
import { readInputText, readSecret } from '../input.ts';
import { cell, formatOf, jsonText, pairs } from '../output.ts';

const NONCE_FLAG: FlagDeclaration = {
  name: 'nonce',
  type: 'text',
  value: 'NONCE',
  help: 'Of the attempt: told to who began it.',
};
const STATUS_FLAG: FlagDeclaration = { name: 'status', type: 'bool', help: 'Only say how far the attempt is.' };
const CANCEL_FLAG: FlagDeclaration = {
  name: 'cancel',
  type: 'bool',
  help: 'Give the attempt up: by its -nonce, or by your token if it has sudo there.',
};

const count = ({ parsed }: Invocation, name: string, fallback: number): number => {
  const text = parsed.text(name) ?? String(fallback);
  if (!/^\d{1,3}$/.test(text)) throw new LocalError(`-${name} is a whole number`);
  return Number(text);
};

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
    ...(json['verification_required'] === true ? { Verification: 'required' } : {}),
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

/** Who names the attempt sends no token; who does not sends one, which needs sudo. */
async function giveUp({ api, parsed }: Invocation, path: string): Promise<ValueMap> {
  const nonce = parsed.text('nonce');
  const { json = {} } =
    nonce === undefined
      ? await api().call('DELETE', path)
      : await api().call('DELETE', path, { withoutToken: true }, `?nonce=${encodeURIComponent(nonce)}`);
  return json;
}

async function cancel(invocation: Invocation, path: string): Promise<number> {
  await giveUp(invocation, path);
  invocation.environment.out('Success! The attempt is given up.\n');
  return EXIT.ok;
}

const REKEY = 'sys/rekey/init';
const VERIFY = 'sys/rekey/verify';

function printNewShares({ environment }: Invocation, json: ValueMap): void {
  for (const [index, key] of ((json['keys_base64'] ?? []) as readonly string[]).entries())
    environment.out(`Unseal Key ${index + 1}: ${key}\n`);
  const nonce = json['verification_nonce'];
  environment.out(
    nonce === undefined
      ? '\nThe shares before these open an old disk only. These are shown this once.\n'
      : `\nVerification Nonce: ${cell(nonce)}\n\nThese are shown this once, and open nothing yet: the shares before them stay in force until a threshold of these was\ngiven back with \`holdfast operator rekey -verify -nonce=${cell(nonce)}\`.\n`,
  );
}

/** The second round: of the new shares. */
async function verifyShares(invocation: Invocation): Promise<number> {
  const { environment, parsed, api } = invocation;
  switch (action(parsed, 'status', 'cancel')) {
    case 'status': {
      const { json = {} } = await api().call('GET', VERIFY, { withoutToken: true });
      printAttempt(invocation, { ...json, required: json['t'] ?? 0 });
      return EXIT.ok;
    }
    case 'cancel': {
      const json = await giveUp(invocation, VERIFY);
      printAttempt(invocation, { ...json, required: json['t'] ?? 0 });
      return EXIT.ok;
    }
    default: {
      const json = await giveShare(invocation, VERIFY);
      const done = json['complete'] === true;
      if (done && formatOf(environment, parsed) !== 'json')
        environment.out('Success! The new shares are in force; those before them open an old disk only.\n');
      else printAttempt(invocation, done ? json : { ...json, required: json['t'] ?? 0 });
      return EXIT.ok;
    }
  }
}

export const rekey: Command = {
  words: 'operator rekey',
  arguments: '',
  summary: 'Replace the recovery shares: -init once, then each holder gives a share.',
  details:
    'The new shares are printed once, after the last of the present ones. With -init -verify they open nothing until a threshold of\nthem was given back with -verify, and the present ones stay in force until then: whoever loses the new shares on the way\nbegins anew. A restart in between, sealing and -cancel leave the present ones too; -verify -cancel collects the new shares from\nnothing, under another nonce. The box answers this only where its settings say seal.ceremonies: on. A share is asked for, or\nread from standard input.',
  flags: [
    { name: 'init', type: 'bool', help: 'Begin: prints the nonce that the holders name.' },
    {
      name: 'verify',
      type: 'bool',
      help: 'With -init: the new shares must be given back before they count. Without: give one back.',
    },
    { name: 'key-shares', type: 'text', value: 'N', help: 'How many new shares (5).' },
    { name: 'key-threshold', type: 'text', value: 'N', help: 'How many of them open the box (3).' },
    ...[NONCE_FLAG, STATUS_FLAG, CANCEL_FLAG],
  ],
  async run(invocation) {
    const { environment, parsed, api } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    const asked = action(parsed, 'init', 'status', 'cancel');
    if (parsed.bool('verify') && asked !== 'init') return await verifyShares(invocation);
    switch (asked) {
      case 'init': {
        const body = {
          secret_shares: count(invocation, 'key-shares', 5),
          secret_threshold: count(invocation, 'key-threshold', 3),
          ...(parsed.bool('verify') ? { require_verification: true } : {}),
        };
        const { json = {} } = await api().call('PUT', REKEY, { body, withoutToken: true });
        printAttempt(invocation, json);
        return EXIT.ok;
      }
      case 'status': {
        const { json = {} } = await api().call('GET', REKEY, { withoutToken: true });
        printAttempt(invocation, json);
        return EXIT.ok;
      }
      case 'cancel':
        return await cancel(invocation, REKEY);
      default: {
        const json = await giveShare(invocation, 'sys/rekey/update');
        if (json['complete'] !== true || formatOf(environment, parsed) === 'json') printAttempt(invocation, json);
        else printNewShares(invocation, json);
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

export const generateRoot: Command = {
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
    switch (action(parsed, 'init', 'decode', 'status', 'cancel')) {
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
