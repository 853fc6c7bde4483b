/**
 * How many entries a directory may still get. Entries are counted once, when the first is added since the start; from then
 * on each one added or removed is reckoned with, so that a write into a large directory costs no walk through it.
 */
import { Fault } from '../fault.ts';
import type { Store } from '../ports/store.ts';

/** Entries that one directory may have: LIST reads and sorts them all. */
export const DIRECTORY_ENTRIES_MAX = 100_000;
/** Directories that are remembered; the one longest unused is counted again when it is next written to. */
const REMEMBERED_MAX = 4096;

export class Directories {
  readonly #store: Store;
  readonly #entriesMax: number;
  /** By the prefix of the directory's name rows: places left. */
  readonly #left = new Map<string, number>();

  constructor(store: Store, entriesMax = DIRECTORY_ENTRIES_MAX) {
    this.#store = store;
    this.#entriesMax = entriesMax;
  }

  /**
   * Takes a place for an entry that is about to be committed; give it back if it is not.
   *
   * @param prefix  of the directory's name rows
   * @throws Fault `input.invalid` the directory is full
   */
  take(prefix: Uint8Array): void {
    const name = Buffer.from(prefix).toString('latin1');
    const left = this.#left.get(name) ?? this.#count(prefix);
    if (left < 1) {
      throw new Fault('input.invalid', `a directory holds at most ${this.#entriesMax} entries, and this one is full`);
    }
    this.#left.delete(name);
    this.#left.set(name, left - 1);
    if (this.#left.size > REMEMBERED_MAX) for (const [oldest] of this.#left) return void this.#left.delete(oldest);
  }

  /** An entry was removed, durable; or one was not added after all. */
  giveBack(prefix: Uint8Array): void {
    const name = Buffer.from(prefix).toString('latin1');
    const left = this.#left.get(name);
    if (left !== undefined) this.#left.set(name, left + 1);
  }

  #count(prefix: Uint8Array): number {
    let left = this.#entriesMax;
    for (const _ of this.#store.range('name', { prefix, limit: this.#entriesMax })) left--;
    return left;
  }
}
