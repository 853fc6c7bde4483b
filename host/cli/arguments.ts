/** Arguments of commands, in the vault command's habits: `-name`, `-name=value`, `-name value` and the same with `--`. */
import { LocalError } from './environment.ts';

export interface FlagDeclaration {
  readonly name: string;
  /** `text` takes a value, `bool` none (or =true, =false), `texts` may be given several times. */
  readonly type: 'text' | 'bool' | 'texts';
  readonly help: string;
  /** What stands for the value in the help: `-format=table|json`. */
  readonly value?: string;
}

export interface Parsed {
  readonly positional: readonly string[];
  text(name: string): string | undefined;
  bool(name: string): boolean;
  texts(name: string): readonly string[];
}

/** Flags that every command takes. */
export const COMMON_FLAGS: readonly FlagDeclaration[] = [
  {
    name: 'address',
    type: 'text',
    value: 'URL',
    help: 'The server (HOLDFAST_ADDR, VAULT_ADDR; else the box of this folder).',
  },
  {
    name: 'ca-cert',
    type: 'text',
    value: 'FILE',
    help: 'Authority of its certificate (HOLDFAST_CACERT, VAULT_CACERT).',
  },
  {
    name: 'format',
    type: 'text',
    value: 'table|json',
    help: 'How the answer is printed (HOLDFAST_FORMAT, VAULT_FORMAT).',
  },
  { name: 'field', type: 'text', value: 'NAME', help: 'Print this field alone, as it is.' },
  { name: 'wrap-ttl', type: 'text', value: 'DURATION', help: 'Wrap the answer for this long.' },
  { name: 'help', type: 'bool', help: 'Show the help of the command.' },
];

/** @throws LocalError for flags that the command does not have, or without their value */
export function parseArguments(args: readonly string[], own: readonly FlagDeclaration[]): Parsed {
  const flags = new Map([...COMMON_FLAGS, ...own].map((flag) => [flag.name, flag]));
  const values = new Map<string, string[]>();
  const positional: string[] = [];
  let flagsEnded = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? '';
    if (flagsEnded || arg === '-' || !arg.startsWith('-')) {
      positional.push(arg);
      continue;
    }
    if (arg === '--') {
      flagsEnded = true;
      continue;
    }
    const [, rawName = '', inline] = /^--?([^=]+)(?:=([\s\S]*))?$/.exec(arg) ?? [];
    const name = rawName === 'h' ? 'help' : rawName.replaceAll('_', '-');
    const flag = flags.get(name);
    if (flag === undefined) throw new LocalError(`there is no flag ${JSON.stringify(`-${rawName}`)}; -help lists them`);
    let value = inline;
    if (flag.type === 'bool') {
      value ??= 'true';
      if (value !== 'true' && value !== 'false') throw new LocalError(`-${name} is true or false`);
    } else if (value === undefined) {
      value = args[++i];
      if (value === undefined) throw new LocalError(`-${name} needs a value`);
    }
    const before = values.get(name);
    if (before !== undefined && flag.type !== 'texts') throw new LocalError(`-${name} is given twice`);
    values.set(name, [...(before ?? []), value]);
  }
  return {
    positional,
    text: (name) => values.get(name)?.[0],
    bool: (name) => values.get(name)?.[0] === 'true',
    texts: (name) => values.get(name) ?? [],
  };
}

/** @throws LocalError unless there are between `least` and `most` positional arguments */
export function expectPositional(parsed: Parsed, least: number, most: number, usage: string): void {
  const { length } = parsed.positional;
  if (length < least || length > most) {
    throw new LocalError(`${length < least ? 'something is missing' : 'that is too much'}; usage: ${usage}`);
  }
}

/** Which one of these flags is given, or none: `share`, what holders of shares do. @throws LocalError for two of them */
export function action(parsed: Parsed, ...names: readonly string[]): string {
  const said = names.filter((name) => parsed.bool(name));
  if (said.length > 1) throw new LocalError(`-${said.join(' and -')} do not go together`);
  return said[0] ?? 'share';
}
