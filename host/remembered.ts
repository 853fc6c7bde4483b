/** What a function gave, remembered by what it was given. Pure; everyone in host may import it. */

/**
 * The `countMax` results that were asked for last. Nothing invalidates them: what is made must depend on its key alone, and
 * neither may be secret. What throws is not remembered.
 */
export class Remembered<V extends object> {
  readonly #countMax: number;
  /** The one that was asked for longest ago comes first. */
  readonly #kept = new Map<string, V>();

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get(key: string, make: () => V): V {
    const known = this.#kept.get(key);
    const value = known ?? make();
    const [oldest] = this.#kept.keys();
    if (known !== undefined) this.#kept.delete(key);
    else if (this.#kept.size >= this.#countMax && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(key, value);
    return value;
  }
}
