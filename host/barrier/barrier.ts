/**
 * The barrier as services use it: views of mounts under a grant, rows of the system tables, system grants for jobs, and
 * the one way to commit. Nothing is committed before the leaves composed so far are durable.
 */
import type { Core, Job, SystemTable } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Counting } from '../ports/counter.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { Batch, Expectation, Put, Store, Table } from '../ports/store.ts';
import type { View } from '../ports/view.ts';
import { Directories } from './directories.ts';
import { throughCore } from './fault.ts';
import { KeyedQueue } from './queue.ts';
import { GrantView } from './view.ts';

/** How long a job's grant lives. */
export const JOB_GRANT_MS = 60_000;
const ATTEMPTS_MAX = 16;
/** Tables that decide who may do what: an old row of them must not come back unnoticed. */
const COUNTED: ReadonlySet<Table> = new Set<Table>(['mount', 'policy']);

/** Makes leaves durable before an effect (the audit log). */
export interface Durability {
  durable(before: 'answer' | 'effect' | 'urgent'): Promise<void>;
}

export interface OpenedRow {
  /** Copy. */
  readonly payload: Uint8Array;
  /** Copy of the sealed row: its revision. */
  readonly row: Uint8Array;
}

export class Barrier {
  readonly core: Core;
  readonly store: Store;
  readonly lease: LeaseTime;
  readonly directories: Directories;
  readonly #durability: Durability;
  readonly #counting: Counting;
  readonly #queue = new KeyedQueue();

  /** @param entriesMax  entries that a directory may have; a test sets fewer */
  constructor(
    core: Core,
    store: Store,
    lease: LeaseTime,
    durability: Durability,
    counting: Counting,
    entriesMax?: number,
  ) {
    this.core = core;
    this.store = store;
    this.lease = lease;
    this.#durability = durability;
    this.#counting = counting;
    this.directories = new Directories(store, entriesMax);
  }

  /**
   * A mount's storage under a grant.
   *
   * @param mountId  in hex: updates of one path of one mount queue behind each other
   * @param urgent   revocation: its changes may use the space that is kept back
   */
  view(grant: number, mountId: string, urgent = false): View {
    return new GrantView(this, grant, mountId, urgent);
  }

  /** @throws Fault `barrier.refused` a row that does not open */
  open(grant: number, table: SystemTable, key: Uint8Array): OpenedRow | undefined {
    const found = this.store.get(table, key);
    if (found === undefined) return undefined;
    const row = Uint8Array.from(found);
    return { payload: Uint8Array.from(throughCore(() => this.core.openTable(grant, table, key, row))), row };
  }

  seal(grant: number, table: SystemTable, key: Uint8Array, payload: Uint8Array): Put {
    return { table, key, value: throughCore(() => this.core.sealTable(grant, table, key, payload)) };
  }

  /** Runs `work` under a system grant, which ends with it. @param mountId in hex */
  async job<T>(job: Job, mountId: string | undefined, work: (grant: number) => T | Promise<T>): Promise<T> {
    const now = this.lease.nowMs();
    const id = mountId === undefined ? undefined : Buffer.from(mountId, 'hex');
    const grant = throughCore(() => this.core.systemGrant(job, id, now, now + JOB_GRANT_MS));
    try {
      return await work(grant);
    } finally {
      if (!this.core.sealed) this.core.endGrant(grant);
    }
  }

  /** Resolves when the leaves composed so far are on the medium: before anything outside is asked. @throws Fault `audit.unavailable` */
  logged(): Promise<void> {
    return this.#durability.durable('effect');
  }

  /** The one way to the store: leaves first. @throws Fault `store.conflict`, `store.full`, `store.unavailable` */
  async commit(puts: readonly Put[], expect: readonly Expectation[] = [], urgent = false): Promise<void> {
    if (puts.some(({ table }) => COUNTED.has(table))) throw new Error('a change of mounts or policies is counted');
    await this.#durability.durable(urgent ? 'urgent' : 'effect');
    const batch: Batch = { puts, expect, ...(urgent ? { urgent } : {}) };
    await this.store.commit(batch);
  }

  /**
   * A change of mounts or policies: stored, put in force, counted, in this order.
   *
   * @param inForce  runs when it is durable, whatever becomes of the counters
   * @throws as `commit`; Fault `counter.unavailable`: before the store is asked, or after `inForce`
   */
  async counted(puts: readonly Put[], expect: readonly Expectation[], inForce: () => void): Promise<void> {
    await this.#durability.durable('effect');
    await this.#counting.change((more) => this.store.commit({ puts: [...puts, ...more], expect }), inForce);
  }

  /** Runs `work` in line with others on the same name, and again when an expectation of its commit failed. */
  inLine<T>(name: string, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(name, () => retry(work));
  }
}

/** @throws Fault `store.conflict` after the last attempt */
export async function retry<T>(work: () => Promise<T>, attempts = ATTEMPTS_MAX): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= attempts || !isFault(error, 'store.conflict')) throw error;
    }
  }
}

/** A conflict that running again cannot help: the request's decision does not hold any more. */
export class StaleDecision extends Fault {
  constructor() {
    super('store.conflict', 'the record appeared while the request was under way: try again');
  }
}
