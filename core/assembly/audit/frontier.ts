/** The Merkle tree of the log as its right edge (RFC 6962 section 2.1): size, and the roots of its perfect subtrees. */
import { copy, wipe } from '../bytes';
import { sha256, sha256Pair } from '../hash/sha256';
import { FRONTIER } from '../memory';

let size: u64 = 0;
let count: u32 = 0;

const folded = memory.data(32);

export function treeSize(): u64 {
  return size;
}

/** @param hashes popcount(size) roots, largest subtree first @returns false if their number does not fit */
export function startTree(newSize: u64, hashes: usize, length: u32): bool {
  const roots = <u32>popcnt<u64>(newSize);
  if (length != roots * 32) return false;
  copy(FRONTIER, hashes, length);
  size = newSize;
  count = roots;
  return true;
}

export function appendLeaf(hash: usize): void {
  copy(FRONTIER + <usize>count * 32, hash, 32);
  count++;
  let rest = size;
  while ((rest & 1) == 1) {
    count--;
    const left = FRONTIER + <usize>(count - 1) * 32;
    sha256Pair(left, left, left + 32);
    rest >>= 1;
  }
  size++;
}

export function treeRoot(out: usize): void {
  if (count == 0) {
    sha256(out, folded, 0);
    return;
  }
  copy(folded, FRONTIER + <usize>(count - 1) * 32, 32);
  for (let i = count - 1; i > 0; i--) sha256Pair(folded, FRONTIER + <usize>(i - 1) * 32, folded);
  copy(out, folded, 32);
}

export function wipeTree(): void {
  wipe(FRONTIER, 64 * 32);
  size = 0;
  count = 0;
}
