/**
 * A new file for the store: every row is written into it one after the other, so that it holds nothing but the rows. (LMDB's
 * own compact copy keeps whole pages, and with them what lies in their gaps of rows that were deleted.)
 */
import { linkSync, renameSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Files } from '../../ports/files.ts';
import type { Write } from '../transaction.ts';
import { causeOf, endProcess, hasOverrun } from './fault.ts';
import { type Environment, EnvironmentHandle, type Pinned } from './reader.ts';
import { Space } from './space.ts';
import { freshPath, oldPath, wipe } from './wipe.ts';

/** Rows and bytes that are written at once; requests have their turn in between. */
const CHUNK_ROWS = 512;
const CHUNK_BYTES = 1024 * 1024;
const PAGE_SIZE = 4096;
const PAGES_A_GROUP = 64;
/** Values from here on may have pages of their own. */
const OWN_PAGE_BYTES = 1024;

export interface FreshOptions {
  /** The store's own path. */
  readonly storePath: string;
  readonly probePath: string;
  readonly files: Files;
  /** Makes an empty environment at a path where nothing is. */
  readonly make: (path: string) => Environment;
}

/** Rows were told to stop: the store is closed, or broken. */
export class Stopped extends Error {}

export class FreshFile {
  readonly #options: FreshOptions;
  readonly #path: string;
  readonly #space: Space;
  readonly handle: EnvironmentHandle;

  constructor(options: FreshOptions) {
    this.#options = options;
    this.#path = freshPath(options.storePath);
    this.handle = new EnvironmentHandle(options.make(this.#path));
    this.#space = new Space({
      files: options.files,
      storePath: this.#path,
      ballastPath: `${this.#path}-ballast`,
      probePath: options.probePath,
      ballastBytes: 0,
      usedBytes: () => this.handle.sizes().usedBytes,
    });
  }

  /**
   * Writes every row of a snapshot.
   *
   * @param goOn  asked between chunks
   * @returns false if the disk has no room
   * @throws Stopped
   */
  async copy(from: Pinned, goOn: () => boolean): Promise<boolean> {
    let chunk: Write[] = [];
    let bytes = 0;
    const rows = from.everything();
    try {
      for (const { key, value } of rows) {
        chunk.push({ table: 'boot', key, value, grows: 1 });
        bytes += key.length + value.length;
        if (chunk.length < CHUNK_ROWS && bytes < CHUNK_BYTES) continue;
        if (!goOn()) throw new Stopped();
        if (!(await this.#write(chunk, roomInOrder(chunk)))) return false;
        chunk = [];
        bytes = 0;
      }
    } finally {
      rows.return?.();
    }
    return await this.#write(chunk, roomInOrder(chunk));
  }

  /**
   * Writes rows anywhere, durably.
   *
   * @returns false if the disk has no room: nothing of them was written
   * @throws what the medium says
   */
  write(writes: readonly Write[]): Promise<boolean> {
    let room = PAGES_A_GROUP * PAGE_SIZE;
    for (const { value } of writes) room += 2 * PAGE_SIZE + 2 * (value?.length ?? 0);
    return this.#write(writes, room);
  }

  async #write(writes: readonly Write[], room: number): Promise<boolean> {
    if (writes.length === 0) return true;
    if (!this.#space.reserve(room)) return false;
    const { environment } = this.handle;
    const ignore = (): void => undefined;
    let last: Promise<boolean> | undefined;
    for (const { key, value } of writes) {
      const put = value === undefined ? environment.remove(key) : environment.put(key, value);
      if (put !== last) put.catch(ignore);
      last = put;
    }
    try {
      await last;
    } catch (error) {
      const cause = await causeOf(error);
      if (hasOverrun(cause)) endProcess();
      throw cause;
    }
    return true;
  }

  /**
   * Takes the store's place: from the return on a start finds this file. The file before stays under its other name.
   *
   * @throws Unsettled nobody can tell which of the two a start finds; any other error: the old one
   */
  publish(): void {
    const { storePath, files } = this.#options;
    const old = oldPath(storePath);
    linkSync(storePath, old);
    try {
      renameSync(this.#path, storePath);
    } catch (error) {
      unlinkSync(old);
      throw error;
    }
    try {
      files.syncFolder(dirname(storePath));
    } catch (error) {
      throw new Unsettled(error);
    }
  }

  /** Gives up: nothing of the copy stays. */
  async discard(): Promise<void> {
    await this.handle.close();
    await wipe(this.#path, this.#options.files);
    unlinkSync(`${this.#path}-lock`);
  }
}

/** Bytes of pages that rows take which are written in their order: leaves fill up. */
function roomInOrder(writes: readonly Write[]): number {
  let room = PAGES_A_GROUP * PAGE_SIZE;
  for (const { key, value } of writes) {
    const bytes = key.length + (value?.length ?? 0);
    room += bytes < OWN_PAGE_BYTES ? 2 * (bytes + 16) : bytes + 2 * PAGE_SIZE;
  }
  return room;
}

/** The new file may or may not have taken the place of the old one: nothing may be written to either. */
export class Unsettled extends Error {
  constructor(cause: unknown) {
    super('the folder could not be synced', { cause });
  }
}
