/**
 * The built-in audit log: every request, answer and job of the box is a leaf of a Merkle tree whose checkpoints are signed.
 * A leaf counts as written when a group that holds it and its mark are on the medium; `durable` waits for that.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { AuditGroup } from '../../core/types.ts';
import { Fault, isFault } from '../fault.ts';
import type { Timer } from '../ports/clock.ts';
import { coreOpener, type Opener, same } from './check.ts';
import { Composer } from './composer.ts';
import { HeldEvents } from './held.ts';
import { History, type OpenLog } from './history.ts';
import { Publisher } from './publisher.ts';
import { recover } from './recover.ts';
import { Signing } from './signing.ts';
import { Tiles } from './tiles.ts';
import { HASH_SIZE, TreeHasher } from './tree.ts';
import type {
  AuditContext,
  AuditNote,
  AuditOptions,
  AuditOutcome,
  AuditStart,
  AuditStarted,
  AuditState,
} from './types.ts';
import { GroupWriter, unavailable } from './writer.ts';

const SEGMENT_BYTES = 16 * 1024 * 1024;
const HEARTBEAT_MS = 50_000;
const INTERVAL_MS = 100;
const HEAL_MS = 1000;
/** For the log's own grants; none is kept longer than one synchronous piece of work. */
const GRANT_MS = 60_000;
const DONE = Promise.resolve();

interface Running extends OpenLog {
  readonly start: AuditStart;
  readonly writer: GroupWriter;
}

export class AuditLog {
  /** Checkpoint, tiles, leaves, proofs, export. */
  readonly history: History;
  /** What happened while the log was stopped. */
  readonly held = new HeldEvents();
  readonly #options: AuditOptions;
  readonly #composer: Composer;
  readonly #interval: boolean;
  #running: Running | undefined;
  #state: AuditState = 'stopped';
  #flushTimer: Timer | undefined;
  #healTimer: Timer | undefined;
  #grown: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(options: AuditOptions) {
    this.#options = options;
    this.#interval = options.sync === 'interval';
    this.#composer = new Composer(options);
    this.history = new History(() => this.#require());
  }

  get state(): AuditState {
    return this.#state;
  }

  /** Leaves on the medium; 0 while stopped. */
  get size(): number {
    return this.#running?.writer.written ?? 0;
  }

  /** Sentences for health; empty when all is as it should be. */
  get reasons(): string[] {
    const reasons: string[] = [];
    if (this.#state === 'failed') reasons.push('the audit log cannot be written: only revocation is tried');
    if (this.#state === 'tight') reasons.push('the disk has no room for a reserve segment of the audit log');
    if (this.#running?.tiles.behind === true) reasons.push('the disk has no room for tiles of the audit log');
    if (this.#interval) {
      const ms = this.#options.intervalMs ?? INTERVAL_MS;
      reasons.push(`audit.sync is interval: up to ${ms} ms of reads may be unlogged after a power cut`);
    }
    return reasons;
  }

  // ------------------------------------------------------------------------------------------ start and stop

  /**
   * Takes the log up after an unseal; the box serves nothing before it resolves.
   *
   * @throws Fault `audit.corrupt` whose message names the first thing that disagrees: see `archive`
   * @throws Fault `audit.unavailable` if there is no room for a segment
   */
  async start(start: AuditStart): Promise<AuditStarted> {
    const signing = await Signing.open(start.applianceId, start.record, start.rootGeneration());
    return this.#begin(start, signing, first(start));
  }

  /**
   * The quorum's word after `start` refused: puts the log aside as it is (beside its folder) and begins a new one under a new
   * origin, whose first leaf names both.
   *
   * @param reason  the sentence that `start` refused with
   * @param was     the appliance that the log was of, where the box is another now: the new log has a new key too
   */
  async archive(start: AuditStart, reason: string, was?: Uint8Array): Promise<AuditStarted> {
    const { folder, files } = this.#options;
    let signing = await Signing.open(was ?? start.applianceId, start.record, start.rootGeneration());
    const old = { origin: signing.origin, size: start.known?.size ?? 0 };
    const root = Buffer.from(start.known?.root ?? new Uint8Array(0)).toString('base64');
    let aside = `${folder}-${signing.log}`;
    for (let more = 2; existsSync(aside); more++) aside = `${folder}-${signing.log}-${more}`;
    if (existsSync(folder)) files.rename(folder, aside);
    files.syncFolder(dirname(folder));
    if (was === undefined) await signing.nextLog();
    else signing = await Signing.begin(start.applianceId, start.record, start.rootGeneration());
    const note = {
      event: 'log.archived',
      data: { old_origin: old.origin, old_size: old.size, old_root: root, origin: signing.origin, reason },
    };
    const { known: _, ...rest } = start;
    const started = await this.#begin(rest, signing, [note, ...first(start)]);
    await this.#running?.publisher.record();
    return started;
  }

  async #begin(start: AuditStart, signing: Signing, first: readonly AuditNote[]): Promise<AuditStarted> {
    if (this.#running !== undefined) throw new Error('the audit log is started already');
    const { folder, files, core, clock, segmentBytes, heartbeatMs } = this.#options;
    files.makeFolder(folder);
    const hasher = new TreeHasher((data) => core.sha256(data));
    const tiles = new Tiles(folder, files, hasher);
    const withOpener = this.#opening(start);
    const recovered = withOpener((opener) =>
      recover({
        ...{ folder, opener, hasher, tiles, keys: signing.keys },
        ...{ prunedTo: signing.prunedTo, known: start.known },
      }),
    );
    const { range } = recovered;
    const root = range.root();
    if (!same(core.auditStart(range.size, range.frontier()).root, root)) {
      throw new Error('core and host disagree about the root of a tree');
    }
    const writer = new GroupWriter({
      ...{ folder, files, segmentBytes: segmentBytes ?? SEGMENT_BYTES },
      take: (into) => (core.auditPending > 0 ? core.auditFlush(into) : undefined),
      soon: this.#options.soon ?? ((job) => job()),
      written: (group) => this.#written(group),
      changed: (state, why) => this.#changed(state, why),
    });
    this.#state = 'open';
    try {
      await writer.start(range.size, recovered.last);
    } catch (error) {
      this.#state = 'stopped';
      throw error;
    }
    const publisher = new Publisher(
      {
        ...{ folder, files, clock, signing, tiles, onCheckpoint: start.onCheckpoint },
        heartbeatMs: heartbeatMs ?? HEARTBEAT_MS,
        trouble: (sentence) => start.onTrouble?.(sentence),
      },
      ...([range.size, root, recovered.published, start.known?.size ?? 0] as const),
    );
    const running: Running = {
      ...{ start, folder, files, clock, signing, tiles, hasher, publisher, writer, withOpener },
      size: () => writer.written,
      note: (note) => {
        this.noteOwn(note);
        return this.durable('effect');
      },
      grown: () => this.#growth(),
      stopped: () => this.#running !== running,
    };
    this.#running = running;
    this.#composer.forget();
    return this.#firstLeaves(running, recovered.repaired, first);
  }

  async #firstLeaves(
    running: Running,
    repaired: readonly string[],
    first: readonly AuditNote[],
  ): Promise<AuditStarted> {
    const { writer, signing, tiles } = running;
    for (const note of first) this.noteOwn(note);
    if (writer.written === 0 && !first.some(({ event }) => event === 'log.archived')) {
      this.noteOwn({ event: 'log.started', data: { origin: signing.origin, key: this.history.verifierKey() } });
    }
    for (const what of repaired) this.noteOwn({ event: 'log.repaired', data: { what } });
    for (const note of this.held.peek()) this.noteOwn(note);
    try {
      await this.durable('effect');
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.held.clear();
    const read = tiles.range();
    return { size: read.size, root: read.root(), repaired };
  }

  /**
   * Writes what there is, publishes and records the end, closes. Before core is sealed and before the store closes.
   * Leaves that come later are refused.
   */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#flushTimer?.cancel();
    this.#healTimer?.cancel();
    this.#flushTimer = undefined;
    this.#healTimer = undefined;
    await running.writer.stop();
    await running.publisher.stop();
    this.#running = undefined;
    this.#state = 'stopped';
    this.#grown?.resolve();
  }

  /** Removes a log that never was: what an initialisation that was cut left behind. */
  discard(): void {
    if (this.#running !== undefined) throw new Error('a log that runs is not discarded');
    const { folder, files } = this.#options;
    if (!existsSync(folder)) return;
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    // Deepest first: a folder goes when it is empty.
    const paths = entries.map((entry) => join(entry.parentPath, entry.name)).sort((a, b) => b.length - a.length);
    for (const path of [...paths, folder]) files.remove(path);
    files.syncFolder(dirname(folder));
  }

  // ------------------------------------------------------------------------------------------ leaves

  /**
   * Composes the request leaf; it opens the grant. Larger data is replaced by its HMAC and length.
   *
   * @returns its sequence number
   * @throws Fault `input.invalid` if it is too large even so, `audit.unavailable` if the log takes none
   */
  request(grant: number, context: AuditContext): number {
    const writer = this.#admit(context.urgent === true);
    return this.#composed(this.#composer.request(writer, grant, context));
  }

  /** Composes the response leaf; it ends the grant. Never too large. @throws Fault `audit.unavailable` */
  response(grant: number, context: AuditContext, outcome: AuditOutcome): number {
    return this.#composed(this.#composer.response(this.#require().writer, grant, context, outcome));
  }

  /** A leaf of the box's own work, under a system grant. @throws Fault `audit.unavailable` */
  note(grant: number, note: AuditNote): number {
    const writer = this.#admit(note.urgent === true);
    const seq = this.#composed(this.#composer.note(writer, grant, note));
    // Nobody may wait for it: it does not lie in core until somebody does.
    writer.kick();
    return seq;
  }

  /** A leaf of the log's own, or of whoever has no grant at hand: job `audit`. */
  noteOwn(note: AuditNote): number {
    return this.#withGrant(this.#require().start, (grant) => this.note(grant, note));
  }

  /**
   * A leaf of the box itself, whatever its state: what cannot be written now is held and written first after the next
   * start.
   */
  tell(note: AuditNote): void {
    const { clock } = this.#options;
    const timeMs = clock.wallMs();
    if (this.#running !== undefined) {
      try {
        this.noteOwn(note);
        return;
      } catch (error) {
        if (!isFault(error, 'audit.unavailable')) throw error;
      }
    }
    this.held.add({ ...note, timeMs, timeNanos: clock.wallNanos() });
  }

  /**
   * Resolves when every leaf composed until now is on the medium.
   *
   * @param before  `effect`: something outside the box or in the store follows; `answer`: with `audit.sync = interval` it
   *                does not wait; `urgent`: as `effect`, for revocation: tries though the log has failed
   * @throws Fault `audit.unavailable`
   */
  durable(before: 'answer' | 'effect' | 'urgent' = 'answer'): Promise<void> {
    const writer = this.#running?.writer;
    if (writer === undefined) return Promise.reject(stopped());
    if (this.#interval && before === 'answer' && !writer.failed) return DONE;
    return writer.durable(before === 'urgent');
  }

  /** HMAC of a value as leaves show it (sys/audit-hash). */
  hash(value: string): string {
    return this.#composer.hash(value);
  }

  /** The audit keys changed (a new root): what was hashed with the old ones is forgotten. */
  keysChanged(): void {
    this.#composer.forget();
  }

  /** A new signing key, unless the one in force came with the present root; both sign the leaf that says so. */
  async renewKey(): Promise<void> {
    const { signing, start, writer, note, publisher } = this.#require();
    const rootGeneration = start.rootGeneration();
    if (signing.rootGeneration === rootGeneration) return;
    await signing.rotate(writer.written, rootGeneration, (text) => note({ event: 'log.key', data: { note: text } }));
    await publisher.resign();
  }

  // ------------------------------------------------------------------------------------------ inside

  #require(): Running {
    if (this.#running === undefined) throw stopped();
    return this.#running;
  }

  #admit(urgent: boolean): GroupWriter {
    const { writer } = this.#require();
    if (!urgent && (writer.failed || !writer.hasRoom(this.#options.core.auditPending))) throw unavailable();
    return writer;
  }

  #composed(seq: number): number {
    if (this.#interval) {
      this.#flushTimer ??= this.#options.clock.after(this.#options.intervalMs ?? INTERVAL_MS, () => {
        this.#flushTimer = undefined;
        this.#running?.writer.kick();
      });
    }
    return seq;
  }

  #withGrant<T>(start: AuditStart, work: (grant: number) => T): T {
    const { core } = this.#options;
    const nowMs = start.nowMs();
    const grant = core.systemGrant('audit', undefined, nowMs, nowMs + GRANT_MS);
    try {
      return work(grant);
    } finally {
      core.endGrant(grant);
    }
  }

  #opening(start: AuditStart): <T>(work: (opener: Opener) => T) => T {
    return (work) => this.#withGrant(start, (grant) => work(coreOpener(this.#options.core, grant)));
  }

  #written(group: AuditGroup): void {
    const running = this.#require();
    for (let at = 0; at < group.leafHashes.length; at += HASH_SIZE) {
      running.tiles.append(group.leafHashes.subarray(at, at + HASH_SIZE));
    }
    running.publisher.grew(group.size, group.root);
    this.#grown?.resolve();
    this.#grown = undefined;
  }

  #growth(): Promise<void> {
    if (this.#grown === undefined) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((yes) => {
        resolve = yes;
      });
      this.#grown = { promise, resolve };
    }
    return this.#grown.promise;
  }

  #changed(state: 'open' | 'tight' | 'failed', why?: string): void {
    if (state !== this.#state && state !== 'open') {
      const code = why === undefined ? '' : ` (${why})`;
      this.#running?.start.onTrouble?.(`the audit log is ${state}${code}`);
    }
    this.#state = state;
    if (state === 'open') return;
    this.#healTimer ??= this.#options.clock.after(HEAL_MS, () => {
      this.#healTimer = undefined;
      const writer = this.#running?.writer;
      writer?.heal();
      if (this.#state !== 'open' && writer !== undefined) this.#changed(this.#state === 'tight' ? 'tight' : 'failed');
    });
  }
}

const first = (start: AuditStart): readonly AuditNote[] => (start.first === undefined ? [] : [start.first]);

const stopped = (): Fault => new Fault('appliance.sealed', 'the audit log is not open');
