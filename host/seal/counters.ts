/**
 * The counters that this box is enrolled with: read at every unseal by whatever slot, raised with every change that counts
 * and under writes at most once in an interval. The store always says one more first: commit, raise, acknowledge. So a
 * power cut leaves the store ahead by one, which is repaired; everything else that disagrees is another time, or another
 * machine.
 */
import { isCoreFault } from '../../core/index.ts';
import type { Core } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { Counter, CounterDevice, CounterKind, CounterStatus, Counting } from '../ports/counter.ts';
import type { LeaseTime } from '../ports/lease-time.ts';
import type { Put, Store } from '../ports/store.ts';
import { type CounterRecord, decodeCounters, encodeCounters } from './counter-row.ts';
import { type Counts, type Freshness, rolledBack } from './freshness.ts';
import { JobRow } from './rows.ts';
import { mayRaise, RAISES_A_YEAR, raisedInYear, spacingMs, unworn, worn } from './wear.ts';

export interface CountersParts {
  readonly core: Core;
  readonly store: Store;
  readonly freshness: Freshness;
  readonly clock: Clock;
  readonly lease: Pick<LeaseTime, 'nowMs'>;
  /** The devices that are configured here, one a kind. */
  readonly devices: readonly CounterDevice[];
  /** Counts of writes are at least so far apart (`freshness.intervalMs`). */
  readonly intervalMs: number;
}

/** One counter beside what the store says of it. */
export interface CounterFinding {
  readonly id: string;
  readonly kind: CounterKind | 'enrolled';
  /** The store's count; undefined: the store does not count by it. */
  readonly stored: number | undefined;
  /** The counter's own; undefined where it could not be read, and `why` says why not. */
  readonly found: bigint | undefined;
  readonly why: string;
  /** Its device does not answer, and may later. */
  readonly away: boolean;
}

interface Enrolled {
  readonly record: CounterRecord;
  readonly counter: Counter | undefined;
  readonly advisory: boolean;
}

/** One of these is what is wrong with the box, in a sentence that says what to do. */
export const ACCEPT = 'holdfast unseal -accept=rolled-back';

const agrees = ({ stored, found }: CounterFinding): boolean => stored !== undefined && found === BigInt(stored);

/** What disagrees, in words. */
export function disagreement({ kind, stored, found, why }: CounterFinding): string {
  if (stored === undefined) return `the store does not count by the ${kind} counter that it lists`;
  if (found === undefined) return `the ${kind} counter cannot be read (${why})`;
  return `the ${kind} counter is at ${found} and the store at ${stored}`;
}

/** @throws Fault `appliance.rolled-back` that names everything that disagrees, and what to do */
export function refuse(findings: readonly CounterFinding[]): never {
  const what = findings
    .filter((one) => !agrees(one))
    .map(disagreement)
    .join('; ');
  throw rolledBack(
    `${what}. Put the newest disk and its device back and unseal again; if they are lost, the recovery quorum opens the box as it is: ${ACCEPT}`,
  );
}

/** Of what waits until every row is verified. */
export const verifying = (): Fault =>
  new Fault('appliance.busy', 'the store is still being verified: try again when health says it is done');

export class Counters implements Counting {
  readonly #parts: CountersParts;
  readonly #row: JobRow;
  #enrolled: readonly Enrolled[] = [];
  /** By counter id: why it was not raised or read the last time. */
  readonly #away = new Map<string, string>();
  /** By kind: why no counter was made though there is a slot. */
  readonly #missing = new Map<CounterKind, string>();
  /** Counted changes follow each other. */
  #line: Promise<unknown> = Promise.resolve();
  #countedAtMs = 0;
  #askedAtMs = 0;
  #beating = false;
  #verifying = false;

  constructor(parts: CountersParts) {
    this.#parts = parts;
    this.#row = new JobRow(parts.core, parts.lease, 'counters');
  }

  // ------------------------------------------------------------------------------------------ at an unseal

  /**
   * Reads every counter that the store names. One that the store is ahead of by one is raised: a power cut came between.
   *
   * @returns what disagrees nevertheless; none if the store is the newest
   * @throws Fault `appliance.rolled-back` if the store's list of counters cannot be read
   */
  async examine(): Promise<readonly CounterFinding[]> {
    return (await this.#look(true)).filter((finding) => !agrees(finding));
  }

  /** As `examine`, raises nothing, and returns every counter. */
  look(): Promise<readonly CounterFinding[]> {
    return this.#look(false);
  }

  #look(raise: boolean): Promise<readonly CounterFinding[]> {
    return this.#alone(async () => {
      const records = this.#records();
      this.#away.clear();
      this.#missing.clear();
      this.#enrolled = records.map((record) => this.#enrolledOf(record));
      const counts = this.#parts.freshness.counts;
      const unknown = Object.entries(counts)
        .filter(([id]) => !records.some((record) => record.id === id))
        .map(([id, stored]): CounterFinding => {
          return {
            id,
            kind: 'enrolled',
            stored,
            found: undefined,
            why: 'the store does not say where it lies',
            away: false,
          };
        });
      const read: CounterFinding[] = [];
      for (const one of this.#enrolled) read.push(await this.#settle(one, undefined, raise));
      return [...read, ...unknown];
    });
  }

  /**
   * The recovery quorum's word: the store is taken as it is. Counters that answer go on from their own counts, the others
   * are given up.
   *
   * @param commit  commits the rows it is given with its own
   */
  accept(findings: readonly CounterFinding[], commit: (more: readonly Put[]) => Promise<void>): Promise<void> {
    return this.#alone(async () => {
      const { freshness } = this.#parts;
      const counts: { [id: string]: number } = { ...freshness.counts };
      for (const { id, found } of findings) {
        if (found !== undefined && found <= BigInt(Number.MAX_SAFE_INTEGER)) counts[id] = Number(found);
        else delete counts[id];
        // Given up, or in line with the store as soon as this is committed.
        this.#away.delete(id);
      }
      const kept = this.#enrolled.filter(({ record }) => counts[record.id] !== undefined);
      await freshness.sealing(counts, () => commit([this.#put(kept)]));
      this.#enrolled = kept;
    });
  }

  /** The box is closed: what is under way has ended when this resolves. */
  forget(): Promise<void> {
    return this.#alone(async () => {
      this.#enrolled = [];
      this.#away.clear();
      this.#missing.clear();
      this.#verifying = false;
    });
  }

  // ------------------------------------------------------------------------------------------ while it is open

  /** While rows are verified nothing that counts is changed: what let it pass may be an old row. Keys have their own wait. */
  set verifying(on: boolean) {
    this.#verifying = on;
  }

  /** @throws Fault `appliance.busy` while rows are verified: nothing was changed */
  async change<T>(commit: (more: readonly Put[]) => Promise<T>, inForce?: (result: T) => void): Promise<T> {
    if (this.#verifying) throw verifying();
    return await this.#change(false, commit, inForce);
  }

  /**
   * As `change`, for keys and slots: past the year's budget too. What was made reaches whoever asked for it (new shares are
   * told once), so a counter that goes away after the commit is said by health alone.
   */
  changeKeys<T>(commit: (more: readonly Put[]) => Promise<T>, inForce?: (result: T) => void): Promise<T> {
    return this.#change(true, commit, inForce);
  }

  /**
   * Called with every heartbeat, returns at once: counts what was written, if it is time, and asks after counters that
   * are away.
   *
   * @param commit  commits the rows it is given with something of its own
   */
  beat(commit: (more: readonly Put[]) => Promise<void>): void {
    if (this.#beating || this.#enrolled.length === 0) return;
    const { freshness, clock, intervalMs } = this.#parts;
    const nowMs = clock.bootMs();
    const due = freshness.dirty && nowMs - this.#countedAtMs >= this.#spacingMs();
    if (!due && this.#away.size === 0 && nowMs - this.#askedAtMs < intervalMs) return;
    this.#beating = true;
    const work = due ? this.change(commit) : this.#alone(() => this.#all());
    work
      // Health says it already; what else failed comes again with the next heartbeat.
      .catch(() => undefined)
      .finally(() => {
        this.#beating = false;
      });
  }

  /**
   * Brings the counters in line with the slots: each kind of device that opens the box keeps one. What fails is said by
   * health and tried again at the next unseal: a slot is worth having without its counter.
   *
   * @returns events for the log
   */
  follow(
    kinds: readonly string[],
  ): Promise<readonly { readonly event: string; readonly data: Readonly<Record<string, string>> }[]> {
    return this.#alone(async () => {
      const events: { readonly event: string; readonly data: Readonly<Record<string, string>> }[] = [];
      for (const one of this.#enrolled.filter(({ record }) => !kinds.includes(record.kind))) {
        await this.#retire(one);
        events.push({ event: 'counter.retired', data: { kind: one.record.kind, counter: one.record.id } });
      }
      for (const device of this.#parts.devices) {
        const { kind } = device;
        this.#missing.delete(kind);
        if (!kinds.includes(kind) || this.#enrolled.some(({ record }) => record.kind === kind)) continue;
        try {
          events.push({ event: 'counter.enrolled', data: { kind, counter: await this.#enrol(device) } });
        } catch (error) {
          if (!isFault(error) || error.code === 'appliance.sealed') throw error;
          this.#missing.set(kind, error.message);
        }
      }
      return events;
    });
  }

  status(): readonly CounterStatus[] {
    const nowMs = this.#parts.lease.nowMs();
    return this.#enrolled.map(({ record, advisory }) => ({
      ...{ kind: record.kind, id: record.id, advisory },
      count: this.#parts.freshness.counts[record.id] ?? 0,
      away: this.#away.get(record.id),
      raised: raisedInYear(record.wear, nowMs),
      budget: RAISES_A_YEAR,
    }));
  }

  /** Sentences for health. */
  reasons(): readonly string[] {
    const sentences = [...this.#missing].map(
      ([kind, why]) => `no counter in the ${kind} device: an old disk would not be noticed by it (${why})`,
    );
    for (const why of this.#away.values())
      sentences.push(
        `${why}: changes of keys, slots, policies and mounts are refused until it is right; revocation goes on`,
      );
    const { intervalMs } = this.#parts;
    const spacing = this.#enrolled.length === 0 ? intervalMs : this.#spacingMs();
    if (spacing > intervalMs) {
      sentences.push(
        `a counter was raised so often that its flash is spared: writes are counted once in ${Math.round(spacing / 60_000)} minutes`,
      );
    }
    return sentences;
  }

  // ------------------------------------------------------------------------------------------ inside

  #records(): readonly CounterRecord[] {
    try {
      const records = decodeCounters(this.#row.read(this.#parts.store));
      if (records !== undefined) return records;
    } catch (error) {
      if (!isCoreFault(error)) throw error;
      throw rolledBack('the list of counters is not the one that was written');
    }
    throw rolledBack('the list of counters is of another version of this program');
  }

  #enrolledOf(record: CounterRecord): Enrolled {
    const device = this.#parts.devices.find(({ kind }) => kind === record.kind);
    try {
      const counter = device?.at(record.place);
      const right = counter !== undefined && Buffer.from(counter.id).toString('hex') === record.id;
      return { record, counter: right ? counter : undefined, advisory: device?.advisory ?? false };
    } catch (error) {
      if (!isFault(error)) throw error;
      return { record, counter: undefined, advisory: device?.advisory ?? false };
    }
  }

  /** Reads one counter, and raises it where the store is ahead of it by one. @param known  what it was read as just now */
  async #settle({ record, counter }: Enrolled, known?: bigint, raise = true): Promise<CounterFinding> {
    const { id, kind } = record;
    const stored = this.#parts.freshness.counts[id];
    let found: bigint | undefined;
    let away = false;
    let why = `no ${kind} device is configured here: see the settings seal.${kind}`;
    try {
      found = known ?? (await counter?.read());
      if (raise && stored !== undefined && found === BigInt(stored) - 1n) found = await counter?.increment();
    } catch (error) {
      if (!isFault(error)) throw error;
      found = undefined;
      why = error.message;
      away = error.retry === 'backoff';
    }
    const finding = { id, kind, stored, found, why, away };
    if (agrees(finding)) this.#away.delete(id);
    else this.#away.set(id, disagreement(finding));
    return finding;
  }

  /** @throws Fault `counter.unavailable` if one is not where the store says */
  async #all(): Promise<readonly CounterFinding[]> {
    this.#askedAtMs = this.#parts.clock.bootMs();
    const findings: CounterFinding[] = [];
    for (const one of this.#enrolled) findings.push(await this.#settle(one));
    const wrong = findings.find((one) => !agrees(one));
    if (wrong === undefined) return findings;
    throw new Fault(
      'counter.unavailable',
      `${disagreement(wrong)}: nothing was changed. Bring the device back and try again; if it is lost, seal the box and open it by the recovery quorum: ${ACCEPT}`,
    );
  }

  async #change<T>(
    keys: boolean,
    commit: (more: readonly Put[]) => Promise<T>,
    inForce: ((result: T) => void) | undefined,
  ): Promise<T> {
    const { freshness, lease, clock } = this.#parts;
    const plain = async (): Promise<T> => {
      const result = await commit([]);
      inForce?.(result);
      return result;
    };
    // Before the first counter there is nothing to wait for, and founding a box runs before any is known.
    if (this.#enrolled.length === 0) return await plain();
    return await this.#alone(async () => {
      const nowMs = lease.nowMs();
      if (!keys && !this.#enrolled.every(({ record }) => mayRaise(record.wear, nowMs))) return await plain();
      const before = await this.#all();
      this.#enrolled = this.#enrolled.map((one) => ({
        ...one,
        record: { ...one.record, wear: worn(one.record.wear, nowMs) },
      }));
      const next: Counts = Object.fromEntries(Object.entries(freshness.counts).map(([id, count]) => [id, count + 1]));
      freshness.clean();
      let result: T;
      try {
        result = await freshness.sealing(next, () => commit([this.#put(this.#enrolled)]));
      } catch (error) {
        freshness.soil();
        throw error;
      }
      this.#countedAtMs = clock.bootMs();
      inForce?.(result);
      await this.#raise(before).catch((error: unknown) => {
        if (!keys || !isFault(error, 'counter.unavailable')) throw error;
      });
      return result;
    });
  }

  /** Every counter to what the store says since the commit just now. */
  async #raise(before: readonly CounterFinding[]): Promise<void> {
    const findings: CounterFinding[] = [];
    for (const one of this.#enrolled) {
      const known = before.find(({ id }) => id === one.record.id)?.found;
      findings.push(await this.#settle(one, known));
    }
    const wrong = findings.find((one) => !agrees(one));
    if (wrong === undefined) return;
    throw new Fault(
      'counter.unavailable',
      `the change is made, but not counted yet: ${disagreement(wrong)}. It is counted when the device is back; until then an old disk may bring back what was before it`,
    );
  }

  async #enrol(device: CounterDevice): Promise<string> {
    const { freshness, store, lease } = this.#parts;
    const { counter, place } = await device.enrol();
    try {
      const id = Buffer.from(counter.id).toString('hex');
      const count = await counter.read();
      if (count > BigInt(Number.MAX_SAFE_INTEGER)) throw new Fault('slot.unavailable', 'the counter begins too high');
      const record: CounterRecord = { id, kind: device.kind, place, wear: worn(unworn(lease.nowMs()), lease.nowMs()) };
      const enrolled = [...this.#enrolled, { record, counter, advisory: device.advisory }];
      const counts = { ...freshness.counts, [id]: Number(count) };
      await freshness.sealing(counts, () => store.commit({ puts: [this.#put(enrolled)] }));
      this.#enrolled = enrolled;
      return id;
    } catch (error) {
      await device.retire(place).catch(() => undefined);
      throw error;
    }
  }

  /** From the store first: a counter that is named and gone would be a locked door. */
  async #retire({ record }: Enrolled): Promise<void> {
    const { freshness, store, devices } = this.#parts;
    const { [record.id]: _, ...counts } = freshness.counts;
    const kept = this.#enrolled.filter((one) => one.record.id !== record.id);
    await freshness.sealing(counts, () => store.commit({ puts: [this.#put(kept)] }));
    this.#enrolled = kept;
    this.#away.delete(record.id);
    // What cannot be removed (the device is gone) holds a number, no secret.
    await devices
      .find(({ kind }) => kind === record.kind)
      ?.retire(record.place)
      .catch(() => undefined);
  }

  #put(enrolled: readonly Enrolled[]): Put {
    return this.#row.put(encodeCounters(enrolled.map(({ record }) => record)));
  }

  #spacingMs(): number {
    const { lease, intervalMs } = this.#parts;
    const nowMs = lease.nowMs();
    const each = this.#enrolled.map(({ record }) => spacingMs(record.wear, nowMs, intervalMs));
    return Math.max(intervalMs, ...each);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#line.then(work);
    this.#line = done.catch(() => undefined);
    return done;
  }
}
