/** What commands read besides flags: secrets from standard input or a prompt, and Vault's forms of data. */
import type { Value, ValueMap } from '../ports/value.ts';
import { type Environment, LocalError } from './environment.ts';

const INPUT_SIZE_MAX = 32 * 1024 * 1024;
const SECRET_SIZE_MAX = 65_536;

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decodeText(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new LocalError(`${what} is not UTF-8 text`);
  }
}

export async function readInputText(environment: Environment): Promise<string> {
  return decodeText(await environment.readInput(INPUT_SIZE_MAX), 'standard input');
}

/**
 * A token, share or password: asked for without echo on a terminal, else the first line of standard input. Never taken
 * from the arguments, which every user of the machine can read.
 */
export async function readSecret(environment: Environment, question: string): Promise<string> {
  const text = environment.inputIsTerminal
    ? await environment.prompt(question)
    : decodeText(await environment.readInput(SECRET_SIZE_MAX), 'standard input');
  const line = text.split(/\r?\n/, 1)[0]?.trim() ?? '';
  if (line === '') throw new LocalError('nothing was given on standard input');
  return line;
}

function parseObject(text: string, what: string): ValueMap {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new LocalError(`${what} is no JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new LocalError(`${what} is no JSON object`);
  return value as ValueMap;
}

/**
 * Vault's forms: `name=value`, `name=@file` (the file's text), `name=-` (standard input), `@file` and `-` (a whole JSON
 * object). A value that begins with `\@` is text that begins with `@`. A name given twice becomes a list.
 */
export async function readData(environment: Environment, items: readonly string[]): Promise<ValueMap> {
  const entries = new Map<string, Value>();
  let inputRead = false;
  const input = async (): Promise<string> => {
    if (inputRead) throw new LocalError('standard input can be used once');
    inputRead = true;
    return await readInputText(environment);
  };
  const add = (name: string, value: Value): void => {
    const before = entries.get(name);
    if (before === undefined) entries.set(name, value);
    else entries.set(name, Array.isArray(before) ? [...before, value] : [before, value]);
  };
  for (const item of items) {
    if (item === '-') {
      for (const [name, value] of Object.entries(parseObject(await input(), 'standard input'))) add(name, value);
      continue;
    }
    if (item.startsWith('@')) {
      const text = decodeText(environment.readFile(item.slice(1)), 'the file');
      for (const [name, value] of Object.entries(parseObject(text, 'the file'))) add(name, value);
      continue;
    }
    const at = item.indexOf('=');
    // The item itself is not repeated: it may hold a secret.
    if (at <= 0) throw new LocalError('data is given as name=value, name=@file, name=-, @file or -');
    const value = item.slice(at + 1);
    if (value === '-') add(item.slice(0, at), await input());
    else if (value.startsWith('@'))
      add(item.slice(0, at), decodeText(environment.readFile(value.slice(1)), 'the file'));
    else add(item.slice(0, at), value.startsWith('\\@') ? value.slice(1) : value);
  }
  return Object.fromEntries(entries);
}
