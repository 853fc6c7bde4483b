/** What asks the process to end, and what a bug that nobody caught leaves on standard error. */

const STOPPING = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * Calls `stop` at the first signal that asks for an end; a second one ends the process at once.
 *
 * @param stop  orderly end; the process exits with what it resolves to
 */
export function onStopSignal(stop: () => Promise<number>): void {
  let stopping = false;
  const handle = (): void => {
    if (stopping) process.exit(1);
    stopping = true;
    void stop().then(
      (code) => process.exit(code),
      () => process.exit(1),
    );
  };
  for (const signal of STOPPING) process.on(signal, handle);
}

const BROKEN_PIPE_EXIT = 141;

/**
 * What to do when nobody reads what is printed any more (`… | head`): a command ends quietly, with the code that a shell
 * gives to what SIGPIPE ended; a server goes on, whoever looked at its first lines.
 */
export function onBrokenPipe(server: boolean): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (server) return;
      if (error.code !== 'EPIPE') throw error;
      process.exit(BROKEN_PIPE_EXIT);
    });
  }
}

/** A bug ends the process (the data is made for that); its message may hold what must not be logged, its place may not. */
export function onBug(): void {
  process.on('uncaughtException', (error: unknown) => {
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
    const name = error instanceof Error ? error.name : typeof error;
    process.stderr.write(`holdfast: internal error (${name}), please report it\n${frames.join('\n')}\n`);
    process.exit(70);
  });
}
