/** Looking over all leases: how many, what is stuck, what nobody needs any more, and what no lease explains. */
import type { LeaseBackend } from '../ports/leases.ts';
import type { Put } from '../ports/store.ts';
import { type Calls, sentenceOf } from './calls.ts';
import type { Lanes } from './lanes.ts';
import type { Backends, LeaseMount, LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import type { Steps } from './steps.ts';
import type { FoundLease, LeaseTable } from './table.ts';

/** Stuck ones that one answer names. */
const STUCK_MAX = 10_000;
/** Queued rows that a figure counts. */
const ENDING_MAX = 10_000;
/** A read of all names of a server takes longer than one change. */
const STRANGERS_FACTOR = 6;

export interface StuckLease {
  readonly id: string;
  /** Mount id in hex. */
  readonly mount: string;
  /** Lease time in ms since which it is queued. */
  readonly sinceMs: number;
  readonly attempts: number;
  readonly fault: string;
}

export interface Stuck {
  readonly count: number;
  /** By mount id. */
  readonly counts: ReadonlyMap<string, number>;
  /** The first 10,000. */
  readonly leases: readonly StuckLease[];
}

export interface Tidied {
  /** Leases without their token: queued to be ended. */
  readonly leases: number;
  /** Rows that named no lease. */
  readonly rows: number;
}

export interface Reconciled {
  /** Path. */
  readonly mount: string;
  readonly backend: string;
  readonly strangers: readonly string[];
  /** Why it could not be asked; undefined: it was. */
  readonly fault?: string;
}

export class Survey {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #lanes: Lanes;
  readonly #backends: Backends;
  readonly #calls: Calls;

  constructor(parts: LeaseParts, table: LeaseTable, steps: Steps, lanes: Lanes, backends: Backends, calls: Calls) {
    this.#parts = parts;
    this.#table = table;
    this.#steps = steps;
    this.#lanes = lanes;
    this.#backends = backends;
    this.#calls = calls;
  }

  async count(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for await (const some of this.#table.below('')) {
      for (const { record } of some) counts.set(record.mount, (counts.get(record.mount) ?? 0) + 1);
    }
    return counts;
  }

  ending(): number {
    let count = 0;
    for (const _ of this.#parts.barrier.store.range('lease', { prefix: rows.QUEUED, limit: ENDING_MAX })) count++;
    return count;
  }

  async stuck(): Promise<Stuck> {
    const counts = new Map<string, number>();
    const leases: StuckLease[] = [];
    let count = 0;
    for await (const { key, payload } of this.#table.rows(rows.QUEUED)) {
      const parsed = rows.parseQueueKey(key);
      const { sinceMs, attempts, fault } = rows.decodeQueued(payload);
      const why = fault !== '' ? fault : this.#lanes.faultOf(parsed.lane, parsed.entry);
      if (why === undefined) continue;
      const found = await this.#named(parsed);
      if (found === undefined) continue;
      count++;
      counts.set(found.mount, (counts.get(found.mount) ?? 0) + 1);
      if (leases.length < STUCK_MAX) leases.push({ ...found, sinceMs, attempts, fault: why });
    }
    return { count, counts, leases };
  }

  /** A lease or an intent by its queued row. */
  #named(parsed: rows.QueuedKey): Promise<{ readonly id: string; readonly mount: string } | undefined> {
    return this.#table.job((grant) => {
      if (!rows.isIntent(parsed)) {
        const record = this.#table.at(grant, parsed.directory, parsed.entry)?.record;
        return record === undefined ? undefined : { id: record.id, mount: record.mount };
      }
      const opened = this.#table.open(grant, rows.intentKey(parsed.entry));
      if (opened === undefined) return undefined;
      const { id, mount } = rows.decodeIntent(opened.payload);
      return { id, mount };
    });
  }

  async tidy(queue: (leases: readonly FoundLease[]) => Promise<void>): Promise<Tidied> {
    const { store } = this.#parts.barrier;
    let leases = 0;
    for await (const some of this.#table.below('')) {
      const orphans = some.filter(
        (lease) =>
          lease.record.token !== '' &&
          !this.#table.isQueued(lease) &&
          store.get('token', Buffer.from(lease.record.token, 'hex')) === undefined,
      );
      leases += orphans.length;
      await queue(orphans);
    }
    let cleared = 0;
    for await (const { key } of this.#table.rows(rows.OF_TOKENS)) {
      const { directory, entry } = rows.pairOf(key);
      const lease = rows.leaseKey(directory, entry);
      if (store.get('lease', lease) !== undefined) continue;
      const puts: Put[] = [{ table: 'lease', key }];
      await this.#steps.durable('tidy.clear', { puts, expect: [{ table: 'lease', key: lease, is: 'absent' }] });
      cleared++;
    }
    if (leases + cleared > 0) this.#parts.tell({ event: 'lease.tidied', data: { leases, rows: cleared } });
    return { leases, rows: cleared };
  }

  async reconcile(): Promise<readonly Reconciled[]> {
    const found: Reconciled[] = [];
    for (const info of this.#parts.mounts()) {
      const backend = this.#backends.get(info.coreType);
      const mount = backend === undefined ? undefined : await this.#parts.mount(info.id);
      if (backend === undefined || mount === undefined) continue;
      for (const name of await this.#names(mount, backend)) found.push(await this.#reconcile(mount, backend, name));
    }
    return found;
  }

  #names({ info }: LeaseMount, backend: LeaseBackend): Promise<readonly string[]> {
    const { barrier } = this.#parts;
    return barrier.job('lease', info.id, (grant) =>
      backend.backends({ mount: info, view: barrier.view(grant, info.id) }),
    );
  }

  async #reconcile(mount: LeaseMount, backend: LeaseBackend, name: string): Promise<Reconciled> {
    const where = { mount: mount.info.path, backend: name };
    try {
      const strangers = await this.#steps.outside('reconcile.strangers', () =>
        this.#calls.backend(
          mount,
          name,
          (context) => backend.strangers(context, this.#table.known()),
          STRANGERS_FACTOR,
        ),
      );
      return { ...where, strangers };
    } catch (thrown) {
      // One backend that does not answer does not hide what the others have.
      return { ...where, strangers: [], fault: sentenceOf(thrown) };
    }
  }
}
