/** `holdfast audit …`: the log and its proofs. What is verified is computed here, not believed from the server. */
import { createInterface } from 'node:readline';
import { type Checkpoint, openNote, parseCheckpoint, parseVerifierKey, type VerifierKey } from '../../audit/note.ts';
import { CompactRange, TreeHasher } from '../../audit/tree.ts';
import type { ValueMap } from '../../ports/value.ts';
import { expectPositional, type FlagDeclaration } from '../arguments.ts';
import type { Command, Invocation } from '../command.ts';
import { EXIT, LocalError, RemoteError } from '../environment.ts';
import { readFileText } from '../input.ts';
import { formatOf, jsonText } from '../output.ts';

const LINE_SIZE_MAX = 65_535;

const KEY: FlagDeclaration = {
  name: 'key',
  type: 'text',
  value: 'FILE',
  help: 'The key of the log, kept from earlier; else the one that the server or the folder names.',
};

/** The keys that may have signed: the one that a person kept, else those that the server names. */
async function verifierKeys({ environment, parsed, api }: Invocation): Promise<VerifierKey[]> {
  const file = parsed.text('key');
  const texts =
    file === undefined
      ? ((((await api().call('GET', 'sys/audit-log/key')).json?.['data'] ?? {}) as ValueMap)[
          'keys'
        ] as readonly string[])
      : readFileText(environment, file, '-key').trim().split('\n');
  const keys = texts.map((line) => parseVerifierKey(line.trim()));
  if (keys.length === 0 || keys.includes(undefined))
    throw new LocalError('that is no key of a log: it looks like name+12345678+base64');
  return keys as VerifierKey[];
}

/** @throws RemoteError if no key signed it: what the server sent cannot be relied on */
function openCheckpoint(note: string, keys: readonly VerifierKey[], what: string): Checkpoint {
  for (const key of keys) {
    const signed = openNote(note, key);
    const checkpoint = signed === undefined ? undefined : parseCheckpoint(signed);
    if (checkpoint !== undefined && checkpoint.origin === key.name) return checkpoint;
  }
  throw new RemoteError(0, `${what} is not signed by the key of the log`);
}

/** Lines of the log from `from` on, as the server sends them. */
async function* lines({ api }: Invocation, from: number, to: number): AsyncGenerator<string> {
  let next = from;
  while (next < to) {
    const before = next;
    const answer = await api().stream('sys/audit-log/entries', `?from=${next}&to=${to}`);
    for await (const line of createInterface({ input: answer, crlfDelay: Number.POSITIVE_INFINITY })) {
      next++;
      yield line;
    }
    if (next === before) throw new RemoteError(0, `the server sent no line ${next} of ${to}`);
  }
}

/** A bar on a terminal, a line for every tenth elsewhere. */
function progress({ environment }: Invocation, total: number): (done: number) => void {
  let shown = -1;
  return (done) => {
    const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
    const step = environment.interactive ? percent : Math.floor(percent / 10) * 10;
    if (step === shown) return;
    shown = step;
    const bar = '#'.repeat(Math.floor(percent / 4)).padEnd(25, '.');
    if (environment.interactive) environment.error(`\r[${bar}] ${percent} %${percent === 100 ? '\n' : ''}`);
    else if (total > 10_000) environment.error(`${percent} % of ${total} lines\n`);
  };
}

const verify: Command = {
  words: 'audit verify',
  arguments: '',
  summary: 'Verify the whole log: every line, the tree over them, and the signature of its checkpoint.',
  details:
    'Asks the running box for its log and computes the tree itself. With -checkpoint a checkpoint that somebody kept must\n' +
    'lie on the way. With -data the log of a stopped box is verified: tiles, checkpoints and marks always, every line too\n' +
    'where a slot of this machine opens the box. Exit code 0 only when everything agrees. Whoever could change the log\n' +
    'could change the key beside it: keep key and checkpoint elsewhere.',
  flags: [
    KEY,
    {
      name: 'checkpoint',
      type: 'text',
      value: 'FILE',
      help: 'A checkpoint kept from earlier, which the log must still contain.',
    },
    { name: 'data', type: 'text', value: 'DIR', help: 'The data folder of a stopped box.' },
  ],
  async run(invocation) {
    const { environment, parsed, api, box, usage } = invocation;
    expectPositional(parsed, 0, 0, usage);
    const folder = parsed.text('data');
    if (folder !== undefined) {
      if (box === undefined) throw new LocalError('-data needs the box itself');
      const textOf = (name: string): string | undefined => {
        const file = parsed.text(name);
        return file === undefined ? undefined : readFileText(environment, file, `-${name}`);
      };
      return await box.verifyLog(folder, environment, {
        key: textOf('key'),
        kept: textOf('checkpoint'),
        json: formatOf(environment, parsed) === 'json',
      });
    }
    const keys = await verifierKeys(invocation);
    const { text: note } = await api().call('GET', 'sys/audit-log/checkpoint', { withoutToken: true });
    const head = openCheckpoint(note, keys, 'the checkpoint of the server');
    const file = parsed.text('checkpoint');
    const kept =
      file === undefined
        ? undefined
        : openCheckpoint(readFileText(environment, file, '-checkpoint'), keys, 'the kept checkpoint');
    if (kept !== undefined && kept.size > head.size) {
      throw new RemoteError(0, `the log has ${head.size} lines and had ${kept.size}: lines were cut off`);
    }
    const hasher = new TreeHasher();
    const tree = new CompactRange(hasher);
    const step = progress(invocation, head.size);
    const checkKept = (): void => {
      if (kept?.size === tree.size && !Buffer.from(tree.root()).equals(kept.root)) {
        throw new RemoteError(0, `the first ${kept.size} lines are not those of the kept checkpoint`);
      }
    };
    checkKept();
    for await (const line of lines(invocation, 0, head.size)) {
      if (Buffer.byteLength(line) > LINE_SIZE_MAX) throw new RemoteError(0, `line ${tree.size} is too long`);
      checkSequence(line, tree.size);
      tree.append(hasher.leaf(Buffer.from(line)));
      checkKept();
      step(tree.size);
    }
    if (!Buffer.from(tree.root()).equals(head.root)) {
      throw new RemoteError(0, `the ${head.size} lines of the log do not give the root that its checkpoint signs`);
    }
    const root = Buffer.from(head.root).toString('base64');
    if (formatOf(environment, parsed) === 'json') {
      environment.out(
        `${jsonText({ verified: true, origin: head.origin, size: head.size, root, kept_size: kept?.size ?? null })}\n`,
      );
    } else {
      environment.out(`The log agrees: ${head.size} lines of ${head.origin}, root ${root}.\n`);
      if (kept !== undefined) environment.out(`It still begins with the ${kept.size} lines of the kept checkpoint.\n`);
    }
    return EXIT.ok;
  },
};

/** A line says its own number: two lines swapped by the server are found before the root is. */
function checkSequence(line: string, seq: number): void {
  if (!line.startsWith(`{"core":{"seq":${seq},`))
    throw new RemoteError(0, `line ${seq} of the log does not say that it is line ${seq}`);
}

function numberFlag({ parsed }: Invocation, name: string): number | undefined {
  const value = parsed.text(name);
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value)) throw new LocalError(`-${name} is a whole number`);
  return Number(value);
}

async function size({ api }: Invocation): Promise<number> {
  const { json } = await api().call('GET', 'sys/audit-log/size');
  return Number(((json?.['data'] ?? {}) as ValueMap)['size'] ?? 0);
}

const exportLog: Command = {
  words: 'audit export',
  arguments: '',
  summary: 'Print the lines of the log, one JSON object each, secrets as HMACs.',
  flags: [
    { name: 'from', type: 'text', value: 'N', help: 'The first line (0).' },
    { name: 'to', type: 'text', value: 'N', help: 'The line before which to stop (the end).' },
  ],
  async run(invocation) {
    expectPositional(invocation.parsed, 0, 0, invocation.usage);
    const end = await size(invocation);
    const to = Math.min(numberFlag(invocation, 'to') ?? end, end);
    for await (const line of lines(invocation, numberFlag(invocation, 'from') ?? 0, to))
      invocation.environment.out(`${line}\n`);
    return EXIT.ok;
  },
};

const TAIL_DEFAULT = 10;
const FOLLOW_PAUSE_MS = 1000;

const tail: Command = {
  words: 'audit tail',
  arguments: '',
  summary: 'Print the newest lines of the log.',
  flags: [
    { name: 'lines', type: 'text', value: 'N', help: `How many (${TAIL_DEFAULT}).` },
    { name: 'follow', type: 'bool', help: 'Go on with what comes, until interrupted.' },
  ],
  async run(invocation) {
    const { environment, parsed } = invocation;
    expectPositional(parsed, 0, 0, invocation.usage);
    let end = await size(invocation);
    let from = Math.max(0, end - (numberFlag(invocation, 'lines') ?? TAIL_DEFAULT));
    for (;;) {
      for await (const line of lines(invocation, from, end)) environment.out(`${line}\n`);
      if (!parsed.bool('follow')) return EXIT.ok;
      from = end;
      // Asking leaves two leaves each time: those of the asking itself are part of the log like any other.
      await environment.pause(FOLLOW_PAUSE_MS);
      end = await size(invocation);
    }
  },
};

const prove: Command = {
  words: 'audit prove',
  arguments: '[LINE]',
  summary: 'Print a proof (RFC 9162): that a line is in the log, or with -from that one size of it grew into another.',
  flags: [
    { name: 'size', type: 'text', value: 'N', help: 'In the log of this size (the newest checkpoint’s).' },
    { name: 'from', type: 'text', value: 'N', help: 'Consistency: the smaller size.' },
  ],
  async run(invocation) {
    const { environment, parsed, api, usage } = invocation;
    const from = numberFlag(invocation, 'from');
    expectPositional(parsed, from === undefined ? 1 : 0, from === undefined ? 1 : 0, usage);
    const to = numberFlag(invocation, 'size') ?? (await size(invocation));
    const line = parsed.positional[0] ?? '';
    if (from === undefined && !/^\d{1,15}$/.test(line)) throw new LocalError('a line is named by its number');
    const query = from === undefined ? `?leaf=${line}&size=${to}` : `?from=${from}&size=${to}`;
    const { json } = await api().call('GET', 'sys/audit-log/prove', {}, query);
    environment.out(`${jsonText((json?.['data'] ?? {}) as ValueMap)}\n`);
    return EXIT.ok;
  },
};

export const audit: readonly Command[] = [verify, exportLog, tail, prove];
