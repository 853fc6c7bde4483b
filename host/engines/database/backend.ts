/** How leases of this engine are ended, renewed and looked for. What they need of their role was written with the lease. */
import { isFault } from '../../fault.ts';
import type { Existing } from '../../ports/database.ts';
import type { BackendContext, Ended, LeaseBackend, Undo } from '../../ports/leases.ts';
import type { ValueMap } from '../../ports/value.ts';
import type { Connections } from './connections.ts';
import { prefixOf } from './naming.ts';
import { type DatabaseParts, GRACE_MS } from './parts.ts';
import { readConnection } from './records.ts';
import type { Connected, Roots } from './root.ts';

/** Logins that are dropped in one call. */
const BATCH_MAX = 128;
/** Names that a catalogue is asked for in one call (host/ports/database.ts). */
const NAMES_MAX = 1000;

/** What a lease keeps of its role: its statements as they were when it was issued. */
export interface LoginUndo {
  readonly name: string;
  readonly revocation: readonly string[];
  readonly renewal: readonly string[];
}

export const undoOf = (undo: LoginUndo): ValueMap => ({ ...undo });
const loginOf = ({ undo }: Pick<Undo, 'undo'>): LoginUndo => undo as unknown as LoginUndo;
/** Of the login that it undoes. */
export const nameOf = (undo: ValueMap): string => loginOf({ undo }).name;

export class LoginBackend implements LeaseBackend {
  readonly batchMax = BATCH_MAX;
  readonly #parts: DatabaseParts;
  readonly #roots: Roots;
  readonly #connections: Connections;

  constructor(parts: DatabaseParts, roots: Roots, connections: Connections) {
    this.#parts = parts;
    this.#roots = roots;
    this.#connections = connections;
  }

  #connect({ mount, view, backend }: BackendContext): Promise<Connected> {
    return this.#roots.connect(mount, view, backend);
  }

  async end(context: BackendContext, items: readonly Undo[]): Promise<readonly Ended[]> {
    const logins = items.map((item): Existing => {
      const { name, revocation } = loginOf(item);
      return { name, statements: revocation };
    });
    try {
      const { database } = await this.#connect(context);
      return await database.drop(logins, context.timeoutMs);
    } catch (error) {
      if (!isFault(error) || error.code === 'appliance.sealed') throw error;
      return items.map(() => ({ done: false, fault: error.message }));
    }
  }

  async remains(context: BackendContext, items: readonly Undo[]): Promise<readonly boolean[]> {
    const { database } = await this.#connect(context);
    const names = items.map((item) => loginOf(item).name);
    const there = new Set<string>();
    for (let at = 0; at < names.length; at += NAMES_MAX) {
      for (const name of await database.present(names.slice(at, at + NAMES_MAX), context.timeoutMs)) there.add(name);
    }
    return names.map((name) => there.has(name));
  }

  async renew(context: BackendContext, item: Undo, expireWallMs: number): Promise<void> {
    const { name, renewal } = loginOf(item);
    const { database } = await this.#connect(context);
    await database.renew(name, expireWallMs + GRACE_MS, renewal, context.timeoutMs);
  }

  async strangers(context: BackendContext, known: AsyncIterable<Undo>): Promise<readonly string[]> {
    const { database, record } = await this.#connect(context);
    const now = prefixOf(this.#parts, this.#connections.adapter(record.plugin), record);
    const found = new Set<string>();
    for (const prefix of new Set([now, ...record.prefixes])) {
      for (const name of await database.list(prefix, context.timeoutMs)) found.add(name);
    }
    for await (const item of known) found.delete(loginOf(item).name);
    return [...found];
  }

  /** A connection that is self-managed makes no logins. */
  backends({ view }: Pick<BackendContext, 'mount' | 'view'>): readonly string[] {
    return view.list('config').filter((name) => readConnection(view, name)?.selfManaged === false);
  }
}
