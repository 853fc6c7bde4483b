/**
 * Static roles: logins that exist, whose secrets the box changes. A new secret is written before the server hears of it, and
 * replaces the old one when the server has taken it; after a crash in between the new one is tried first, then given again.
 */
import { KeyedQueue } from '../../barrier/queue.ts';
import { Fault, isFault } from '../../fault.ts';
import type { Database } from '../../ports/database.ts';
import type { MountInfo } from '../../ports/engine.ts';
import { Secret } from '../../secret.ts';
import type { Connections } from './connections.ts';
import { loginOf, makeCredential } from './credentials.ts';
import { CALL_MS, type DatabaseParts, ownView, refuseWhileHeld } from './parts.ts';
import { type ConnectionRecord, encodeRecord, readStatic, type StaticRecord, staticPath } from './records.ts';
import type { Roots } from './root.ts';
import type { Steps } from './steps.ts';
import { backoffMs, nextDue } from './timing.ts';

const NO_SUFFIX = new Uint8Array(0);

export class Rotations {
  readonly #parts: DatabaseParts;
  readonly #connections: Connections;
  readonly #roots: Roots;
  readonly #steps: Steps;
  readonly #queue = new KeyedQueue();
  #done: (mount: MountInfo, name: string) => void = () => {};

  constructor(parts: DatabaseParts, connections: Connections, roots: Roots, steps: Steps) {
    this.#parts = parts;
    this.#connections = connections;
    this.#roots = roots;
    this.#steps = steps;
  }

  /** @param done  told when a role has its new secret, or is gone: whatever its rotation waited for is over */
  watch(done: (mount: MountInfo, name: string) => void): void {
    this.#done = done;
  }

  /** What changes a static role follows in line. */
  inLine<T>(mount: MountInfo, name: string, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(`${mount.id}/${name}`, work);
  }

  read(mount: MountInfo, name: string): Promise<StaticRecord | undefined> {
    return ownView(this.#parts.barrier, mount, (view) => readStatic(view, name));
  }

  /**
   * Writes a role, with when it is due.
   *
   * @param change  what it is to be, of what it is now (undefined: there is none): when it is due may change beside the line
   * @throws Fault `value.absent` it is gone
   */
  async write(
    mount: MountInfo,
    name: string,
    change: (now: StaticRecord | undefined) => StaticRecord,
  ): Promise<StaticRecord> {
    const path = staticPath(name);
    return await ownView(this.#parts.barrier, mount, (view) =>
      view.update(path, (rows) => {
        const now = readStatic(rows, name);
        const record = change(now);
        rows.put(path, encodeRecord(record));
        rows.ends(path, NO_SUFFIX, now?.nextMs, record.nextMs, 'rotation');
        return record;
      }),
    );
  }

  /** The same for a role that is there. */
  change(mount: MountInfo, name: string, change: (now: StaticRecord) => StaticRecord): Promise<StaticRecord> {
    return this.write(mount, name, (now) => {
      if (now === undefined) throw new Fault('value.absent', `the static role ${JSON.stringify(name)} is gone`);
      return change(now);
    });
  }

  async remove(mount: MountInfo, name: string): Promise<void> {
    const path = staticPath(name);
    await ownView(this.#parts.barrier, mount, (view) =>
      view.update(path, (rows) => {
        const record = readStatic(rows, name);
        if (record === undefined) return;
        rows.delete(path);
        rows.ends(path, NO_SUFFIX, record.nextMs, undefined, 'rotation');
      }),
    );
    this.#done(mount, name);
  }

  /**
   * Gives the login a new secret. In line only; what fails leaves the role with both, and a later attempt.
   *
   * @param starting  the role as it is to be, where it is not stored yet
   * @returns the role as it is then
   * @throws Fault `database.*`; `lease.held`
   */
  async rotate(mount: MountInfo, name: string, starting?: StaticRecord): Promise<StaticRecord> {
    refuseWhileHeld(this.#parts);
    const stored = await this.read(mount, name);
    const found = stored ?? starting;
    if (found === undefined) throw new Fault('value.absent', `there is no static role ${JSON.stringify(name)}`);
    try {
      const connection = await ownView(this.#parts.barrier, mount, (view) => this.#roots.require(view, found.database));
      let record = found;
      if (record.pending === undefined) {
        const pending = await this.#newSecret(connection, found);
        record = await this.#steps.durable('static.pending', () =>
          this.write(mount, name, (now) => ({ ...(now ?? found), pending })),
        );
      } else {
        const settled = await this.#settled(mount, name, connection, record);
        if (settled !== undefined) return settled;
      }
      const known = await this.#give(mount, connection, record);
      return await this.#adopt(mount, name, record, known);
    } catch (error) {
      await this.#failed(mount, name, error);
      throw error;
    }
  }

  /**
   * Where it is not known which of two secrets is in force: finds out, as far as the server can say. In line only.
   *
   * @returns the role as it is then
   */
  async settle(mount: MountInfo, name: string, record: StaticRecord): Promise<StaticRecord> {
    if (record.pending === undefined) return record;
    const connection = await ownView(this.#parts.barrier, mount, (view) => this.#roots.require(view, record.database));
    return (await this.#settled(mount, name, connection, record)) ?? record;
  }

  /** @returns undefined unless the new secret is in force */
  async #settled(mount: MountInfo, name: string, connection: ConnectionRecord, record: StaticRecord) {
    const { pending = '', credential } = record;
    if (credential.type !== 'password') return undefined;
    const inForce = await this.#steps.outside('static.try', () =>
      this.#with(mount, connection, record, (database) => letsIn(database, record.username, pending)),
    );
    return inForce ? await this.#adopt(mount, name, record, true) : undefined;
  }

  async #newSecret(connection: ConnectionRecord, { credential, username, rotatedMs }: StaticRecord): Promise<string> {
    const wish = { config: credential, passwordPolicy: connection.passwordPolicy, username, expireWallMs: rotatedMs };
    return (await makeCredential(this.#parts, wish)).secret;
  }

  /** @returns whether the new secret has logged in */
  async #give(mount: MountInfo, connection: ConnectionRecord, record: StaticRecord): Promise<boolean> {
    const { pending = '', username, statements, credential } = record;
    return await this.#with(mount, connection, record, async (database) => {
      await this.#steps.outside('static.change', () =>
        database.change(username, loginOf(credential.type, pending), statements, CALL_MS),
      );
      if (credential.type !== 'password') return false;
      try {
        return await this.#steps.outside('static.login', () => letsIn(database, username, pending));
      } catch (error) {
        // The server has taken it: that it could not be tried now is no failure. The old one is kept.
        if (!isFault(error)) throw error;
        return false;
      }
    });
  }

  /** Runs work with the server as the box, or where the connection has no login of its own, as the role's own login. */
  async #with<T>(
    mount: MountInfo,
    connection: ConnectionRecord,
    record: StaticRecord,
    work: (database: Database) => Promise<T>,
  ): Promise<T> {
    if (!connection.selfManaged) {
      const { database } = await ownView(this.#parts.barrier, mount, (view) =>
        this.#roots.connect(mount, view, record.database),
      );
      return await work(database);
    }
    const settings = { ...connection.settings, username: record.username, password: record.secret };
    const database = this.#connections.open(record.database, connection, settings);
    try {
      return await work(database);
    } finally {
      this.#connections.discard(database);
    }
  }

  async #adopt(mount: MountInfo, name: string, record: StaticRecord, known: boolean): Promise<StaticRecord> {
    const { pending = '', previous = '', secret } = record;
    const { lease } = this.#parts;
    const times = { rotatedMs: lease.nowMs(), rotatedNanos: lease.nowNanos() };
    const dueMs = await nextDue(this.#parts, record, times.rotatedMs);
    const kept = known ? {} : { previous: secret === '' ? previous : secret };
    const adopted = await this.#steps.durable('static.adopt', () =>
      this.change(mount, name, (now) => {
        const { pending: _, previous: __, creating: ___, ...rest } = now;
        return { ...rest, ...times, secret: pending, attempts: 0, dueMs, nextMs: dueMs, ...kept };
      }),
    );
    this.#done(mount, name);
    return adopted;
  }

  async #failed(mount: MountInfo, name: string, error: unknown): Promise<void> {
    if (!isFault(error) || this.#parts.barrier.core.sealed) return;
    const record = await this.read(mount, name);
    if (record === undefined) return;
    if (record.creating === true && (error.code === 'database.refused' || error.code === 'database.absent')) {
      await this.#steps.durable('static.drop', () => this.remove(mount, name));
      return;
    }
    const attempts = record.attempts + 1;
    const nextMs = this.#parts.lease.nowMs() + backoffMs(attempts, this.#parts.random);
    await this.#steps.durable('static.later', () =>
      // Whoever waited was told that the role is kept: a later refusal does not take it away.
      this.change(mount, name, ({ creating: _, ...now }) => ({ ...now, attempts, nextMs })),
    );
  }
}

async function letsIn(database: Database, username: string, password: string): Promise<boolean> {
  using secret = new Secret(Buffer.from(password));
  return await database.letsIn(username, secret, CALL_MS);
}
