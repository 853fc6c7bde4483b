/** The writing side of the audit log's folder, on Node's file system. */
import {
  closeSync,
  constants,
  fdatasync,
  fsync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  open,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import type { AppendFile, LogFiles } from '../ports/log-files.ts';
import { files } from './files.ts';

const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
const READ_WRITE = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;

function writeAll(descriptor: number, bytes: Uint8Array, offset: number): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(descriptor, bytes, done, bytes.length - done, offset + done);
}

/** Opens, runs `work` and closes, whatever happens. */
function withFile(path: string, flags: number, work: (descriptor: number) => void): void {
  const descriptor = openSync(path, flags, 0o600);
  try {
    work(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function appendFile(path: string): AppendFile {
  const descriptor = openSync(path, READ_WRITE, 0o600);
  return {
    // Into the page cache on this thread (a copy into blocks that exist); only the sync, which waits for the medium, goes
    // to the thread pool: one hop a group instead of two.
    write: (bytes, offset) => writeAll(descriptor, bytes, offset),
    sync: () =>
      new Promise((resolve, reject) => {
        fdatasync(descriptor, (error) => (error === null || error === undefined ? resolve() : reject(error)));
      }),
    truncate: (bytes) => ftruncateSync(descriptor, bytes),
    close: () => closeSync(descriptor),
  };
}

export const logFiles: LogFiles = {
  ...files,
  makeFolder: (path) => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  },
  open: appendFile,
  put(path, bytes) {
    withFile(path, WRITE | constants.O_TRUNC, (descriptor) => writeAll(descriptor, bytes, 0));
  },
  syncPath: (path) =>
    new Promise((resolve, reject) => {
      open(path, constants.O_RDONLY | constants.O_NOFOLLOW, (refused, descriptor) => {
        if (refused !== null) return reject(refused);
        fsync(descriptor, (failed) => {
          closeSync(descriptor);
          if (failed === null || failed === undefined) resolve();
          else reject(failed);
        });
      });
    }),
  rename: (from, to) => renameSync(from, to),
  remove(path) {
    const held = lstatSync(path, { throwIfNoEntry: false });
    if (held?.isDirectory() === true) rmdirSync(path);
    else rmSync(path, { force: true });
  },
};
