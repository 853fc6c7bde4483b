/**
 * The program that loads the PKCS#11 module: a process of its own, for a module may crash, hang, and read all memory of
 * its process. One token, one use, then it ends. It speaks wire.ts on descriptor 3; its environment was set before it
 * started, for modules read theirs when they are loaded.
 */
import { Socket } from 'node:net';
import koffi from 'koffi';
import { Token, TokenTrouble } from './token.ts';
import {
  type Ask,
  askOf,
  CHANNEL,
  decodeSort,
  encodeMessage,
  MECHANISM,
  type Mechanism,
  type Message,
  MessageReader,
  type Sort,
  TROUBLE,
} from './wire.ts';

const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const SIGKILL = 9;

/** Ends with the box, even inside a call that hangs; leaves no core dump with a PIN in it. */
function bindToParent(): void {
  const prctl = koffi
    .load(null)
    .func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)');
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

function mechanismOf(field: Buffer | undefined): Mechanism {
  const names = Object.keys(MECHANISM) as Mechanism[];
  const name = names.find((one) => field?.length === 1 && MECHANISM[one] === field[0]);
  if (name === undefined) throw new TokenTrouble('message-wrong');
  return name;
}

function sortOf(field: Buffer): Sort {
  const sort = decodeSort(field);
  if (sort === undefined) throw new TokenTrouble('message-wrong');
  return sort;
}

let token: Token | undefined;

async function load(): Promise<Token> {
  if (token !== undefined) throw new TokenTrouble('message-wrong');
  try {
    const binding = await import('pkcs11js');
    token = new Token(new binding.default.PKCS11());
  } catch {
    throw new TokenTrouble('binding-missing');
  }
  return token;
}

const NONE = Buffer.alloc(0);

async function answer(ask: Ask, fields: readonly Buffer[]): Promise<readonly Uint8Array[]> {
  const [a = NONE, b = NONE, d = NONE, e = NONE, f = NONE] = fields;
  if (ask === 'open') {
    const opened = (await load()).open(a.toString('utf8'), b.toString('utf8'), d.toString('utf8'), e[0] === 1);
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(opened.flags);
    return [opened.serial, flags, Buffer.of(opened.mechanisms)];
  }
  if (ask === 'end') {
    token?.close();
    return [];
  }
  if (token === undefined) throw new TokenTrouble('message-wrong');
  switch (ask) {
    case 'login':
      token.login(a);
      return [];
    case 'generate':
      return token.generate(mechanismOf(a), b);
    case 'encrypt':
      return token.encrypt(sortOf(a), b, d, e);
    case 'decrypt':
      return [token.decrypt(sortOf(a), b, d, e, f)];
    case 'probe':
      token.probe(sortOf(a), b);
      return [];
    case 'count':
      return [token.count(a)];
    case 'setCount':
      token.setCount(a, b, d);
      return [];
    case 'forgetCount':
      token.forgetCount(a);
      return [];
    case 'destroy':
      token.destroy(a);
      return [];
    default:
      return ask satisfies never;
  }
}

async function respond(channel: Socket, message: Message): Promise<void> {
  const ask = askOf(message);
  let reply: Buffer;
  try {
    if (ask === undefined) throw new TokenTrouble('message-wrong');
    const fields = await answer(ask, message.fields);
    reply = encodeMessage(0, fields);
    for (const field of fields) field.fill(0);
  } catch (error) {
    reply = encodeMessage(TROUBLE[error instanceof TokenTrouble ? error.trouble : 'token-failed'], []);
  }
  for (const field of message.fields) field.fill(0);
  channel.write(reply, () => {
    reply.fill(0);
    if (ask === 'end') process.exit(0);
  });
}

bindToParent();
const channel = new Socket({ fd: CHANNEL, readable: true, writable: true });
const reader = new MessageReader();
let queue: Promise<void> = Promise.resolve();
channel.on('data', (bytes) => {
  for (const message of reader.add(bytes)) queue = queue.then(() => respond(channel, message));
});
const stop = (): void => {
  token?.close();
  process.exit(1);
};
channel.on('end', stop);
channel.on('error', stop);
