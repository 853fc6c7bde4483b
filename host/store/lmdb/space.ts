/**
 * Room on the disk: blocks of the store's file are reserved before they are written, and a ballast file keeps room back
 * for revocation.
 *
 * Reserving first means that a full disk is met by one call that writes nothing, not half way through a transaction.
 * While the ballast cannot be held, only urgent batches are taken: else ordinary ones would eat what it gave. A file
 * system that never writes in place takes new blocks for old ones: there the free space is asked before each transaction.
 *
 * A disk that is gone (shut down, pulled) is met by a probe: one byte written to a file of its own before LMDB is told
 * anything, because LMDB's binding may not survive a page that cannot be written (fault.ts).
 */
import { closeSync, constants, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Files } from '../../ports/files.ts';
import { meansFull } from './fault.ts';

const GROWTH_BYTES_MIN = 1024 * 1024;
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;

/** File systems that write over blocks where they are, by the number that statfs gives: ext2 to 4, xfs, tmpfs. */
const IN_PLACE: readonly number[] = [0xef53, 0x5846_5342, 0x0102_1994];
const PROBE = Buffer.of(0);

/** What a file system says of itself: statfs(2). */
export interface FileSystem {
  readonly type: number;
  readonly bavail: number;
  readonly bsize: number;
}

export interface SpaceOptions {
  readonly files: Files;
  readonly storePath: string;
  readonly ballastPath: string;
  /** A file of one byte, for `probe`. */
  readonly probePath: string;
  /** 0: none is kept. */
  readonly ballastBytes: number;
  /** Bytes of the store's file that are in use now. */
  readonly usedBytes: () => number;
  /** Asks the file system of a folder (default: the operating system's answer). */
  readonly fileSystem?: (folder: string) => FileSystem;
}

export class Space {
  readonly #options: SpaceOptions;
  readonly #fileSystem: (folder: string) => FileSystem;
  readonly #writesInPlace: boolean;
  /** Blocks exist up to here. */
  #reserved = 0;
  /** The file's pages end here or before. */
  #usedMost = 0;
  #ballast: boolean;
  #probe: number | undefined;

  constructor(options: SpaceOptions) {
    this.#options = options;
    this.#fileSystem = options.fileSystem ?? statfsSync;
    this.#writesInPlace = IN_PLACE.includes(this.#fileSystem(dirname(options.storePath)).type);
    this.#usedMost = options.usedBytes();
    this.#ballast = options.ballastBytes === 0;
    this.holdBallast();
  }

  /**
   * Writes one byte to the disk's file system. A full disk is no failure here: `reserve` tells.
   *
   * @throws the system's error if nothing can be written there
   */
  probe(): void {
    try {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW;
      this.#probe ??= openSync(this.#options.probePath, flags, 0o600);
      writeSync(this.#probe, PROBE, 0, 1, 0);
    } catch (error) {
      if (!meansFull(error)) throw error;
    }
  }

  /** The store's file is another one: what is known of its blocks does not hold. */
  forget(): void {
    this.#reserved = 0;
    this.#usedMost = this.#options.usedBytes();
  }

  /** Whether the disk has room for so many bytes of a file beside the store, as its file system says. */
  hasBeside(bytes: number): boolean {
    return this.#freeBytes(this.#options.storePath) >= bytes;
  }

  close(): void {
    if (this.#probe !== undefined) closeSync(this.#probe);
    this.#probe = undefined;
  }

  /**
   * Makes room for a transaction that adds at most `bytes` bytes of pages.
   *
   * @returns false if the disk has no room for it
   * @throws the system's error if the disk fails otherwise
   */
  reserve(bytes: number): boolean {
    if (!this.#writesInPlace && this.#freeBytes(this.#options.storePath) < bytes) return false;
    if (this.#usedMost + bytes > this.#reserved) {
      this.#usedMost = this.#options.usedBytes();
      const wanted = this.#usedMost + bytes;
      if (wanted > this.#reserved && !this.#grow(wanted)) return false;
    }
    this.#usedMost += bytes;
    return true;
  }

  /** @returns false if room for the ballast is wanting: ordinary batches must wait */
  holdBallast(): boolean {
    if (this.#ballast) return true;
    const { files, ballastPath, ballastBytes } = this.#options;
    // Asked before it is tried: on a full disk this is the cheap way to be told no.
    const held = statSync(ballastPath, { throwIfNoEntry: false });
    const present = held === undefined ? 0 : held.blocks * 512;
    if (present < ballastBytes && this.#freeBytes(ballastPath) < ballastBytes - present) return false;
    try {
      files.reserve(ballastPath, ballastBytes);
      this.#ballast = true;
    } catch (error) {
      if (!meansFull(error)) throw error;
      // A call that failed may have taken part of it.
      rmSync(ballastPath, { force: true });
    }
    return this.#ballast;
  }

  /** Gives the room that was kept back. @returns false if there was none to give */
  releaseBallast(): boolean {
    if (!this.#ballast || this.#options.ballastBytes === 0) return false;
    rmSync(this.#options.ballastPath, { force: true });
    this.#ballast = false;
    return true;
  }

  #freeBytes(path: string): number {
    const { bavail, bsize } = this.#fileSystem(dirname(path));
    return bavail * bsize;
  }

  /** Reserves some more than wanted where there is room, else just that. */
  #grow(wanted: number): boolean {
    const step = Math.min(GROWTH_BYTES_MAX, Math.max(GROWTH_BYTES_MIN, Math.floor(wanted / 8)));
    for (const bytes of [wanted + step, wanted]) {
      try {
        this.#options.files.reserve(this.#options.storePath, bytes);
        this.#reserved = bytes;
        return true;
      } catch (error) {
        if (!meansFull(error)) throw error;
      }
    }
    return false;
  }
}
