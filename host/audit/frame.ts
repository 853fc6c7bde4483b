/** The clear bytes of frames and marks (core/spec/audit.md). What they seal and prove, core alone can say. */
import { HASH_SIZE, TREE_SIZE_MAX } from './tree.ts';

const VERSION = 1;
const KIND_FRAME = 1;
const KIND_MARK = 2;
const FRAME_HEADER_SIZE = 44;
const TAG_SIZE = 16;
export const FRAME_HEAD_SIZE = 16;
export const FRAME_SIZE_MIN = FRAME_HEADER_SIZE + TAG_SIZE + 2;
/** More than core ever holds in one group. */
export const FRAME_SIZE_MAX = 64 * 1024 * 1024;
export const MARK_SIZE = 80;

export interface FrameHead {
  readonly count: number;
  /** Of the whole frame, header and tag included. */
  readonly length: number;
  readonly firstSeq: number;
}

export interface MarkHead {
  readonly size: number;
  readonly root: Uint8Array;
}

/** @param bytes FRAME_HEAD_SIZE bytes or more @returns undefined if it is no frame's beginning */
export function parseFrameHead(bytes: Uint8Array): FrameHead | undefined {
  if (bytes.length < FRAME_HEAD_SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint8(0) !== VERSION || view.getUint8(1) !== KIND_FRAME) return undefined;
  const count = view.getUint16(2);
  const length = view.getUint32(4);
  const firstSeq = Number(view.getBigUint64(8));
  if (count === 0 || length < FRAME_SIZE_MIN || length > FRAME_SIZE_MAX || firstSeq > TREE_SIZE_MAX) return undefined;
  return { count, length, firstSeq };
}

/** @param bytes MARK_SIZE bytes @returns undefined if they are no mark */
export function parseMark(bytes: Uint8Array): MarkHead | undefined {
  if (bytes.length !== MARK_SIZE) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint8(0) !== VERSION || view.getUint8(1) !== KIND_MARK || view.getUint16(2) !== 0) return undefined;
  const size = Number(view.getBigUint64(8));
  if (size === 0 || size > TREE_SIZE_MAX) return undefined;
  return { size, root: bytes.slice(16, 16 + HASH_SIZE) };
}

/** Lines of an opened frame, without their LF. */
export function splitLines(lines: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  let from = 0;
  for (let at = lines.indexOf(10); at >= 0; at = lines.indexOf(10, from)) {
    out.push(lines.subarray(from, at));
    from = at + 1;
  }
  if (from !== lines.length) throw new Error('a frame does not end in LF');
  return out;
}
