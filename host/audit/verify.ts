/**
 * Offline verification of a log's folder, streaming: tiles against the signed checkpoint, then segments against the tiles.
 * With an opener every frame is opened and every leaf hashed; without one, what lies sealed counts as its tile says.
 * Reads only.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isFault } from '../fault.ts';
import {
  badEnd,
  checkMark,
  type Disagreement,
  disagreement,
  hashLines,
  type Opener,
  openLines,
  same,
  tornByPowerCut,
  walk,
} from './check.ts';
import { type Checkpoint, openCheckpoint, parseVerifierKey, type VerifierKey } from './note.ts';
import { CHECKPOINT, KEYS } from './publisher.ts';
import { type Group, listSegments, type SegmentEnd, type SegmentFile } from './segment.ts';
import { firstBadTile } from './tile-check.ts';
import { nodeReader, readWhole, TILE_WIDTH, tilePath } from './tiles.ts';
import { CompactRange, HASH_SIZE, rootAt, TreeHasher } from './tree.ts';

export interface VerifyOptions {
  /** Opens frames and marks; absent: their sealed bytes are taken as their tiles say. */
  readonly open?: Opener;
  /** `name+id+key` of the log, known from elsewhere, one a line; absent: the folder's own `keys`. */
  readonly key?: string;
  /** A signed checkpoint that somebody kept: the log must contain it. */
  readonly kept?: string;
  /** Called now and then with bytes done and bytes in all. */
  readonly progress?: (done: number, total: number) => void;
}

export interface FolderReport {
  /** True only if nothing disagrees. */
  readonly ok: boolean;
  readonly disagreement?: Disagreement;
  readonly origin?: string;
  /** Size and root (base64) of the folder's signed checkpoint. */
  readonly checkpoint?: { readonly size: number; readonly root: string };
  /** Who says which key is the log's: `given` by the caller, or the folder itself, which proves less. */
  readonly keyFrom: 'given' | 'folder';
  readonly keptAgrees?: boolean;
  /** What of the frames was looked at: `opened`, or only their `structure`. */
  readonly frames: 'opened' | 'structure';
  readonly segments: number;
  readonly groups: number;
  /** Leaves in the segments. */
  readonly leaves: number;
  readonly tiles: number;
  /** Leaves below this have been pruned; their hashes are in the tiles. */
  readonly firstKept: number;
  /** Leaves behind the checkpoint whose marks could not be checked because no frame was opened. */
  readonly unproved: number;
  /** Bytes of a write that a power cut tore: never acknowledged, dropped at the next start. */
  readonly unacknowledgedBytes: number;
}

class FolderCheck {
  readonly #folder: string;
  readonly #options: VerifyOptions;
  readonly #hasher = new TreeHasher();
  #range: CompactRange;
  #tile: { readonly index: number; readonly hashes: Uint8Array } | undefined;
  #done = 0;
  #total = 1;
  checkpoint: Checkpoint | undefined;
  keptAgrees: boolean | undefined;
  segments = 0;
  groups = 0;
  leaves = 0;
  tiles = 0;
  firstKept = 0;
  unproved = 0;
  unacknowledgedBytes = 0;

  constructor(folder: string, options: VerifyOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#range = new CompactRange(this.#hasher);
  }

  get #size(): number {
    return this.checkpoint?.size ?? 0;
  }

  run(): Disagreement | undefined {
    return this.#checkpoint() ?? this.#tiles() ?? this.#kept() ?? this.#segments();
  }

  #keys(): VerifierKey[] | Disagreement {
    const given = this.#options.key;
    if (given !== undefined) {
      const keys = given
        .trim()
        .split('\n')
        .map((line) => parseVerifierKey(line.trim()));
      const good = keys.filter((key) => key !== undefined);
      return good.length < keys.length ? disagreement('keys', 'given', undefined, 'it is no verifier key') : good;
    }
    const lines = (readWhole(join(this.#folder, KEYS))?.toString('utf8') ?? '').split('\n').slice(0, -1);
    const keys = lines.map(parseVerifierKey);
    const bad = keys.includes(undefined) || (lines.length === 0 && existsSync(join(this.#folder, CHECKPOINT)));
    return bad
      ? disagreement('keys', KEYS, undefined, 'it is missing, or a line of it is no verifier key')
      : keys.filter((key) => key !== undefined);
  }

  #checkpoint(): Disagreement | undefined {
    const keys = this.#keys();
    if (!Array.isArray(keys)) return keys as Disagreement;
    const note = readWhole(join(this.#folder, CHECKPOINT))?.toString('utf8');
    if (note === undefined) return undefined;
    this.checkpoint = openCheckpoint(note, keys);
    if (this.checkpoint !== undefined) return undefined;
    return disagreement('checkpoint', CHECKPOINT, undefined, 'it is not signed by a key of this log');
  }

  #tiles(): Disagreement | undefined {
    const { segments } = listSegments(this.#folder);
    const tileBytes = this.#size * HASH_SIZE;
    this.#total = Math.max(1, tileBytes + segments.reduce((sum, file) => sum + statSync(file.path).size, 0));
    if (this.checkpoint === undefined) return undefined;
    return firstBadTile(this.#folder, this.checkpoint, this.#hasher, (count) => {
      this.tiles += count;
      this.#progress(count * TILE_WIDTH * HASH_SIZE);
    });
  }

  #progress(bytes: number): void {
    this.#done = Math.min(this.#total, this.#done + bytes);
    this.#options.progress?.(this.#done, this.#total);
  }

  #kept(): Disagreement | undefined {
    const note = this.#options.kept;
    if (note === undefined) return undefined;
    const keys = this.#keys();
    const kept = Array.isArray(keys) ? openCheckpoint(note, keys) : undefined;
    const refuse = (why: string): Disagreement => disagreement('checkpoint', 'kept elsewhere', undefined, why);
    this.keptAgrees = false;
    if (kept === undefined) return refuse('it is not signed by a key of this log');
    if (kept.size > this.#size) return refuse(`it has ${kept.size} leaves, the folder's checkpoint only ${this.#size}`);
    const read = nodeReader((level, index) => this.#readTile(level, index), this.#hasher);
    if (!same(rootAt(read, this.#hasher, kept.size), kept.root)) return refuse('the log has another root at its size');
    this.keptAgrees = true;
    return undefined;
  }

  #readTile(level: number, index: number): Uint8Array {
    const count = Math.floor(this.#size / TILE_WIDTH ** level) - index * TILE_WIDTH;
    return readWhole(join(this.#folder, tilePath(level, index, Math.min(count, TILE_WIDTH)))) ?? new Uint8Array(0);
  }

  #leafHash(seq: number): Uint8Array {
    const index = Math.floor(seq / TILE_WIDTH);
    if (this.#tile?.index !== index) this.#tile = { index, hashes: this.#readTile(0, index) };
    const at = (seq % TILE_WIDTH) * HASH_SIZE;
    return this.#tile.hashes.subarray(at, at + HASH_SIZE);
  }

  #segments(): Disagreement | undefined {
    const { segments, strange } = listSegments(this.#folder);
    if (strange[0] !== undefined) {
      return disagreement('segment', `segment/${strange[0]}`, undefined, 'no segment has such a name');
    }
    this.segments = segments.length;
    this.firstKept = segments[0]?.firstSeq ?? 0;
    if (this.firstKept > this.#size || (segments.length === 0 && this.#size > 0)) {
      return disagreement('segment', segments[0]?.name ?? 'segment', this.#size, 'the leaves before it are missing');
    }
    for (let seq = 0; seq < this.firstKept; seq++) this.#range.append(this.#leafHash(seq));
    for (const step of walk(segments, 0)) {
      if (step.kind === 'disagreement') return step.found;
      const found =
        step.kind === 'group'
          ? this.#group(step.file, step.group, step.last)
          : this.#end(step.file, step.end, step.last);
      if (found === 'torn') return undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #group(file: SegmentFile, group: Group, last: boolean): Disagreement | 'torn' | undefined {
    const { firstSeq, count, length } = group.head;
    const end = firstSeq + count;
    if (firstSeq < this.#size && end > this.#size) {
      return disagreement('checkpoint', CHECKPOINT, firstSeq, 'it ends within a group of leaves');
    }
    const found = this.#contents(file, group);
    if (found !== undefined) {
      // Behind the checkpoint the end of the log may be a write that a power cut tore.
      return last && firstSeq >= this.#size ? this.#torn(file, group.offset, firstSeq, found) : found;
    }
    this.groups += 1;
    this.leaves += count;
    this.#progress(length + group.mark.length);
    return undefined;
  }

  #contents(file: SegmentFile, group: Group): Disagreement | undefined {
    const { open } = this.#options;
    const { firstSeq, count } = group.head;
    const after = this.#range.clone();
    if (open === undefined) {
      if (firstSeq >= this.#size) {
        this.unproved += count;
        return undefined;
      }
      for (let seq = firstSeq; seq < firstSeq + count; seq++) after.append(this.#leafHash(seq));
    } else {
      const lines = openLines(open, file, group);
      if (!Array.isArray(lines)) return lines as Disagreement;
      let seq = firstSeq;
      let wrong: number | undefined;
      hashLines(this.#hasher, lines, (hash) => {
        if (seq < this.#size && !same(hash, this.#leafHash(seq))) wrong ??= seq;
        after.append(hash);
        seq += 1;
      });
      if (wrong !== undefined) {
        return disagreement(
          'leaf',
          `${file.name} at byte ${group.offset}`,
          wrong,
          'it is not the leaf of the signed tree',
        );
      }
    }
    const found = checkMark(open, file, group, after);
    if (found === undefined) this.#range = after;
    return found;
  }

  #end(file: SegmentFile, end: SegmentEnd, last: boolean): Disagreement | 'torn' | undefined {
    if (!last) return undefined;
    if (end.nextSeq < this.#size) return badEnd(file, end);
    if (end.kind === 'end') return undefined;
    return this.#torn(file, end.offset, end.nextSeq, badEnd(file, end));
  }

  #torn(file: SegmentFile, offset: number, goodSize: number, found: Disagreement): Disagreement | 'torn' {
    const { open } = this.#options;
    if (open !== undefined && !tornByPowerCut(open, file, offset, goodSize)) return found;
    this.unacknowledgedBytes = statSync(file.path).size - offset;
    return 'torn';
  }
}

/**
 * Verifies a log's folder on a stopped box.
 *
 * @param folder `<data>/audit`
 * @throws the system's error if a file cannot be read
 */
export function verifyFolder(folder: string, options: VerifyOptions = {}): FolderReport {
  const check = new FolderCheck(folder, options);
  let found: Disagreement | undefined;
  try {
    found = check.run();
  } catch (error) {
    if (!isFault(error, 'audit.corrupt')) throw error;
    found = disagreement('segment', 'segment', undefined, error.message);
  }
  const { checkpoint, keptAgrees, segments, groups, leaves, tiles, firstKept, unproved, unacknowledgedBytes } = check;
  const root = Buffer.from(checkpoint?.root ?? new Uint8Array(0)).toString('base64');
  return {
    ok: found === undefined,
    ...(found === undefined ? {} : { disagreement: found }),
    ...(checkpoint === undefined ? {} : { origin: checkpoint.origin, checkpoint: { size: checkpoint.size, root } }),
    ...(keptAgrees === undefined ? {} : { keptAgrees }),
    keyFrom: options.key === undefined ? 'folder' : 'given',
    frames: options.open === undefined ? 'structure' : 'opened',
    ...{ segments, groups, leaves, tiles, firstKept, unproved, unacknowledgedBytes },
  };
}
