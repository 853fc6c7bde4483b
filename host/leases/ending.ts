/** Ending one batch of what is queued: the backend ends it, is asked whether it is gone, and only then the rows go. */
import { retry } from '../barrier/barrier.ts';
import { isFault } from '../fault.ts';
import type { BackendContext, Ended, LeaseBackend, Undo } from '../ports/leases.ts';
import type { Put } from '../ports/store.ts';
import { backoffMs, type Calls, sentenceOf } from './calls.ts';
import type { Backends, LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import type { Steps } from './steps.ts';
import { type FoundLease, type LeaseTable, turns } from './table.ts';

/** Credentials of one call at most, whatever the backend takes: their rows go in one commit. */
export const BATCH_MAX = 256;

export interface Failure {
  readonly entry: Uint8Array;
  readonly fault: string;
}

export interface Batch {
  /** Undefined: nobody can end it now. */
  readonly server: LeaseBackend | undefined;
  /** @returns what could not be ended. @throws what the backend as a whole throws: all of it is tried again */
  readonly run: () => Promise<readonly Failure[]>;
}

type Call = <T>(work: (context: BackendContext) => Promise<T>) => Promise<T>;
interface Failed {
  readonly item: Queued;
  readonly fault: string;
}

interface Queued {
  readonly key: Uint8Array;
  readonly parsed: rows.QueuedKey;
  readonly queued: rows.QueuedRecord;
  readonly undo: Undo;
  readonly lease?: FoundLease;
  readonly intent?: rows.IntentRecord;
}

const isForced = ({ lease, intent }: Queued): boolean => (lease?.record ?? intent)?.force === true;

export class Ending {
  readonly #parts: LeaseParts;
  readonly #table: LeaseTable;
  readonly #steps: Steps;
  readonly #backends: Backends;
  readonly #calls: Calls;

  constructor(parts: LeaseParts, table: LeaseTable, steps: Steps, backends: Backends, calls: Calls) {
    this.#parts = parts;
    this.#table = table;
    this.#steps = steps;
    this.#backends = backends;
    this.#calls = calls;
  }

  get #now(): number {
    return this.#parts.barrier.lease.nowMs();
  }

  // ------------------------------------------------------------------------------------------ one batch

  /** @param keys  of one lane: leases alone or intents alone. @returns undefined if none of them names anything any more */
  async prepare(keys: readonly Uint8Array[]): Promise<Batch | undefined> {
    const { found, stale } = await this.#read(keys);
    if (stale.length > 0) {
      await this.#steps.durable('queue.clear', { puts: stale.map((key) => ({ table: 'lease', key })), urgent: true });
    }
    const [first] = found;
    const subject = first?.lease?.record ?? first?.intent;
    if (first === undefined || subject === undefined) return undefined;
    const mount = await this.#parts.mount(subject.mount);
    const server = mount === undefined ? undefined : this.#backends.get(mount.info.coreType);
    if (mount === undefined || server === undefined) {
      const fault =
        mount === undefined ? 'its mount is gone' : `no engine of this box ends credentials of ${mount.info.path}`;
      const run = async (): Promise<readonly Failure[]> => {
        await this.#forget(found.filter(isForced), fault);
        return await this.#later(found.filter((item) => !isForced(item)).map((item) => ({ item, fault })));
      };
      return { server: undefined, run };
    }
    const call: Call = (work) => this.#calls.backend(mount, subject.backend, work);
    const run = async (): Promise<readonly Failure[]> => {
      try {
        if (first.lease === undefined) return await this.#undoIntents(found, server, call);
        return await this.#endLeases(found, server, call);
      } catch (thrown) {
        if (isFault(thrown, 'appliance.sealed')) throw thrown;
        // Whoever forces wants it to go though its backend is dead.
        if (!(isFault(thrown) && thrown.code.startsWith('store.')))
          await this.#forget(found.filter(isForced), sentenceOf(thrown));
        // Alone in its call and still in trouble: the others of the lane go before it next time.
        if (keys.length === 1 && !isForced(first)) await this.#later([{ item: first, fault: sentenceOf(thrown) }]);
        throw thrown;
      }
    };
    return { server, run };
  }

  async #read(keys: readonly Uint8Array[]): Promise<{ readonly found: Queued[]; readonly stale: Uint8Array[] }> {
    const found: Queued[] = [];
    const stale: Uint8Array[] = [];
    await this.#table.job((grant) =>
      this.#table.each(keys, (key) => {
        const item = this.#readOne(grant, key);
        if (item === 'stale') stale.push(key);
        else if (item !== undefined) found.push(item);
      }),
    );
    return { found, stale };
  }

  /** @returns undefined: it is not queued any more; `stale`: what is queued is there no more */
  #readOne(grant: number, key: Uint8Array): Queued | 'stale' | undefined {
    const opened = this.#table.open(grant, key);
    if (opened === undefined) return undefined;
    const parsed = rows.parseQueueKey(key);
    const queued = rows.decodeQueued(opened.payload);
    if (rows.isIntent(parsed)) {
      const own = this.#table.open(grant, rows.intentKey(parsed.entry));
      if (own === undefined) return 'stale';
      const intent = rows.decodeIntent(own.payload);
      return { key, parsed, queued, intent, undo: { id: intent.id, undo: intent.undo } };
    }
    const lease = this.#table.at(grant, parsed.directory, parsed.entry);
    if (lease === undefined) return 'stale';
    return { key, parsed, queued, lease, undo: { id: lease.record.id, undo: lease.record.undo } };
  }

  async #endLeases(found: readonly Queued[], backend: LeaseBackend, call: Call): Promise<readonly Failure[]> {
    const outcomes = await this.#ended('revoke', found, backend, call);
    const failed: Failed[] = [];
    const done: Queued[] = [];
    for (const [index, item] of found.entries()) {
      const outcome = outcomes[index];
      if (outcome?.done === true) done.push(item);
      else failed.push({ item, fault: outcome?.fault ?? 'the backend gave no outcome' });
    }
    await this.#delete(done);
    return await this.#refused(failed);
  }

  /** Ends and looks. @throws what the backend throws: all of it is tried again */
  async #ended(kind: 'revoke' | 'undo', found: readonly Queued[], backend: LeaseBackend, call: Call): Promise<Ended[]> {
    const items = found.map(({ undo }) => undo);
    const outcomes = await this.#steps.outside(`${kind}.end`, () => call((context) => backend.end(context, items)));
    const done = items.filter((_, index) => outcomes[index]?.done === true);
    // Where none was ended this tells a server that does not answer (it throws: all of it waits) from one that refuses each.
    const asked = done.length === 0 ? items : done;
    const remains = await this.#steps.outside(`${kind}.confirm`, () =>
      call((context) => backend.remains(context, asked)),
    );
    const gone = new Set(asked.filter((_, index) => remains[index] === false));
    return items.map((item, index): Ended => {
      if (gone.has(item)) return { done: true };
      const outcome = outcomes[index];
      if (outcome?.done === true) return { done: false, fault: 'the backend says that it ended it, and still has it' };
      return outcome ?? { done: false, fault: 'the backend gave no outcome' };
    });
  }

  /** A commit a part: what a crash leaves of the rest is queued, and found to be gone. */
  async #delete(items: readonly Queued[], forced?: string): Promise<void> {
    for (const some of turns(items)) await this.#deleteSome(some, forced);
  }

  async #deleteSome(items: readonly Queued[], forced?: string): Promise<void> {
    await this.#table.each(items, ({ lease, queued }) => {
      if (lease === undefined) return;
      const { id, mount } = lease.record;
      this.#parts.tell({
        event: forced === undefined ? 'lease.revoked' : 'lease.forced',
        data: { lease_id: id, mount, reason: queued.reason, ...(forced === undefined ? {} : { fault: forced }) },
        urgent: true,
      });
    });
    const { barrier } = this.#parts;
    // In line: two at once would each leave a directory to the other.
    await barrier.inLine('lease/delete', async () => {
      const leases = items.flatMap(({ lease }) => (lease === undefined ? [] : [lease]));
      const { puts, expect } = this.#table.leaving(leases);
      for (const { key } of items) puts.push({ table: 'lease', key });
      await this.#steps.durable('revoke.delete', { puts, expect, urgent: true });
    });
  }

  // ------------------------------------------------------------------------------------------ intents

  /**
   * What may have come of an intent. It is looked for twice, a timeout apart, after it was ended: a statement that was under
   * way when its sender died may arrive in between.
   */
  async #undoIntents(found: readonly Queued[], backend: LeaseBackend, call: Call): Promise<readonly Failure[]> {
    const second = found.filter(({ queued }) => queued.seenGone === true);
    const gone: Queued[] = [];
    let again = found.filter(({ queued }) => queued.seenGone !== true);
    if (second.length > 0) {
      const items = second.map(({ undo }) => undo);
      const remains = await this.#steps.outside('undo.confirm', () =>
        call((context) => backend.remains(context, items)),
      );
      for (const [index, item] of second.entries()) {
        if (remains[index] === false) gone.push(item);
        else again = [...again, item];
      }
    }
    await this.#deleteIntents(gone);
    if (again.length === 0) return [];
    const outcomes = await this.#ended('undo', again, backend, call);
    const failed: Failed[] = [];
    const waiting: Queued[] = [];
    for (const [index, item] of again.entries()) {
      const outcome = outcomes[index];
      if (outcome?.done === true) waiting.push(item);
      else failed.push({ item, fault: outcome?.fault ?? 'the backend gave no outcome' });
    }
    await this.#wait(waiting);
    return await this.#refused(failed);
  }

  async #wait(items: readonly Queued[]): Promise<void> {
    if (items.length === 0) return;
    const nextMs = this.#now + this.#calls.timeoutMs;
    await this.#table.job((grant) =>
      this.#steps.durable('undo.wait', {
        puts: items.flatMap((item) => this.#moved(grant, item, nextMs, { ...item.queued, seenGone: true, fault: '' })),
        urgent: true,
      }),
    );
  }

  async #deleteIntents(items: readonly Queued[], forced?: string): Promise<void> {
    if (items.length === 0) return;
    for (const { undo, queued } of items) {
      this.#parts.tell({
        event: forced === undefined ? 'lease.undone' : 'lease.forced',
        data: { lease_id: undo.id, reason: queued.reason, ...(forced === undefined ? {} : { fault: forced }) },
        urgent: true,
      });
    }
    await this.#steps.durable('undo.delete', {
      puts: items.flatMap(({ key, parsed }) => [
        { table: 'lease', key } as const,
        { table: 'lease', key: rows.intentKey(parsed.entry) } as const,
      ]),
      urgent: true,
    });
  }

  // ------------------------------------------------------------------------------------------ failures

  /** What was not ended: forced ones go all the same, the others are tried again. */
  async #refused(failed: readonly Failed[]): Promise<readonly Failure[]> {
    for (const { item, fault } of failed) if (isForced(item)) await this.#forget([item], fault);
    return await this.#later(failed.filter(({ item }) => !isForced(item)));
  }

  /** Forced ones, of one kind. What went before its call failed is there no more. */
  async #forget(items: readonly Queued[], fault: string): Promise<void> {
    const { store } = this.#parts.barrier;
    const there = items.filter(({ key }) => store.get('lease', key) !== undefined);
    if (there[0]?.lease === undefined) await this.#deleteIntents(there, fault);
    else await this.#delete(there, fault);
  }

  #moved(grant: number, { key, parsed }: Queued, nextMs: number, queued: rows.QueuedRecord): Put[] {
    const moved = rows.queueKey({ ...parsed, nextMs });
    const put = this.#parts.barrier.seal(grant, 'lease', moved, rows.encodeQueued(queued));
    return Buffer.compare(moved, key) === 0 ? [put] : [{ table: 'lease', key }, put];
  }

  /** Each has its next attempt, and why the last one failed is kept. */
  async #later(failed: readonly Failed[]): Promise<readonly Failure[]> {
    if (failed.length === 0) return [];
    await this.#table.job((grant) =>
      retry(() =>
        this.#steps.durable('queue.later', {
          puts: failed.flatMap(({ item, fault }) => {
            const attempts = item.queued.attempts + 1;
            const next = this.#now + backoffMs(this.#parts.random, attempts);
            return this.#moved(grant, item, next, { ...item.queued, attempts, fault, seenGone: false });
          }),
          urgent: true,
        }),
      ),
    );
    return failed.map(({ item, fault }) => ({ entry: item.parsed.entry, fault }));
  }
}
