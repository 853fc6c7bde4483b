/** A command is a row: its words, flags, help and what it does. */
import type { Finding } from '../ports/appliance.ts';
import type { FlagDeclaration, Parsed } from './arguments.ts';
import type { Environment } from './environment.ts';
import type { ApiClient } from './http.ts';

/** What the log of a stopped box is held to, and how the answer is printed. */
export interface StoppedLog {
  /** Keys kept from earlier, one a line; absent: those that lie beside the log. */
  readonly key: string | undefined;
  /** A checkpoint kept from earlier. */
  readonly kept: string | undefined;
  readonly json: boolean;
}

/** What needs the box itself and not its API; given by main.ts. */
export interface Box {
  /** Verifies the log of a stopped box. @returns the exit code */
  verifyLog(folder: string, environment: Environment, wanted: StoppedLog): Promise<number>;
  /** Looks at settings, folders, clock, disk and slots of this machine's box. */
  diagnose(environment: Environment): Promise<readonly Finding[]>;
}

export interface Invocation {
  readonly environment: Environment;
  readonly parsed: Parsed;
  /** The server that the flags, variables and this box's folder name; made when first asked for. */
  readonly api: () => ApiClient;
  /** The socket of this user's box on this machine: open or sealed, without a token. */
  readonly control: () => ApiClient;
  readonly usage: string;
  readonly box: Box | undefined;
}

export interface Command {
  /** `kv metadata get` */
  readonly words: string;
  /** What follows the words: `PATH [name=value …]`. */
  readonly arguments: string;
  readonly summary: string;
  readonly details?: string;
  readonly flags: readonly FlagDeclaration[];
  /** @returns the exit code */
  readonly run: (invocation: Invocation) => Promise<number>;
}
