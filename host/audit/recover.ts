/**
 * Takes the log up where it ended: the folder's checkpoint and its tiles first, then the groups behind it, opened and
 * hashed once more. What one torn write may have left is dropped; anything else that disagrees is refused.
 */
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import {
  badEnd,
  checkMark,
  corrupt,
  disagreement,
  hashLines,
  type Opener,
  openLines,
  same,
  tornByPowerCut,
  walk,
} from './check.ts';
import { type Checkpoint, openCheckpoint, type VerifierKey } from './note.ts';
import { CHECKPOINT } from './publisher.ts';
import { type Group, listSegments, SEGMENT_HEADER_SIZE, type SegmentFile } from './segment.ts';
import { firstBadTile } from './tile-check.ts';
import { readWhole, type Tiles } from './tiles.ts';
import { CompactRange, rootAt, type TreeHasher } from './tree.ts';

export interface RecoverInput {
  readonly folder: string;
  readonly opener: Opener;
  readonly hasher: TreeHasher;
  /** Filled with the tree. */
  readonly tiles: Tiles;
  /** Keys whose checkpoints count, under the log's own origin. */
  readonly keys: readonly VerifierKey[];
  /** Leaves below this may be missing from the segments. */
  readonly prunedTo: number;
  readonly known?: { readonly size: number; readonly root: Uint8Array } | undefined;
}

export interface Recovered {
  readonly range: CompactRange;
  /** Size of the folder's checkpoint. */
  readonly published: number;
  /** Where the next group goes; undefined: a new segment. */
  readonly last?: { readonly file: SegmentFile; readonly offset: number };
  readonly repaired: readonly string[];
}

/** @throws Fault `audit.corrupt` if it is not one that this log signed */
function readCheckpoint(folder: string, keys: readonly VerifierKey[]): Checkpoint | undefined {
  const note = readWhole(join(folder, CHECKPOINT))?.toString('utf8');
  const checkpoint = note === undefined ? undefined : openCheckpoint(note, keys);
  if (note === undefined || checkpoint !== undefined) return checkpoint;
  throw corrupt(disagreement('checkpoint', CHECKPOINT, undefined, 'it is not signed by a key of this log'));
}

/** The tree at the folder's checkpoint, from its tiles alone. */
function fromTiles(input: RecoverInput, checkpoint: Checkpoint | undefined): CompactRange {
  const size = checkpoint?.size ?? 0;
  const missing = input.tiles.load(size);
  if (missing !== undefined)
    throw corrupt(disagreement('tile', missing, undefined, 'it is missing or has another length'));
  if (checkpoint === undefined) return new CompactRange(input.hasher);
  let range: CompactRange | undefined;
  try {
    range = input.tiles.range();
  } catch {
    // A tile that is needed is not there: the walk below names it.
  }
  if (range !== undefined && same(range.root(), checkpoint.root)) return range;
  const found = firstBadTile(input.folder, checkpoint, input.hasher);
  throw corrupt(found ?? disagreement('checkpoint', CHECKPOINT, undefined, 'the tiles have another root than it says'));
}

class Recovery {
  readonly #input: RecoverInput;
  readonly #range: CompactRange;
  readonly #published: number;
  readonly #known: number;
  readonly repaired: string[] = [];
  last: { readonly file: SegmentFile; readonly offset: number } | undefined;

  constructor(input: RecoverInput, range: CompactRange) {
    this.#input = input;
    this.#range = range;
    this.#published = range.size;
    this.#known = input.known?.size ?? 0;
  }

  /** @returns false if the group cannot be taken and is the end of the log */
  group(file: SegmentFile, group: Group, lastFile: boolean): boolean {
    const { opener, hasher, tiles } = this.#input;
    const { firstSeq, count, length } = group.head;
    const end = firstSeq + count;
    if (end < this.#published) return true;
    const lines = openLines(opener, file, group);
    if (firstSeq < this.#published) {
      // The group that the checkpoint ends with: only its opening and its mark are new.
      if (!Array.isArray(lines)) throw corrupt(lines as Exclude<typeof lines, Uint8Array[]>);
      if (end !== this.#published) {
        throw corrupt(disagreement('checkpoint', CHECKPOINT, end, 'it ends within a group of leaves'));
      }
      const found = checkMark(opener, file, group, this.#range);
      if (found !== undefined) throw corrupt(found);
    } else {
      const after = this.#range.clone();
      const hashes: Uint8Array[] = [];
      if (Array.isArray(lines)) hashLines(hasher, lines, (hash) => hashes.push(hash));
      for (const hash of hashes) after.append(hash);
      const found = Array.isArray(lines) ? checkMark(opener, file, group, after) : lines;
      if (found !== undefined) {
        if (!lastFile) throw corrupt(found);
        return this.#drop(file, group.offset, found);
      }
      for (const hash of hashes) {
        this.#range.append(hash);
        tiles.append(hash);
      }
    }
    this.last = { file, offset: group.offset + length + group.mark.length };
    return true;
  }

  /** What follows the last good group of the log: a write that a power cut tore, or tampering. */
  #drop(file: SegmentFile, offset: number, found: Parameters<typeof corrupt>[0]): false {
    const { size } = this.#range;
    if (size < this.#known || !tornByPowerCut(this.#input.opener, file, offset, size)) throw corrupt(found);
    this.repaired.push(
      `${file.name}: what follows leaf ${size - 1} was cut off while it was written, never acknowledged, and is dropped`,
    );
    this.last = offset > SEGMENT_HEADER_SIZE ? { file, offset } : undefined;
    return false;
  }

  run(segments: readonly SegmentFile[], fromIndex: number): void {
    for (const step of walk(segments, fromIndex)) {
      if (step.kind === 'disagreement') throw corrupt(step.found);
      if (step.kind === 'group') {
        if (!this.group(step.file, step.group, step.last)) return;
        continue;
      }
      const { file, end, last } = step;
      if (!last) continue;
      if (end.nextSeq < this.#published) throw corrupt(badEnd(file, end));
      if (end.kind === 'bad') this.#drop(file, end.offset, badEnd(file, end));
    }
    // A newest segment that holds no group yet is replaced by the next one, which has its name.
    if (this.last?.file !== segments.at(-1)) this.last = undefined;
  }
}

/** A disk that does not give the log is no sign of tampering. */
function readable<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = error instanceof Error && 'syscall' in error ? (error as NodeJS.ErrnoException).code : undefined;
    if (code === undefined) throw error;
    throw new Fault('audit.unavailable', `the audit log cannot be read (${code})`, { cause: error });
  }
}

/**
 * @throws Fault `audit.corrupt` naming the first thing that disagrees
 * @throws Fault `audit.unavailable` if a file cannot be read
 */
export const recover = (input: RecoverInput): Recovered => readable(() => recoverReadable(input));

function recoverReadable(input: RecoverInput): Recovered {
  const checkpoint = readCheckpoint(input.folder, input.keys);
  const range = fromTiles(input, checkpoint);
  const published = range.size;
  const { segments, strange } = listSegments(input.folder);
  const stranger = strange[0];
  if (stranger !== undefined) {
    throw corrupt(disagreement('segment', `segment/${stranger}`, undefined, 'no segment has such a name'));
  }
  const first = segments[0];
  if (first !== undefined && first.firstSeq > input.prunedTo) {
    throw corrupt(disagreement('segment', first.name, input.prunedTo, 'the leaves before it are missing'));
  }
  const recovery = new Recovery(input, range);
  const from = segments.findLastIndex(({ firstSeq }) => firstSeq < Math.max(published, 1));
  if (from >= 0) recovery.run(segments, from);
  if (published > 0 && from < 0) {
    throw corrupt(disagreement('segment', 'segment', range.size, 'the leaves that the checkpoint counts are missing'));
  }
  checkKnown(input, range);
  const { last, repaired } = recovery;
  return { range, published, repaired, ...(last === undefined ? {} : { last }) };
}

/** The log must contain the checkpoint that the store holds. */
function checkKnown(input: RecoverInput, range: CompactRange): void {
  const { known, tiles, hasher } = input;
  if (known === undefined || known.size === 0) return;
  const where = `of size ${known.size} in the store`;
  if (known.size > range.size) {
    throw corrupt(disagreement('checkpoint', where, range.size, `the log ends after ${range.size} leaves`));
  }
  let root: Uint8Array | undefined;
  try {
    root = known.size === range.size ? range.root() : rootAt(tiles.reader, hasher, known.size);
  } catch {
    throw corrupt(disagreement('tile', 'tile', undefined, `one that the checkpoint ${where} needs is missing`));
  }
  if (!same(root, known.root)) {
    throw corrupt(disagreement('checkpoint', where, undefined, 'the log has another root at that size'));
  }
}
