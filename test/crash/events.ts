/** The log that the shim writes: what a process did to a folder, and marks that others put between. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

export type RigEvent =
  | { readonly kind: 'made'; readonly inode: number; readonly path: string }
  | {
      readonly kind: 'wrote';
      readonly inode: number;
      readonly offset: number;
      readonly data: Buffer;
      /** The file was opened with O_DSYNC or O_SYNC. */
      readonly isSync: boolean;
    }
  | { readonly kind: 'sync-began' | 'sync-ended'; readonly inode: number; readonly sync: string }
  | { readonly kind: 'truncated'; readonly inode: number; readonly size: number }
  | { readonly kind: 'allocated'; readonly inode: number; readonly end: number }
  | { readonly kind: 'renamed' | 'linked'; readonly path: string; readonly to: string }
  | { readonly kind: 'unlinked' | 'folder-removed'; readonly path: string }
  | { readonly kind: 'folder-made'; readonly path: string; readonly inode: number }
  /** Stores through a shared map, which leave no trace. */
  | { readonly kind: 'mapped'; readonly path: string }
  | { readonly kind: 'mark'; readonly text: string };

const HEADER_SIZE = 40;
const MARK = 64;

/** As `enum kind` in shim/shim.c. */
const KINDS = [
  '',
  'made',
  'wrote',
  'sync-began',
  'sync-ended',
  'truncated',
  'allocated',
  'renamed',
  'unlinked',
  'folder-made',
  'folder-removed',
  'linked',
  'unsupported',
] as const;

/**
 * @throws Error if the process did what the rig cannot replay
 */
export function readEvents(logPath: string): RigEvent[] {
  const log = readFileSync(logPath);
  const events: RigEvent[] = [];
  for (let at = 0; at < log.length; ) {
    const size = log.readUInt32LE(at);
    events.push(parse(log.subarray(at, at + size)));
    at += size;
  }
  return events;
}

function parse(bytes: Buffer): RigEvent {
  const code = bytes.readUInt8(4);
  const flags = bytes.readUInt8(5);
  const inode = Number(bytes.readBigUInt64LE(8));
  const a = Number(bytes.readBigUInt64LE(16));
  const b = Number(bytes.readBigUInt64LE(24));
  const end = HEADER_SIZE + bytes.readUInt32LE(32);
  const data = bytes.subarray(HEADER_SIZE, end);
  if (code === MARK) return { kind: 'mark', text: data.toString() };
  const kind = KINDS[code];
  switch (kind) {
    case 'made':
    case 'folder-made':
      return { kind, inode, path: data.toString() };
    case 'wrote':
      return { kind, inode, offset: a, data, isSync: (flags & 1) === 1 };
    case 'sync-began':
    case 'sync-ended':
      return { kind, inode, sync: `${b}:${a}` };
    case 'truncated':
      return { kind, inode, size: a };
    case 'allocated':
      return { kind, inode, end: a + b };
    case 'renamed':
    case 'linked':
      return { kind, path: data.toString(), to: bytes.subarray(end).toString() };
    case 'unlinked':
    case 'folder-removed':
      return { kind, path: data.toString() };
    case 'unsupported':
      if ((flags & 1) === 1) return { kind: 'mapped', path: data.toString() };
      throw new Error(`the rig cannot replay: ${data.toString()}`);
    default:
      throw new Error(`the rig's log is damaged: kind ${code}`);
  }
}

/**
 * Puts marks into the log: what a client knew, ordered with what the process did. A client that marks an answer after it
 * got it stands after every sync that the answer waited for.
 */
export class Marker {
  readonly #descriptor: number;

  constructor(logPath: string) {
    this.#descriptor = openSync(logPath, 'a');
  }

  mark(text: string): void {
    const data = Buffer.from(text);
    const header = Buffer.alloc(HEADER_SIZE);
    header.writeUInt32LE(HEADER_SIZE + data.length, 0);
    header.writeUInt8(MARK, 4);
    header.writeUInt32LE(data.length, 32);
    writeSync(this.#descriptor, Buffer.concat([header, data]));
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}
