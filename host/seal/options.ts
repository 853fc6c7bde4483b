/** What a box is made of, and what is built around it. */
import type { Core } from '../../core/types.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTimeKeeper } from '../ports/lease-time.ts';
import type { LockoutDevice } from '../ports/lockout.ts';
import type { Machine } from '../ports/machine.ts';
import type { Random } from '../ports/random.ts';
import type { SealSlot, SlotKind } from '../ports/seal-slot.ts';
import type { Store } from '../ports/store.ts';
import type { ValueMap } from '../ports/value.ts';
import type { Secret } from '../secret.ts';
import type { Counters } from './counters.ts';
import type { Freshness } from './freshness.ts';

/** What lives on an open box and is built around it. */
export interface Residents {
  /** Rows that a new box begins with; core is open, the audit log runs. @param options.secretMount KV version 2 at `secret/` */
  found(options: { readonly secretMount: boolean }): Promise<{ readonly rootToken: Secret }>;
  /** A new token with the root policy, durable: the quorum asked for it. */
  newRootToken(): Promise<Secret>;
  /** Loads mounts and policies into core, starts jobs. Requests are let in when the box says that it is open. */
  open(): Promise<void>;
  /** Lets no request in, waits for those under way, stops jobs. Safe to call when nothing is open. */
  close(): Promise<void>;
}

/** The audit log as the box starts and stops it. */
export interface LogLifecycle {
  start(options: {
    readonly applianceId: Uint8Array;
    readonly known: { readonly size: number; readonly root: Uint8Array } | undefined;
    /** The first leaf that is written: the recovery quorum's override. With it, a log that disagrees is put aside. */
    readonly first?: { readonly event: string; readonly data: ValueMap } | undefined;
    /** The appliance that this log was of: it is put aside, and a new one begins under a new key and origin. */
    readonly was?: Uint8Array | undefined;
    readonly onCheckpoint: (size: number, root: Uint8Array) => Promise<void>;
  }): Promise<void>;
  /** Writes a leaf of the box itself; one that is told while the log is stopped is kept and written first after the start. */
  note(event: string, data: Readonly<Record<string, string | number>>): void;
  /** Resolves when every leaf told so far is durable. @throws Fault `audit.unavailable` */
  durable(): Promise<void>;
  /**
   * The audit keys may be others now: HMACs of values are made anew, and checkpoints get a new signing key unless theirs came
   * with the present root.
   */
  keysChanged(): Promise<void>;
  stop(): Promise<void>;
  /** Removes what an initialisation that was cut left behind. */
  clear(): void;
}

export interface ApplianceOptions {
  readonly core: Core;
  readonly store: Store;
  readonly freshness: Freshness;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly lease: LeaseTimeKeeper;
  readonly random: Random;
  readonly log: LogLifecycle;
  readonly residents: Residents;
  /** Kinds that may open this box (`seal.allowed`). */
  readonly allowed: readonly SlotKind[];
  readonly shamir: (threshold: number, shares: number) => SealSlot;
  /** Adapters of devices and key files, in the order in which they are tried. */
  readonly automatic: readonly SealSlot[];
  /** The TPM's protection against guessing; absent where no TPM is configured. */
  readonly lockout?: LockoutDevice;
  /** Kinds that a new box gets beside its shares (`seal.initial`); absent: a key file. */
  readonly initial?: readonly SlotKind[];
  readonly machine: Machine;
  readonly heartbeatMs: number;
  /** How long a request may hold a row that it sealed before a rotation, milliseconds. */
  readonly settleMs: number;
  /** What is less good around the box than it should be, for health. */
  readonly reasons: () => readonly string[];
}
