/** Kills a process without warning, over and over on one folder, and checks what it leaves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { SeededRandom } from '../reference/random.ts';
import type { Check } from './checker.ts';

export interface KillOptions {
  readonly rounds: number;
  /** What to start in a round, on the same folder each time. It says what it knows in lines on its output. */
  readonly command: (round: number) => readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Marks the process's lines in place of its output, where a client knows them: resolves when it is to be killed. */
  readonly drive?: (child: ChildProcess, mark: (text: string) => void) => Promise<void>;
  /** It is killed after so many lines at most, drawn anew each round (0: as soon as it runs). Without `drive`. */
  readonly linesMax: number;
  readonly seed: number;
  readonly check: Check;
  readonly progress?: (done: number, of: number) => void;
}

export interface KillFailure {
  readonly round: number;
  readonly wrong: readonly string[];
}

/**
 * A kill shows what the process left half done; it cannot show durability, for the kernel keeps what was written: that is
 * what the power cuts are for.
 *
 * @returns rounds in which something did not hold, and how many lines were seen in all
 */
export async function killRounds(options: KillOptions): Promise<{ failures: KillFailure[]; lines: number }> {
  const { rounds, folder, check, progress } = options;
  const random = new SeededRandom(options.seed);
  const failures: KillFailure[] = [];
  const marks: string[] = [];
  for (let round = 0; round < rounds; round++) {
    await oneRound(options, round, random.below(options.linesMax + 1), marks);
    const wrong = await check(folder, marks);
    if (wrong.length > 0) failures.push({ round, wrong });
    progress?.(round + 1, rounds);
  }
  return { failures, lines: marks.length };
}

async function oneRound(options: KillOptions, round: number, lines: number, marks: string[]): Promise<void> {
  const [command, ...args] = options.command(round);
  const child = spawn(command, args, {
    env: { ...process.env, ...options.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve());
  });
  if (options.drive !== undefined) {
    child.stdout.resume();
    await options.drive(child, (text) => marks.push(text));
    child.kill('SIGKILL');
  } else {
    let rest = '';
    let seen = 0;
    if (lines === 0) child.kill('SIGKILL');
    child.stdout.on('data', (part: Buffer) => {
      const whole = (rest + part.toString()).split('\n');
      rest = whole.pop() ?? '';
      marks.push(...whole);
      seen += whole.length;
      // Lines that are still on their way arrive after the kill: what was acknowledged is known to the last line.
      if (seen >= lines) child.kill('SIGKILL');
    });
  }
  await ended;
}
