/** A disk that remembers which writes and names were synced, so that a power cut can be played at any point. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { AppendFile, LogFiles } from '../../../host/ports/log-files.ts';
import { logFiles } from '../../../host/system/log-files.ts';

type Operation =
  | { readonly kind: 'write'; readonly path: string; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'put'; readonly path: string; readonly bytes: Buffer }
  | { readonly kind: 'reserve' | 'truncate'; readonly path: string; readonly length: number }
  | { readonly kind: 'sync' | 'syncName' | 'remove' | 'folder'; readonly path: string }
  | { readonly kind: 'rename'; readonly path: string; readonly to: string };

/** What becomes of that which was not synced. `head`, `tail`: only that half of each changed range reached the disk. */
export const FATES = ['kept', 'dropped', 'head', 'tail'] as const;
export type Fate = (typeof FATES)[number];

/** Does everything on the real files too, and keeps a record. */
export class RecordingFiles implements LogFiles {
  readonly operations: Operation[] = [];
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  #note(operation: Operation): void {
    this.operations.push({ ...operation, path: relative(this.#base, operation.path) });
  }

  reserve(path: string, length: number): void {
    logFiles.reserve(path, length);
    this.#note({ kind: 'reserve', path, length });
  }

  syncFolder(path: string): void {
    logFiles.syncFolder(path);
    this.#note({ kind: 'syncName', path });
  }

  makeFolder(path: string): void {
    logFiles.makeFolder(path);
    this.#note({ kind: 'folder', path });
  }

  put(path: string, bytes: Uint8Array): void {
    logFiles.put(path, bytes);
    this.#note({ kind: 'put', path, bytes: Buffer.from(bytes) });
  }

  async syncPath(path: string): Promise<void> {
    await logFiles.syncPath(path);
    this.#note({ kind: 'sync', path });
    this.#note({ kind: 'syncName', path });
  }

  rename(path: string, to: string): void {
    logFiles.rename(path, to);
    this.#note({ kind: 'rename', path, to: relative(this.#base, to) });
  }

  remove(path: string): void {
    logFiles.remove(path);
    this.#note({ kind: 'remove', path });
  }

  open(path: string): AppendFile {
    const file = logFiles.open(path);
    return {
      write: (bytes, offset) => {
        file.write(bytes, offset);
        this.#note({ kind: 'write', path, offset, bytes: Buffer.from(bytes) });
      },
      sync: async () => {
        await file.sync();
        this.#note({ kind: 'sync', path });
      },
      truncate: (length) => {
        file.truncate(length);
        this.#note({ kind: 'truncate', path, length });
      },
      close: () => file.close(),
    };
  }
}

interface Inode {
  now: Buffer;
  durable: Buffer;
}

/** The disk after so many operations. */
export class Disk {
  readonly #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  readonly #folders = new Set<string>(['']);
  readonly #durableFolders = new Set<string>(['']);

  apply(operation: Operation): void {
    const { kind, path } = operation;
    const inode = this.#names.get(path);
    switch (kind) {
      case 'write': {
        const file = inode ?? this.#make(path);
        const end = operation.offset + operation.bytes.length;
        if (end > file.now.length) file.now = Buffer.concat([file.now, Buffer.alloc(end - file.now.length)]);
        else file.now = Buffer.from(file.now);
        operation.bytes.copy(file.now, operation.offset);
        return;
      }
      case 'put': {
        const file = inode ?? this.#make(path);
        file.now = operation.bytes;
        // The file is cut to nothing first, and that may reach the disk alone.
        file.durable = Buffer.alloc(0);
        return;
      }
      case 'reserve': {
        const file = inode ?? this.#make(path);
        if (operation.length > file.now.length) {
          file.now = Buffer.concat([file.now, Buffer.alloc(operation.length - file.now.length)]);
        }
        return;
      }
      case 'truncate':
        if (inode !== undefined) inode.now = Buffer.from(inode.now.subarray(0, operation.length));
        return;
      case 'sync':
        if (inode !== undefined) inode.durable = inode.now;
        return;
      case 'remove':
        this.#names.delete(path);
        this.#folders.delete(path);
        return;
      case 'folder':
        for (let at = path; at !== '.' && at !== ''; at = dirname(at)) this.#folders.add(at);
        return;
      case 'rename':
        if (inode === undefined) return;
        this.#names.delete(path);
        this.#names.set(operation.to, inode);
        return;
      case 'syncName':
        this.#syncNames(path);
        return;
    }
  }

  #make(path: string): Inode {
    const inode = { now: Buffer.alloc(0), durable: Buffer.alloc(0) };
    this.#names.set(path, inode);
    return inode;
  }

  #syncNames(folder: string): void {
    const inside = (path: string): boolean => (dirname(path) === '.' ? '' : dirname(path)) === folder && path !== '';
    const kept = [...this.#durableNames].filter(([path]) => !inside(path));
    this.#durableNames = new Map([...kept, ...[...this.#names].filter(([path]) => inside(path))]);
    for (const path of this.#folders) if (inside(path)) this.#durableFolders.add(path);
  }

  /** Writes the disk as it is found after the cut. */
  writeTo(base: string, fate: Fate): void {
    rmSync(base, { recursive: true, force: true });
    mkdirSync(base, { recursive: true });
    const dropped = fate === 'dropped';
    const reachable = (path: string): boolean =>
      path === '.' || ((dropped ? this.#durableFolders : this.#folders).has(path) && reachable(dirname(path)));
    for (const folder of dropped ? this.#durableFolders : this.#folders)
      if (reachable(folder)) mkdirSync(join(base, folder), { recursive: true });
    for (const [path, inode] of dropped ? this.#durableNames : this.#names) {
      if (!reachable(dirname(path))) continue;
      const bytes = dropped ? inode.durable : fate === 'kept' ? inode.now : torn(inode, fate);
      writeFileSync(join(base, path), bytes, { mode: 0o600 });
    }
  }
}

function torn(inode: Inode, fate: 'head' | 'tail'): Buffer {
  const { now, durable } = inode;
  if (now === durable) return now;
  const old = Buffer.alloc(now.length);
  durable.copy(old);
  let from = 0;
  while (from < now.length && now[from] === old[from]) from += 1;
  let to = now.length;
  while (to > from && now[to - 1] === old[to - 1]) to -= 1;
  const middle = Math.floor((from + to) / 2);
  const half =
    fate === 'head' ? [now.subarray(0, middle), old.subarray(middle)] : [old.subarray(0, middle), now.subarray(middle)];
  return Buffer.concat(half);
}
