/** The texts of `holdfast`, `holdfast kv` and `holdfast kv put -help`. */
import { COMMON_FLAGS, type FlagDeclaration } from './arguments.ts';
import type { Command } from './command.ts';

const WIDTH = 26;

function column(left: string, right: string): string {
  return left.length < WIDTH ? `  ${left.padEnd(WIDTH)}${right}` : `  ${left}\n  ${' '.repeat(WIDTH)}${right}`;
}

const flagLine = (flag: FlagDeclaration): string =>
  column(`-${flag.name}${flag.value === undefined ? '' : `=${flag.value}`}`, flag.help);

export function commandHelp(command: Command): string {
  const own = command.flags.map(flagLine);
  return [
    `usage: holdfast ${command.words} [flags] ${command.arguments}`.trimEnd(),
    '',
    command.summary,
    ...(command.details === undefined ? [] : ['', command.details]),
    ...(own.length === 0 ? [] : ['', 'Flags:', ...own]),
    '',
    'Flags of every command:',
    ...COMMON_FLAGS.map(flagLine),
    '',
  ].join('\n');
}

/** The commands whose words begin with `prefix` (none: all). */
export function overview(commands: readonly Command[], prefix: string): string {
  const listed = commands.filter(({ words }) => prefix === '' || words.startsWith(`${prefix} `));
  return [
    `usage: holdfast ${prefix === '' ? 'COMMAND' : `${prefix} COMMAND`} [flags] [arguments]`,
    '',
    ...listed.map((command) => column(command.words, command.summary)),
    '',
    'Each command has -help. Tokens, shares and passwords are asked for or read from standard input, never arguments.',
    '',
  ].join('\n');
}
