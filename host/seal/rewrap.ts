/**
 * Moves every row to the newest epoch and forgets the epochs that no row uses any more. Resumable without a note of its
 * own: a keyring with more than one epoch says that there is work, and a row says its epoch.
 */
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import { type Expectation, type Put, type Row, type Store, TABLES, type Table } from '../ports/store.ts';
import type { Counters } from './counters.ts';
import type { Freshness } from './freshness.ts';
import { epochOf, GRANT_MS, KEYRING_KEY } from './rows.ts';

/** Rows that are sealed anew in one commit; requests have their turn in between. */
const BATCH_ROWS = 128;
/** Tables whose rows carry the epoch of a data key. The keyring is sealed by the root; the freshness row is written with every commit. */
const TABLES_OF_ROWS = (Object.keys(TABLES) as Table[]).filter(
  (table) => table !== 'boot' && table !== 'keyring' && table !== 'freshness',
);

export interface RewrapParts {
  readonly core: Core;
  readonly store: Store;
  readonly freshness: Freshness;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly lease: LeaseTime;
  /** How long a request may hold a row that it sealed before a rotation and has not committed. */
  readonly settleMs: number;
  readonly note: (event: string, data: Readonly<Record<string, string | number>>) => void;
}

export interface RewrapProgress {
  /** Rows sealed anew since the work began. */
  readonly moved: number;
  /** Epochs that rows may still use, beside the newest. */
  readonly epochs: readonly number[];
}

export class Rewrap {
  readonly #parts: RewrapParts;
  #moved = 0;

  constructor(parts: RewrapParts) {
    this.#parts = parts;
  }

  get progress(): RewrapProgress {
    const { core } = this.#parts;
    if (core.sealed) return { moved: this.#moved, epochs: [] };
    return { moved: this.#moved, epochs: this.#old() };
  }

  /**
   * Works until only the newest epoch is left, or `stopped` says so.
   *
   * @param changeKeys  runs a change of the keyring, one at a time
   * @throws Fault `barrier.refused` a row does not open: its epoch stays, and so does everything that uses it
   */
  async run(changeKeys: (work: () => Promise<void>) => Promise<void>, stopped: () => boolean): Promise<void> {
    const { clock, settleMs, note } = this.#parts;
    this.#moved = 0;
    while (!stopped()) {
      const old = this.#old();
      if (old.length === 0) return;
      const newest = this.#parts.core.keyringInfo().epoch;
      await this.#pass(stopped);
      if (!stopped()) await clock.sleep(settleMs);
      if (stopped()) return;
      // What came in since: rows that were sealed before the rotation and committed after it. From here on there are none.
      this.#parts.freshness.closeEpochs();
      await this.#pass(stopped);
      for (const epoch of old) {
        if (stopped() || epoch >= newest) break;
        await changeKeys(() => this.#retire(epoch));
      }
      if (!stopped() && this.#old().length === 0) note('keys.rewrapped', { rows: this.#moved, epoch: newest });
    }
  }

  #old(): readonly number[] {
    const { epoch, epochs } = this.#parts.core.keyringInfo();
    return epochs.map((one) => one.epoch).filter((one) => one !== epoch);
  }

  async #pass(stopped: () => boolean): Promise<void> {
    const { store, clock } = this.#parts;
    for (const table of TABLES_OF_ROWS) {
      let from: Uint8Array = new Uint8Array(0);
      for (;;) {
        if (stopped()) return;
        const rows = [...store.range(table, { from, limit: BATCH_ROWS })];
        await this.#move(table, rows);
        const last = rows.at(-1);
        if (last === undefined || rows.length < BATCH_ROWS) break;
        // The next key after it: the same bytes and a zero.
        from = Buffer.concat([last.key, Buffer.of(0)]);
        await clock.sleep(1);
      }
    }
  }

  /** Seals rows of one table anew. A row that somebody else wrote meanwhile has the newest epoch, and is left to them. */
  async #move(table: Table, rows: readonly Row[]): Promise<void> {
    const { store } = this.#parts;
    const { puts, expect } = this.#sealed(table, rows);
    if (puts.length === 0) return;
    try {
      await store.commit({ puts, expect });
      this.#moved += puts.length;
    } catch (error) {
      if (!isFault(error, 'store.conflict')) throw error;
      if (rows.length === 1) return;
      for (const row of rows) await this.#move(table, [row]);
    }
  }

  #sealed(
    table: Table,
    rows: readonly Row[],
  ): { readonly puts: readonly Put[]; readonly expect: readonly Expectation[] } {
    const { core, lease } = this.#parts;
    const { epoch } = core.keyringInfo();
    const old = rows.filter(({ value }) => epochOf(value) !== epoch);
    if (old.length === 0) return { puts: [], expect: [] };
    const now = lease.nowMs();
    const grant = core.systemGrant('rewrap', undefined, now, now + GRANT_MS);
    try {
      const puts = old.map(({ key, value }): Put => {
        const moved = core.reseal(grant, TABLES[table], key, value);
        return { table, key, value: moved ?? value };
      });
      return { puts, expect: old.map(({ key, value }): Expectation => ({ table, key, is: value })) };
    } finally {
      core.endGrant(grant);
    }
  }

  /** Forgets an epoch's key, if a count over every row proves that none uses it. */
  async #retire(epoch: number): Promise<void> {
    const { core, store, freshness, counters, clock, note } = this.#parts;
    const ring = store.get('keyring', KEYRING_KEY);
    if (core.sealed || ring === undefined) return;
    const expected = Uint8Array.from(ring);
    {
      using snapshot = store.snapshot();
      let seen = 0;
      for (const table of TABLES_OF_ROWS) {
        for (const { value } of snapshot.range(table)) {
          if (epochOf(value) === epoch) return;
          seen++;
          if (seen % 4096 === 0) await clock.sleep(1);
        }
      }
    }
    if (core.sealed) throw new Fault('appliance.sealed', 'the box is sealed');
    await counters.changeKeys((more) => {
      const value = Buffer.from(core.stageKeyring({ retireEpoch: epoch, nowMs: clock.wallMs() }));
      return freshness.carryStaged(() =>
        store.commit({
          puts: [{ table: 'keyring', key: KEYRING_KEY, value }, ...more],
          expect: [{ table: 'keyring', key: KEYRING_KEY, is: expected }],
        }),
      );
    });
    note('keys.retired', { epoch });
  }
}
