import { inspect } from 'node:util';

/**
 * Bytes with one owner, wiped when their scope ends (`using key = new Secret(bytes)`).
 *
 * The constructor takes ownership of `bytes` (it does not copy). A view taken by `bytes` must not outlive the scope.
 * Wiping is best effort: V8 may have moved copies (THREAT-MODEL.md).
 */
export class Secret implements Disposable {
  #bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The bytes themselves, not a copy. @throws Error after the secret was wiped: that is a bug */
  get bytes(): Uint8Array {
    if (this.#bytes === undefined) throw new Error('a secret was used after it was wiped');
    return this.#bytes;
  }

  get length(): number {
    return this.bytes.length;
  }

  [Symbol.dispose](): void {
    this.#bytes?.fill(0);
    this.#bytes = undefined;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
