/** The writing side of the audit log's folder. Implemented by host/system/log-files.ts; tests pass one that fails. */
import type { Files } from './files.ts';

/** A file that grows by whole groups. After a `write` or `sync` that failed it is closed and never synced again. */
export interface AppendFile {
  /** Writes all of `bytes` at `offset`; they are in the page cache when it returns. @throws the system's error */
  write(bytes: Uint8Array, offset: number): void;
  /** Resolves when everything written so far is on the medium (fdatasync). Rejects with the system's error. */
  sync(): Promise<void>;
  /** Cuts the file to `bytes` bytes; durable with the next `sync`. */
  truncate(bytes: number): void;
  close(): void;
}

/** Every path is absolute. Folders are made 0700, files 0600; links are not followed. Errors are the system's. */
export interface LogFiles extends Files {
  makeFolder(path: string): void;
  /** Opens for writing; makes the file where it is absent. */
  open(path: string): AppendFile;
  /** Writes a whole small file, not yet durable. */
  put(path: string, bytes: Uint8Array): void;
  /** Resolves when the bytes of a file, or the names in a folder, are on the medium. */
  syncPath(path: string): Promise<void>;
  rename(from: string, to: string): void;
  /** Removes a file or an empty folder; no error where it is absent. */
  remove(path: string): void;
}
