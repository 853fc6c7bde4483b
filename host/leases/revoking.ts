/** Ending leases: they are queued, durable, and the lanes end them. */
import { retry } from '../barrier/barrier.ts';
import { expiryDelete, expiryKey } from '../barrier/expiry-row.ts';
import { Fault } from '../fault.ts';
import type { MountInfo } from '../ports/engine.ts';
import type { Expectation, Put } from '../ports/store.ts';
import type { Due } from './expiry.ts';
import type { Lanes } from './lanes.ts';
import type { LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import type { Spares } from './spares.ts';
import type { Steps } from './steps.ts';
import { type FoundLease, type LeaseTable, turns, WALK_ROWS } from './table.ts';

/** How long a caller waits until what it revoked is gone; it goes on without it. */
const SYNC_MS = 25_000;
const POLL_MS = 500;

export interface Revocation {
  /** The answer waits until the backend has said that it is gone. */
  readonly sync: boolean;
  /** The lease goes whatever the backend says. */
  readonly force: boolean;
}

export class Revoking {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #lanes: Lanes;
  readonly #spares: Spares;

  constructor(parts: LeaseParts, table: LeaseTable, steps: Steps, lanes: Lanes, spares: Spares) {
    this.#parts = parts;
    this.#table = table;
    this.#steps = steps;
    this.#lanes = lanes;
    this.#spares = spares;
  }

  /** Queues leases to be ended, durable. From then on no lookup or renewal finds them. */
  queue(leases: readonly FoundLease[], reason: string): Promise<void> {
    return this.#mark(leases, reason);
  }

  async #mark(leases: readonly FoundLease[], reason: string, force = false): Promise<void> {
    // A commit a part: while the disk is waited for, others have their turn.
    for (const some of turns(leases)) {
      const lanes = await retry(() => this.#table.job((grant) => this.#markOnce(grant, some, reason, force)));
      for (const lane of lanes.values()) this.#lanes.wake(lane);
    }
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
    await this.#table.each(leases, ({ directory, entry }) => {
      // Read anew: a renewal may have moved its end.
      const found = this.#table.at(grant, directory, entry);
      if (found === undefined) return;
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
    });
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
    const hurry = this.#hurry([found]);
    await this.#mark([found], 'revoked', force);
    hurry();
    if (sync) await this.#gone(find);
  }

  /** Ends every lease below a path. @param prefix  whole segments, with or without the last slash */
  async revokePrefix(prefix: string, { sync, force }: Revocation): Promise<void> {
    const path = prefix.replace(/\/+$/, '');
    if (path === '') throw new Fault('input.invalid', 'a prefix is needed: all leases of the box do not end at once');
    for await (const some of this.#table.below(path)) {
      const hurry = this.#hurry(some);
      await this.#mark(some, 'revoked', force);
      hurry();
    }
    // A prefix may also be a whole id.
    await this.revoke(path, { sync, force });
    if (force) await this.#forceIntents(path);
    if (sync) await this.#gone(() => this.#queuedBelow(path));
  }

  /** What is being undone below a path goes too, whatever its backend says: else a dead one would hold its mount for ever. */
  async #forceIntents(path: string): Promise<void> {
    const { barrier } = this.#parts;
    for await (const { record } of this.#table.intents()) {
      if (!record.undoing || !record.id.startsWith(`${path}/`)) continue;
      const key = this.#table.keys.intent(record.id);
      await retry(() =>
        this.#table.job(async (grant) => {
          const opened = this.#table.open(grant, key);
          if (opened === undefined) return;
          const forced = rows.encodeIntent({ ...rows.decodeIntent(opened.payload), force: true });
          await this.#steps.durable('revoke.force', {
            puts: [barrier.seal(grant, 'lease', key, forced)],
            expect: [{ table: 'lease', key, is: opened.row }],
            urgent: true,
          });
        }),
      );
      this.#lanes.wake(this.#table.keys.lane(record.mount, record.backend), 'all');
    }
  }

  /** A lease below a path that is being ended, one of the last of its turn; undefined when none is. */
  async #queuedBelow(path: string): Promise<FoundLease | undefined> {
    for await (const some of this.#table.below(path)) {
      const queued = some.findLast((lease) => this.#table.isQueued(lease));
      if (queued !== undefined) return queued;
    }
    return undefined;
  }

  #laneOf({ record }: FoundLease): Buffer {
    return this.#table.keys.lane(record.mount, record.backend);
  }

  /**
   * Somebody asks for these now: what failed before does not count, and nothing waits for its time.
   *
   * @returns what wakes their lanes, once they are marked
   */
  #hurry(leases: readonly FoundLease[]): () => void {
    const lanes = new Map<string, { readonly lane: Buffer; queued: boolean }>();
    for (const lease of leases) {
      const lane = this.#laneOf(lease);
      this.#lanes.forget(lane, lease.entry);
      const known = lanes.get(lane.toString('latin1')) ?? { lane, queued: false };
      known.queued ||= this.#table.isQueued(lease);
      lanes.set(lane.toString('latin1'), known);
    }
    return () => {
      for (const { lane, queued } of lanes.values()) this.#lanes.wake(lane, queued ? 'all' : 'now');
    };
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
      if (!this.#lanes.isOpen || clock.bootMs() > untilMs) {
        throw new Fault('database.unreachable', `${id} is queued and not ended yet: it is tried until it is`);
      }
      const { key } = lease;
      // Looked at again when this one is gone, or something is in its way.
      do await this.#lanes.progress(POLL_MS);
      while (this.#isWaiting(lease, key, untilMs));
    }
  }

  #isWaiting(lease: FoundLease, key: Buffer, untilMs: number): boolean {
    const { barrier, clock, held } = this.#parts;
    if (!this.#lanes.isOpen || held() !== undefined || clock.bootMs() > untilMs) return false;
    const fault = this.#lanes.faultOf(this.#laneOf(lease), lease.entry);
    return fault === undefined && barrier.store.get('lease', key) !== undefined;
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
    for (const some of turns(dues)) await this.#dueOf(some);
  }

  async #dueOf(dues: readonly Due[]): Promise<void> {
    const { barrier } = this.#parts;
    const leases: FoundLease[] = [];
    const stale: Due[] = [];
    await this.#table.job((grant) =>
      this.#table.each(dues, (one) => {
        const directory = barrier.open(grant, 'expiry', one.key)?.payload;
        if (directory === undefined) return;
        const found = this.#table.at(grant, Buffer.from(directory), Buffer.from(one.id));
        if (found?.record.expireMs === one.atMs) leases.push(found);
        else stale.push(one);
      }),
    );
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
      if (!wait || !this.#lanes.isOpen || this.#parts.clock.bootMs() > untilMs) return false;
      await this.#lanes.progress(POLL_MS);
    }
    return true;
  }

  async #isBusy({ id, path }: Pick<MountInfo, 'id' | 'path'>): Promise<boolean> {
    // At each look: what was under way may have put one by.
    await this.#spares.leave(id);
    for await (const _ of this.#table.below(path.replace(/\/+$/, ''))) return true;
    for await (const intent of this.#table.intents()) if (intent.record.mount === id) return true;
    return false;
  }
}
