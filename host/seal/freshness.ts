/**
 * No going back: every transaction of the store changes the freshness row with it, which seals the fingerprint of all
 * rows, the newest checkpoint of the audit log and lease time. Also recomputes the fingerprint at an unseal.
 */
import type { Core, FreshnessInfo } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import { type Change, type Put, type Reader, type Snapshot, TABLES, type Table, type Witness } from '../ports/store.ts';
import { FRESHNESS_KEY } from './rows.ts';

/** Rows that one slice of a long verification takes before requests have their turn. */
const SLICE_ROWS = 512;
const COVERED = (Object.keys(TABLES) as Table[]).filter((table) => table !== 'boot' && table !== 'freshness');

export interface Checkpoint {
  readonly size: number;
  readonly root: Uint8Array;
}

const NO_CHECKPOINT: Checkpoint = { size: 0, root: new Uint8Array(32) };

/** The store's witness. Made before the store is opened; follows only while the box is open. */
export class Freshness implements Witness {
  readonly #core: Core;
  readonly #lease: LeaseTime;
  #following = false;
  /** Rows of an initialisation that never finished are removed without keys. */
  #clearing = false;
  #checkpoint = NO_CHECKPOINT;
  #counters: Readonly<Record<string, number>> = {};

  constructor(core: Core, lease: LeaseTime) {
    this.#core = core;
    this.#lease = lease;
  }

  fold(changes: readonly Change[]): readonly Put[] {
    if (this.#clearing) return [];
    if (!this.#following || this.#core.sealed) throw new Fault('appliance.sealed', 'the box is sealed');
    try {
      for (const { table, key, before, after } of changes) this.#core.foldChange(TABLES[table], key, before, after);
      const value = this.#core.sealFreshness({
        counters: this.#counters,
        checkpointSize: this.#checkpoint.size,
        checkpointRoot: this.#checkpoint.root,
        timeHighWaterMs: this.#lease.nowMs(),
      });
      return [{ table: 'freshness', key: FRESHNESS_KEY, value }];
    } catch (error) {
      if (!this.#core.sealed) this.#core.discardFreshness();
      throw error;
    }
  }

  settled(committed: boolean): void {
    // A trap in between has sealed core: what it staged is gone with it.
    if (this.#clearing || this.#core.sealed) return;
    if (committed) this.#core.adoptFreshness();
    else this.#core.discardFreshness();
  }

  /** A new box: nothing lies in the store yet. */
  begin(): void {
    this.#checkpoint = NO_CHECKPOINT;
    this.#counters = {};
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
    this.#counters = info.counters;
    this.#following = true;
    return info;
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
