/** The lease service: issuing, finding, renewing and revoking what ends outside the box (core/spec/lease.md). */
import { retry } from '../barrier/barrier.ts';
import { expiryDelete, expiryKey, expiryPut } from '../barrier/expiry-row.ts';
import { capped } from '../duration.ts';
import { Fault, isFault } from '../fault.ts';
import type { Timer } from '../ports/clock.ts';
import type { MountInfo } from '../ports/engine.ts';
import type { LeaseBackend, Leases as LeasesPort, MadeLease, NewLease } from '../ports/leases.ts';
import type { Expectation, Put } from '../ports/store.ts';
import { within } from './deadline.ts';
import { Ending } from './ending.ts';
import type { Due } from './expiry.ts';
import { Issue, refuseWhileHeld } from './issue.ts';
import { Lanes } from './lanes.ts';
import type { LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import { Steps } from './steps.ts';
import { type FoundLease, LeaseTable, type Listed, WALK_ROWS } from './table.ts';

const TIMEOUT_MS = 10_000;
/** How long a caller waits until what it revoked is gone; it goes on without it. */
const SYNC_MS = 25_000;
const SWEEP_MS = 10_000;
const POLL_MS = 500;

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

export interface Revocation {
  /** The answer waits until the backend has said that it is gone. */
  readonly sync: boolean;
  /** The lease goes whatever the backend says. */
  readonly force: boolean;
}

const leaseOf = ({ record }: FoundLease): Lease => {
  const { id, issueMs, expireMs, lastRenewalMs, renewable } = record;
  return { id, path: rows.parentOf(id), issueMs, expireMs, lastRenewalMs, renewable };
};

export class Leases implements LeasesPort {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #lanes: Lanes;
  readonly #issue: Issue;
  readonly #backends = new Map<string, LeaseBackend>();
  readonly #timeoutMs: number;
  readonly #incarnation: string;
  #sweep: Timer | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  #open = false;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#timeoutMs = parts.timeoutMs ?? TIMEOUT_MS;
    this.#incarnation = parts.random.uuid();
    this.#table = new LeaseTable(parts.barrier, parts.clock);
    this.#steps = new Steps(parts.barrier, parts.hook);
    this.#lanes = new Lanes(parts, new Ending(parts, this.#table, this.#steps, this.#backends, this.#timeoutMs));
    this.#issue = new Issue({
      ...{ parts, table: this.#table, steps: this.#steps, timeoutMs: this.#timeoutMs, incarnation: this.#incarnation },
      backendOf: (type) => this.#backends.get(type),
      undo: (id, reason) => this.#undoUnderWay(id, reason),
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
    await this.sweep();
    this.#again();
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#sweep?.cancel();
    this.#sweep = undefined;
    await this.#sweeping;
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

  /** Marks intents of dead processes, and of this one past their deadline, to be undone. */
  async sweep(): Promise<void> {
    const now = this.#parts.barrier.lease.nowMs();
    for await (const { record } of this.#table.intents()) {
      const { undoing, incarnation, deadlineMs, id } = record;
      const dead = incarnation !== this.#incarnation;
      if (undoing || !(dead || deadlineMs <= now)) continue;
      await this.#undo(id, dead ? 'the process that made it is gone' : 'its making took too long');
    }
    // Lanes whose timers a jump of time or a hold has outrun.
    this.#lanes.start();
    await this.#parts.swept?.();
  }

  /** @throws Fault of the store */
  async #undo(id: string, reason: string): Promise<void> {
    const { barrier } = this.#parts;
    const key = this.#table.keys.intent(id);
    const lane = await retry(() =>
      this.#table.job(async (grant) => {
        const opened = this.#table.open(grant, key);
        if (opened === undefined) return undefined;
        const intent = rows.decodeIntent(opened.payload);
        const own = this.#table.keys.lane(intent.mount, intent.backend);
        if (intent.undoing) return own;
        const queued = { sinceMs: barrier.lease.nowMs(), reason, attempts: 0, fault: '' };
        const queueKey = rows.intentQueueKey(own, 0, this.#table.keys.entry(id));
        this.#parts.tell({ event: 'lease.undo', data: { lease_id: id, mount: intent.mount, reason }, urgent: true });
        await this.#steps.durable('undo.mark', {
          puts: [
            barrier.seal(grant, 'lease', key, rows.encodeIntent({ ...intent, undoing: true })),
            barrier.seal(grant, 'lease', queueKey, rows.encodeQueued(queued)),
          ],
          expect: [{ table: 'lease', key, is: opened.row }],
          urgent: true,
        });
        return own;
      }),
    );
    if (lane !== undefined) this.#lanes.wake(lane);
  }

  /** What cannot be marked now (a seal, a disk that is gone) the sweep finds, by its deadline or its dead process. */
  async #undoUnderWay(id: string, reason: string): Promise<void> {
    try {
      await this.#undo(id, reason);
    } catch (thrown) {
      if (!isFault(thrown)) throw thrown;
    }
  }

  // ------------------------------------------------------------------------------------------ one lease

  issue<T>(wanted: NewLease<T>): Promise<MadeLease<T>> {
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
      const { barrier, clock } = this.#parts;
      await this.#steps.outside('renew.tell', () =>
        barrier.job('lease', record.mount, (grant) =>
          within(clock, this.#timeoutMs, `the backend ${record.backend}`, () =>
            backend.renew(
              {
                ...{ mount: mount.info, backend: record.backend, timeoutMs: this.#timeoutMs },
                view: barrier.view(grant, record.mount),
              },
              { id, undo: record.undo },
              barrier.lease.wallOf(expireMs),
            ),
          ),
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

  /** Queues leases to be ended, durable. From then on no lookup or renewal finds them. */
  async #mark(leases: readonly FoundLease[], reason: string, force = false): Promise<void> {
    if (leases.length === 0) return;
    const lanes = await retry(() => this.#table.job((grant) => this.#markOnce(grant, leases, reason, force)));
    for (const lane of lanes.values()) this.#lanes.wake(lane);
  }

  async #markOnce(
    grant: number,
    leases: readonly FoundLease[],
    reason: string,
    force: boolean,
  ): Promise<Map<string, Buffer>> {
    const { barrier } = this.#parts;
    const puts: Put[] = [];
    const expect: Expectation[] = [];
    const lanes = new Map<string, Buffer>();
    for (const { directory, entry } of leases) {
      // Read anew: a renewal may have moved its end.
      const found = this.#table.at(grant, directory, entry);
      if (found === undefined) continue;
      const { record, key } = found;
      const lane = this.#table.keys.lane(record.mount, record.backend);
      const forced = force && record.force !== true;
      if (forced) puts.push(barrier.seal(grant, 'lease', key, rows.encodeLease({ ...record, force: true })));
      const queued = this.#table.isQueued(found);
      if (!queued) {
        const row = { sinceMs: barrier.lease.nowMs(), reason, attempts: 0, fault: '' };
        puts.push(
          expiryDelete(record.expireMs, 'lease', entry),
          barrier.seal(grant, 'lease', rows.queueKey({ lane, nextMs: 0, directory, entry }), rows.encodeQueued(row)),
        );
        if (record.token !== '') puts.push({ table: 'lease', key: rows.tokenKey(record.token, directory, entry) });
        expect.push({ table: 'expiry', key: expiryKey(record.expireMs, 'lease', entry), is: 'present' });
      }
      if (forced || !queued) {
        expect.push({ table: 'lease', key, is: found.row });
        lanes.set(lane.toString('latin1'), lane);
      }
    }
    if (puts.length > 0) {
      await this.#steps.durable(force ? 'revoke.force' : 'revoke.mark', { puts, expect, urgent: true });
    }
    return lanes;
  }

  /** Ends one lease; one that is not there is done. @throws Fault `database.unreachable`, `lease.held`: it is queued all the same */
  async revoke(id: string, { sync, force }: Revocation): Promise<void> {
    const find = (): Promise<FoundLease | undefined> => this.#table.job((grant) => this.#table.byId(grant, id));
    const found = await find();
    if (found === undefined) return;
    this.#hurry([found]);
    await this.#mark([found], 'revoked', force);
    if (sync) await this.#gone(find);
  }

  /** Ends every lease below a path. @param prefix  whole segments, with or without the last slash */
  async revokePrefix(prefix: string, { sync, force }: Revocation): Promise<void> {
    const path = prefix.replace(/\/+$/, '');
    if (path === '') throw new Fault('input.invalid', 'a prefix is needed: all leases of the box do not end at once');
    for await (const some of this.#table.below(path)) {
      this.#hurry(some);
      await this.#mark(some, 'revoked', force);
    }
    // A prefix may also be a whole id.
    await this.revoke(path, { sync, force });
    if (sync) await this.#gone(() => this.#firstQueued(path));
  }

  /** Leases of one mount or path that are being ended: undefined when none is. */
  async #firstQueued(path: string): Promise<FoundLease | undefined> {
    for await (const some of this.#table.below(path)) {
      const queued = some.find((lease) => this.#table.isQueued(lease));
      if (queued !== undefined) return queued;
    }
    return undefined;
  }

  #laneOf({ record }: FoundLease): Buffer {
    return this.#table.keys.lane(record.mount, record.backend);
  }

  /** Somebody asks for these now: what failed before does not count, and what waits for its time does not. */
  #hurry(leases: readonly FoundLease[]): void {
    const lanes = new Map<string, Buffer>();
    for (const lease of leases) {
      if (!this.#table.isQueued(lease)) continue;
      const lane = this.#laneOf(lease);
      this.#lanes.forget(lane, lease.entry);
      lanes.set(lane.toString('latin1'), lane);
    }
    for (const lane of lanes.values()) this.#lanes.wake(lane, true);
  }

  /** Waits until nothing is found any more. @throws Fault why it does not go */
  async #gone(find: () => Promise<FoundLease | undefined>): Promise<void> {
    const { clock, held } = this.#parts;
    const untilMs = clock.bootMs() + SYNC_MS;
    for (let lease = await find(); lease !== undefined; lease = await find()) {
      const { id } = lease.record;
      const reason = held();
      if (reason !== undefined) throw new Fault('lease.held', `${id} is queued and not ended yet: ${reason}`);
      const fault = this.#lanes.faultOf(this.#laneOf(lease), lease.entry);
      if (fault !== undefined) {
        throw new Fault('database.unreachable', `${id} could not be revoked and is tried again until it is: ${fault}`);
      }
      if (!this.#open || clock.bootMs() > untilMs) {
        throw new Fault('database.unreachable', `${id} is queued and not ended yet: it is tried until it is`);
      }
      await this.#lanes.progress(POLL_MS);
    }
  }

  /** The leases of a token are queued, durable; the token may go then. @param token id in hex */
  async revokeOfToken(token: string): Promise<void> {
    const prefix = rows.tokenPrefix(token);
    for (;;) {
      const found = [...this.#parts.barrier.store.range('lease', { prefix, limit: WALK_ROWS })];
      if (found.length === 0) return;
      const { leases, stale } = await this.#table.job((grant) => {
        const all = found.map(({ key }) => {
          const { directory, entry } = rows.pairOf(key);
          return { key, lease: this.#table.at(grant, directory, entry) };
        });
        return {
          leases: all.flatMap(({ lease }) => (lease === undefined ? [] : [lease])),
          stale: all.filter(({ lease }) => lease === undefined || this.#table.isQueued(lease)),
        };
      });
      if (stale.length > 0) {
        const puts = stale.map(({ key }): Put => ({ table: 'lease', key }));
        await this.#steps.durable('queue.clear', { puts, urgent: true });
      }
      await this.#mark(leases, 'its token ended');
    }
  }

  /** Leases whose time is over: they are queued, and the queues end them. For the expiry runner. */
  async due(dues: readonly Due[]): Promise<void> {
    const { barrier } = this.#parts;
    const { leases, stale } = await this.#table.job((grant) => {
      const leases: FoundLease[] = [];
      const stale: Due[] = [];
      for (const one of dues) {
        const directory = barrier.open(grant, 'expiry', one.key)?.payload;
        if (directory === undefined) continue;
        const found = this.#table.at(grant, Buffer.from(directory), Buffer.from(one.id));
        if (found?.record.expireMs === one.atMs) leases.push(found);
        else stale.push(one);
      }
      return { leases, stale };
    });
    if (stale.length > 0) {
      await this.#steps.durable('queue.clear', {
        puts: stale.map(({ key }) => ({ table: 'expiry', key })),
        expect: stale.map(({ key, row }) => ({ table: 'expiry', key, is: row })),
        urgent: true,
      });
    }
    if (leases.length === 0) return;
    this.#parts.tell({ event: 'lease.due', data: { count: leases.length }, urgent: true });
    await this.#mark(leases, 'its time was over');
  }

  /**
   * Ends what was made below a mount. Its storage may go when this returns true.
   *
   * @param wait  until everything is gone
   * @throws Fault why it does not go, if it was to wait
   */
  async leave(mount: Pick<MountInfo, 'id' | 'path'>, wait: boolean): Promise<boolean> {
    await this.revokePrefix(mount.path, { sync: wait, force: false });
    const untilMs = this.#parts.clock.bootMs() + SYNC_MS;
    // What is being made or undone needs the mount's storage too.
    while (await this.#isBusy(mount)) {
      if (!wait || !this.#open || this.#parts.clock.bootMs() > untilMs) return false;
      await this.#lanes.progress(POLL_MS);
    }
    return true;
  }

  async #isBusy({ id, path }: Pick<MountInfo, 'id' | 'path'>): Promise<boolean> {
    for await (const _ of this.#table.below(path.replace(/\/+$/, ''))) return true;
    for await (const intent of this.#table.intents()) if (intent.record.mount === id) return true;
    return false;
  }

  // ------------------------------------------------------------------------------------------ looking

  list(prefix: string): Promise<Listed> {
    return this.#table.list(prefix.replace(/\/+$/, ''));
  }

  /** Sentences for health: backends whose credentials cannot be ended now. */
  reasons(): string[] {
    return this.#lanes.troubles.map(
      ({ mount, backend, fault, failures }) =>
        `credentials of ${mount} at ${backend} cannot be ended (${failures} attempts): ${fault}`,
    );
  }
}
