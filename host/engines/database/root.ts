/**
 * The box's own login on a server, and its password. A new one is written before the server hears of it, and replaces the old
 * one when it has logged in: after a crash in between both are tried.
 */
import { KeyedQueue } from '../../barrier/queue.ts';
import { Fault } from '../../fault.ts';
import type { Database } from '../../ports/database.ts';
import type { MountInfo } from '../../ports/engine.ts';
import type { View } from '../../ports/view.ts';
import { Secret } from '../../secret.ts';
import type { Connections } from './connections.ts';
import { passwordLogin } from './credentials.ts';
import { CALL_MS, type DatabaseParts, ownView, refuseWhileHeld } from './parts.ts';
import { type ConnectionRecord, configPath, encodeRecord, readConnection } from './records.ts';
import type { Steps } from './steps.ts';

/** A change is over at the server within CALL_MS of its sending (host/databases); it is sent soon after it is written. */
const ARRIVES_MS = 2 * CALL_MS;

/** A configured connection that can be used. */
export interface Connected {
  readonly record: ConnectionRecord;
  readonly database: Database;
}

export class Roots {
  readonly #parts: DatabaseParts;
  readonly #connections: Connections;
  readonly #steps: Steps;
  readonly #queue = new KeyedQueue();

  constructor(parts: DatabaseParts, connections: Connections, steps: Steps) {
    this.#parts = parts;
    this.#connections = connections;
    this.#steps = steps;
  }

  key(mount: MountInfo, name: string): string {
    return `${mount.id}/${name}`;
  }

  /** What changes a connection's record follows in line. */
  inLine<T>(mount: MountInfo, name: string, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(this.key(mount, name), work);
  }

  newRevision(): string {
    return Buffer.from(this.#parts.random.bytes(8)).toString('hex');
  }

  /** @throws Fault `engine.failed` there is none of that name */
  require(view: View, name: string): ConnectionRecord {
    const record = readConnection(view, name);
    if (record !== undefined) return record;
    throw new Fault('engine.failed', `failed to find entry for connection with name: ${JSON.stringify(name)}`);
  }

  /**
   * The server of a connection. Where it is not known which of two passwords is in force, that is found out first.
   *
   * @param known  its record, where the caller has read it just now
   * @throws Fault `engine.failed` no such connection; `database.unreachable`, `database.refused`
   */
  async connect(mount: MountInfo, view: View, name: string, known?: ConnectionRecord): Promise<Connected> {
    let record = known ?? this.require(view, name);
    if (record.pending !== undefined) record = await this.inLine(mount, name, () => this.settle(mount, name));
    return { record, database: this.#connections.use(this.key(mount, name), name, record) };
  }

  /** Whether the server may yet hear of the pending password. */
  mayArrive({ pending, pendingUntilMs = 0 }: ConnectionRecord): boolean {
    return pending !== undefined && this.#parts.lease.nowMs() < pendingUntilMs;
  }

  /** Finds out which of two passwords is in force. In line only. @returns the record as it is then */
  async settle(mount: MountInfo, name: string): Promise<ConnectionRecord> {
    const record = await ownView(this.#parts.barrier, mount, (view) => this.require(view, name));
    const { pending } = record;
    if (pending === undefined) return record;
    // The kept one: a server that does not answer costs those who wait in line a deadline or two, and not one each.
    const database = this.#connections.use(this.key(mount, name), name, record);
    if (await this.#letsIn(database, record.username, pending)) return await this.#adopt(mount, name, pending);
    if (await this.#letsIn(database, record.username, String(record.settings['password'] ?? ''))) {
      // What was sent may be under way yet: a password that was forgotten too early would lock the box out.
      if (this.mayArrive(record)) return record;
      return await this.#steps.durable('root.drop', () =>
        this.#change(mount, name, ({ pending: _, pendingUntilMs: __, ...rest }) => rest),
      );
    }
    throw new Fault(
      'database.refused',
      `neither the password of the connection ${JSON.stringify(name)} nor the one that it was to get lets the box in: write config/${name} with the password that holds`,
    );
  }

  /** @throws Fault `engine.failed` no such connection, or one without a password of its own; `lease.held`; `database.*` */
  async rotate(mount: MountInfo, name: string): Promise<void> {
    refuseWhileHeld(this.#parts);
    await this.inLine(mount, name, async () => {
      const record = await this.settle(mount, name);
      const lacks = ['username', 'password'].find((setting) => String(record.settings[setting] ?? '') === '');
      if (lacks !== undefined)
        throw new Fault('engine.failed', `unable to rotate root credentials: no ${lacks} in configuration`);
      // One that may arrive yet is given again: whichever of the two arrives first, the password is the same.
      const next = record.pending ?? (await this.#parts.passwords(record.passwordPolicy)).draw();
      const pendingUntilMs = this.#parts.lease.nowMs() + ARRIVES_MS;
      await this.#steps.durable('root.pending', () =>
        this.#change(mount, name, (now) => ({ ...now, pending: next, pendingUntilMs })),
      );
      const database = this.#connections.use(this.key(mount, name), name, record);
      await this.#steps.outside('root.change', () =>
        database.change(record.username, passwordLogin(next), record.rootStatements, CALL_MS),
      );
      if (!(await this.#letsIn(database, record.username, next))) {
        throw new Fault(
          'database.refused',
          'the database took a new password and does not let the box in by it: both are kept, and tried at the next use',
        );
      }
      await this.#adopt(mount, name, next);
    });
  }

  async #letsIn(database: Database, username: string, password: string): Promise<boolean> {
    if (password === '') return false;
    using secret = new Secret(Buffer.from(password));
    return await this.#steps.outside('root.login', () => database.letsIn(username, secret, CALL_MS));
  }

  #adopt(mount: MountInfo, name: string, password: string): Promise<ConnectionRecord> {
    return this.#steps.durable('root.adopt', () =>
      this.#change(mount, name, ({ pending: _, pendingUntilMs: __, ...record }) => {
        const { stored, shown } = this.#connections.adapter(record.plugin).parse({ ...record.settings, password });
        return {
          ...record,
          settings: stored,
          shown,
          revision: this.newRevision(),
          rotatedMs: this.#parts.lease.nowMs(),
        };
      }),
    );
  }

  #change(
    mount: MountInfo,
    name: string,
    change: (record: ConnectionRecord) => ConnectionRecord,
  ): Promise<ConnectionRecord> {
    return ownView(this.#parts.barrier, mount, (view) =>
      view.update(configPath(name), (rows) => {
        const record = readConnection(rows, name);
        if (record === undefined)
          throw new Fault('engine.failed', `the connection ${JSON.stringify(name)} was deleted`);
        const changed = change(record);
        rows.put(configPath(name), encodeRecord(changed));
        return changed;
      }),
    );
  }
}
