/** A mount's storage under one grant: records with their rows, and the names that LIST shows. */
import type { Core } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { Expectation, Put, Store } from '../ports/store.ts';
import type { View, ViewChange } from '../ports/view.ts';
import { type Barrier, StaleDecision } from './barrier.ts';
import { hostFault, throughCore } from './fault.ts';

const NO_SUFFIX = new Uint8Array(0);
const RECORD_KEY_SIZE = 32;
/** Entries that one directory may have. */
export const DIRECTORY_ENTRIES_MAX = 100_000;

const byOctets = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

export class GrantView implements View {
  readonly #barrier: Barrier;
  readonly #grant: number;
  readonly #mountId: string;

  constructor(barrier: Barrier, grant: number, mountId: string) {
    this.#barrier = barrier;
    this.#grant = grant;
    this.#mountId = mountId;
  }

  get(path: string, suffix: Uint8Array = NO_SUFFIX): Uint8Array | undefined {
    const { core, store } = this.#barrier;
    try {
      const row = store.get('record', core.locate(this.#grant, path, suffix));
      return row === undefined ? undefined : Uint8Array.from(core.open(this.#grant, row));
    } catch (error) {
      throw hostFault(error);
    }
  }

  list(path: string): string[] {
    const { core, store } = this.#barrier;
    return throughCore(() => {
      const names: string[] = [];
      const prefix = core.locateNames(this.#grant, path);
      for (const { key, value } of store.range('name', { prefix, limit: DIRECTORY_ENTRIES_MAX })) {
        const { name, directory } = core.openName(this.#grant, key, value);
        names.push(directory ? `${name}/` : name);
      }
      return names.sort(byOctets);
    });
  }

  suffixes(path: string): Uint8Array[] {
    const { core, store } = this.#barrier;
    const prefix = throughCore(() => core.locate(this.#grant, path, NO_SUFFIX));
    return [...store.range('record', { prefix })].map(({ key }) => Uint8Array.from(key.subarray(RECORD_KEY_SIZE)));
  }

  update<T>(path: string, work: (change: ViewChange) => T | Promise<T>): Promise<T> {
    return this.#barrier.inLine(`${this.#mountId}/${path}`, async () => {
      const change = new GrantChange(this.#barrier, this.#grant);
      const result = await work(change);
      await change.commit();
      return result;
    });
  }
}

interface Seen {
  readonly key: Uint8Array;
  /** Undefined: there was no row. */
  readonly row: Uint8Array | undefined;
}

interface Written {
  readonly path: string;
  readonly suffix: Uint8Array;
  readonly key: Uint8Array;
  /** Undefined: deleted. */
  readonly payload: Uint8Array | undefined;
}

/** Reads and writes that are committed together, or not at all. */
class GrantChange implements ViewChange {
  readonly #barrier: Barrier;
  readonly #grant: number;
  readonly #seen = new Map<string, Seen>();
  readonly #written = new Map<string, Written>();
  /** Records deleted whole: their names go too. */
  readonly #deleted = new Set<string>();

  constructor(barrier: Barrier, grant: number) {
    this.#barrier = barrier;
    this.#grant = grant;
  }

  get #core(): Core {
    return this.#barrier.core;
  }

  get #store(): Store {
    return this.#barrier.store;
  }

  get(path: string, suffix: Uint8Array = NO_SUFFIX): Uint8Array | undefined {
    return throughCore(() => {
      const key = this.#core.locate(this.#grant, path, suffix);
      const name = hex(key);
      const own = this.#written.get(name);
      if (own !== undefined) return own.payload;
      const found = this.#store.get('record', key);
      const row = found === undefined ? undefined : Uint8Array.from(found);
      this.#seen.set(name, { key, row });
      return row === undefined ? undefined : Uint8Array.from(this.#core.open(this.#grant, row));
    });
  }

  suffixes(path: string): Uint8Array[] {
    const prefix = throughCore(() => this.#core.locate(this.#grant, path, NO_SUFFIX));
    const found = new Map<string, Uint8Array>();
    for (const { key } of this.#store.range('record', { prefix })) found.set(hex(key), key.subarray(RECORD_KEY_SIZE));
    for (const [name, written] of this.#written) {
      if (written.path !== path) continue;
      if (written.payload === undefined) found.delete(name);
      else found.set(name, written.suffix);
    }
    return [...found.values()].sort(Buffer.compare);
  }

  put(path: string, payload: Uint8Array, suffix: Uint8Array = NO_SUFFIX): void {
    const key = throughCore(() => this.#core.locate(this.#grant, path, suffix));
    this.#deleted.delete(path);
    this.#written.set(hex(key), { path, suffix, key, payload });
  }

  delete(path: string, suffix?: Uint8Array): void {
    const suffixes = suffix === undefined ? this.suffixes(path) : [suffix];
    for (const one of suffixes) {
      const key = throughCore(() => this.#core.locate(this.#grant, path, one));
      this.#written.set(hex(key), { path, suffix: one, key, payload: undefined });
    }
    if (suffix === undefined) this.#deleted.add(path);
  }

  async commit(): Promise<void> {
    if (this.#written.size === 0 && this.#deleted.size === 0) return;
    const puts: Put[] = [];
    const expect: Expectation[] = [];
    let created = false;
    throughCore(() => {
      for (const { key, row } of this.#seen.values()) expect.push({ table: 'record', key, is: row ?? 'absent' });
      for (const { path, suffix, key, payload } of this.#written.values()) {
        if (payload === undefined) {
          puts.push({ table: 'record', key });
          continue;
        }
        const sealed = this.#core.sealRecord(this.#grant, path, suffix, payload);
        puts.push({ table: 'record', key: sealed.key, value: sealed.row });
        if (sealed.mustBeAbsent === true) {
          created = true;
          expect.push({ table: 'record', key: sealed.key, is: 'absent' });
          if (this.#store.get('record', sealed.key) !== undefined) throw new StaleDecision();
        }
      }
      const paths = new Set(
        [...this.#written.values()].filter((one) => one.payload !== undefined).map((one) => one.path),
      );
      for (const path of paths) this.#enter(path, puts, expect);
      for (const path of this.#deleted) if (!paths.has(path)) this.#leave(path, puts, expect);
    });
    try {
      await this.#barrier.commit(puts, expect);
    } catch (error) {
      // Somebody made the record in between: the request was decided as a create and has to be decided again.
      if (created && error instanceof Fault && error.code === 'store.conflict' && this.#appeared(puts)) {
        throw new StaleDecision();
      }
      throw error;
    }
  }

  #appeared(puts: readonly Put[]): boolean {
    return puts.some(
      ({ table, key, value }) =>
        table === 'record' && value !== undefined && this.#store.get('record', key) !== undefined && !this.#saw(key),
    );
  }

  #saw(key: Uint8Array): boolean {
    return this.#seen.get(hex(key))?.row !== undefined;
  }

  /** The names of a record that has rows now: its own, and those of the directories above that are not there yet. */
  #enter(path: string, puts: Put[], expect: Expectation[]): void {
    const core = this.#core;
    const own = core.nameKey(this.#grant, path, false);
    if (this.#store.get('name', own) !== undefined) {
      expect.push({ table: 'name', key: own, is: 'present' });
      return;
    }
    this.#add(path, false, puts, expect);
    for (let directory = parentOf(path); directory !== ''; directory = parentOf(directory)) {
      const key = core.nameKey(this.#grant, directory, true);
      if (this.#store.get('name', key) !== undefined) {
        // Whoever removes the last child of a directory removes its entry: then this batch has to run again.
        expect.push({ table: 'name', key, is: 'present' });
        return;
      }
      this.#add(directory, true, puts, expect);
    }
  }

  #add(path: string, directory: boolean, puts: Put[], expect: Expectation[]): void {
    const { key, row } = this.#core.sealName(this.#grant, path, directory);
    puts.push({ table: 'name', key, value: row });
    expect.push({ table: 'name', key, is: 'absent' });
  }

  /** The name of a record that is gone, and the entries of directories that are empty then. */
  #leave(path: string, puts: Put[], expect: Expectation[]): void {
    const core = this.#core;
    const gone = new Set(
      puts.filter((put) => put.table === 'name' && put.value === undefined).map((put) => hex(put.key)),
    );
    let key = core.nameKey(this.#grant, path, false);
    for (let directory = parentOf(path); ; directory = parentOf(directory)) {
      puts.push({ table: 'name', key });
      gone.add(hex(key));
      if (directory === '') return;
      const prefix = core.locateNames(this.#grant, directory);
      const others = [...this.#store.range('name', { prefix, limit: gone.size + 1 })].some(
        (row) => !gone.has(hex(row.key)),
      );
      if (others) return;
      expect.push({ table: 'name', prefix, is: 'empty' });
      key = core.nameKey(this.#grant, directory, true);
    }
  }
}

/** Every record below a directory, deepest first, under a job's grant: for what is removed whole. */
export function* recordsBelow(view: View, directory: string): Generator<string> {
  for (const name of view.list(directory)) {
    const path = directory === '' ? name.replace(/\/$/, '') : `${directory}/${name.replace(/\/$/, '')}`;
    if (name.endsWith('/')) yield* recordsBelow(view, path);
    else yield path;
  }
}
