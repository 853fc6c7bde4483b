/**
 * No going back: every transaction of the store changes the freshness row with it, which seals the fingerprint of all
 * rows, the newest checkpoint of the audit log and lease time. Also recomputes the fingerprint at an unseal.
 */
import type { Core, FreshnessInfo } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import { type Change, type Put, type Reader, type Snapshot, TABLES, type Table, type Witness } from '../ports/store.ts';
import { epochOf, FRESHNESS_KEY } from './rows.ts';

/** Rows that one slice of a long verification takes before requests have their turn. */
const SLICE_ROWS = 512;
const COVERED = (Object.keys(TABLES) as Table[]).filter((table) => table !== 'boot' && table !== 'freshness');

/** Counts by counter id in hex. */
export type Counts = Readonly<Record<string, number>>;

export interface Checkpoint {
  readonly size: number;
  readonly root: Uint8Array;
}

const NO_CHECKPOINT: Checkpoint = { size: 0, root: new Uint8Array(32) };

/** The store's witness. Made before the store is opened; follows only while the box is open. */
export class Freshness implements Witness {
  readonly #core: Core;
  readonly #lease: Pick<LeaseTime, 'nowMs'>;
  #following = false;
  /** Rows of an initialisation that never finished are removed without keys. */
  #clearing = false;
  #checkpoint = NO_CHECKPOINT;
  /** As the newest durable freshness row has them. */
  #counters: Counts = {};
  /** What rows are sealed with from now on, while a counted change is under way. */
  #pending: Counts | undefined;
  /** What the transaction that waits to settle was sealed with. */
  #folded: Counts = {};
  /** A row was changed, or the log grew, since the counters were raised. */
  #dirty = false;
  /** Epochs that a row may be sealed with: the newest, and for a while after a rotation the one before. */
  #epochs: readonly number[] = [];
  /** Core has a ring staged that a commit under way carries; `folded`: in the transaction that waits to settle. */
  #carrying: 'no' | 'next' | 'folded' = 'no';
  /** A count under a staged root's key that is to begin with the next transaction. */
  #renewal: (() => void) | undefined;

  constructor(core: Core, lease: Pick<LeaseTime, 'nowMs'>) {
    this.#core = core;
    this.#lease = lease;
  }

  fold(changes: readonly Change[]): readonly Put[] {
    if (this.#clearing) return [];
    if (!this.#following || this.#core.sealed) throw new Fault('appliance.sealed', 'the box is sealed');
    const withStaged = this.#carrying === 'next' && changes.some(({ table }) => table === 'keyring');
    try {
      this.#renewal?.();
      this.#renewal = undefined;
      for (const { table, key, before, after } of changes) {
        if (after !== undefined && table !== 'keyring' && !this.#epochs.includes(epochOf(after))) {
          throw new Fault('store.conflict', 'a row was sealed with a key that was rotated since: try again');
        }
        this.#core.foldChange(TABLES[table], key, before, after);
      }
      this.#folded = this.#pending ?? this.#counters;
      // What the box keeps of itself there (time, the log's own record) changes while nothing happens.
      this.#dirty ||= changes.some(({ table }) => table !== 'job');
      const state = {
        counters: this.#folded,
        checkpointSize: this.#checkpoint.size,
        checkpointRoot: this.#checkpoint.root,
        timeHighWaterMs: this.#lease.nowMs(),
      };
      const value = this.#core.sealFreshness(state, withStaged);
      if (withStaged) this.#carrying = 'folded';
      return [{ table: 'freshness', key: FRESHNESS_KEY, value }];
    } catch (error) {
      if (!this.#core.sealed) this.#core.discardFreshness();
      throw error;
    }
  }

  settled(committed: boolean): void {
    // A trap in between has sealed core: what it staged is gone with it.
    if (this.#clearing || this.#core.sealed) return;
    if (committed) {
      this.#core.adoptFreshness();
      this.#counters = this.#folded;
    } else this.#core.discardFreshness();
    if (this.#carrying !== 'folded') return;
    this.#carrying = 'no';
    // Before any other transaction is worked out: it goes on from the new ring.
    if (!committed) return;
    this.#core.adoptStaged();
    this.#epochs = [...this.#epochs.slice(-1), this.#core.keyringInfo().epoch];
  }

  /** From now on rows are sealed with the newest epoch only: what was sealed before a rotation has had its time. */
  closeEpochs(): void {
    this.#epochs = [this.#core.keyringInfo().epoch];
  }

  /**
   * Commits the ring that core has staged, by `commit`, whose transaction must change the keyring's row; core uses it as
   * soon as that is durable. If it fails, the ring is dropped.
   */
  async carryStaged(commit: () => Promise<void>): Promise<void> {
    this.#carrying = 'next';
    try {
      await commit();
    } catch (error) {
      if (!this.#core.sealed) this.#core.discardStaged();
      throw error;
    } finally {
      this.#carrying = 'no';
    }
  }

  /**
   * Counts every row under the fingerprint key of the staged root, in slices; what is committed meanwhile is counted too.
   *
   * @param take    a snapshot of the durable state
   * @param commit  commits anything: the count begins with that transaction
   */
  async renew(clock: Clock, take: () => Snapshot, commit: () => Promise<void>): Promise<void> {
    let snapshot: Snapshot | undefined;
    this.#renewal = () => {
      snapshot = take();
      this.#core.renewStart();
    };
    try {
      await commit();
      if (snapshot === undefined) throw new Error('the commit was not folded');
      let rows = 0;
      for (const table of COVERED) {
        for (const { key, value } of snapshot.range(table)) {
          this.#core.renewRow(TABLES[table], key, value);
          rows++;
          if (rows % SLICE_ROWS === 0) await clock.sleep(1);
        }
      }
    } finally {
      this.#renewal = undefined;
      snapshot?.[Symbol.dispose]();
    }
  }

  /** A new box: nothing lies in the store yet. */
  begin(): void {
    this.#checkpoint = NO_CHECKPOINT;
    this.#follow({});
    this.closeEpochs();
    this.#following = true;
  }

  /**
   * Goes on from the row in the store.
   *
   * @throws Fault `appliance.rolled-back` if there is none, or it is of another keyring
   */
  resume(reader: Reader): FreshnessInfo {
    const row = reader.get('freshness', FRESHNESS_KEY);
    if (row === undefined) throw rolledBack('the store has no freshness row');
    const info = this.#core.openFreshness(row);
    if (info.keyringGeneration !== this.#core.keyringInfo().generation) {
      throw rolledBack('the keyring and the freshness row are of different times');
    }
    this.#checkpoint = { size: info.checkpointSize, root: Uint8Array.from(info.checkpointRoot) };
    this.#follow(info.counters);
    this.closeEpochs();
    this.#following = true;
    return info;
  }

  #follow(counters: Counts): void {
    this.#counters = counters;
    this.#folded = counters;
    this.#pending = undefined;
    this.#dirty = false;
  }

  /** What the newest durable freshness row says of each counter. */
  get counts(): Counts {
    return this.#counters;
  }

  /**
   * Runs `commit` while every transaction seals `counts`. Afterwards `this.counts` says whether one of them is durable:
   * also one that somebody else committed meanwhile.
   */
  async sealing<T>(counts: Counts, commit: () => Promise<T>): Promise<T> {
    this.#pending = counts;
    try {
      return await commit();
    } finally {
      this.#pending = undefined;
    }
  }

  /** Something was written since the counters were raised last: what a rollback would undo unnoticed. */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** What is written from now on is not counted yet. */
  clean(): void {
    this.#dirty = false;
  }

  /** A count that was to cover what was written did not come about. */
  soil(): void {
    this.#dirty = true;
  }

  /** Nothing is written any more but table `boot`. */
  end(): void {
    this.#following = false;
  }

  /** Runs `work` while rows are removed without being followed. The box is not initialised. */
  async clearing(work: () => Promise<void>): Promise<void> {
    this.#clearing = true;
    try {
      await work();
    } finally {
      this.#clearing = false;
    }
  }

  get checkpoint(): Checkpoint {
    return this.#checkpoint;
  }

  /** Recorded by the next commit. */
  noteCheckpoint(size: number, root: Uint8Array): void {
    this.#dirty ||= size > this.#checkpoint.size;
    this.#checkpoint = { size, root: Uint8Array.from(root) };
  }
}

export function rolledBack(why: string): Fault {
  return new Fault('appliance.rolled-back', `rolled back: ${why}`);
}

/**
 * Recomputes the fingerprint over one snapshot and its freshness row.
 *
 * @param mostAtOnce  rows above which it lets requests in between, slice by slice
 * @param stopped     asked between slices: true ends it without an answer
 * @returns whether they agree; undefined if it was stopped
 */
export async function verifyStore(
  core: Core,
  clock: Clock,
  snapshot: Snapshot,
  mostAtOnce: number,
  stopped: () => boolean,
): Promise<boolean | undefined> {
  const row = snapshot.get('freshness', FRESHNESS_KEY);
  if (row === undefined) return false;
  core.verifyStart(row);
  let rows = 0;
  for (const table of COVERED) {
    for (const { key, value } of snapshot.range(table)) {
      core.verifyRow(TABLES[table], key, value);
      rows++;
      if (rows > mostAtOnce && rows % SLICE_ROWS === 0) {
        await clock.sleep(1);
        if (stopped()) return undefined;
      }
    }
  }
  return core.verifyEnd();
}
