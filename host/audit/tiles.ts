/** Hash tiles (C2SP tlog-tiles): the tree's hashes in files of at most 256, and the newest ones in memory. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LogFiles } from '../ports/log-files.ts';
import { CompactRange, HASH_SIZE, type NodeReader, type TreeHasher } from './tree.ts';

export const TILE_WIDTH = 256;
export const TILE_SIZE = TILE_WIDTH * HASH_SIZE;
const TILE_HEIGHT = 8;
/** 256^7 leaves are more than a tree may have. */
export const TILE_LEVEL_MAX = 6;
/** 1 MiB of tiles that proofs were made from. */
const CACHE_COUNT_MAX = 128;

/** Path below the log's folder, e.g. `tile/0/x001/x234/067` or `tile/1/000.p/17`. */
export function tilePath(level: number, index: number, width = TILE_WIDTH): string {
  let path = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`;
  }
  return `tile/${level}/${path}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

export interface TileName {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/**
 * The other way round, for whoever asks by path.
 *
 * @param path what follows `tile/`: `0/x001/x234/067`, `1/000.p/17`
 * @returns undefined for anything that `tilePath` would not write
 */
export function parseTilePath(path: string): TileName | undefined {
  const parts = /^([0-6])((?:\/x\d{3}){0,4}\/\d{3})(?:\.p\/([1-9]\d{0,2}))?$/.exec(path);
  if (parts === null) return undefined;
  const name = {
    level: Number(parts[1]),
    index: Number((parts[2] ?? '').replace(/[/x]/g, '')),
    width: parts[3] === undefined ? TILE_WIDTH : Number(parts[3]),
  };
  return tilePath(name.level, name.index, name.width) === `tile/${path}` ? name : undefined;
}

/** How many hashes of a level a tree of `size` leaves has in full subtrees. */
export const levelCount = (size: number, level: number): number => Math.floor(size / TILE_WIDTH ** level);

/** Whole bytes of a file, or undefined where it is absent. */
export function readWhole(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** @param tile gives the hashes of one tile, at least as many as are asked for */
export function nodeReader(
  tile: (level: number, index: number, width: number) => Uint8Array,
  hasher: TreeHasher,
): NodeReader {
  return (height, index) => {
    const level = Math.min(Math.floor(height / TILE_HEIGHT), TILE_LEVEL_MAX);
    const count = 2 ** (height - level * TILE_HEIGHT);
    const first = index * count;
    const offset = first % TILE_WIDTH;
    const hashes = tile(level, Math.floor(first / TILE_WIDTH), offset + count);
    return hasher.fold(hashes.subarray(offset * HASH_SIZE, (offset + count) * HASH_SIZE));
  };
}

interface Edge {
  readonly hashes: Buffer;
  /** Hashes in it, 0 to 255. */
  width: number;
  /** Number of the tile that it will be. */
  index: number;
}

export class Tiles {
  readonly #folder: string;
  readonly #files: LogFiles;
  readonly #hasher: TreeHasher;
  readonly #edges: Edge[] = [];
  /** Full tiles that could not be written yet, by path. */
  readonly #unwritten = new Map<string, Uint8Array>();
  /** Paths written since the last `settle`. */
  #unsynced: string[] = [];
  #partials: readonly string[] = [];
  readonly #cache = new Map<string, Uint8Array>();
  #size = 0;

  constructor(folder: string, files: LogFiles, hasher: TreeHasher) {
    this.#folder = folder;
    this.#files = files;
    this.#hasher = hasher;
  }

  get size(): number {
    return this.#size;
  }

  /** True while a tile waits for room on the disk. */
  get behind(): boolean {
    return this.#unwritten.size > 0;
  }

  /**
   * Takes up a tree of which every tile is in the folder.
   *
   * @returns the path of the first tile that is not there or has another length
   */
  load(size: number): string | undefined {
    this.#size = size;
    const partials: string[] = [];
    this.#edges.length = 0;
    for (let level = 0; levelCount(size, level) > 0; level++) {
      const count = levelCount(size, level);
      const edge = {
        hashes: Buffer.alloc(TILE_SIZE),
        width: count % TILE_WIDTH,
        index: Math.floor(count / TILE_WIDTH),
      };
      this.#edges.push(edge);
      if (edge.width === 0) continue;
      const path = tilePath(level, edge.index, edge.width);
      const bytes = readWhole(join(this.#folder, path));
      if (bytes?.length !== edge.width * HASH_SIZE) return path;
      partials.push(path);
      edge.hashes.set(bytes);
    }
    this.#partials = partials;
    return undefined;
  }

  append(leafHash: Uint8Array): void {
    this.#size += 1;
    this.#add(0, leafHash);
  }

  #add(level: number, hash: Uint8Array): void {
    let edge = this.#edges[level];
    if (edge === undefined) {
      edge = { hashes: Buffer.alloc(TILE_SIZE), width: 0, index: 0 };
      this.#edges.push(edge);
    }
    edge.hashes.set(hash, edge.width * HASH_SIZE);
    edge.width += 1;
    if (edge.width < TILE_WIDTH) return;
    this.#write(tilePath(level, edge.index), Uint8Array.from(edge.hashes));
    edge.width = 0;
    edge.index += 1;
    if (level < TILE_LEVEL_MAX) this.#add(level + 1, this.#hasher.fold(edge.hashes));
  }

  #write(path: string, bytes: Uint8Array): void {
    this.#cache.delete(path);
    try {
      this.#put(path, bytes);
    } catch {
      // A tile can be made again from the log at any time: no room for it must not stop the log.
      this.#unwritten.set(path, bytes);
    }
  }

  #put(path: string, bytes: Uint8Array): void {
    const whole = join(this.#folder, path);
    this.#files.makeFolder(dirname(whole));
    this.#files.put(whole, bytes);
    this.#unsynced.push(whole);
  }

  /**
   * Writes the partial tiles of the tree as it stands and makes every tile of it durable. The partial tiles of the
   * publication before go when `retire` is called.
   *
   * @throws the system's error; to be tried again later
   */
  settle(): Promise<{ readonly retire: () => void }> {
    for (const [path, bytes] of this.#unwritten) {
      this.#put(path, bytes);
      this.#unwritten.delete(path);
    }
    const partials: string[] = [];
    for (const [level, edge] of this.#edges.entries()) {
      if (edge.width === 0) continue;
      const path = tilePath(level, edge.index, edge.width);
      partials.push(path);
      // One that the folder's checkpoint stands on is never written again: a power cut might catch it cut to nothing.
      if (this.#partials.includes(path)) continue;
      this.#put(path, Uint8Array.from(edge.hashes.subarray(0, edge.width * HASH_SIZE)));
    }
    return this.#sync(partials);
  }

  async #sync(partials: string[]): Promise<{ readonly retire: () => void }> {
    const paths = this.#unsynced;
    this.#unsynced = [];
    try {
      const folders = new Set<string>();
      for (const path of paths) {
        await this.#files.syncPath(path);
        for (let at = dirname(path); at.length >= this.#folder.length; at = dirname(at)) folders.add(at);
      }
      for (const folder of folders) await this.#files.syncPath(folder);
    } catch (error) {
      this.#rewriteLater(paths);
      throw error;
    }
    return { retire: () => this.#retire(partials) };
  }

  /** Removes every partial tile but these, those that a power cut left behind included. */
  #retire(partials: readonly string[]): void {
    const folders = new Set([...this.#partials, ...partials].map((path) => dirname(path)));
    this.#partials = partials;
    for (const folder of folders) {
      const whole = join(this.#folder, folder);
      const names = existsSync(whole) ? readdirSync(whole) : [];
      const old = names.filter((name) => !partials.includes(`${folder}/${name}`));
      for (const name of old) this.#files.remove(join(whole, name));
      if (old.length === names.length) this.#files.remove(whole);
    }
  }

  /** A failed sync is not tried again on the same file: the tiles are written anew (full ones) or come anew (partial ones). */
  #rewriteLater(paths: readonly string[]): void {
    for (const whole of paths) {
      const bytes = readWhole(whole);
      this.#files.remove(whole);
      if (bytes?.length === TILE_SIZE) this.#unwritten.set(whole.slice(this.#folder.length + 1), bytes);
    }
  }

  /** Hashes of one tile, at least `width`. @throws Error if the tree has not that many */
  read(level: number, index: number, width: number): Uint8Array {
    const edge = this.#edges[level];
    if (edge !== undefined && edge.index === index) {
      if (width > edge.width) throw new Error(`tile ${tilePath(level, index)} has only ${edge.width} hashes yet`);
      return edge.hashes.subarray(0, edge.width * HASH_SIZE);
    }
    const path = tilePath(level, index);
    const waiting = this.#unwritten.get(path) ?? this.#cache.get(path);
    if (waiting !== undefined) return waiting;
    const bytes = readWhole(join(this.#folder, path));
    if (bytes?.length !== TILE_SIZE) throw new Error(`${path} is not in the log's folder`);
    if (this.#cache.size === CACHE_COUNT_MAX) this.#cache.delete(this.#cache.keys().next().value ?? '');
    this.#cache.set(path, bytes);
    return bytes;
  }

  get reader(): NodeReader {
    return nodeReader((level, index, width) => this.read(level, index, width), this.#hasher);
  }

  /** The tree as core takes it up. */
  range(): CompactRange {
    const roots: Uint8Array[] = [];
    let from = 0;
    for (let height = Math.floor(Math.log2(Math.max(this.#size, 1))); height >= 0; height--) {
      const span = 2 ** height;
      if (Math.floor(this.#size / span) % 2 === 0) continue;
      roots.push(Uint8Array.from(this.reader(height, from / span)));
      from += span;
    }
    return new CompactRange(this.#hasher, this.#size, roots);
  }
}
