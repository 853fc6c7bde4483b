/**
 * Making a credential so that none is ever forgotten: the intent is durable before the backend hears of it, the lease before
 * the answer leaves, and the commit of the lease deletes the intent. A crash leaves one of the two.
 */

import { hash } from 'node:crypto';
import { retry } from '../barrier/barrier.ts';
import { expiryPut } from '../barrier/expiry-row.ts';
import { throughCore } from '../barrier/fault.ts';
import { Fault, isFault } from '../fault.ts';
import type { TokenInfo } from '../ports/engine.ts';
import type { BackendContext, LeaseBackend, MadeLease, Making, NewLease, Undo } from '../ports/leases.ts';
import type { Expectation, Put } from '../ports/store.ts';
import type { Calls } from './calls.ts';
import type { Holder, LeaseMount, LeaseParts } from './parts.ts';
import * as rows from './row.ts';
import { KEPT_MS, type Spare, type Spares } from './spares.ts';
import type { Steps } from './steps.ts';
import type { LeaseTable } from './table.ts';

/** The token's row may change many times while a credential is made: each use of a token with a limit is a change. */
const ATTEMPTS_MAX = 64;
/** What making a credential has in all, in times of one call: keys may have to be made, and what failed is rolled back. */
const CREATE_FACTOR = 2;
/** An intent's deadline lies so many times the backend's own behind it. */
const DEADLINE_FACTOR = 3;

export interface IssueParts {
  readonly parts: LeaseParts;
  readonly table: LeaseTable;
  readonly steps: Steps;
  readonly calls: Calls;
  readonly spares: Spares;
  /** Of this process: what it has under way is not undone by its own next unseal. */
  readonly incarnation: string;
  readonly backendOf: (coreType: string) => LeaseBackend | undefined;
  /** An intent has to be undone: marks it. */
  readonly undo: (id: string, reason: string) => Promise<void>;
}

export interface Intent {
  /** Of its row. */
  readonly key: Buffer;
  readonly record: rows.IntentRecord;
  /** `record`, encoded. */
  readonly payload: Uint8Array;
  /** The row as this process wrote it; undefined until then. */
  row?: Uint8Array | undefined;
}

interface Writing {
  readonly token: TokenInfo;
  /** As it was when the credential was asked for. */
  readonly holder: Holder;
  readonly intent: Intent;
  readonly record: rows.LeaseRecord;
  /** Intent of the next credential, written along. */
  readonly spare: Intent | undefined;
}

/** All that is asked but the making itself. */
type Wanted = Omit<NewLease<unknown>, 'create'>;

/** Seconds that a new lease lives, and its own maximum. */
function ttlOf(wanted: Wanted, limits: { readonly defaultTtl: number; readonly maxTtl: number }): number {
  const most = wanted.maxTtl > 0 ? Math.min(wanted.maxTtl, limits.maxTtl) : limits.maxTtl;
  return Math.min(wanted.ttl > 0 ? wanted.ttl : limits.defaultTtl, most);
}

const pathOf = ({ context }: Wanted): string => context.path.replace(/\/+$/, '');

/** What may stand for each other, as a digest: what is kept of a kind is small, and says nothing. Undefined: each is alone. */
function kindOf(wanted: Wanted): string | undefined {
  const { like, backend, context } = wanted;
  if (like === undefined) return undefined;
  return hash('sha256', JSON.stringify([context.mount.id, pathOf(wanted), backend, like]), 'base64');
}

/** @throws Fault `lease.held` */
export function refuseWhileHeld({ barrier, held }: LeaseParts): void {
  const reason = held();
  if (reason !== undefined) throw new Fault('lease.held', `no credential is made or changed: ${reason}`);
  if (!barrier.lease.believed()) {
    throw new Fault(
      'lease.held',
      `no credential is made or changed while the time is not believed: ${barrier.lease.reasons().join('; ')}`,
    );
  }
}

export class Issue {
  readonly #own: IssueParts;

  constructor(own: IssueParts) {
    this.#own = own;
  }

  async issue<T, P extends Disposable>(wanted: NewLease<T, P>): Promise<MadeLease<T>> {
    const { parts, calls, spares } = this.#own;
    const { context } = wanted;
    refuseWhileHeld(parts);
    const { token, mount } = context;
    if (token === undefined) throw new Fault('token.invalid', 'permission denied');
    const holder = await parts.holder(token);
    const issueMs = parts.barrier.lease.nowMs();
    const ttl = ttlOf(wanted, parts.ttls(mount));
    const endMs = holder.endMs;
    const expireMs = endMs > 0 ? Math.min(issueMs + ttl * 1000, endMs) : issueMs + ttl * 1000;
    if (expireMs <= issueMs) throw new Fault('token.invalid', 'permission denied');
    const kind = kindOf(wanted);
    const next = kind !== undefined && spares.expects(kind);
    const kept = kind === undefined ? undefined : spares.take(kind, issueMs + DEADLINE_FACTOR * calls.timeoutMs);
    // Of one kind, so of one engine and of its own type.
    using prepared = (kept?.prepared as P | undefined) ?? wanted.prepare?.();
    const intent = kept?.intent ?? (await this.#written(wanted, issueMs));
    const { id, undo } = intent.record;
    const expireWallMs = parts.barrier.lease.wallOf(expireMs);
    const creating = this.#create(wanted, intent, { id, undo, prepared, expireWallMs, leftMs: this.#left() });
    const record: rows.LeaseRecord = {
      ...{ id, mount: mount.id, backend: wanted.backend, undo, issueMs, expireMs, ttl },
      ...{ maxTtl: wanted.maxTtl, endMs, renewable: wanted.renewable, lastRenewalMs: 0, token: holder.id },
    };
    const durationSeconds = Math.floor((expireMs - issueMs) / 1000);
    const lease = { id, renewable: wanted.renewable, durationSeconds };
    // Drawn while the log and the server are at work.
    const ahead = next ? this.#ahead(wanted) : undefined;
    try {
      const [made, spare] = await Promise.all([creating, ahead]);
      await this.#record(wanted, { token, holder, intent, record, spare: spare?.intent });
      if (kind !== undefined && spare !== undefined) spares.keep(kind, spare);
      return { lease, made };
    } catch (thrown) {
      // In vain: then it is as if it had not been drawn.
      (await ahead)?.prepared?.[Symbol.dispose]();
      throw thrown;
    }
  }

  /** For the next credential; undefined where none can be drawn: its own request says why. */
  async #ahead(wanted: Wanted): Promise<Spare | undefined> {
    try {
      const intent = this.#drawn(wanted, this.#own.parts.barrier.lease.nowMs() + KEPT_MS);
      return { intent, prepared: wanted.prepare?.() };
    } catch (thrown) {
      if (isFault(thrown)) return undefined;
      throw thrown;
    }
  }

  /** The lease, durable; else the credential ends before anybody has it. */
  async #record(wanted: Wanted, writing: Writing): Promise<void> {
    try {
      await retry(() => this.#write(writing), ATTEMPTS_MAX);
    } catch (thrown) {
      await this.#end(wanted, writing.intent);
      throw thrown;
    }
  }

  /** @param nowMs  lease time at which the making begins, at the latest. @throws Fault `input.too-large` */
  #drawn(wanted: Wanted, nowMs: number): Intent {
    const { parts, table, calls, incarnation } = this.#own;
    const { mount } = wanted.context;
    const undo = wanted.undo();
    const id = `${pathOf(wanted)}/${throughCore(() => parts.barrier.core.newAccessor())}`;
    const record: rows.IntentRecord = {
      ...{ id, mount: mount.id, backend: wanted.backend, undo, incarnation },
      ...{ deadlineMs: nowMs + DEADLINE_FACTOR * calls.timeoutMs, undoing: false },
    };
    const payload = rows.encodeIntent(record);
    // It is a part of that: measured by itself only where it may be too large.
    if (payload.length > rows.UNDO_SIZE_MAX) rows.checkUndo(undo);
    return { key: table.keys.intent(id), record, payload };
  }

  /** An intent, durable. */
  async #written(wanted: Wanted, nowMs: number): Promise<Intent> {
    const { parts, table, steps } = this.#own;
    const intent = this.#drawn(wanted, nowMs);
    const { key, record, payload } = intent;
    await retry(async () => {
      // A mount that is removed has looked for intents before its storage goes: none may come behind that look.
      const mount = await this.#mountOf(record);
      const put = await table.job((grant) => parts.barrier.seal(grant, 'lease', key, payload));
      await steps.durable('issue.intent', {
        puts: [put],
        expect: [{ table: 'lease', key, is: 'absent' }, mountExpectation(mount)],
      });
      intent.row = put.value;
    });
    return intent;
  }

  /** @throws Fault `route.absent` the mount is going, gone, or elsewhere than the request came by */
  async #mountOf({ mount, id }: Pick<rows.IntentRecord, 'mount' | 'id'>): Promise<LeaseMount> {
    const found = await this.#own.parts.mount(mount);
    if (found?.live === true && id.startsWith(found.info.path)) return found;
    throw new Fault('route.absent', 'the mount was removed or moved while the credential was made');
  }

  /** Of Making: a call has its time, and none reaches past what `create` has in all. */
  #left(): () => number {
    const { parts, calls } = this.#own;
    const untilMs = parts.clock.bootMs() + CREATE_FACTOR * calls.timeoutMs;
    return () => {
      const leftMs = Math.min(calls.timeoutMs, untilMs - parts.clock.bootMs());
      if (leftMs > 0) return leftMs;
      throw new Fault('database.unreachable', 'the credential took too long to make: nothing was asked of the server');
    };
  }

  async #create<T, P extends Disposable>(wanted: NewLease<T, P>, intent: Intent, making: Making<P>): Promise<T> {
    const { steps, calls } = this.#own;
    try {
      return await steps.outside('issue.create', () =>
        calls.within(CREATE_FACTOR * calls.timeoutMs, wanted.backend, () => wanted.create(making)),
      );
    } catch (thrown) {
      if (isFault(thrown, 'database.exists')) {
        // The name was somebody else's: undoing would end theirs.
        await steps.durable('issue.drop', { puts: [{ table: 'lease', key: intent.key }], urgent: true });
      } else {
        await this.#own.undo(intent.record.id, 'its making failed');
      }
      throw thrown;
    }
  }

  /** @throws Fault `store.conflict` something changed meanwhile: look again; `token.invalid` the token or mount is going */
  async #write({ token, holder: before, intent, record, spare }: Writing): Promise<void> {
    const { parts, table, steps } = this.#own;
    const holder = await parts.holder(token, before);
    const mount = await this.#mountOf(record);
    const { barrier } = parts;
    if (record.expireMs <= barrier.lease.nowMs()) {
      throw new Fault(
        'database.unreachable',
        'the lease was over before its credential was made: ask for a longer one',
      );
    }
    const directory = table.keys.directory(rows.parentOf(record.id));
    const entry = table.keys.entry(record.id);
    const key = rows.leaseKey(directory, entry);
    await table.job(async (grant) => {
      const own = this.#unmarked(grant, intent);
      if (own === undefined) {
        throw new Fault('database.unreachable', 'the credential took too long to make, and is being ended again');
      }
      const { puts, expect } = table.entering(grant, record.id);
      puts.push(
        barrier.seal(grant, 'lease', key, rows.encodeLease(record)),
        expiryPut(barrier, grant, record.expireMs, 'lease', entry, directory),
        { table: 'lease', key: intent.key },
      );
      expect.push(
        { table: 'lease', key, is: 'absent' },
        { table: 'lease', key: intent.key, is: own },
        mountExpectation(mount),
        ...holderExpectation(holder),
      );
      if (holder.id !== '') puts.push(tokenPut(parts, grant, holder.id, directory, entry));
      if (spare !== undefined) {
        const put = barrier.seal(grant, 'lease', spare.key, spare.payload);
        spare.row = put.value;
        puts.push(put);
        expect.push({ table: 'lease', key: spare.key, is: 'absent' });
      }
      await steps.durable('issue.lease', { puts, expect });
    });
  }

  /** The row of an intent that a lease may come of; undefined: it is being undone. */
  #unmarked(grant: number, { key, row }: Intent): Uint8Array | undefined {
    const { parts, table } = this.#own;
    const now = parts.barrier.store.get('lease', key);
    if (now === undefined || row === undefined) return undefined;
    if (Buffer.compare(now, row) === 0) return row;
    // Marked, or sealed again by a change of keys.
    const opened = table.open(grant, key);
    return opened === undefined || rows.decodeIntent(opened.payload).undoing ? undefined : opened.row;
  }

  /** The lease could not be written: the credential ends before anybody has it. What fails here the intent remembers. */
  async #end(wanted: Wanted, { record }: Intent): Promise<void> {
    const { parts, table, steps, calls, backendOf } = this.#own;
    const items: Undo[] = [{ id: record.id, undo: record.undo }];
    try {
      const mount = await parts.mount(record.mount);
      const backend = mount === undefined ? undefined : backendOf(mount.info.coreType);
      if (mount === undefined || backend === undefined) throw new Fault('route.absent', 'the mount is gone');
      const call = <T>(work: (context: BackendContext) => Promise<T>): Promise<T> =>
        calls.backend(mount, wanted.backend, work);
      const [outcome] = await steps.outside('issue.end', () => call((context) => backend.end(context, items)));
      const [still] = await steps.outside('issue.confirm', () => call((context) => backend.remains(context, items)));
      if (outcome?.done === true && still === false) {
        await steps.durable('issue.undone', {
          puts: [{ table: 'lease', key: table.keys.intent(record.id) }],
          urgent: true,
        });
        return;
      }
    } catch {
      // The backend or the disk fails too: the intent is there, and is undone when they are back.
    }
    await this.#own.undo(record.id, 'its lease could not be written');
  }
}

/** The row of a mount changes before anything in it ends. */
const mountExpectation = ({ info, row }: LeaseMount): Expectation => ({
  table: 'mount',
  key: Buffer.from(info.id, 'hex'),
  is: row,
});

/** The commit of a lease expects the row of the token that it ends with: a revocation changes that first. */
function holderExpectation({ id, row }: { readonly id: string; readonly row: Uint8Array | undefined }): Expectation[] {
  return id === '' || row === undefined ? [] : [{ table: 'token', key: Buffer.from(id, 'hex'), is: row }];
}

function tokenPut({ barrier }: LeaseParts, grant: number, token: string, directory: Buffer, entry: Buffer): Put {
  return barrier.seal(grant, 'lease', rows.tokenKey(token, directory, entry), new Uint8Array(1));
}
