/**
 * From the payload of a policy's row (core/spec/policy.md) to rules and a trie in the spare arena. Every length is checked
 * against the payload's end before it is used.
 */
import { enter, failBuild, isBuilding, spareEnd, spareRoom, take } from './arena';
import { checkConstraints } from './constraints';
import {
  CAPABILITY_ALL,
  CAPABILITY_DENY,
  KIND_GLOB,
  KIND_MASK,
  KIND_TEMPLATE,
  NODE_CHILD_COUNT,
  NODE_EXACT,
  NODE_GLOB,
  NODE_KEYS,
  NODE_LABEL_LENGTH,
  NODE_PLUS,
  PLUS,
  POLICY_FULL,
  POLICY_MALFORMED,
  POLICY_NAME_SIZE_MAX,
  POLICY_OK,
  POLICY_PATTERN_SIZE_MAX,
  POLICY_PLUS_COUNT_MAX,
  POLICY_RULE_COUNT_MAX,
  RULE_CAPABILITIES,
  RULE_CONSTRAINTS,
  RULE_FLAGS,
  RULE_MAX,
  RULE_MIN,
  RULE_PARAMETERS,
  RULE_PATTERN,
  RULE_PATTERN_LENGTH,
  RULE_RANK,
  RULE_WRAPPING,
  SLASH,
} from './layout';

/** Reading position in the payload, and the end of what may be read. */
let at: usize = 0;
let end: usize = 0;
/** The list of compiled rules at the spare's end, and how many there are. */
let list: usize = 0;
let listed: u32 = 0;
/** Bytes that the list may grow to: `take` keeps off them. */
let reserve: u32 = 0;
/** Pattern, kind and template of the rule before, for the order. */
let lastPattern: usize = 0;
let lastLength: u32 = 0;
let lastKind: u32 = 0;
let lastTail: usize = 0;
let lastTailLength: u32 = 0;
/** The trie did not fit. */
let overflow: bool = false;

function u16At(address: usize): u32 {
  return <u32>bswap<u16>(load<u16>(address));
}

function u32At(address: usize): u32 {
  return bswap<u32>(load<u32>(address));
}

/**
 * Compiles one policy into the spare arena.
 *
 * @param payload  the opened row; copied, not kept
 * @returns POLICY_OK; POLICY_MALFORMED or POLICY_FULL, and the build has failed: later adds are malformed, a commit does nothing
 */
export function policyAdd(payload: usize, length: u32): u32 {
  if (!isBuilding()) return POLICY_MALFORMED;
  if (length < 2 || load<u8>(payload) != 1) return failBuild(POLICY_MALFORMED);
  const nameLength = <u32>load<u8>(payload + 1);
  if (nameLength == 0 || nameLength > POLICY_NAME_SIZE_MAX) return failBuild(POLICY_MALFORMED);
  const name = payload + 2;
  at = name + nameLength;
  end = payload + length;
  if (at + 4 > end || isRoot(name, nameLength)) return failBuild(POLICY_MALFORMED);
  const rulesLength = u32At(at);
  at += 4;
  if (rulesLength > <u32>(end - at) || <u32>(end - at) - rulesLength < 4) return failBuild(POLICY_MALFORMED);
  const rest = at + rulesLength;
  if (u32At(rest) != <u32>(end - rest) - 4) return failBuild(POLICY_MALFORMED);
  end = rest;
  let status = addRules();
  if (status != POLICY_OK) return failBuild(status);
  overflow = false;
  const root = build(0, listed, 0);
  const copy = take(nameLength, 0);
  if (overflow || copy == 0) return failBuild(POLICY_FULL);
  memory.copy(copy, name, nameLength);
  status = enter(copy, nameLength, root);
  return status == POLICY_OK ? POLICY_OK : failBuild(status);
}

/** The root policy is no row: a row of that name would be an allow-all in disguise or a root that is none. */
function isRoot(name: usize, length: u32): bool {
  return length == 4 && load<u32>(name) == 0x746f6f72;
}

function addRules(): u32 {
  if (at + 2 > end) return POLICY_MALFORMED;
  const count = u16At(at);
  at += 2;
  if (count > POLICY_RULE_COUNT_MAX) return POLICY_MALFORMED;
  reserve = count * 4;
  if (reserve > spareRoom()) return POLICY_FULL;
  list = spareEnd() - reserve;
  listed = 0;
  lastPattern = 0;
  for (let i: u32 = 0; i < count; i++) {
    const status = addRule();
    if (status != POLICY_OK) return status;
  }
  return at == end ? POLICY_OK : POLICY_MALFORMED;
}

function addRule(): u32 {
  if (at + 3 > end) return POLICY_MALFORMED;
  const flags = <u32>load<u8>(at);
  const kind = flags & KIND_MASK;
  const length = u16At(at + 1);
  const pattern = at + 3;
  if (flags > RULE_FLAGS || kind > KIND_TEMPLATE || length > POLICY_PATTERN_SIZE_MAX) return POLICY_MALFORMED;
  at = pattern + length;
  if (at + 2 > end || !isPattern(pattern, length, kind)) return POLICY_MALFORMED;
  let capabilities = u16At(at);
  at += 2;
  if (capabilities > CAPABILITY_ALL) return POLICY_MALFORMED;
  if ((capabilities & CAPABILITY_DENY) != 0 && capabilities != CAPABILITY_DENY) return POLICY_MALFORMED;
  let tail = at;
  let tailLength: u32 = 0;
  if (kind == KIND_TEMPLATE) {
    if (at + 2 > end) return POLICY_MALFORMED;
    tailLength = u16At(at);
    tail = at + 2;
    at = tail + tailLength;
    if (tailLength > POLICY_PATTERN_SIZE_MAX || at > end) return POLICY_MALFORMED;
  }
  if (lastPattern != 0 && !follows(pattern, length, kind, tail, tailLength)) return POLICY_MALFORMED;
  lastPattern = pattern;
  lastLength = length;
  lastKind = kind;
  lastTail = tail;
  lastTailLength = tailLength;
  let minimum: u32 = 0;
  let maximum: u32 = 0;
  if ((flags & RULE_WRAPPING) != 0) {
    if (at + 8 > end) return POLICY_MALFORMED;
    minimum = u32At(at);
    maximum = u32At(at + 4);
    at += 8;
  }
  const constraints = at;
  if ((flags & RULE_PARAMETERS) != 0) {
    at = checkConstraints(at, end);
    if (at == 0) return POLICY_MALFORMED;
  }
  // No identity fills templates in yet, so every template fails: an allow rule vanishes, a deny rule holds for the part
  // before the template.
  if (kind == KIND_TEMPLATE && capabilities != CAPABILITY_DENY) return POLICY_OK;
  const rule = take(RULE_PATTERN + length, reserve);
  if (rule == 0) return POLICY_FULL;
  store<u64>(rule + RULE_RANK, rank(pattern, length, kind != 0));
  store<u32>(rule + RULE_PATTERN_LENGTH, length);
  store<u32>(rule + RULE_CAPABILITIES, capabilities);
  store<u32>(rule + RULE_MIN, minimum);
  store<u32>(rule + RULE_MAX, maximum);
  store<u32>(rule + RULE_CONSTRAINTS, 0);
  memory.copy(rule + RULE_PATTERN, pattern, length);
  if ((flags & RULE_PARAMETERS) != 0) {
    const copy = take(<u32>(at - constraints), reserve);
    if (copy == 0) return POLICY_FULL;
    memory.copy(copy, constraints, at - constraints);
    store<u32>(rule + RULE_CONSTRAINTS, <u32>copy);
  }
  store<u32>(list + listed * 4, <u32>rule);
  listed++;
  return POLICY_OK;
}

/** The grammar of a pattern: no control character, no leading `/`; a `+` (byte 0) is a whole segment, never before a glob. */
function isPattern(pattern: usize, length: u32, kind: u32): bool {
  if (length == 0) return true;
  if (<u32>load<u8>(pattern) == SLASH) return false;
  let plus: u32 = 0;
  for (let i: u32 = 0; i < length; i++) {
    const byte = <u32>load<u8>(pattern + i);
    if (byte >= 0x20) {
      if (byte == 0x7f) return false;
      continue;
    }
    if (byte != PLUS) return false;
    if (i > 0 && <u32>load<u8>(pattern + i - 1) != SLASH) return false;
    if (i + 1 == length ? kind != 0 : <u32>load<u8>(pattern + i + 1) != SLASH) return false;
    plus++;
  }
  return plus <= POLICY_PLUS_COUNT_MAX;
}

/** True if the rule stands behind the one before it: by pattern, then kind, then template. Equal ones are refused. */
function follows(pattern: usize, length: u32, kind: u32, tail: usize, tailLength: u32): bool {
  const byPattern = order(lastPattern, lastLength, pattern, length);
  if (byPattern != 0) return byPattern < 0;
  if (lastKind != kind) return lastKind < kind;
  return order(lastTail, lastTailLength, tail, tailLength) < 0;
}

function order(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const common = memory.compare(a, b, min(aLength, bLength));
  return common != 0 ? common : <i32>aLength - <i32>bLength;
}

/**
 * Where a rule with a wildcard stands among others that match the same path, as one number, greater first: first
 * wildcard furthest right (16 bits), no glob at the end (1), fewer `+` (15), the longer pattern (16). What is left equal is
 * ordered by text (`later` in match.ts). Never 0.
 */
function rank(pattern: usize, length: u32, glob: bool): u64 {
  let first = length;
  let plus: u32 = 0;
  for (let i = length; i > 0; i--) {
    if (<u32>load<u8>(pattern + i - 1) == PLUS) {
      first = i - 1;
      plus++;
    }
  }
  return ((<u64>first) << 48) | ((<u64>!glob) << 47) | ((<u64>(0x7fff - plus)) << 32) | <u64>length;
}

function ruleAt(i: u32): usize {
  return load<u32>(list + i * 4);
}

function lengthAt(i: u32): u32 {
  return load<u32>(ruleAt(i) + RULE_PATTERN_LENGTH);
}

function byteAt(i: u32, depth: u32): u32 {
  return <u32>load<u8>(ruleAt(i) + RULE_PATTERN + depth);
}

/**
 * Builds the node for the rules from..to of the list, whose patterns agree in their first `depth` bytes. They are
 * sorted, so those that agree lie together. The recursion is at most POLICY_PATTERN_SIZE_MAX + 1 deep.
 *
 * @returns the node; `overflow` is set when something under it did not fit
 */
function build(from: u32, to: u32, depth: u32): usize {
  let i = from;
  let split = depth;
  // The label: what all of them have next. A `+` is never part of a label.
  if (from < to) {
    const shortest = lengthAt(from);
    const last = to - 1;
    while (split < shortest && split < lengthAt(last)) {
      const byte = byteAt(from, split);
      if (byte == PLUS || byte != byteAt(last, split)) break;
      split++;
    }
  }
  const labelLength = split - depth;
  let exact: usize = 0;
  let glob: usize = 0;
  for (; i < to && lengthAt(i) == split; i++) {
    const rule = ruleAt(i);
    // Exact stands before glob, glob before a failed template's deny, which therefore replaces it: deny wins.
    if (isGlob(rule)) glob = rule;
    else exact = rule;
  }
  const plusFrom = i;
  while (i < to && byteAt(i, split) == PLUS) i++;
  const plusTo = i;
  let count: u32 = 0;
  for (let j = i; j < to; j++) {
    if (j == i || byteAt(j, split) != byteAt(j - 1, split)) count++;
  }
  const keySize = (count + 3) & ~3;
  const node = take(NODE_KEYS + keySize + count * 4 + labelLength, reserve);
  if (node == 0) {
    overflow = true;
    return 0;
  }
  store<u16>(node + NODE_LABEL_LENGTH, <u16>labelLength);
  store<u16>(node + NODE_CHILD_COUNT, <u16>count);
  store<u32>(node + NODE_EXACT, <u32>exact);
  store<u32>(node + NODE_GLOB, <u32>glob);
  store<u32>(node + NODE_PLUS, 0);
  const children = node + NODE_KEYS + keySize;
  if (labelLength > 0) memory.copy(children + count * 4, ruleAt(from) + RULE_PATTERN + depth, labelLength);
  if (plusFrom < plusTo) store<u32>(node + NODE_PLUS, <u32>build(plusFrom, plusTo, split + 1));
  let child: u32 = 0;
  while (i < to && !overflow) {
    const key = byteAt(i, split);
    const groupFrom = i;
    while (i < to && byteAt(i, split) == key) i++;
    store<u8>(node + NODE_KEYS + child, <u8>key);
    store<u32>(children + child * 4, <u32>build(groupFrom, i, split + 1));
    child++;
  }
  return node;
}

/** A compiled rule without `+` has its rank's first wildcard at its end; what tells a glob from the rest is one bit. */
function isGlob(rule: usize): bool {
  return ((load<u64>(rule + RULE_RANK) >> 47) & 1) == 0;
}
