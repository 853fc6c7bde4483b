/** The servers that are connected to: one a configured connection, made when it is first used, closed when the box is. */
import { Fault } from '../../fault.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ConnectionLimits, Database, DatabaseAdapter } from '../../ports/database.ts';
import type { ValueMap } from '../../ports/value.ts';
import { GuardedDatabase } from './circuit.ts';
import type { DatabaseParts } from './parts.ts';
import type { ConnectionRecord } from './records.ts';

/** A connection that nobody has used for so long is closed when another one is used. */
const IDLE_MS = 600_000;
const CLOSE_MS = 2000;

interface Kept {
  readonly revision: string;
  readonly database: GuardedDatabase;
  usedMs: number;
}

export class Connections {
  readonly #adapters: readonly DatabaseAdapter[];
  readonly #clock: Clock;
  readonly #check: (address: string) => void;
  readonly #logged: () => Promise<void>;
  readonly #kept = new Map<string, Kept>();
  #closing: Promise<unknown> = Promise.resolve();

  /** @param logged  of GuardedDatabase */
  constructor({ adapters, clock, check }: DatabaseParts, logged: () => Promise<void>) {
    this.#adapters = adapters;
    this.#clock = clock;
    this.#check = check;
    this.#logged = logged;
  }

  /** @throws Fault `input.invalid` no such server is built in */
  adapter(plugin: string): DatabaseAdapter {
    const found = this.#adapters.find((one) => one.plugin === plugin || one.aliases.includes(plugin));
    if (found !== undefined) return found;
    const known = this.#adapters.map((one) => one.plugin).join(', ');
    throw new Fault(
      'input.invalid',
      `error creating database object: there is no plugin ${JSON.stringify(plugin.slice(0, 64))}; built in are ${known}`,
    );
  }

  /** @param key  mount and name of the connection */
  use(key: string, name: string, record: ConnectionRecord): Database {
    const nowMs = this.#clock.bootMs();
    const kept = this.#kept.get(key);
    if (kept?.revision === record.revision) {
      kept.usedMs = nowMs;
      return kept.database;
    }
    const database = this.open(name, record);
    this.keep(key, record.revision, database);
    for (const [other, { usedMs }] of this.#kept) if (nowMs - usedMs > IDLE_MS) this.drop(other);
    return database;
  }

  /** A server of its own, which the caller closes or gives to `keep`. @param settings  instead of the record's */
  open(name: string, record: ConnectionRecord, settings: ValueMap = record.settings): GuardedDatabase {
    const adapter = this.adapter(record.plugin);
    const limits: ConnectionLimits = {
      connectionCountMax: record.connectionCountMax,
      idleCountMax: record.idleCountMax,
      lifetimeMs: record.lifetimeMs,
      check: this.#check,
    };
    const database = adapter.open(adapter.parse(settings), limits);
    return new GuardedDatabase(database, this.#clock, JSON.stringify(name), this.#logged);
  }

  keep(key: string, revision: string, database: GuardedDatabase): void {
    this.drop(key);
    this.#kept.set(key, { revision, database, usedMs: this.#clock.bootMs() });
  }

  drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.discard(kept.database);
  }

  /** Closes a server without anybody waiting for it. */
  discard(database: Database): void {
    // What cannot be closed is gone already: nobody could do anything about it.
    this.#closing = Promise.allSettled([this.#closing, database.close()]);
  }

  /** A server that hangs is not waited for: nothing is kept of it. */
  async close(): Promise<void> {
    for (const key of [...this.#kept.keys()]) this.drop(key);
    await Promise.race([this.#closing, this.#clock.sleep(CLOSE_MS)]);
  }
}
