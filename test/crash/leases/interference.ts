/** What a test does to a box from inside: stops it at a named point, lets a server fail, breaks it on purpose. */
import { Fault } from '../../../host/fault.ts';
import type { Database, DatabaseAdapter } from '../../../host/ports/database.ts';
import type { Random } from '../../../host/ports/random.ts';
import { Marker } from '../events.ts';
import type { LeaseHook } from './points.ts';
import type { Armed, Sabotage } from './protocol.ts';

type Script = () => void | Promise<void>;

export class Interference {
  /** Every point that came by since the list was emptied. */
  readonly points: string[] = [];
  armed: Armed | undefined;
  /** Drops that the server refuses. */
  refusedDrops = 0;
  /** Calls of servers under way. */
  calls = 0;
  readonly #scripts = new Map<string, Script>();
  readonly #marker: Marker | undefined;
  readonly #stays: (point: string) => void;
  readonly #sabotage: Sabotage | undefined;
  #seen = 0;
  #drawn: Uint8Array[] | undefined;
  #again: Uint8Array[] = [];

  constructor(sabotage: Sabotage | undefined, stays: (point: string) => void) {
    const log = process.env['RIG_LOG'];
    this.#marker = log === undefined ? undefined : new Marker(log);
    this.#stays = stays;
    this.#sabotage = sabotage;
  }

  /** At the next time that a point comes by. What it throws happens there. */
  once(point: string, script: Script): void {
    this.#scripts.set(point, script);
  }

  /** Resolves when a point comes by the next time. */
  next(point: string): Promise<void> {
    return new Promise((resolve) => this.once(point, resolve));
  }

  arm(armed: Armed | undefined): void {
    this.armed = armed;
    this.#seen = 0;
  }

  readonly hook: LeaseHook = async (step: string, when: 'before' | 'after') => {
    const point = `${step} ${when}`;
    this.points.push(point);
    this.#marker?.mark(point);
    if (this.armed?.point === point && ++this.#seen === this.armed.nth) {
      // At once, in the middle of whatever else the process does.
      if (this.armed.stays !== true) process.kill(process.pid, 'SIGKILL');
      this.#stays(point);
      await new Promise<never>(() => undefined);
    }
    const script = this.#scripts.get(point);
    this.#scripts.delete(point);
    await script?.();
  };

  /** What `random` gives from now on is kept, to be given again. */
  keep(): void {
    this.#drawn = [];
  }

  /** What was kept comes again: the next name is one that is taken. */
  repeat(): void {
    this.#again = this.#drawn ?? [];
    this.#drawn = undefined;
  }

  random(real: Random): Random {
    return {
      uuid: () => real.uuid(),
      bytes: (length) => {
        const next = this.#again[0]?.length === length ? this.#again.shift() : undefined;
        const bytes = next ?? real.bytes(length);
        this.#drawn?.push(Uint8Array.from(bytes));
        return bytes;
      },
    };
  }

  adapter(real: DatabaseAdapter): DatabaseAdapter {
    return Object.assign(Object.create(real) as DatabaseAdapter, {
      open: (...args: Parameters<DatabaseAdapter['open']>) => this.#database(real.open(...args)),
    });
  }

  #database(real: Database): Database {
    const gone = new Set<string>();
    const counted = async <T>(work: () => Promise<T>): Promise<T> => {
      this.calls++;
      try {
        return await work();
      } finally {
        this.calls--;
      }
    };
    return {
      verify: (...args) => counted(() => real.verify(...args)),
      create: (...args) => counted(() => real.create(...args)),
      renew: (...args) => counted(() => real.renew(...args)),
      list: (...args) => counted(() => real.list(...args)),
      change: (...args) => counted(() => real.change(...args)),
      letsIn: (...args) => counted(() => real.letsIn(...args)),
      drop: (logins, timeoutMs) =>
        counted(async () => {
          for (const { name } of logins) gone.add(name);
          if (this.#sabotage === 'drops-nothing') return logins.map(() => ({ done: true }));
          if (this.refusedDrops === 0) return await real.drop(logins, timeoutMs);
          this.refusedDrops--;
          return logins.map(() => ({ done: false, fault: 'a test refuses this' }));
        }),
      present: (names, timeoutMs) =>
        counted(async () => {
          // Who was dropped before is not looked for.
          const looked = this.#sabotage === undefined ? names : names.filter((name) => !gone.has(name));
          return looked.length === 0 ? new Set<string>() : await real.present(looked, timeoutMs);
        }),
      close: () => real.close(),
    };
  }
}

export const away = (): never => {
  throw new Fault('database.unreachable', 'a test has cut the connection');
};
