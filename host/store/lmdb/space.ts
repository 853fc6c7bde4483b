/**
 * Room on the disk: blocks of the store's file are reserved before they are written, and a ballast file keeps room back
 * for revocation.
 *
 * Reserving first means that a full disk is met by one call that writes nothing, not half way through a transaction.
 * While the ballast cannot be held, only urgent batches are taken: else ordinary ones would eat what it gave.
 */
import { rmSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Files } from '../../ports/files.ts';
import { meansFull } from './fault.ts';

const GROWTH_BYTES_MIN = 1024 * 1024;
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;

export interface SpaceOptions {
  readonly files: Files;
  readonly storePath: string;
  readonly ballastPath: string;
  /** 0: none is kept. */
  readonly ballastBytes: number;
  /** Bytes of the store's file that are in use now. */
  readonly usedBytes: () => number;
}

export class Space {
  readonly #options: SpaceOptions;
  /** Blocks exist up to here. */
  #reserved = 0;
  /** The file's pages end here or before. */
  #usedMost = 0;
  #ballast: boolean;

  constructor(options: SpaceOptions) {
    this.#options = options;
    this.#usedMost = options.usedBytes();
    this.#ballast = options.ballastBytes === 0;
    this.holdBallast();
  }

  /**
   * Makes room for a transaction that adds at most `bytes` bytes of pages.
   *
   * @returns false if the disk has no room for it
   * @throws the system's error if the disk fails otherwise
   */
  reserve(bytes: number): boolean {
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
    const { bavail, bsize } = statfsSync(dirname(ballastPath));
    const held = statSync(ballastPath, { throwIfNoEntry: false });
    const present = held === undefined ? 0 : held.blocks * 512;
    if (present < ballastBytes && bavail * bsize < ballastBytes - present) return false;
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
