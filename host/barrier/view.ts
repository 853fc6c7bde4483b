/** A mount's storage under one grant: records with their rows, and the names that LIST shows. */
import { createHash } from 'node:crypto';
import type { Core } from '../../core/types.ts';
import { Fault } from '../fault.ts';
import type { Expectation, Put, Store } from '../ports/store.ts';
import type { RecordKind, View, ViewChange } from '../ports/view.ts';
import { type Barrier, StaleDecision } from './barrier.ts';
import { DIRECTORY_ENTRIES_MAX } from './directories.ts';
import { expiryDelete, expiryPut, ID_SIZE } from './expiry-row.ts';
import { hostFault, throughCore } from './fault.ts';

const NO_SUFFIX = new Uint8Array(0);
const RECORD_KEY_SIZE = 32;
const DIRECTORY_PREFIX_SIZE = 16;

const byOctets = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
/** Below the surrogates the order of UTF-16 units is that of UTF-8's octets. */
const LOW = /^[\0-\ud7ff]*$/;

const byUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** By octets, in place. Comparing as octets makes two buffers a comparison: only where some name needs it. */
const sortNames = (names: string[]): string[] => names.sort(names.every((name) => LOW.test(name)) ? byUnits : byOctets);
/** A key as a text to find it by: a character a byte. */
const hex = (bytes: Uint8Array): string => Buffer.prototype.latin1Slice.call(bytes);
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

export class GrantView implements View {
  readonly #barrier: Barrier;
  readonly #grant: number;
  readonly #mountId: string;
  readonly #urgent: boolean;

  constructor(barrier: Barrier, grant: number, mountId: string, urgent: boolean) {
    this.#barrier = barrier;
    this.#grant = grant;
    this.#mountId = mountId;
    this.#urgent = urgent;
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

  read<T>(path: string, decode: (payload: Uint8Array) => T, suffix: Uint8Array = NO_SUFFIX): T | undefined {
    const { core, store } = this.#barrier;
    let payload: Uint8Array;
    try {
      const row = store.get('record', core.locate(this.#grant, path, suffix));
      if (row === undefined) return undefined;
      payload = core.open(this.#grant, row);
    } catch (error) {
      throw hostFault(error);
    }
    return decode(payload);
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
      return sortNames(names);
    });
  }

  suffixes(path: string): Uint8Array[] {
    const { core, store } = this.#barrier;
    const prefix = throughCore(() => core.locate(this.#grant, path, NO_SUFFIX));
    return [...store.range('record', { prefix })].map(({ key }) => Uint8Array.from(key.subarray(RECORD_KEY_SIZE)));
  }

  update<T>(path: string, work: (change: ViewChange) => T | Promise<T>): Promise<T> {
    return this.#barrier.inLine(`${this.#mountId}/${path}`, async () => {
      const change = new GrantChange(this.#barrier, this.#grant, this.#mountId, this.#urgent);
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

interface Ending {
  readonly path: string;
  readonly suffix: Uint8Array;
  /** Milliseconds of lease time. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  readonly kind: RecordKind;
}

/** Reads and writes that are committed together, or not at all. */
class GrantChange implements ViewChange {
  readonly #barrier: Barrier;
  readonly #grant: number;
  readonly #seen = new Map<string, Seen>();
  readonly #written = new Map<string, Written>();
  /** Records deleted whole: their names go too. */
  readonly #deleted = new Set<string>();
  readonly #mountId: string;
  readonly #urgent: boolean;
  readonly #endings: Ending[] = [];
  /** Prefixes of directories, one for each entry that this change adds or takes away. */
  #added: Uint8Array[] = [];
  #removed: Uint8Array[] = [];

  constructor(barrier: Barrier, grant: number, mountId: string, urgent: boolean) {
    this.#barrier = barrier;
    this.#grant = grant;
    this.#mountId = mountId;
    this.#urgent = urgent;
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

  read<T>(path: string, decode: (payload: Uint8Array) => T, suffix: Uint8Array = NO_SUFFIX): T | undefined {
    const payload = this.get(path, suffix);
    return payload === undefined ? undefined : decode(payload);
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

  ends(
    path: string,
    suffix: Uint8Array,
    before: number | undefined,
    after: number | undefined,
    kind: RecordKind = 'kvVersion',
  ): void {
    if (before !== after) this.#endings.push({ path, suffix, before, after, kind });
  }

  #end({ path, suffix, before, after, kind }: Ending): Put[] {
    const key = this.#core.locate(this.#grant, path, suffix);
    // Blind as the row's key, of which it is made; versions of one record differ too.
    const id = createHash('sha256').update(key).digest().subarray(0, ID_SIZE);
    const puts: Put[] = [];
    if (before !== undefined) puts.push(expiryDelete(before, kind, id));
    if (after !== undefined) {
      const payload = encodeEnding({ mountId: this.#mountId, path, suffix });
      puts.push(expiryPut(this.#barrier, this.#grant, after, kind, id, payload));
    }
    return puts;
  }

  async commit(): Promise<void> {
    if (this.#written.size + this.#deleted.size + this.#endings.length === 0) return;
    const { directories } = this.#barrier;
    let committed = false;
    try {
      await this.#commit();
      committed = true;
    } finally {
      for (const prefix of committed ? this.#removed : this.#added) directories.giveBack(prefix);
    }
  }

  async #commit(): Promise<void> {
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
      for (const ending of this.#endings) puts.push(...this.#end(ending));
    });
    try {
      await this.#barrier.commit(puts, expect, this.#urgent);
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
    const prefix = key.slice(0, DIRECTORY_PREFIX_SIZE);
    this.#barrier.directories.take(prefix);
    this.#added.push(prefix);
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
      if (!gone.has(hex(key))) this.#removed.push(key.slice(0, DIRECTORY_PREFIX_SIZE));
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

/** What the expiry queue is told of a record's row. */
export interface EndingRow {
  /** In hex. */
  readonly mountId: string;
  readonly path: string;
  readonly suffix: Uint8Array;
}

/** Mount id (16) ‖ length of the suffix (1) ‖ suffix ‖ path. */
export function encodeEnding({ mountId, path, suffix }: EndingRow): Buffer {
  return Buffer.concat([Buffer.from(mountId, 'hex'), Buffer.of(suffix.length), suffix, Buffer.from(path)]);
}

export function decodeEnding(payload: Uint8Array): EndingRow {
  const bytes = Buffer.from(payload);
  const end = 17 + (bytes[16] ?? 0);
  return { mountId: bytes.toString('hex', 0, 16), suffix: bytes.subarray(17, end), path: bytes.toString('utf8', end) };
}

/** Every record below a directory, deepest first, under a job's grant: for what is removed whole. */
export function* recordsBelow(view: View, directory: string): Generator<string> {
  for (const name of view.list(directory)) {
    const path = directory === '' ? name.replace(/\/$/, '') : `${directory}/${name.replace(/\/$/, '')}`;
    if (name.endsWith('/')) yield* recordsBelow(view, path);
    else yield path;
  }
}
