/** What the matrix and the box that it kills say to each other. */

export type Kind = 'postgresql' | 'mariadb';

/** `looks-once`: the second look of an undo sees nothing. `drops-nothing`: what is dropped stays, and is not seen. */
export type Sabotage = 'looks-once' | 'drops-nothing';

/** How a box is started. */
export interface Setting {
  readonly kind: Kind;
  /** Data folder and key file. */
  readonly folder: string;
  readonly keyfile: string;
  /** `connection_url`, over the proxy. */
  readonly url: string;
  readonly manager: { readonly username: string; readonly password: string };
  /** Milliseconds that time was moved on in earlier processes. */
  readonly skippedMs: number;
  /** Milliseconds that the server has for one call of a lease's life. */
  readonly timeoutMs: number;
  /** Breaks the box on purpose, so that the matrix is seen to notice. */
  readonly sabotage?: Sabotage | undefined;
  /** Kills the process there at once, while it opens. */
  readonly armed?: Armed | undefined;
}

export interface Armed {
  readonly point: string;
  /** At which time that it comes by, from 1. */
  readonly nth: number;
  /** Says that it is there and stays, in place of dying. */
  readonly stays?: boolean;
}

/** A login that the box answered with. */
export interface Issued {
  readonly lease: string;
  readonly name: string;
  readonly password: string;
}

/** What the box knows. */
export interface Report {
  readonly leases: readonly {
    readonly id: string;
    readonly name: string;
    /** Found by a lookup: not over and not being ended. */
    readonly live: boolean;
    readonly expireWallMs: number;
  }[];
  readonly intents: readonly string[];
  readonly queued: number;
}

export interface StaticSecret {
  readonly username: string;
  readonly password: string;
}

/** What an operation changed, as its caller was answered. */
export interface Outcome {
  readonly issued?: readonly Issued[];
  readonly revoked?: readonly string[];
  /** Lease → wall time in ms at which it ends. */
  readonly renewed?: Readonly<Record<string, number>>;
  /** Leases whose end was asked for, answered or not. */
  readonly ending?: readonly string[];
  /** Leases whose name another intent has now, by force of the test: 80 random bits are what keeps this from happening. */
  readonly shared?: readonly string[];
}

export type Order =
  | { readonly do: 'found' }
  | { readonly do: 'open'; readonly root: string }
  | { readonly do: 'prepare' | 'run'; readonly operation: string }
  | { readonly do: 'arm'; readonly armed: Armed | undefined }
  | { readonly do: 'revoke'; readonly lease: string }
  | { readonly do: 'drain' | 'wait' | 'look' | 'report' | 'points' | 'probe' | 'secrets' | 'stop' };

export type Message =
  | { readonly n: number; readonly result: unknown }
  | { readonly n: number; readonly error: string }
  /** Time was moved on by so much; said before it is. */
  | { readonly skipped: number }
  | { readonly reached: string };
