/** What start and offline verification both check of the groups of a log, and how a disagreement is said. */
import { Fault } from '../fault.ts';
import { splitLines } from './frame.ts';
import { type Group, type SegmentEnd, type SegmentFile, SegmentReader } from './segment.ts';
import type { CompactRange, TreeHasher } from './tree.ts';
import type { AuditCore } from './types.ts';

/** The first thing that does not agree with the rest of the log. */
export interface Disagreement {
  readonly what: 'segment' | 'frame' | 'mark' | 'leaf' | 'tile' | 'checkpoint' | 'keys';
  /** File below the log's folder, with the byte where it helps. */
  readonly where: string;
  /** Sequence number of the leaf that it concerns first, where there is one. */
  readonly leaf?: number;
  /** One sentence for people; holds nothing of what the leaves say. */
  readonly sentence: string;
}

export function disagreement(
  what: Disagreement['what'],
  where: string,
  leaf: number | undefined,
  why: string,
): Disagreement {
  const of = leaf === undefined ? '' : `, leaf ${leaf}`;
  const sentence = `the audit log does not verify: ${what} ${where}${of}: ${why}`;
  return { what, where, ...(leaf === undefined ? {} : { leaf }), sentence };
}

export const corrupt = (found: Disagreement): Fault => new Fault('audit.corrupt', found.sentence);

/** Opens what lies sealed in a log. Both throw for what is not genuine. */
export interface Opener {
  frame(bytes: Uint8Array): { readonly firstSeq: number; readonly lines: Uint8Array };
  mark(bytes: Uint8Array): { readonly size: number; readonly root: Uint8Array };
}

/** @param grant of job `audit`, or of an operation that declares it */
export const coreOpener = (core: AuditCore, grant: number): Opener => ({
  frame: (bytes) => core.auditOpenFrame(grant, bytes),
  mark: (bytes) => core.auditMark(bytes),
});

const place = (file: SegmentFile, offset: number): string => `${file.name} at byte ${offset}`;
export const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The lines of a group, or why it is none. */
export function openLines(opener: Opener, file: SegmentFile, group: Group): Uint8Array[] | Disagreement {
  const where = place(file, group.offset);
  const { firstSeq, count } = group.head;
  let opened: { readonly firstSeq: number; readonly lines: Uint8Array };
  let lines: Uint8Array[];
  try {
    opened = opener.frame(group.frame);
    lines = splitLines(opened.lines);
  } catch {
    return disagreement('frame', where, firstSeq, 'it does not open: its bytes were changed, or it is of another log');
  }
  if (opened.firstSeq !== firstSeq || lines.length !== count) {
    return disagreement('frame', where, firstSeq, 'it holds other leaves than its head says');
  }
  return lines;
}

/** Checks a group's mark against the tree after its leaves. */
export function checkMark(
  opener: Opener | undefined,
  file: SegmentFile,
  group: Group,
  range: CompactRange,
): Disagreement | undefined {
  const where = place(file, group.offset + group.head.length);
  const leaf = group.head.firstSeq;
  try {
    opener?.mark(group.mark);
  } catch {
    return disagreement('mark', where, leaf, 'it was not made by this box');
  }
  if (group.markHead.size !== range.size || !same(group.markHead.root, range.root())) {
    return disagreement('mark', where, leaf, 'it says another root than the leaves up to it have');
  }
  return undefined;
}

export type Step =
  | { readonly kind: 'group'; readonly file: SegmentFile; readonly group: Group; readonly last: boolean }
  | { readonly kind: 'end'; readonly file: SegmentFile; readonly end: SegmentEnd; readonly last: boolean }
  | { readonly kind: 'disagreement'; readonly found: Disagreement };

/** Why the bytes at the end of a segment do not belong there, or why it should not end there. */
export function badEnd(file: SegmentFile, end: SegmentEnd): Disagreement {
  if (end.kind === 'end') {
    return disagreement('segment', file.name, end.nextSeq, 'it ends here, though the checkpoint counts more leaves');
  }
  const where = place(file, end.what === 'segment' ? 0 : end.offset);
  const why = {
    segment: 'its header is not that of a segment that begins there',
    frame: 'no frame that continues the log begins there',
    mark: 'the frame there has no mark that fits',
  } as const;
  return disagreement(end.what, where, end.nextSeq, why[end.what]);
}

/** All groups from a segment on, and the end of each segment. Ends after the first disagreement. */
export function* walk(segments: readonly SegmentFile[], fromIndex: number): Generator<Step> {
  for (let index = fromIndex; index < segments.length; index++) {
    const file = segments[index] as SegmentFile;
    const next = segments[index + 1];
    const last = next === undefined;
    using reader = new SegmentReader(file);
    const groups = reader.groups(next?.firstSeq);
    let step = groups.next();
    for (; step.done !== true; step = groups.next()) yield { kind: 'group', file, group: step.value, last };
    const end = step.value;
    if (next !== undefined && end.nextSeq !== next.firstSeq) {
      const missing = disagreement('segment', next.name, end.nextSeq, `the leaves before ${next.firstSeq} are missing`);
      yield { kind: 'disagreement', found: end.kind === 'bad' ? badEnd(file, end) : missing };
      return;
    }
    yield { kind: 'end', file, end, last };
  }
}

/**
 * Says whether bytes after the last good group may be the one write that a power cut tore: at most one group is ever
 * under way, so two genuine marks behind it mean that something before them was changed.
 */
export function tornByPowerCut(opener: Opener, file: SegmentFile, offset: number, goodSize: number): boolean {
  using reader = new SegmentReader(file);
  const sizes = new Set<number>();
  for (const mark of reader.marksAfter(offset)) {
    try {
      const { size } = opener.mark(mark);
      if (size > goodSize) sizes.add(size);
    } catch {
      // Not a mark, or none of ours.
    }
  }
  return sizes.size < 2;
}

/** Appends the hashes of lines; the tree and whoever else takes them. */
export function hashLines(hasher: TreeHasher, lines: readonly Uint8Array[], each: (hash: Uint8Array) => void): void {
  for (const line of lines) each(Uint8Array.from(hasher.leaf(line)));
}
