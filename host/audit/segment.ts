/**
 * Segments: files of groups, each a sealed frame and its mark, one after the other. A file is preallocated, so what
 * follows its last group is zeros; when it is full it is cut to its length. Reading is here, writing in writer.ts.
 */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { FRAME_HEAD_SIZE, type FrameHead, MARK_SIZE, type MarkHead, parseFrameHead, parseMark } from './frame.ts';
import { TREE_SIZE_MAX } from './tree.ts';

export const SEGMENT_FOLDER = 'segment';
export const SEGMENT_HEADER_SIZE = 32;
const MAGIC = Buffer.from('holdfast segment', 'latin1');
const VERSION = 1;
const CHUNK_SIZE = 1024 * 1024;

export interface SegmentFile {
  /** `segment/0000000000000000`: for reports. */
  readonly name: string;
  readonly path: string;
  readonly firstSeq: number;
}

export const segmentName = (firstSeq: number): string => `${SEGMENT_FOLDER}/${firstSeq.toString(16).padStart(16, '0')}`;

/** "holdfast segment" ‖ version (4) ‖ 0 (4) ‖ sequence number of its first leaf (8). */
export function segmentHeader(firstSeq: number): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_SIZE);
  MAGIC.copy(header);
  header.writeUInt32BE(VERSION, 16);
  header.writeBigUInt64BE(BigInt(firstSeq), 24);
  return header;
}

/** Segments of a log's folder, oldest first. Files of other names are in `strange`. */
export function listSegments(folder: string): { readonly segments: SegmentFile[]; readonly strange: string[] } {
  const path = join(folder, SEGMENT_FOLDER);
  const names = existsSync(path) ? readdirSync(path).sort() : [];
  const strange = names.filter((name) => !/^[0-9a-f]{16}$/.test(name) || Number.parseInt(name, 16) > TREE_SIZE_MAX);
  const segments = names
    .filter((name) => !strange.includes(name))
    .map((name) => ({
      name: `${SEGMENT_FOLDER}/${name}`,
      path: join(path, name),
      firstSeq: Number.parseInt(name, 16),
    }));
  return { segments, strange };
}

export interface Group {
  /** Where its frame begins in the file. */
  readonly offset: number;
  readonly head: FrameHead;
  readonly markHead: MarkHead;
  /** Views, valid until the next group is asked for. */
  readonly frame: Uint8Array;
  readonly mark: Uint8Array;
}

/** How reading a segment ended. `bad`: at `offset` there is neither a group that belongs there nor zeros to the end. */
export interface SegmentEnd {
  readonly kind: 'end' | 'bad';
  /** End of the last good group. */
  readonly offset: number;
  /** The sequence number that would come next. */
  readonly nextSeq: number;
  readonly what: 'segment' | 'frame' | 'mark';
  /** Bytes that are not zero from `offset` on; 0 for `end`. */
  readonly leftover: number;
}

export class SegmentReader implements Disposable {
  readonly #descriptor: number;
  readonly #file: SegmentFile;
  #buffer = Buffer.allocUnsafe(CHUNK_SIZE);
  #start = 0;
  #length = 0;
  readonly size: number;

  constructor(file: SegmentFile) {
    this.#file = file;
    this.#descriptor = openSync(file.path, 'r');
    this.size = fstatSync(this.#descriptor).size;
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  /** Bytes at an offset, fewer at the end of the file; a view until the next call. */
  at(offset: number, length: number): Buffer {
    if (offset < this.#start || offset + length > this.#start + this.#length) {
      if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(length);
      this.#start = offset;
      this.#length = 0;
      while (this.#length < this.#buffer.length) {
        const place = offset + this.#length;
        const read = readSync(this.#descriptor, this.#buffer, this.#length, this.#buffer.length - this.#length, place);
        if (read === 0) break;
        this.#length += read;
      }
    }
    const from = offset - this.#start;
    return this.#buffer.subarray(from, Math.min(from + length, this.#length));
  }

  get headerFits(): boolean {
    return this.at(0, SEGMENT_HEADER_SIZE).equals(segmentHeader(this.#file.firstSeq));
  }

  /** Bytes that are not zero from `offset` to the end. */
  leftover(offset: number): number {
    let count = 0;
    for (let at = offset; at < this.size; at += CHUNK_SIZE) {
      const bytes = this.at(at, Math.min(CHUNK_SIZE, this.size - at));
      if (bytes.equals(ZEROS.subarray(0, bytes.length))) continue;
      for (const byte of bytes) if (byte !== 0) count += 1;
    }
    return count;
  }

  /**
   * Its groups in order, as far as their clear bytes fit together.
   *
   * @param untilSeq  first leaf of the next segment, if there is one: what lies from there on was written again there
   * @param from      where a group begins, if not with the first
   */
  *groups(
    untilSeq = Number.POSITIVE_INFINITY,
    from: { readonly offset: number; readonly seq: number } = {
      offset: SEGMENT_HEADER_SIZE,
      seq: this.#file.firstSeq,
    },
  ): Generator<Group, SegmentEnd> {
    let offset = from.offset;
    let nextSeq = from.seq;
    const ending = (what: SegmentEnd['what']): SegmentEnd => {
      const leftover = nextSeq === untilSeq ? 0 : this.leftover(what === 'segment' ? 0 : offset);
      return { kind: leftover === 0 ? 'end' : 'bad', offset, nextSeq, what, leftover };
    };
    if (!this.headerFits) return ending('segment');
    while (nextSeq < untilSeq) {
      const head = parseFrameHead(this.at(offset, FRAME_HEAD_SIZE));
      if (head === undefined || head.firstSeq !== nextSeq) return ending('frame');
      if (offset + head.length + MARK_SIZE > this.size) return ending('frame');
      const bytes = this.at(offset, head.length + MARK_SIZE);
      const mark = bytes.subarray(head.length);
      const markHead = parseMark(mark);
      if (markHead === undefined || markHead.size !== nextSeq + head.count) return ending('mark');
      yield { offset, head, markHead, frame: bytes.subarray(0, head.length), mark };
      nextSeq += head.count;
      offset += head.length + MARK_SIZE;
    }
    return ending('frame');
  }

  /** Places at or after `offset` that look like a mark. */
  *marksAfter(offset: number): Generator<Uint8Array> {
    const start = Buffer.of(1, 2, 0, 0);
    for (let at = offset; at < this.size; at += CHUNK_SIZE) {
      // Chunks overlap by a mark, so that none is cut in two.
      const bytes = Buffer.from(this.at(at, Math.min(CHUNK_SIZE + MARK_SIZE, this.size - at)));
      for (
        let place = bytes.indexOf(start);
        place >= 0 && place < CHUNK_SIZE;
        place = bytes.indexOf(start, place + 1)
      ) {
        const mark = bytes.subarray(place, place + MARK_SIZE);
        if (parseMark(mark) !== undefined) yield mark;
      }
    }
  }
}

const ZEROS = Buffer.alloc(CHUNK_SIZE);
