/** Reads leaves back: page by page, from any sequence number. */
import { Fault } from '../fault.ts';
import { corrupt, type Opener, openLines } from './check.ts';
import { listSegments, type SegmentFile, SegmentReader } from './segment.ts';

const PAGE_LINES_MAX = 1000;
const PAGE_BYTES_MAX = 1024 * 1024;

/** Where the next page begins, if it is asked for next. */
interface Cursor {
  readonly seq: number;
  readonly file: SegmentFile;
  readonly offset: number;
  /** First leaf of the group there. */
  readonly groupSeq: number;
}

export interface Page {
  readonly firstSeq: number;
  /** Plain JSON lines without LF, as they were hashed. */
  readonly lines: readonly Uint8Array[];
  /** Where the next page begins. */
  readonly nextSeq: number;
}

export class LeafReader {
  readonly #folder: string;
  #cursor: Cursor | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Leaves from `from` on, below `to`, at most 1,000 and about 1 MiB.
   *
   * @throws Fault `value.absent` if their segment was pruned, `audit.corrupt` if it does not open
   */
  page(opener: Opener, from: number, to: number): Page {
    const lines: Uint8Array[] = [];
    let bytes = 0;
    const full = (): boolean => lines.length >= PAGE_LINES_MAX || bytes >= PAGE_BYTES_MAX;
    const { segments } = listSegments(this.#folder);
    const start = segments.findLastIndex(({ firstSeq }) => firstSeq <= from);
    if (from < to && start < 0) {
      throw new Fault('value.absent', `leaf ${from} of the audit log was pruned: its hash is still in the tiles`);
    }
    for (let index = start; index >= 0 && index < segments.length && from + lines.length < to && !full(); index++) {
      const file = segments[index] as SegmentFile;
      using reader = new SegmentReader(file);
      for (const group of reader.groups(segments[index + 1]?.firstSeq, this.#startIn(file, from))) {
        const { firstSeq, count } = group.head;
        if (firstSeq >= to || full()) break;
        if (firstSeq + count <= from) continue;
        const opened = openLines(opener, file, group);
        if (!Array.isArray(opened)) throw corrupt(opened as Exclude<typeof opened, Uint8Array[]>);
        for (const [at, line] of opened.entries()) {
          if (firstSeq + at < from || firstSeq + at >= to || full()) continue;
          lines.push(Uint8Array.from(line));
          bytes += line.length;
        }
        this.#cursor = { seq: from + lines.length, file, offset: group.offset, groupSeq: firstSeq };
      }
    }
    return { firstSeq: from, lines, nextSeq: from + lines.length };
  }

  /** Pages are mostly read one after the other: the place of the last one saves the way there. */
  #startIn(file: SegmentFile, from: number): { readonly offset: number; readonly seq: number } | undefined {
    const cursor = this.#cursor;
    if (cursor === undefined || cursor.seq !== from || cursor.file.name !== file.name) return undefined;
    return { offset: cursor.offset, seq: cursor.groupSeq };
  }
}
