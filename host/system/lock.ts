/** One process to a data folder: flock on a file in it, with the pid inside for whoever comes second. */
import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../fault.ts';
import type { FolderLock } from '../ports/files.ts';
import { tryLock } from './files.ts';
import { makeFolder } from './folder.ts';

const PID_SIZE_MAX = 16;

/**
 * Takes the folder for this process; makes it (0700) where it is absent. Call before anything in it is read. The file
 * stays when the lock ends: removing it would let two processes hold two files of one name.
 *
 * @throws Fault `store.locked` naming the pid that holds it
 */
export function lockFolder(folder: string): FolderLock {
  makeFolder(folder);
  const path = join(folder, 'lock');
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
  const descriptor = openSync(path, flags, 0o600);
  let held = false;
  try {
    held = tryLock(descriptor, path);
    if (!held) {
      throw new Fault('store.locked', `the data folder is in use by the process with pid ${readPid(descriptor)}`);
    }
    ftruncateSync(descriptor, 0);
    writeSync(descriptor, `${process.pid}\n`, 0);
  } finally {
    if (!held) closeSync(descriptor);
  }
  return {
    folder,
    release() {
      if (!held) return;
      held = false;
      closeSync(descriptor);
    },
  };
}

/** The holder writes its pid right after it takes the lock: between the two the file may be empty. */
function readPid(descriptor: number): string {
  const bytes = Buffer.alloc(PID_SIZE_MAX);
  const text = bytes.toString('latin1', 0, readSync(descriptor, bytes, 0, PID_SIZE_MAX, 0)).trim();
  return /^[1-9][0-9]*$/.test(text) ? text : '(not written yet)';
}
