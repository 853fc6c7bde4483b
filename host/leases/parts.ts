/** What the lease service is put together from. */
import type { AuditNote } from '../audit/index.ts';
import type { Barrier } from '../barrier/barrier.ts';
import type { Clock } from '../ports/clock.ts';
import type { MountInfo, TokenInfo } from '../ports/engine.ts';
import type { LeaseBackend } from '../ports/leases.ts';
import type { Random } from '../ports/random.ts';
import type { StepHook } from './steps.ts';

/** What a lease ends with, as its row stands now. */
export interface Holder {
  /** Id of the token in hex (a batch token's parent); '': nothing but its own end. */
  readonly id: string;
  /** Its row, expected unchanged by the commit that writes the lease; undefined where `id` is ''. */
  readonly row: Uint8Array | undefined;
  /** Lease time in ms at which the token of that row is over; 0: never. */
  readonly overMs: number;
  /** Lease time in ms at which a batch token ends, and no lease of it lives; 0: none. */
  readonly endMs: number;
}

/** A mount as its row stands now. */
export interface LeaseMount {
  readonly row: Uint8Array;
  readonly info: MountInfo & { readonly coreType: string };
  /** False: it is being removed, and nothing new is made in it. */
  readonly live: boolean;
}

export interface LeaseParts {
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly random: Random;
  readonly tell: (note: AuditNote) => void;
  /** @param known  as it was before. @throws Fault `token.invalid` it is gone, over, or being revoked */
  readonly holder: (token: TokenInfo, known?: Holder) => Promise<Holder>;
  readonly mount: (id: string) => Promise<LeaseMount | undefined>;
  /** Live ones. */
  readonly mounts: () => readonly LeaseMount['info'][];
  /** Seconds: of the mount, else the system's. */
  readonly ttls: (mount: MountInfo) => { readonly defaultTtl: number; readonly maxTtl: number };
  /** Why nothing outside may be made or ended: the box may be a copy, or its disk an old one. Undefined: it may. */
  readonly held: () => string | undefined;
  /** Runs with every sweep: what waits for leases to be gone. */
  readonly swept?: () => Promise<void>;
  /** Tests kill and fail there. */
  readonly hook?: StepHook | undefined;
  /** Milliseconds that a backend has for one call; default 10,000. */
  readonly timeoutMs?: number | undefined;
}

/** Backends by the core type of their mounts. */
export type Backends = ReadonlyMap<string, LeaseBackend>;
