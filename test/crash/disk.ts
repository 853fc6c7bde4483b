/**
 * A disk as it may be after a power cut, from the log of what was asked of it.
 *
 * The model, pessimistic wherever POSIX leaves room:
 * - A write, truncation or allocation is durable once an fsync or fdatasync of its file, begun after it, has ended; a
 *   write to a file opened with O_DSYNC is durable by itself, and makes nothing else durable.
 * - A name made, moved or removed is durable once an fsync of its folder, begun after it, has ended. Syncing a file does
 *   not make its name durable. Names of one folder become durable in their order (as journals keep it); folders are
 *   independent of each other, and of the data.
 * - What is not durable may be there whole (`kept`), not at all (`dropped`), or each write for itself wholly, not, or in
 *   part by sectors of 512 bytes, and names up to some point (`torn`, drawn from the seed). The write that was under way
 *   at the cut is among the torn.
 * - Files changed through a shared map (LMDB's lock file) hold anything: random bytes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { SeededRandom } from '../reference/random.ts';
import type { RigEvent } from './events.ts';

export type CutMode = 'kept' | 'dropped' | 'torn';
export const CUT_MODES: readonly CutMode[] = ['kept', 'dropped', 'torn'];

const SECTOR = 512;

/** What lay in the folder before the run: all of it durable. Paths are relative; `''` is the folder itself. */
export interface Baseline {
  readonly files: readonly { readonly path: string; readonly inode: number; readonly data: Buffer }[];
  readonly folders: readonly { readonly path: string; readonly inode: number }[];
}

type Change =
  | { readonly at: number; readonly kind: 'write'; readonly offset: number; readonly data: Buffer; durable: boolean }
  | { readonly at: number; readonly kind: 'truncate'; readonly size: number; durable: boolean }
  | { readonly at: number; readonly kind: 'allocate'; readonly end: number; durable: boolean };

/** Bytes that grow. */
class Content {
  bytes: Buffer;
  size: number;

  constructor(bytes: Buffer) {
    this.bytes = Buffer.from(bytes);
    this.size = bytes.length;
  }

  copy(): Content {
    return new Content(this.bytes.subarray(0, this.size));
  }

  extend(size: number): void {
    if (size > this.bytes.length) {
      const larger = Buffer.alloc(Math.max(size, this.bytes.length * 2));
      this.bytes.copy(larger, 0, 0, this.size);
      this.bytes = larger;
    }
    this.size = Math.max(this.size, size);
  }

  apply(change: Change): void {
    if (change.kind === 'allocate') this.extend(change.end);
    else if (change.kind === 'write') this.#write(change.offset, change.data);
    else if (change.size >= this.size) this.extend(change.size);
    else {
      this.bytes.fill(0, change.size, this.size);
      this.size = change.size;
    }
  }

  /** Some of the write's sectors, and perhaps its length. */
  applyTorn(offset: number, data: Buffer, random: SeededRandom): void {
    if (random.once(2)) this.extend(offset + data.length);
    for (let from = 0; from < data.length; ) {
      const to = Math.min(data.length, from + SECTOR - ((offset + from) % SECTOR));
      if (random.once(2)) this.#write(offset + from, data.subarray(from, to));
      from = to;
    }
  }

  #write(offset: number, data: Buffer): void {
    this.extend(offset + data.length);
    data.copy(this.bytes, offset);
  }
}

class File {
  /** Everything before the first change that is not durable. */
  readonly #base: Content;
  #changes: Change[] = [];
  isMapped = false;

  constructor(data: Buffer) {
    this.#base = new Content(data);
  }

  add(change: Change): void {
    this.#changes.push(change);
    this.#settle();
  }

  /** What came before `at` is durable. */
  synced(at: number): void {
    for (const change of this.#changes) if (change.at < at) change.durable = true;
    this.#settle();
  }

  #settle(): void {
    const first = this.#changes.findIndex((change) => !change.durable);
    const done = first === -1 ? this.#changes.length : first;
    for (const change of this.#changes.slice(0, done)) this.#base.apply(change);
    this.#changes = this.#changes.slice(done);
  }

  after(mode: CutMode, random: SeededRandom, underWay: Change | undefined): Buffer {
    if (this.isMapped) return random.bytes(8192);
    const content = this.#base.copy();
    for (const change of this.#changes) {
      if (change.durable || mode === 'kept') content.apply(change);
      else if (mode === 'torn') tear(content, change, random);
    }
    if (underWay !== undefined && mode === 'torn') tear(content, underWay, random);
    return content.bytes.subarray(0, content.size);
  }
}

function tear(content: Content, change: Change, random: SeededRandom): void {
  const fate = random.below(3);
  if (fate === 0) content.apply(change);
  else if (fate === 1 && change.kind === 'write') content.applyTorn(change.offset, change.data, random);
}

type Entry = File | 'folder';

class Folder {
  readonly #durable = new Map<string, Entry>();
  #changes: { readonly at: number; readonly apply: (names: Map<string, Entry>) => void }[] = [];

  constructor(durable: Iterable<[string, Entry]> = []) {
    for (const [name, entry] of durable) this.#durable.set(name, entry);
  }

  add(at: number, apply: (names: Map<string, Entry>) => void): void {
    this.#changes.push({ at, apply });
  }

  synced(at: number): void {
    for (const change of this.#changes.filter((one) => one.at < at)) change.apply(this.#durable);
    this.#changes = this.#changes.filter((one) => one.at >= at);
  }

  /** As the running process sees it. */
  now(): Map<string, Entry> {
    return this.#after(this.#changes.length);
  }

  after(mode: CutMode, random: SeededRandom): Map<string, Entry> {
    if (mode === 'kept') return this.now();
    return this.#after(mode === 'dropped' ? 0 : random.below(this.#changes.length + 1));
  }

  #after(count: number): Map<string, Entry> {
    const names = new Map(this.#durable);
    for (const change of this.#changes.slice(0, count)) change.apply(names);
    return names;
  }
}

export interface DiskOptions {
  /** The negative control: no sync does anything. */
  readonly ignoreSyncs?: boolean;
}

/** Goes forward through a log; gives the folder as a cut at this point may leave it. */
export class Disk {
  readonly #events: readonly RigEvent[];
  readonly #honest: boolean;
  readonly #folders = new Map<string, Folder>();
  readonly #folderInodes = new Map<number, string>();
  /** The file that an inode's number means now: numbers are used again. */
  readonly #files = new Map<number, File>();
  readonly #began = new Map<string, number>();
  #at = 0;

  constructor(events: readonly RigEvent[], baseline: Baseline, options: DiskOptions = {}) {
    this.#events = events;
    this.#honest = options.ignoreSyncs !== true;
    for (const { path, inode } of baseline.folders) this.#folderInodes.set(inode, path);
    for (const { inode, data } of baseline.files) this.#files.set(inode, new File(data));
    for (const { path } of baseline.folders) {
      const entries: [string, Entry][] = [];
      for (const file of baseline.files) {
        const held = this.#files.get(file.inode);
        if (parentOf(file.path) === path && held !== undefined) entries.push([posix.basename(file.path), held]);
      }
      for (const inner of baseline.folders) {
        if (inner.path !== '' && parentOf(inner.path) === path) entries.push([posix.basename(inner.path), 'folder']);
      }
      this.#folders.set(path, new Folder(entries));
    }
  }

  /** Takes in every event before `cut`. */
  advance(cut: number): void {
    if (cut < this.#at) throw new RangeError('a disk goes forward only');
    for (; this.#at < cut; this.#at++) {
      const event = this.#events[this.#at];
      if (event !== undefined) this.#take(event, this.#at);
    }
  }

  /** Writes the folder as it may be after a cut here. */
  materialise(target: string, mode: CutMode, seed: number): void {
    const random = new SeededRandom(seed);
    const next = this.#events[this.#at];
    const underWay = next === undefined ? undefined : this.#changeOf(next, this.#at);
    const write = (path: string): void => {
      mkdirSync(join(target, path), { recursive: true, mode: 0o700 });
      for (const [name, entry] of this.#folder(path).after(mode, random)) {
        const inner = posix.join(path, name);
        if (entry === 'folder') write(inner);
        else {
          const own = underWay?.file === entry ? underWay.change : undefined;
          writeFileSync(join(target, inner), entry.after(mode, random, own), { mode: 0o600 });
        }
      }
    };
    write('');
  }

  #take(event: RigEvent, at: number): void {
    const changed = this.#changeOf(event, at);
    if (changed !== undefined) {
      changed.file.add(changed.change);
      return;
    }
    switch (event.kind) {
      case 'made': {
        const file = new File(Buffer.alloc(0));
        this.#files.set(event.inode, file);
        this.#name(event.path, at, (names, name) => names.set(name, file));
        return;
      }
      case 'folder-made':
        this.#folderInodes.set(event.inode, event.path);
        this.#folders.set(event.path, new Folder());
        this.#name(event.path, at, (names, name) => names.set(name, 'folder'));
        return;
      case 'unlinked':
      case 'folder-removed':
        this.#name(event.path, at, (names, name) => names.delete(name));
        return;
      case 'renamed':
      case 'linked':
        this.#move(event, at);
        return;
      case 'sync-began':
        this.#began.set(event.sync, at);
        return;
      case 'sync-ended':
        this.#synced(event.inode, this.#began.get(event.sync) ?? 0);
        return;
      case 'mapped': {
        const entry = this.#folder(parentOf(event.path)).now().get(posix.basename(event.path));
        if (entry instanceof File) entry.isMapped = true;
        return;
      }
      case 'wrote':
      case 'truncated':
      case 'allocated':
      case 'mark':
        return;
    }
  }

  #changeOf(event: RigEvent, at: number): { readonly file: File; readonly change: Change } | undefined {
    if (event.kind !== 'wrote' && event.kind !== 'truncated' && event.kind !== 'allocated') return undefined;
    const file = this.#files.get(event.inode);
    if (file === undefined) return undefined;
    if (event.kind === 'wrote') {
      const { offset, data, isSync } = event;
      return { file, change: { at, kind: 'write', offset, data, durable: isSync && this.#honest } };
    }
    if (event.kind === 'truncated') return { file, change: { at, kind: 'truncate', size: event.size, durable: false } };
    return { file, change: { at, kind: 'allocate', end: event.end, durable: false } };
  }

  #synced(inode: number, began: number): void {
    if (!this.#honest) return;
    const folder = this.#folderInodes.get(inode);
    if (folder !== undefined) this.#folder(folder).synced(began);
    else this.#files.get(inode)?.synced(began);
  }

  #move(event: { readonly kind: 'renamed' | 'linked'; readonly path: string; readonly to: string }, at: number): void {
    const parent = parentOf(event.path);
    if (parent !== parentOf(event.to)) throw new Error('the rig cannot replay: a name moved between folders');
    const entry = this.#folder(parent).now().get(posix.basename(event.path));
    if (!(entry instanceof File)) throw new Error('the rig cannot replay: a folder was renamed');
    this.#folder(parent).add(at, (names) => {
      if (event.kind === 'renamed') names.delete(posix.basename(event.path));
      names.set(posix.basename(event.to), entry);
    });
  }

  #name(path: string, at: number, change: (names: Map<string, Entry>, name: string) => void): void {
    this.#folder(parentOf(path)).add(at, (names) => change(names, posix.basename(path)));
  }

  #folder(path: string): Folder {
    const folder = this.#folders.get(path);
    if (folder === undefined) throw new Error(`the rig does not know the folder '${path}'`);
    return folder;
  }
}

function parentOf(path: string): string {
  const parent = dirname(path);
  return parent === '.' ? '' : parent;
}

/**
 * Points at which to cut: before events that change the disk or what is durable, evenly spread.
 *
 * @param count  at most so many; the last is after everything
 */
export function cutPoints(events: readonly RigEvent[], count: number): number[] {
  const points = events.flatMap((event, at) => (event.kind === 'mark' || event.kind === 'mapped' ? [] : [at]));
  points.push(events.length);
  if (points.length <= count) return points;
  return Array.from({ length: count }, (_, at) => points[Math.round((at * (points.length - 1)) / (count - 1))] ?? 0);
}

/** The marks that stand before a cut: what was known to somebody by then. */
export function marksBefore(events: readonly RigEvent[], cut: number): string[] {
  return events.slice(0, cut).flatMap((event) => (event.kind === 'mark' ? [event.text] : []));
}

/** One cut by itself; for many of one log a Disk that goes forward is quicker. */
export function materialise(
  run: { readonly events: readonly RigEvent[]; readonly baseline: Baseline },
  cut: number,
  mode: CutMode,
  seed: number,
  target: string,
): void {
  const disk = new Disk(run.events, run.baseline);
  disk.advance(cut);
  disk.materialise(target, mode, seed);
}
