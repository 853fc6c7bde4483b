/**
 * Which rule of one policy matches a path best. A literal walk finds the exact rule and the longest glob; `+` branches met
 * on the way are explored from the deepest up, and only as long as one could still win. A node is entered at most once a
 * walk, since a `+` takes one segment and no choice: the cost is bounded by the nodes of the trie.
 */
import { scratch } from './arena';
import {
  NODE_CHILD_COUNT,
  NODE_EXACT,
  NODE_GLOB,
  NODE_KEYS,
  NODE_LABEL_LENGTH,
  NODE_PLUS,
  PLUS,
  PLUS_TEXT,
  RULE_PATTERN,
  RULE_PATTERN_LENGTH,
  RULE_RANK,
  SCRATCH_PATH,
  SCRATCH_SPINE,
  SLASH,
  SPINE_SIZE,
} from './layout';

/** Rule whose pattern is the path; 0 none. */
export let exactRule: usize = 0;
/** Rule whose pattern is the path without its last byte, where that was asked for; 0 none. */
export let trimmedRule: usize = 0;
/** Best rule with a wildcard; 0 none, and its rank is 0. */
export let bestRule: usize = 0;
let bestRank: u64 = 0;
/** Length of the path in the working memory. */
let pathLength: u32 = 0;

/**
 * Matches the path in the working memory (SCRATCH_PATH) against one policy; the answers are the variables above.
 *
 * @param root       root node of the policy
 * @param length     bytes of the path
 * @param trimmedAt  length at which `trimmedRule` is looked for (length - 1), or a number above it for none
 * @param wildcards  false: only exact rules are asked for, `bestRule` may be any
 */
export function match(root: usize, length: u32, trimmedAt: u32, wildcards: bool): void {
  const path = scratch + SCRATCH_PATH;
  const spine = scratch + SCRATCH_SPINE;
  let spineEnd = spine;
  let node = root;
  let at: u32 = 0;
  let glob: usize = 0;
  exactRule = 0;
  trimmedRule = 0;
  pathLength = length;
  while (hasLabel(node, path + at, length - at)) {
    at += <u32>load<u16>(node + NODE_LABEL_LENGTH);
    const prefix = <usize>load<u32>(node + NODE_GLOB);
    if (prefix != 0) glob = prefix;
    const plus = load<u32>(node + NODE_PLUS);
    if (plus != 0) {
      store<u32>(spineEnd, plus);
      store<u32>(spineEnd + 4, at);
      spineEnd += SPINE_SIZE;
    }
    if (at == length) {
      exactRule = load<u32>(node + NODE_EXACT);
      break;
    }
    if (at == trimmedAt) trimmedRule = load<u32>(node + NODE_EXACT);
    node = childOf(node, <u32>load<u8>(path + at));
    if (node == 0) break;
    at++;
  }
  bestRule = glob;
  bestRank = glob != 0 ? load<u64>(glob + RULE_RANK) : 0;
  if (!wildcards || exactRule != 0) return;
  while (spineEnd > spine) {
    spineEnd -= SPINE_SIZE;
    const first = load<u32>(spineEnd + 4);
    // Everything from here up has its first wildcard further left than the best.
    if (<u32>(bestRank >> 48) > first) return;
    explore(load<u32>(spineEnd), segmentEnd(first));
  }
}

/** Follows a `+` branch from its node; `at` is behind the segment that the `+` took. As deep as a pattern has `+`. */
function explore(node: usize, at: u32): void {
  const path = scratch + SCRATCH_PATH;
  while (hasLabel(node, path + at, pathLength - at)) {
    at += <u32>load<u16>(node + NODE_LABEL_LENGTH);
    consider(load<u32>(node + NODE_GLOB));
    const plus = load<u32>(node + NODE_PLUS);
    if (plus != 0) explore(plus, segmentEnd(at));
    if (at == pathLength) {
      consider(load<u32>(node + NODE_EXACT));
      return;
    }
    node = childOf(node, <u32>load<u8>(path + at));
    if (node == 0) return;
    at++;
  }
}

function consider(rule: usize): void {
  if (rule != 0 && (bestRule == 0 || later(rule, bestRule) > 0)) {
    bestRule = rule;
    bestRank = load<u64>(rule + RULE_RANK);
  }
}

/**
 * The total order of patterns with wildcards (semantics: "Which rule decides"): by rank, then by text.
 *
 * @returns above 0 if a wins, below 0 if b wins, 0 if they are the same pattern
 */
export function later(a: usize, b: usize): i32 {
  const aRank = load<u64>(a + RULE_RANK);
  const bRank = load<u64>(b + RULE_RANK);
  if (aRank != bRank) return aRank > bRank ? 1 : -1;
  const length = load<u32>(a + RULE_PATTERN_LENGTH); // b's too: it is part of the rank
  for (let i: u32 = 0; i < length; i++) {
    const difference = text(<u32>load<u8>(a + RULE_PATTERN + i)) - text(<u32>load<u8>(b + RULE_PATTERN + i));
    if (difference != 0) return difference;
  }
  return 0;
}

function text(byte: u32): i32 {
  return <i32>(byte == PLUS ? PLUS_TEXT : byte);
}

function segmentEnd(at: u32): u32 {
  const path = scratch + SCRATCH_PATH;
  while (at < pathLength && <u32>load<u8>(path + at) != SLASH) at++;
  return at;
}

/** True if the path goes on with the node's label. Reads up to 7 bytes past either: both have slack behind them. */
function hasLabel(node: usize, path: usize, left: u32): bool {
  let length = <u32>load<u16>(node + NODE_LABEL_LENGTH);
  if (length > left) return false;
  const count = <u32>load<u16>(node + NODE_CHILD_COUNT);
  let label = node + NODE_KEYS + ((count + 3) & ~3) + count * 4;
  while (length >= 8) {
    if (load<u64>(path) != load<u64>(label)) return false;
    path += 8;
    label += 8;
    length -= 8;
  }
  // A shift by 64 is a shift by 0: an empty rest is asked for apart.
  return length == 0 || (load<u64>(path) ^ load<u64>(label)) << (<u64>(64 - length * 8)) == 0;
}

/** @returns the child under a literal byte; 0 none. Keys are compared 16 at a time; what lies behind them is masked off. */
function childOf(node: usize, byte: u32): usize {
  const count = <u32>load<u16>(node + NODE_CHILD_COUNT);
  const wanted = i8x16.splat(<i8>byte);
  for (let i: u32 = 0; i < count; i += 16) {
    let hits = i8x16.bitmask(i8x16.eq(v128.load(node + NODE_KEYS + i), wanted));
    if (count - i < 16) hits &= (1 << (count - i)) - 1;
    if (hits != 0) return load<u32>(node + NODE_KEYS + ((count + 3) & ~3) + (i + ctz(hits)) * 4);
  }
  return 0;
}
