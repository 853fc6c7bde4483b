/** What commands read besides flags: secrets from standard input or a prompt, and Vault's forms of data. */
import { isFault } from '../fault.ts';
import { parseJson } from '../json.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import { type Environment, LocalError } from './environment.ts';
import { cell } from './output.ts';

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

/** Why a file cannot be read; its name is left out, which may be a value that only looks like one. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
};

/** @param what the argument or flag that names the file @throws LocalError */
export function readFileOf(environment: Environment, path: string, what: string): Uint8Array {
  try {
    return environment.readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw new LocalError(`the file of ${what} cannot be read: ${REASONS[code] ?? (code || 'it is too large')}`);
  }
}

export function readFileText(environment: Environment, path: string, what: string): string {
  return decodeText(readFileOf(environment, path, what), `the file of ${what}`);
}

/** What a person types or pipes; that it is too long, or broken off, is no bug. */
async function given<T>(input: Promise<T>): Promise<T> {
  try {
    return await input;
  } catch (error) {
    throw new LocalError(error instanceof Error ? error.message : 'there is no input');
  }
}

export async function readInputText(environment: Environment): Promise<string> {
  return decodeText(await given(environment.readInput(INPUT_SIZE_MAX)), 'standard input');
}

/**
 * A token, share or password: asked for without echo on a terminal, else the first line of standard input. Never taken
 * from the arguments, which every user of the machine can read.
 *
 * @param blanks  `keep`: they are a part of it, as of a PIN
 */
export async function readSecret(
  environment: Environment,
  question: string,
  blanks: 'trim' | 'keep' = 'trim',
): Promise<string> {
  const text = environment.inputIsTerminal
    ? await given(environment.prompt(question))
    : decodeText(await given(environment.readInput(SECRET_SIZE_MAX)), 'standard input');
  const first = text.split(/\r?\n/, 1)[0] ?? '';
  const line = blanks === 'trim' ? first.trim() : first;
  if (line === '') throw new LocalError('nothing was given on standard input');
  return line;
}

function parseObject(text: string, what: string): ValueMap {
  let value: Value;
  try {
    value = parseJson(text);
  } catch (error) {
    // The text says where and why, never what stands there.
    throw isFault(error) ? new LocalError(`${what}: ${error.message}`) : error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new LocalError(`${what} is no JSON object`);
  return value as ValueMap;
}

const AT_HINT = ' (a text that begins with @ is written \\@)';

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
      const text = readFileText(environment, item.slice(1), '@FILE');
      for (const [name, value] of Object.entries(parseObject(text, 'the file of @FILE'))) add(name, value);
      continue;
    }
    const at = item.indexOf('=');
    // The item itself is not repeated: it may hold a secret.
    if (at <= 0) throw new LocalError('data is given as name=value, name=@file, name=-, @file or -');
    const value = item.slice(at + 1);
    if (value === '-') add(item.slice(0, at), await input());
    else if (value.startsWith('@'))
      add(item.slice(0, at), readFileText(environment, value.slice(1), `${cell(item.slice(0, at))}=@FILE${AT_HINT}`));
    else add(item.slice(0, at), value.startsWith('\\@') ? value.slice(1) : value);
  }
  return Object.fromEntries(entries);
}
