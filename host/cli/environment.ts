export type { Environment } from '../ports/environment.ts';

/** The exit codes of the vault command. */
export const EXIT = { ok: 0, local: 1, remote: 2 } as const;

/** The user's mistake or this machine's trouble: exit code 1, and the text says what to do. */
export class LocalError extends Error {}

/** The server's answer was an error: exit code 2. */
export class RemoteError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
