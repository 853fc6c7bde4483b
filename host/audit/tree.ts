/**
 * The Merkle tree of RFC 6962 (RFC 9162 section 2.1) as arithmetic: compact range, roots, proofs, over any source of node
 * hashes. Online hashing goes through core, offline verification through node:crypto.
 */
import { hash } from 'node:crypto';

export const HASH_SIZE = 32;
/** Sizes are numbers that a double holds exactly. */
export const TREE_SIZE_MAX = 2 ** 52;

export type Sha256 = (data: Uint8Array) => Uint8Array;
export const nodeSha256: Sha256 = (data) => hash('sha256', data, 'buffer');

/** Hashes leaves and inner nodes; one buffer for the preimage of a node. */
export class TreeHasher {
  readonly #sha256: Sha256;
  readonly #pair = Buffer.alloc(1 + 2 * HASH_SIZE, 1);

  constructor(sha256: Sha256 = nodeSha256) {
    this.#sha256 = sha256;
  }

  /** @returns a view that the next call may overwrite, or a fresh array: copy what you keep */
  node(left: Uint8Array, right: Uint8Array): Uint8Array {
    this.#pair.set(left, 1);
    this.#pair.set(right, 1 + HASH_SIZE);
    return this.#sha256(this.#pair);
  }

  /** SHA-256(0x00 ‖ line). @param line without its LF */
  leaf(line: Uint8Array): Uint8Array {
    const bytes = Buffer.allocUnsafe(line.length + 1);
    bytes[0] = 0;
    bytes.set(line, 1);
    return this.#sha256(bytes);
  }

  empty(): Uint8Array {
    return Uint8Array.from(this.#sha256(new Uint8Array(0)));
  }

  /** Root of a perfect subtree from its 2^k leaves or inner nodes of one level, 32 bytes each. */
  fold(hashes: Uint8Array): Uint8Array {
    let level = Buffer.from(hashes);
    while (level.length > HASH_SIZE) {
      const next = Buffer.allocUnsafe(level.length / 2);
      for (let at = 0; at < next.length; at += HASH_SIZE) {
        const left = 2 * at;
        next.set(
          this.node(level.subarray(left, left + HASH_SIZE), level.subarray(left + HASH_SIZE, left + 2 * HASH_SIZE)),
          at,
        );
      }
      level = next;
    }
    return level;
  }
}

/** The roots of the perfect subtrees that make up the first `size` leaves, largest first. */
export class CompactRange {
  readonly #hasher: TreeHasher;
  readonly #roots: Uint8Array[];
  #size: number;

  constructor(hasher: TreeHasher, size = 0, roots: readonly Uint8Array[] = []) {
    this.#hasher = hasher;
    this.#size = size;
    this.#roots = roots.map((root) => Uint8Array.from(root));
  }

  get size(): number {
    return this.#size;
  }

  clone(): CompactRange {
    return new CompactRange(this.#hasher, this.#size, this.#roots);
  }

  append(leafHash: Uint8Array): void {
    let hash = Uint8Array.from(leafHash);
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.#roots.pop();
      if (left === undefined) throw new Error('a compact range has as many roots as its size has bits');
      hash = Uint8Array.from(this.#hasher.node(left, hash));
    }
    this.#roots.push(hash);
    this.#size += 1;
  }

  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (let at = this.#roots.length - 1; at >= 0; at--) {
      const left = this.#roots[at] as Uint8Array;
      root = root === undefined ? left : Uint8Array.from(this.#hasher.node(left, root));
    }
    return root === undefined ? this.#hasher.empty() : Uint8Array.from(root);
  }

  /** The roots joined, largest first, as core takes them. */
  frontier(): Uint8Array {
    return Buffer.concat(this.#roots);
  }
}

/** Hash of the perfect subtree of 2^height leaves that begins at leaf index × 2^height. */
export type NodeReader = (height: number, index: number) => Uint8Array;

/** Largest power of two below n (n ≥ 2). */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** MTH(D[from:to]) for a range that RFC 6962 splits off: `from` is a multiple of the power of two that holds it. */
function rangeHash(read: NodeReader, hasher: TreeHasher, from: number, to: number): Uint8Array {
  const count = to - from;
  if (count === 1) return Uint8Array.from(read(0, from));
  const k = split(count);
  if (k * 2 === count) return Uint8Array.from(read(Math.round(Math.log2(count)), from / count));
  const left = rangeHash(read, hasher, from, from + k);
  return Uint8Array.from(hasher.node(left, rangeHash(read, hasher, from + k, to)));
}

export function rootAt(read: NodeReader, hasher: TreeHasher, size: number): Uint8Array {
  return size === 0 ? hasher.empty() : rangeHash(read, hasher, 0, size);
}

/** RFC 9162 section 2.1.3.1. @param seq below `size` */
export function inclusionProof(read: NodeReader, hasher: TreeHasher, seq: number, size: number): Uint8Array[] {
  const path = (m: number, from: number, to: number): Uint8Array[] => {
    if (to - from === 1) return [];
    const k = split(to - from);
    return m < k
      ? [...path(m, from, from + k), rangeHash(read, hasher, from + k, to)]
      : [...path(m - k, from + k, to), rangeHash(read, hasher, from, from + k)];
  };
  return path(seq, 0, size);
}

/** RFC 9162 section 2.1.4.1. @param from 0 to `to`; 0 and `to` itself need no hashes */
export function consistencyProof(read: NodeReader, hasher: TreeHasher, from: number, to: number): Uint8Array[] {
  const sub = (m: number, start: number, end: number, whole: boolean): Uint8Array[] => {
    if (m === end - start) return whole ? [] : [rangeHash(read, hasher, start, end)];
    const k = split(end - start);
    return m <= k
      ? [...sub(m, start, start + k, whole), rangeHash(read, hasher, start + k, end)]
      : [...sub(m - k, start + k, end, false), rangeHash(read, hasher, start, start + k)];
  };
  return from === 0 || from === to ? [] : sub(from, 0, to, true);
}
