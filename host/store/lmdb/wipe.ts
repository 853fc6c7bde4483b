/**
 * Files that a store leaves behind when it moves into a new one, and how they are done away with: written over, synced,
 * and only then removed. A power cut leaves names by which the next start goes on (ARCHITECTURE.md, An erase moves the store into a new file).
 */
import { constants, existsSync, statSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Fault } from '../../fault.ts';
import type { Files } from '../../ports/files.ts';
import { unavailableFault } from './fault.ts';

const CHUNK_BYTES = 1024 * 1024;

/** Names beside the store's own: the copy that is being made, and the file that it took the place of. */
export const freshPath = (store: string): string => `${store}.fresh`;
export const oldPath = (store: string): string => `${store}.old`;

/**
 * Writes zeros over a file, waits for the medium, removes it and makes that durable. Nothing may have it mapped.
 *
 * @param goOn  asked between chunks: false leaves the file, for the next start
 * @returns bytes written over; undefined if it was told to stop
 * @throws the system's error; the file is still there then
 */
export async function wipe(path: string, files: Files, goOn = (): boolean => true): Promise<number | undefined> {
  const zeros = Buffer.alloc(CHUNK_BYTES);
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  let at = 0;
  try {
    const { size } = await file.stat();
    while (at < size) {
      if (!goOn()) return undefined;
      const { bytesWritten } = await file.write(zeros, 0, Math.min(CHUNK_BYTES, size - at), at);
      at += bytesWritten;
    }
    await file.datasync();
  } finally {
    await file.close();
  }
  unlinkSync(path);
  files.syncFolder(dirname(path));
  return at;
}

/**
 * Before the store is opened: does away with what a move that was cut left behind.
 *
 * @returns bytes written over
 * @throws Fault `store.unavailable` the store's file is gone and an older one is there: nothing is touched
 */
export async function finishMove(store: string, files: Files): Promise<number> {
  const old = oldPath(store);
  const fresh = freshPath(store);
  let bytes = 0;
  try {
    if (existsSync(old)) {
      const now = statSync(store, { throwIfNoEntry: false });
      if (now === undefined) {
        throw new Fault(
          'store.unavailable',
          'store.mdb is not there, but store.mdb.old is: put the newest copy of the data folder back, or ask for help before anything is removed',
        );
      }
      // The same file under two names: the cut came before the new one took its place.
      if (now.ino === statSync(old).ino) unlinkSync(old);
      else bytes += (await wipe(old, files)) ?? 0;
    }
    if (existsSync(fresh)) bytes += (await wipe(fresh, files)) ?? 0;
    for (const path of [`${fresh}-lock`, `${fresh}-rehearsal`]) if (existsSync(path)) unlinkSync(path);
  } catch (error) {
    throw error instanceof Fault ? error : unavailableFault(error);
  }
  return bytes;
}
