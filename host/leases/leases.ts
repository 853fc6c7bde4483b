/** The lease service: issuing, finding, renewing and revoking what ends outside the box (core/spec/lease.md). */
import { retry } from '../barrier/barrier.ts';
import { expiryDelete, expiryKey, expiryPut } from '../barrier/expiry-row.ts';
import { capped } from '../duration.ts';
import { Fault, isFault } from '../fault.ts';
import type { Timer } from '../ports/clock.ts';
import type { MountInfo } from '../ports/engine.ts';
import type { LeaseBackend, Leases as LeasesPort, MadeLease, NewLease } from '../ports/leases.ts';
import type { Put } from '../ports/store.ts';
import { Calls } from './calls.ts';
import { Ending } from './ending.ts';
import type { Due } from './expiry.ts';
import { Issue, refuseWhileHeld } from './issue.ts';
import { Lanes } from './lanes.ts';
import type { LeaseParts } from './parts.ts';
import { type Revocation, Revoking } from './revoking.ts';
import * as rows from './row.ts';
import { Spares } from './spares.ts';
import { Steps } from './steps.ts';
import { type Reconciled, type Stuck, Survey, type Tidied } from './survey.ts';
import { type FoundLease, LeaseTable, type Listed } from './table.ts';
import { Undoing } from './undoing.ts';

const TIMEOUT_MS = 10_000;
const SWEEP_MS = 10_000;

export interface Lease {
  readonly id: string;
  /** Request path that it was made at. */
  readonly path: string;
  /** Milliseconds of lease time. */
  readonly issueMs: number;
  readonly expireMs: number;
  /** 0: not renewed yet. */
  readonly lastRenewalMs: number;
  readonly renewable: boolean;
}

export interface RenewedLease {
  readonly id: string;
  readonly renewable: boolean;
  readonly durationSeconds: number;
  readonly warnings: readonly string[];
}

export type { Revocation } from './revoking.ts';

const leaseOf = ({ record }: FoundLease): Lease => {
  const { id, issueMs, expireMs, lastRenewalMs, renewable } = record;
  return { id, path: rows.parentOf(id), issueMs, expireMs, lastRenewalMs, renewable };
};

export class Leases implements LeasesPort {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #lanes: Lanes;
  readonly #spares: Spares;
  readonly #issue: Issue;
  readonly #revoking: Revoking;
  readonly #undoing: Undoing;
  readonly #survey: Survey;
  readonly #backends = new Map<string, LeaseBackend>();
  readonly #calls: Calls;
  readonly #incarnation: string;
  #sweep: Timer | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  #open = false;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#calls = new Calls(parts, parts.timeoutMs ?? TIMEOUT_MS);
    this.#incarnation = parts.random.uuid();
    this.#table = new LeaseTable(parts.barrier, parts.clock);
    this.#steps = new Steps(parts.barrier, parts.hook);
    this.#lanes = new Lanes(parts, new Ending(parts, this.#table, this.#steps, this.#backends, this.#calls));
    this.#survey = new Survey(parts, this.#table, this.#steps, this.#lanes, this.#backends, this.#calls);
    this.#spares = new Spares(parts.clock, this.#steps);
    this.#revoking = new Revoking(parts, this.#table, this.#steps, this.#lanes, this.#spares);
    this.#undoing = new Undoing(parts, this.#table, this.#steps, this.#lanes, this.#incarnation);
    this.#issue = new Issue({
      ...{ parts, table: this.#table, steps: this.#steps, calls: this.#calls, spares: this.#spares },
      incarnation: this.#incarnation,
      backendOf: (type) => this.#backends.get(type),
      undo: (id, reason) => this.#undoing.undoUnderWay(id, reason),
    });
  }

  backend(coreType: string, backend: LeaseBackend): void {
    if (this.#backends.has(coreType)) throw new Error(`two engines end the leases of ${coreType}`);
    this.#backends.set(coreType, backend);
  }

  // ------------------------------------------------------------------------------------------ the life of the box

  /** Goes on with what is queued, and undoes what earlier processes left half done. */
  async open(): Promise<void> {
    this.#open = true;
    this.#calls.resume();
    this.#spares.start();
    this.#lanes.start();
    try {
      await this.sweep();
    } catch (thrown) {
      // A disk that takes no writes: the box opens for reads, and what is left behind is met by the next sweep.
      if (!isFault(thrown)) throw thrown;
    }
    this.#again();
  }

  /** The box closes: no request waits for a backend any more. */
  halt(): void {
    this.#calls.halt();
    this.#lanes.halt();
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#sweep?.cancel();
    this.#sweep = undefined;
    this.halt();
    await this.#sweeping;
    await this.#spares.close();
    await this.#lanes.stop();
  }

  #again(): void {
    if (!this.#open) return;
    this.#sweep = this.#parts.clock.after(SWEEP_MS, () => {
      // What fails here (a full disk, a seal) is met again by the next sweep.
      this.#sweeping = this.sweep().then(
        () => this.#again(),
        () => this.#again(),
      );
    });
  }

  /** What time, a crash or a hold has left behind: intents to undo, lanes to go on with. Runs every ten seconds. */
  async sweep(): Promise<void> {
    await this.#spares.sweep();
    await this.#undoing.sweep();
    // Lanes whose timers a jump of time or a hold has outrun.
    this.#lanes.look();
    await this.#parts.swept?.();
  }

  // ------------------------------------------------------------------------------------------ one lease

  issue<T, P extends Disposable>(wanted: NewLease<T, P>): Promise<MadeLease<T>> {
    return this.#issue.issue(wanted);
  }

  /** One that is honoured now: not over, not being ended. */
  async lookup(id: string): Promise<Lease | undefined> {
    const found = await this.#table.job((grant) => this.#table.byId(grant, id));
    if (found === undefined || found.record.expireMs <= this.#parts.barrier.lease.nowMs()) return undefined;
    return this.#table.isQueued(found) ? undefined : leaseOf(found);
  }

  /** @param increment  seconds; 0: as long as at its issue. @throws Fault `input.invalid` in Vault's words; `lease.held` */
  async renew(id: string, increment: number): Promise<RenewedLease> {
    refuseWhileHeld(this.#parts);
    return await retry(async () => {
      const found = await this.#table.job((grant) => this.#table.byId(grant, id));
      if (found === undefined || this.#table.isQueued(found)) throw new Fault('input.invalid', 'lease not found');
      const { record } = found;
      const nowMs = this.#parts.barrier.lease.nowMs();
      if (record.expireMs <= nowMs) throw new Fault('input.invalid', 'lease expired');
      if (!record.renewable) throw new Fault('input.invalid', 'lease is not renewable');
      const mount = await this.#parts.mount(record.mount);
      const backend = mount === undefined ? undefined : this.#backends.get(mount.info.coreType);
      if (mount === undefined || backend === undefined) throw new Fault('input.invalid', 'lease not found');
      const wanted = increment > 0 ? increment : record.ttl;
      const { maxTtl } = this.#parts.ttls(mount.info);
      const most = record.maxTtl > 0 ? Math.min(record.maxTtl, maxTtl) : maxTtl;
      const endMs = record.issueMs + most * 1000;
      const limitMs = record.endMs > 0 ? Math.min(endMs, record.endMs) : endMs;
      const expireMs = Math.min(nowMs + wanted * 1000, limitMs);
      // A maximum that was lowered since: it ends when it was to, and not later.
      if (expireMs <= nowMs) throw new Fault('input.invalid', 'the lease has reached its maximum: ask for a new one');
      const left = Math.floor((limitMs - nowMs) / 1000);
      const { lease } = this.#parts.barrier;
      await this.#steps.outside('renew.tell', () =>
        this.#calls.backend(mount, record.backend, (context) =>
          backend.renew(context, { id, undo: record.undo }, lease.wallOf(expireMs)),
        ),
      );
      await this.#table.job((grant) => this.#renewed(grant, found, { ...record, expireMs, lastRenewalMs: nowMs }));
      return {
        ...{ id, renewable: record.renewable, durationSeconds: Math.floor((expireMs - nowMs) / 1000) },
        warnings: wanted > left ? [capped(wanted, left)] : [],
      };
    });
  }

  async #renewed(grant: number, found: FoundLease, record: rows.LeaseRecord): Promise<void> {
    const { barrier } = this.#parts;
    const { key, directory, entry } = found;
    const before = found.record.expireMs;
    const puts: Put[] = [barrier.seal(grant, 'lease', key, rows.encodeLease(record))];
    if (before !== record.expireMs) {
      puts.push(expiryDelete(before, 'lease', entry));
      puts.push(expiryPut(barrier, grant, record.expireMs, 'lease', entry, directory));
    }
    await this.#steps.durable('renew.lease', {
      puts,
      expect: [
        { table: 'lease', key, is: found.row },
        // Queued to be ended meanwhile: then its row of table expiry is gone.
        { table: 'expiry', key: expiryKey(before, 'lease', entry), is: 'present' },
      ],
    });
  }

  // ------------------------------------------------------------------------------------------ revoking

  revoke(id: string, how: Revocation): Promise<void> {
    return this.#revoking.revoke(id, how);
  }

  revokePrefix(prefix: string, how: Revocation): Promise<void> {
    return this.#revoking.revokePrefix(prefix, how);
  }

  /** @param token id in hex */
  revokeOfToken(token: string): Promise<void> {
    return this.#revoking.revokeOfToken(token);
  }

  due(dues: readonly Due[]): Promise<void> {
    return this.#revoking.due(dues);
  }

  leave(mount: Pick<MountInfo, 'id' | 'path'>, wait: boolean): Promise<boolean> {
    return this.#revoking.leave(mount, wait);
  }

  // ------------------------------------------------------------------------------------------ looking

  list(prefix: string): Promise<Listed> {
    return this.#table.list(prefix.replace(/\/+$/, ''));
  }

  /** Leases by mount id, those that are being ended too. */
  count(): Promise<ReadonlyMap<string, number>> {
    return this.#survey.count();
  }

  /** What could not be ended yet, and why. */
  stuck(): Promise<Stuck> {
    return this.#survey.stuck();
  }

  /** Ends leases whose token is not there any more, and clears rows that name nothing. */
  tidy(): Promise<Tidied> {
    return this.#survey.tidy((leases) => this.#revoking.queue(leases, 'its token is gone'));
  }

  /** Names on the backends that no lease explains. */
  reconcile(): Promise<readonly Reconciled[]> {
    return this.#survey.reconcile();
  }

  /** What is queued to be ended, counted up to a limit. */
  get ending(): number {
    return this.#survey.ending();
  }

  /** Backends that do not answer. */
  get troubles(): number {
    return this.#lanes.troubles;
  }

  /** Sentences for health, which anybody may read: they name no mount, no server, and nothing that a server said. */
  reasons(): string[] {
    const counted = (what: string, many: number): string[] =>
      many === 0 ? [] : [`${what}: ${many}; \`holdfast lease stuck\` says which and why`];
    return [
      ...counted('backends whose credentials cannot be ended now', this.troubles),
      ...counted('credentials that could not be ended yet', this.#lanes.refused),
    ];
  }
}
