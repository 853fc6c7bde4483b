/** What Node lacks of POSIX files: fallocate and flock of libc, through koffi. Linux. */
import { closeSync, constants, fsyncSync, openSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import type { Files } from '../ports/files.ts';

// The process's own libc, whatever its name: null is the running program.
const libc = koffi.load(null);
const posixFallocate = libc.func('int posix_fallocate(int fd, int64_t offset, int64_t length)');
const flock = libc.func('int flock(int fd, int operation)');

const LOCK_EX_NB = 2 | 4;

function systemError(number: number, call: string, path: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-number);
  return Object.assign(new Error(`${code}: ${call} '${path}'`), { code, errno: -number, syscall: call, path });
}

/**
 * Takes the file's exclusive lock if nobody holds it. It belongs to the open file: it ends when `descriptor` is closed,
 * at the latest with the process.
 *
 * @returns false if another open file holds it
 */
export function tryLock(descriptor: number, path: string): boolean {
  if (flock(descriptor, LOCK_EX_NB) === 0) return true;
  const number = koffi.errno();
  if (number === koffi.os.errno['EAGAIN']) return false;
  throw systemError(number, 'flock', path);
}

export const files: Files = {
  reserve(path, bytes) {
    const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      // Returns the error instead of setting errno. EINTR: nothing was reserved yet, or part of it: asking again is safe.
      let number: number;
      do number = posixFallocate(descriptor, 0, bytes);
      while (number === koffi.os.errno['EINTR']);
      if (number !== 0) throw systemError(number, 'posix_fallocate', path);
    } finally {
      closeSync(descriptor);
    }
  },
  syncFolder(folder) {
    const descriptor = openSync(folder, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  },
};
