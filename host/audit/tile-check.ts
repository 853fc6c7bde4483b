/** Checks every tile of a checkpoint from the top down, so that the first that disagrees is the one that was changed. */
import { join } from 'node:path';
import { type Disagreement, disagreement, same } from './check.ts';
import type { Checkpoint } from './note.ts';
import { levelCount, readWhole, TILE_SIZE, TILE_WIDTH, tilePath } from './tiles.ts';
import { HASH_SIZE, type TreeHasher } from './tree.ts';

const hashAt = (hashes: Uint8Array, index: number): Uint8Array =>
  hashes.subarray(index * HASH_SIZE, (index + 1) * HASH_SIZE);

class TileCheck {
  readonly #folder: string;
  readonly #size: number;
  readonly #hasher: TreeHasher;
  readonly #seen: (tiles: number) => void;
  readonly #top: number;

  constructor(folder: string, size: number, hasher: TreeHasher, seen: (tiles: number) => void) {
    this.#folder = folder;
    this.#size = size;
    this.#hasher = hasher;
    this.#seen = seen;
    let top = 0;
    while (levelCount(size, top + 1) > 0) top += 1;
    this.#top = top;
  }

  #width(level: number, index: number): number {
    return Math.min(TILE_WIDTH, levelCount(this.#size, level) - index * TILE_WIDTH);
  }

  #path(level: number, index: number): string {
    return tilePath(level, index, this.#width(level, index));
  }

  /** The tile's hashes, or undefined where it is missing or has another length. */
  #read(level: number, index: number): Uint8Array | undefined {
    const bytes = readWhole(join(this.#folder, this.#path(level, index)));
    return bytes?.length === this.#width(level, index) * HASH_SIZE ? bytes : undefined;
  }

  #bad(level: number, index: number, why: string): Disagreement {
    return disagreement('tile', this.#path(level, index), index * TILE_WIDTH ** (level + 1), why);
  }

  /** Index of the level's unfinished tile, or undefined if its last one is full. */
  #edge(level: number): number | undefined {
    const count = levelCount(this.#size, level);
    return count % TILE_WIDTH === 0 ? undefined : Math.floor(count / TILE_WIDTH);
  }

  /** Root of the tree from the unfinished tiles alone: every leaf is under exactly one of their hashes. */
  #root(): Uint8Array | Disagreement {
    let root: Uint8Array | undefined;
    for (let level = 0; level <= this.#top; level++) {
      const index = this.#edge(level);
      if (index === undefined) continue;
      const hashes = this.#read(level, index);
      if (hashes === undefined) return this.#bad(level, index, 'it is missing or has another length');
      const width = this.#width(level, index);
      let end = width;
      for (let span = 1; span <= width; span *= 2) {
        if (Math.floor(width / span) % 2 === 0) continue;
        const part = this.#hasher.fold(hashes.subarray((end - span) * HASH_SIZE, end * HASH_SIZE));
        root = root === undefined ? part : Uint8Array.from(this.#hasher.node(part, root));
        end -= span;
      }
    }
    return root ?? this.#hasher.empty();
  }

  /** The root is wrong, so an unfinished tile is: the one that does not fit the full tiles under it, else the lowest. */
  #wrongEdge(): Disagreement | undefined {
    for (let level = this.#top; level >= 1; level--) {
      const index = this.#edge(level);
      const hashes = index === undefined ? undefined : this.#read(level, index);
      if (index === undefined || hashes === undefined) continue;
      for (let at = 0; at < this.#width(level, index); at++) {
        const child = this.#read(level - 1, index * TILE_WIDTH + at);
        if (child === undefined || child.length !== TILE_SIZE) continue;
        if (!same(this.#hasher.fold(child), hashAt(hashes, at))) {
          return this.#bad(level, index, 'it has another hash than the tile under it');
        }
      }
    }
    const lowest = this.#edge(0);
    return lowest === undefined
      ? undefined
      : this.#bad(0, lowest, 'its hashes do not lead to the root of the checkpoint');
  }

  run(root: Uint8Array): Disagreement | undefined {
    const own = this.#root();
    if (!(own instanceof Uint8Array)) return own;
    if (!same(own, root)) {
      return (
        this.#wrongEdge() ??
        disagreement('checkpoint', 'checkpoint', undefined, 'the tiles have another root than it says')
      );
    }
    this.#seen(1);
    for (let level = this.#top; level >= 1; level--) {
      const count = levelCount(this.#size, level);
      for (let index = 0; index * TILE_WIDTH < count; index++) {
        const hashes = this.#read(level, index);
        if (hashes === undefined) return this.#bad(level, index, 'it is missing or has another length');
        for (let at = 0; at < this.#width(level, index); at++) {
          const child = index * TILE_WIDTH + at;
          const below = this.#read(level - 1, child);
          if (below === undefined) return this.#bad(level - 1, child, 'it is missing or has another length');
          if (!same(this.#hasher.fold(below), hashAt(hashes, at))) {
            return this.#bad(level - 1, child, 'its hashes do not lead to the one above it');
          }
          this.#seen(1);
        }
      }
    }
    return undefined;
  }
}

/** @param seen is told of every tile that was found good @returns undefined if all tiles agree with the checkpoint */
export function firstBadTile(
  folder: string,
  checkpoint: Pick<Checkpoint, 'size' | 'root'>,
  hasher: TreeHasher,
  seen: (tiles: number) => void = () => undefined,
): Disagreement | undefined {
  return new TileCheck(folder, checkpoint.size, hasher, seen).run(checkpoint.root);
}
