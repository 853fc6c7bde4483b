/** A count outside the disk that only rises: what tells an old disk from the current one. */
import type { Put } from './store.ts';
import type { ValueMap } from './value.ts';

export interface Counter {
  /** 16 bytes, the same for the life of the counter: its name in the freshness row. */
  readonly id: Uint8Array;
  /**
   * @throws Fault `appliance.rolled-back` if the counter is gone or another stands in its place
   * @throws Fault `slot.unavailable` (or `slot.refused`) if the device does not answer, or not to us
   */
  read(): Promise<bigint>;
  /** Raises the count by one and returns the new count. Faults as `read`. */
  increment(): Promise<bigint>;
}

/** Kinds of slots whose device keeps a counter too. */
export type CounterKind = 'tpm2' | 'pkcs11';

/** A device that may keep a counter. Implemented beside its slot's adapter. Contract: test/contract/counter.ts. */
export interface CounterDevice {
  readonly kind: CounterKind;
  /** Whoever holds the PIN can set it back: it finds an accident, not an attack. */
  readonly advisory: boolean;
  /**
   * Makes a counter at a place of its own; nothing that lies there already is touched.
   *
   * @throws Fault `slot.unavailable` if the device does not answer, or keeps no counters
   * @throws Fault `slot.refused` if the device does not let us
   */
  enrol(): Promise<{ readonly counter: Counter; readonly place: ValueMap }>;
  /**
   * The counter at a place that `enrol` gave. Asks the device nothing yet.
   *
   * @throws Fault `appliance.rolled-back` if that is no place of such a counter
   */
  at(place: ValueMap): Counter;
  /** Removes the counter, which no freshness row names any more. One that is gone already is no error. */
  retire(place: ValueMap): Promise<void>;
}

/** Where an enrolled counter stands, for health, `slot list` and `operator diagnose`. */
export interface CounterStatus {
  readonly kind: CounterKind;
  /** 16 bytes in hex. */
  readonly id: string;
  readonly advisory: boolean;
  /** As the store's freshness row has it. */
  readonly count: number;
  /** Why it cannot be raised now; undefined while all is well. */
  readonly away: string | undefined;
  /** Times that it was raised in the year of lease time under way, and how many are budgeted. */
  readonly raised: number;
  readonly budget: number;
}

/** What services ask before a change that counts: of mounts, policies, keys and slots. Implemented by host/seal. */
export interface Counting {
  /**
   * Stores a change, puts it in force, raises every counter, returns: what was answered cannot be rolled back.
   *
   * @param commit   commits the change together with the rows it is given
   * @param inForce  runs when the change is durable, whatever becomes of the counters
   * @throws Fault `appliance.busy` while rows of the store are still verified: nothing is changed
   * @throws Fault `counter.unavailable` if a counter is away: before `commit`, and nothing is changed; or after it, and
   *         the sentence says that the change is made
   */
  change<T>(commit: (more: readonly Put[]) => Promise<T>, inForce?: (result: T) => void): Promise<T>;
}

/** Whether this box is the one that lives: asked before anything outside the box is ended. Implemented by host/seal. */
export interface Residence {
  /**
   * Undefined while this box may revoke what lives outside it (database users, certificates at others).
   * Else the sentence that says why not, and what a person does about it: the box may be a copy of one that lives.
   */
  heldBecause(): string | undefined;
}
