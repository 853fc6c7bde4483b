/** The command line: finds the command, runs it, and turns what goes wrong into a sentence and an exit code. */
import { parseArguments } from './arguments.ts';
import type { Box, Command } from './command.ts';
import { audit } from './commands/audit.ts';
import { generic } from './commands/generic.ts';
import { kv } from './commands/kv.ts';
import { lease } from './commands/lease.ts';
import { operate } from './commands/operate.ts';
import { operator } from './commands/operator.ts';
import { policy } from './commands/policy.ts';
import { secrets } from './commands/secrets.ts';
import { token } from './commands/token.ts';
import { type Environment, EXIT, LocalError, RemoteError } from './environment.ts';
import { commandHelp, overview } from './help.ts';
import { ApiClient } from './http.ts';
import { CONTROL_SOCKET, findControl, findServer } from './server.ts';

export type { Box, Command, StoppedLog } from './command.ts';
export type { Environment } from './environment.ts';
export { CONTROL_SOCKET };

const COMMANDS: readonly Command[] = [
  ...operate,
  ...operator,
  ...token,
  ...policy,
  ...secrets,
  ...lease,
  ...kv,
  ...generic,
  ...audit,
];

/** The command with the most words that `args` begin with. */
function match(args: readonly string[], commands: readonly Command[]): Command | undefined {
  return commands
    .filter(({ words }) => words.split(' ').every((word, i) => args[i] === word))
    .sort((a, b) => b.words.length - a.words.length)[0];
}

/**
 * @param args   what follows `holdfast`
 * @param others commands that need the box itself (server), added by main.ts
 * @param box    what needs the box itself, for commands that take -data
 * @returns the exit code: 0 done, 1 a mistake here, 2 the server refused
 */
export async function run(
  args: readonly string[],
  environment: Environment,
  others: readonly Command[] = [],
  box?: Box,
): Promise<number> {
  const commands = [...others, ...COMMANDS];
  const command = match(args, commands);
  if (command === undefined) return answerWithout(args, environment, commands);
  try {
    const parsed = parseArguments(args.slice(command.words.split(' ').length), command.flags);
    if (parsed.bool('help')) {
      environment.out(commandHelp(command));
      return EXIT.ok;
    }
    let client: ApiClient | undefined;
    const api = (): ApiClient => {
      client ??= new ApiClient(findServer(environment, parsed));
      return client;
    };
    const usage = `holdfast ${command.words} ${command.arguments}`.trimEnd();
    const control = (): ApiClient => new ApiClient(findControl(environment));
    return await command.run({ environment, parsed, api, control, usage, box });
  } catch (error) {
    if (error instanceof RemoteError) {
      environment.error(`${error.message}\n`);
      return EXIT.remote;
    }
    if (error instanceof LocalError) {
      environment.error(`holdfast: ${error.message}\n`);
      return EXIT.local;
    }
    const { code, syscall } = error as NodeJS.ErrnoException;
    // Trouble of this machine (a full disk, a folder that may not be written) is no bug: no stack.
    if (code !== undefined && syscall !== undefined) {
      environment.error(`holdfast: this machine refused: ${code} at ${syscall}\n`);
      return EXIT.local;
    }
    throw error;
  }
}

function answerWithout(args: readonly string[], environment: Environment, commands: readonly Command[]): number {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const prefix = words.join(' ');
  const isGroup = commands.some(({ words: own }) => own.startsWith(`${prefix} `));
  const asksHelp = words[0] === 'help' || args.some((arg) => /^--?h(elp)?$/.test(arg));
  if (words.length === 0 || isGroup || words[0] === 'help') {
    const text = overview(commands, isGroup ? prefix : '');
    if (asksHelp) environment.out(text);
    else environment.error(text);
    return asksHelp ? EXIT.ok : EXIT.local;
  }
  const group = words[0] ?? '';
  const inGroup = commands.some(({ words: own }) => own.startsWith(`${group} `));
  const shown = inGroup ? words.slice(0, 2).join(' ') : group;
  environment.error(
    `holdfast: there is no command ${JSON.stringify(shown)}; \`holdfast ${inGroup ? group : 'help'}\` lists them\n`,
  );
  return EXIT.local;
}
