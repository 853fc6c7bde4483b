/**
 * Leases as engines see them: a credential outside the box, its time to live, and how to end it. Implemented by
 * host/leases. Intent first: nothing outside is touched before what undoes it is durable.
 */
import type { MountInfo, OperationContext } from './engine.ts';
import type { ValueMap } from './value.ts';
import type { View } from './view.ts';

/** What a request asks a lease for. */
export interface NewLease<T, P extends Disposable = Disposable> {
  readonly context: OperationContext;
  /** Seconds; 0: the mount's. Capped by mount, system and, for a batch token, its own end. */
  readonly ttl: number;
  readonly maxTtl: number;
  readonly renewable: boolean;
  /** What shares a queue, a limit of connections and a circuit: a name inside the mount (a database's). */
  readonly backend: string;
  /**
   * Draws what undoes one credential: all that the engine needs to end it, and to find it, with a name of its own. Sealed,
   * durable before `create` runs. May be called for the next credential too.
   */
  readonly undo: () => ValueMap;
  /**
   * All that `undo` and `prepare` draw from but chance and time. Two requests at one path that say the same here may have
   * each other's, drawn up to half a minute before; absent: this request has its own.
   */
  readonly like?: string;
  /**
   * Makes what can be made of a credential before the server hears of it (a password, and its hash begun). May be called for
   * the next credential too, and kept for it in memory. Disposed of when the lease is made or given up, or nobody came for it.
   */
  readonly prepare?: () => P;
  /**
   * Makes the credential outside, in calls that each have what `leftMs` gives then and settle by it, one way or the other.
   * When it throws `database.exists` the intent is dropped and nobody is touched; any other fault leaves the intent, which
   * undoes whatever came of it.
   */
  readonly create: (making: Making<P>) => Promise<T>;
}

/** One credential that is being made. */
export interface Making<P extends Disposable = Disposable> {
  /** Of its lease. */
  readonly id: string;
  /** What was drawn for it. */
  readonly undo: ValueMap;
  /** What `prepare` made for it; undefined where there is none. */
  readonly prepared: P | undefined;
  /** Wall time of the lease's end, ms: what the server may be told as its own end. */
  readonly expireWallMs: number;
  /**
   * What a call of the server may take if it begins now. Asked just before each: keys and certificates may have taken long to
   * make. The intent's deadline lies behind it.
   *
   * @throws Fault `database.unreachable` too late: the intent is being undone, and nothing may come of it any more
   */
  readonly leftMs: () => number;
}

export interface MadeLease<T> {
  readonly lease: { readonly id: string; readonly renewable: boolean; readonly durationSeconds: number };
  readonly made: T;
}

export interface Leases {
  /**
   * @throws Fault `token.invalid` the token is being revoked; `lease.held` the box is held or time is not believed: no
   *         dynamic credential is issued; `input.too-large` `undo` has more than 64 KiB; what `create` throws
   */
  issue<T, P extends Disposable>(wanted: NewLease<T, P>): Promise<MadeLease<T>>;
  /** The engine of a core type ends and renews what it issued. Called once a type, before the first unseal. */
  backend(coreType: string, backend: LeaseBackend): void;
}

/** One thing to end. `undo` as the engine gave it. */
export interface Undo {
  readonly id: string;
  readonly undo: ValueMap;
}

/** The engine's storage and mount, for work that the box does by itself. */
export interface BackendContext {
  readonly mount: MountInfo;
  /** The mount's whole storage, for the time of the call. */
  readonly view: View;
  /** Of NewLease. */
  readonly backend: string;
  readonly timeoutMs: number;
}

export type Ended = { readonly done: true } | { readonly done: false; readonly fault: string };

export interface LeaseBackend {
  /** How many of one backend `end` takes at once: what may share a transaction. */
  readonly batchMax: number;
  /** Ends credentials of one backend. What is not there is done. @returns an outcome for each, in order */
  end(context: BackendContext, items: readonly Undo[]): Promise<readonly Ended[]>;
  /** Which of them are still there, by the server's own catalogue. @returns for each: true, it is still there */
  remains(context: BackendContext, items: readonly Undo[]): Promise<readonly boolean[]>;
  /** Tells the server the new end of a credential, where it keeps one. */
  renew(context: BackendContext, item: Undo, expireWallMs: number): Promise<void>;
  /**
   * Names on the server with this box's prefix that none of `known` explains: `lease reconcile`.
   *
   * @param known  every lease and intent of the box, whatever made it (two backends may lead to one server), read from the
   *               store while it is iterated: hold the server's names, not these
   */
  strangers(context: BackendContext, known: AsyncIterable<Undo>): Promise<readonly string[]>;
  /** Backends of a mount, by name. */
  backends(context: Pick<BackendContext, 'mount' | 'view'>): readonly string[];
}
