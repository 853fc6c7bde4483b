/**
 * Rotations that are due. The expiry queue is not kept waiting by a server: a role is first queued for the attempt after this
 * one, durable, then rotated beside it; so a crash or a dead server costs an attempt, and nothing is forgotten.
 */
import { Fault, isFault } from '../../fault.ts';
import type { MountInfo } from '../../ports/engine.ts';
import type { DatabaseParts } from './parts.ts';
import type { StaticRecord } from './records.ts';
import type { Rotations } from './rotation.ts';
import type { Steps } from './steps.ts';
import { backoffMs, isTooLate, nextDue } from './timing.ts';

/** Rotations of one connection at once. */
const SIDE_BY_SIDE_MAX = 4;
/** An attempt is over by then, whatever its server does: some calls of ten seconds. */
const ATTEMPT_MS = 90_000;
const CLOSE_MS = 2000;
/** Longer than the longest pause between two attempts. */
const STUCK_MS = 3_600_000;

/** What could not be rotated. */
export interface Stuck {
  readonly mount: string;
  readonly role: string;
  readonly attempts: number;
  readonly fault: string;
  /** Lease time of the last attempt. */
  readonly atMs: number;
}

interface Lane {
  running: number;
  readonly waiting: (() => void)[];
}

export class DueRotations {
  readonly #parts: DatabaseParts;
  readonly #rotations: Rotations;
  readonly #steps: Steps;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #lanes = new Map<string, Lane>();
  readonly #stuck = new Map<string, Stuck>();
  #open = true;
  rotated = 0;
  failed = 0;

  constructor(parts: DatabaseParts, rotations: Rotations, steps: Steps) {
    this.#parts = parts;
    this.#rotations = rotations;
    this.#steps = steps;
    rotations.watch((mount, name) => this.#stuck.delete(`${mount.id}/${name}`));
  }

  /** One that is not tried any more (its mount was removed) is not listed for ever. */
  get stuck(): readonly Stuck[] {
    const nowMs = this.#parts.lease.nowMs();
    for (const [key, { atMs }] of this.#stuck) if (nowMs - atMs > STUCK_MS) this.#stuck.delete(key);
    return [...this.#stuck.values()];
  }

  /** Why a role was not rotated when it was due, for whoever may read it; undefined: nothing is known against it. */
  troubleOf(mount: MountInfo, name: string): string | undefined {
    const found = this.#stuck.get(`${mount.id}/${name}`);
    return found === undefined ? undefined : `not rotated yet (attempts: ${found.attempts}): ${found.fault}`;
  }

  start(): void {
    this.#open = true;
  }

  /** Lets what is under way come to its end, if it does so soon: what is cut off goes on where it stood. */
  async close(): Promise<void> {
    this.#open = false;
    for (const lane of this.#lanes.values()) for (const go of lane.waiting.splice(0)) go();
    this.#lanes.clear();
    await Promise.race([Promise.all(this.#underWay.values()), this.#parts.clock.sleep(CLOSE_MS)]);
    this.#stuck.clear();
  }

  /**
   * What the expiry queue calls. It returns when the row is moved, and no later; a row that is left in its place names nothing.
   *
   * @param atMs  lease time of the row
   * @throws Fault `appliance.sealed` the box closes: the row stays
   */
  async take(mount: MountInfo, name: string, atMs: number): Promise<void> {
    if (!this.#open) throw new Fault('appliance.sealed', 'Vault is sealed');
    const key = `${mount.id}/${name}`;
    const record = await this.#rotations.read(mount, name);
    if (record === undefined || record.nextMs !== atMs) return;
    const nowMs = this.#parts.lease.nowMs();
    if (isTooLate(record, nowMs)) {
      const dueMs = await nextDue(this.#parts, record, nowMs);
      await this.#steps.durable('static.skip', () => this.#move(mount, name, atMs, { dueMs, nextMs: dueMs }));
      return;
    }
    const nextMs = nowMs + ATTEMPT_MS + backoffMs(record.attempts, this.#parts.random);
    await this.#steps.durable('static.claim', () => this.#move(mount, name, atMs, { nextMs }));
    // Times by a clock that is not believed, a copy of a box: what is outside is left alone.
    const waits = this.#parts.held() !== undefined || (record.schedule !== '' && !this.#parts.lease.believed());
    if (waits || this.#underWay.has(key)) return;
    const done = this.#attempt(mount, name, record).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, done);
  }

  /** Not in line: a rotation that is under way may take long. What has another time by now keeps it. */
  #move(mount: MountInfo, name: string, atMs: number, times: Partial<StaticRecord>): Promise<StaticRecord> {
    return this.#rotations.change(mount, name, (now) => (now.nextMs === atMs ? { ...now, ...times } : now));
  }

  async #attempt(mount: MountInfo, name: string, { database, username }: StaticRecord): Promise<void> {
    const lane = this.#laneOf(`${mount.id}/${database}`);
    if (lane.running >= SIDE_BY_SIDE_MAX) await new Promise<void>((go) => lane.waiting.push(go));
    else lane.running++;
    try {
      if (!this.#open) return;
      await this.#rotations.inLine(mount, name, () => this.#rotations.rotate(mount, name));
      this.rotated++;
      this.#note(mount, name, username, 'done', '');
    } catch (error) {
      await this.#failure(mount, name, username, error);
    } finally {
      const next = lane.waiting.shift();
      if (next !== undefined) next();
      else lane.running--;
      if (lane.running === 0) this.#lanes.delete(`${mount.id}/${database}`);
    }
  }

  #laneOf(key: string): Lane {
    const lane = this.#lanes.get(key) ?? { running: 0, waiting: [] };
    this.#lanes.set(key, lane);
    return lane;
  }

  async #failure(mount: MountInfo, name: string, username: string, error: unknown): Promise<void> {
    const fault = isFault(error) ? error : new Fault('engine.failed', 'internal error', { cause: error });
    // Deleted meanwhile, unmounted, or the box was sealed: nothing is stuck.
    if (['value.absent', 'route.absent', 'appliance.sealed'].includes(fault.code)) return;
    this.failed++;
    const attempts = (this.#stuck.get(`${mount.id}/${name}`)?.attempts ?? 0) + 1;
    const atMs = this.#parts.lease.nowMs();
    this.#stuck.set(`${mount.id}/${name}`, { mount: mount.path, role: name, attempts, fault: fault.message, atMs });
    this.#note(mount, name, username, 'failed', fault.code);
  }

  #note(mount: MountInfo, role: string, username: string, outcome: 'done' | 'failed', fault: string): void {
    this.#parts.tell({
      event: 'rotation.static',
      data: { mount: mount.path, accessor: mount.accessor, outcome, ...(fault === '' ? {} : { fault }) },
      hashed: { role, username },
    });
  }
}
