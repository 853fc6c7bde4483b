/** What the log tells of itself: checkpoint, tiles, leaves, proofs, export; and pruning of what was exported. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import type { Clock } from '../ports/clock.ts';
import type { LogFiles } from '../ports/log-files.ts';
import type { Opener } from './check.ts';
import { encodeVerifierKey } from './note.ts';
import type { Publisher } from './publisher.ts';
import { LeafReader, type Page } from './reader.ts';
import { listSegments, SEGMENT_FOLDER } from './segment.ts';
import type { Signing } from './signing.ts';
import { levelCount, TILE_LEVEL_MAX, TILE_WIDTH, type Tiles } from './tiles.ts';
import { consistencyProof, HASH_SIZE, inclusionProof, rootAt, type TreeHasher } from './tree.ts';
import type { AuditNote } from './types.ts';

/** The log while the box is open. */
export interface OpenLog {
  readonly folder: string;
  readonly files: LogFiles;
  readonly clock: Clock;
  readonly signing: Signing;
  readonly tiles: Tiles;
  readonly hasher: TreeHasher;
  readonly publisher: Publisher;
  /** Leaves on the medium. */
  readonly size: () => number;
  readonly withOpener: <T>(work: (opener: Opener) => T) => T;
  readonly note: (note: AuditNote) => Promise<void>;
  /** Resolves when the log has grown, or stops. */
  readonly grown: () => Promise<void>;
  readonly stopped: () => boolean;
}

const invalid = (sentence: string): Fault => new Fault('input.invalid', sentence);
const whole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

export class History {
  readonly #open: () => OpenLog;

  /** @param open throws Fault while the box is sealed */
  constructor(open: () => OpenLog) {
    this.#open = open;
  }

  /** The newest signed checkpoint (C2SP signed note); a new one at most once a second. */
  checkpoint(): string {
    return this.#open().publisher.signed();
  }

  /** Leaves on the medium. */
  size(): number {
    return this.#open().size();
  }

  /** Every key that signed checkpoints of this log, newest first, in the form that the standard tools take. */
  verifierKeys(): string[] {
    return this.#open().signing.keys.map(encodeVerifierKey);
  }

  /** The key that checkpoints are verified with, in the form that the standard tools take. */
  verifierKey(): string {
    return encodeVerifierKey(this.#open().signing.key);
  }

  /**
   * Hashes of a tile (C2SP tlog-tiles).
   *
   * @param width 1 to 256; below 256 a partial tile
   * @throws Fault `value.absent` if the tree has not that many hashes there, `input.invalid` outside the format
   */
  tile(level: number, index: number, width: number): Uint8Array {
    if (!whole(level) || level > TILE_LEVEL_MAX || !whole(index) || !whole(width) || width < 1 || width > TILE_WIDTH) {
      throw invalid('a tile has a level of 0 to 6, an index and a width of 1 to 256');
    }
    const { tiles } = this.#open();
    if (index * TILE_WIDTH + width > levelCount(tiles.size, level)) {
      throw new Fault('value.absent', 'the log has not that many hashes yet');
    }
    return Uint8Array.from(tiles.read(level, index, width).subarray(0, width * HASH_SIZE));
  }

  /** Leaves in [from, to) in clear, as lines; a page holds at most 1,000 and about 1 MiB: go on at `nextSeq`. */
  entries(from: number, to: number): { readonly firstSeq: number; readonly lines: string[]; readonly nextSeq: number } {
    const { firstSeq, lines, nextSeq } = this.#page(new LeafReader(this.#open().folder), from, to);
    return { firstSeq, nextSeq, lines: lines.map((line) => Buffer.from(line).toString('utf8')) };
  }

  #page(reader: LeafReader, from: number, to: number): Page {
    const { size, withOpener } = this.#open();
    if (!whole(from) || !whole(to) || from > to) throw invalid('entries are asked for from one number up to another');
    const end = Math.min(to, size());
    return withOpener((opener) => reader.page(opener, Math.min(from, end), end));
  }

  /** Shows that leaf `seq` is in the tree of `size`: RFC 9162 section 2.1.3. */
  proveInclusion(
    seq: number,
    size: number,
  ): { readonly root: Uint8Array; readonly hashes: Uint8Array[]; readonly leafHash: Uint8Array } {
    this.#checkSize(size);
    if (!whole(seq) || seq >= size) throw invalid('a leaf that is to be proved lies below the size of the tree');
    const { tiles, hasher } = this.#open();
    const read = tiles.reader;
    return {
      root: rootAt(read, hasher, size),
      hashes: inclusionProof(read, hasher, seq, size),
      leafHash: Uint8Array.from(read(0, seq)),
    };
  }

  /** Shows that the tree of size `to` begins with the tree of size `from`: RFC 9162 section 2.1.4. */
  proveConsistency(
    from: number,
    to: number,
  ): { readonly fromRoot: Uint8Array; readonly root: Uint8Array; readonly hashes: Uint8Array[] } {
    this.#checkSize(to);
    if (!whole(from) || from > to) throw invalid('the older tree is not larger than the newer one');
    const { tiles, hasher } = this.#open();
    const read = tiles.reader;
    return {
      fromRoot: rootAt(read, hasher, from),
      root: rootAt(read, hasher, to),
      hashes: consistencyProof(read, hasher, from, to),
    };
  }

  #checkSize(size: number): void {
    if (!whole(size) || size > this.#open().tiles.size) throw invalid('the log has not that many leaves');
  }

  /**
   * All leaves from `from` on as plain lines, each ending in LF, in pages; ends at the size that the log had when it
   * began. A broken export goes on from the number of lines that arrived.
   */
  *export(from: number): Generator<{ readonly bytes: Buffer; readonly nextSeq: number }> {
    const end = this.#open().size();
    const reader = new LeafReader(this.#open().folder);
    for (let seq = from; seq < end; ) {
      const page = this.#page(reader, seq, end);
      if (page.lines.length === 0) return;
      seq = page.nextSeq;
      yield { bytes: joined(page.lines), nextSeq: seq };
    }
  }

  /** As export, and then every leaf as it comes, until the signal or the end of the log. */
  async *tail(from: number, signal: AbortSignal): AsyncGenerator<{ readonly bytes: Buffer; readonly nextSeq: number }> {
    const open = this.#open();
    const reader = new LeafReader(open.folder);
    let seq = Math.min(from, open.size());
    while (!signal.aborted && !open.stopped()) {
      if (seq >= open.size()) await grownOrAborted(open, signal);
      if (signal.aborted || open.stopped()) return;
      const page = this.#page(reader, seq, open.size());
      seq = page.nextSeq;
      if (page.lines.length > 0) yield { bytes: joined(page.lines), nextSeq: seq };
    }
  }

  /** Whoever exported says that every leaf below `upTo` lies safe elsewhere. */
  async confirmExport(upTo: number): Promise<void> {
    const { size, signing, note } = this.#open();
    if (!whole(upTo) || upTo > size()) throw invalid('an export cannot hold more leaves than the log');
    await note({ event: 'log.exported', data: { up_to: upTo } });
    await signing.confirmExport(upTo);
  }

  /**
   * Removes segments that an export confirmed and that were last written to before `keepMs`. Tiles stay: every proof
   * goes on to hold.
   *
   * @returns number of the first leaf that is still there
   */
  async prune(keepMs: number): Promise<number> {
    const { folder, files, clock, signing, tiles, note } = this.#open();
    const { segments } = listSegments(folder);
    // Leaves of the newest, unfinished tile must stay: a start may have to read them.
    const limit = Math.min(signing.exportedTo, Math.floor(tiles.size / TILE_WIDTH) * TILE_WIDTH);
    const old = segments.filter((file, index) => {
      const next = segments[index + 1];
      if (next === undefined || next.firstSeq > limit) return false;
      return clock.wallMs() - statSync(file.path).mtimeMs > keepMs;
    });
    const kept = segments[old.length];
    // Only a beginning of the log may go: a hole would not verify.
    if (kept === undefined || old.length === 0 || old.at(-1) !== segments[old.length - 1])
      return segments[0]?.firstSeq ?? 0;
    const upTo = kept.firstSeq;
    await note({ event: 'log.pruned', data: { below: upTo, segments: old.length } });
    await signing.pruned(upTo);
    for (const file of old) files.remove(file.path);
    await files.syncPath(join(folder, SEGMENT_FOLDER));
    return upTo;
  }
}

/** One promise a wait: racing with one that lives as long as the signal would gather all of them. */
function grownOrAborted(open: OpenLog, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done, { once: true });
    void open.grown().then(done);
  });
}

const joined = (lines: readonly Uint8Array[]): Buffer => Buffer.concat(lines.flatMap((line) => [line, LF]));
const LF = Buffer.of(10);
