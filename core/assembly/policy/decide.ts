/**
 * The decision for a set of policies: the best rule of each, the best of those by the total order of patterns, and the
 * union of that one pattern's rules over all policies that hold it. Total: whatever is asked, the answer is a verdict, and
 * without a rule it is no.
 */
import { policyGeneration, rootOf, scratch } from './arena';
import {
  CAPABILITY_CREATE,
  CAPABILITY_DENY,
  CAPABILITY_LIST,
  CAPABILITY_PATCH,
  CAPABILITY_READ,
  CAPABILITY_ROOT,
  CAPABILITY_SUDO,
  CAPABILITY_UPDATE,
  HOLDER_SIZE,
  POLICY_PATH_SIZE_MAX,
  POLICY_SET_COUNT_MAX,
  POLICY_SUDO,
  RESULT_BEST,
  RESULT_EXACT,
  RESULT_SIZE,
  RESULT_TRIMMED,
  RULE_CAPABILITIES,
  RULE_CONSTRAINTS,
  RULE_MAX,
  RULE_MIN,
  SCRATCH_HOLDERS,
  SCRATCH_PATH,
  SCRATCH_RESULTS,
  SLASH,
  VERDICT_ALLOWED,
  VERDICT_DENIED,
  VERDICT_NEEDS_PARAMETERS,
} from './layout';
import { bestRule, exactRule, later, match, trimmedRule } from './match';

/** Verbs whose parameters a rule can constrain. */
const WITH_PARAMETERS: u32 = CAPABILITY_READ | CAPABILITY_CREATE | CAPABILITY_UPDATE | CAPABILITY_PATCH;
const NEVER: u32 = 0xffffffff;

/** Policies that hold the deciding rule. */
export let holderCount: u32 = 0;
/** Union over the holders; CAPABILITY_DENY alone if one denies, 0 if no rule was found. */
let capabilities: u32 = 0;
let asked: u32 = 0;
/** Generation of the decision that waits for parameters; 0 none waits (generations begin at 1). */
let pending: u32 = 0;

/**
 * Decides one request by the policies in force.
 *
 * @param set     `count` native u16 indexes from `policyFind`; one that names no policy grants nothing
 * @param path    full path, mount included; for the list capability a missing trailing `/` is added
 * @param wanted  one CAPABILITY_ bit
 * @param flags   POLICY_SUDO: sudo is needed too
 * @param wrapTtl seconds of response wrapping asked for, 0 none
 * @returns a VERDICT_; anything but VERDICT_ALLOWED refuses
 */
export function policyDecide(
  set: usize,
  count: u32,
  path: usize,
  length: u32,
  wanted: u32,
  flags: u32,
  wrapTtl: u32,
): u32 {
  pending = 0;
  asked = wanted;
  resolve(set, count, path, length, wanted == CAPABILITY_LIST, true);
  if ((capabilities & wanted) == 0) return VERDICT_DENIED;
  if ((flags & POLICY_SUDO) != 0 && (capabilities & CAPABILITY_SUDO) == 0) return VERDICT_DENIED;
  let minimum: u32 = NEVER;
  let maximum: u32 = NEVER;
  let constrained = false;
  for (let i: u32 = 0; i < holderCount; i++) {
    const rule = holderRule(i);
    // The smallest that is not 0: less one, 0 wraps around to the greatest.
    minimum = min(minimum, load<u32>(rule + RULE_MIN) - 1);
    maximum = min(maximum, load<u32>(rule + RULE_MAX) - 1);
    if (load<u32>(rule + RULE_CONSTRAINTS) != 0) constrained = true;
  }
  // Likewise: not wrapped (0) is longer than any maximum.
  if (maximum != NEVER && wrapTtl - 1 > maximum) return VERDICT_DENIED;
  if (minimum != NEVER && wrapTtl <= minimum) return VERDICT_DENIED;
  if (!constrained || (wanted & WITH_PARAMETERS) == 0) return VERDICT_ALLOWED;
  pending = policyGeneration();
  return VERDICT_NEEDS_PARAMETERS;
}

/** Capabilities of the rule that decided last: CAPABILITY_DENY alone if it denies, 0 without a rule. */
export function policyCapabilities(): u32 {
  return capabilities;
}

/** @returns position in the set of the i-th policy that holds the deciding rule and grants what was wanted; -1 past the last */
export function policyGranting(i: u32): i32 {
  for (let holder: u32 = 0; holder < holderCount; holder++) {
    if ((load<u32>(holderRule(holder) + RULE_CAPABILITIES) & capabilities & asked) == 0) continue;
    if (i == 0) return load<i32>(scratch + SCRATCH_HOLDERS + holder * HOLDER_SIZE + 4);
    i--;
  }
  return -1;
}

/**
 * What sys/capabilities answers for a path: as for a list, but no slash is added.
 *
 * @param isRoot not 0: the token has the root policy
 * @returns CAPABILITY_ROOT, CAPABILITY_DENY alone (also where no rule matches or the rule has none), or the bits
 */
export function policyCapabilitiesFor(set: usize, count: u32, path: usize, length: u32, isRoot: u32): u32 {
  pending = 0;
  asked = 0;
  if (isRoot != 0) return CAPABILITY_ROOT;
  resolve(set, count, path, length, true, false);
  return capabilities == 0 ? CAPABILITY_DENY : capabilities;
}

/** True once for a decision that waits for parameters and was made with the policies still in force. */
export function takePending(): bool {
  const waits = pending != 0 && pending == policyGeneration();
  pending = 0;
  return waits;
}

export function holderRule(i: u32): usize {
  return load<u32>(scratch + SCRATCH_HOLDERS + i * HOLDER_SIZE);
}

/** memory.copy leaves the compiled code, which takes longer than what a path has to copy. */
function copyShort(to: usize, from: usize, length: u32): void {
  let at: u32 = 0;
  for (; at + 8 <= length; at += 8) store<u64>(to + at, load<u64>(from + at));
  for (; at < length; at++) store<u8>(to + at, load<u8>(from + at));
}

/** Finds the deciding rule: fills the holders and `capabilities`. */
function resolve(set: usize, count: u32, path: usize, length: u32, list: bool, addSlash: bool): void {
  holderCount = 0;
  capabilities = 0;
  if (count > POLICY_SET_COUNT_MAX) return;
  while (length > 0 && <u32>load<u8>(path) == SLASH) {
    path++;
    length--;
  }
  if (length >= POLICY_PATH_SIZE_MAX) return;
  const own = scratch + SCRATCH_PATH;
  copyShort(own, path, length);
  let slash = list && length > 0 && <u32>load<u8>(own + length - 1) == SLASH;
  if (list && addSlash && !slash) {
    store<u8>(own + length, <u8>SLASH);
    length++;
    slash = true;
  }
  const results = scratch + SCRATCH_RESULTS;
  const trimmedAt = slash ? length - 1 : NEVER;
  let exact = false;
  let trimmed = false;
  let best: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    const result = results + i * RESULT_SIZE;
    const root = rootOf(<u32>load<u16>(set + i * 2));
    if (root == 0) {
      store<u32>(result + RESULT_EXACT, 0);
      store<u32>(result + RESULT_TRIMMED, 0);
      store<u32>(result + RESULT_BEST, 0);
      continue;
    }
    match(root, length, trimmedAt, !exact);
    store<u32>(result + RESULT_EXACT, <u32>exactRule);
    store<u32>(result + RESULT_TRIMMED, <u32>trimmedRule);
    store<u32>(result + RESULT_BEST, <u32>bestRule);
    if (exactRule != 0) exact = true;
    if (trimmedRule != 0) trimmed = true;
    best = better(best, bestRule);
  }
  if (exact) hold(count, RESULT_EXACT, 0);
  else if (trimmed) hold(count, RESULT_TRIMMED, 0);
  else if (best != 0) hold(count, RESULT_BEST, best);
  else if (slash) resolveTrimmed(set, count, length - 1);
}

/** A list that nothing matched is looked up once more without its slash; exact rules were asked already. */
function resolveTrimmed(set: usize, count: u32, length: u32): void {
  let best: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    const root = rootOf(<u32>load<u16>(set + i * 2));
    if (root != 0) match(root, length, NEVER, true);
    const found = root != 0 ? bestRule : 0;
    store<u32>(scratch + SCRATCH_RESULTS + i * RESULT_SIZE + RESULT_BEST, <u32>found);
    best = better(best, found);
  }
  if (best != 0) hold(count, RESULT_BEST, best);
}

function better(best: usize, rule: usize): usize {
  if (rule == 0) return best;
  if (best == 0) return rule;
  return later(rule, best) > 0 ? rule : best;
}

/** Unites the rules of one pattern: those found under `field`, and where `best` is given only those equal to it. */
function hold(count: u32, field: u32, best: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const rule = <usize>load<u32>(scratch + SCRATCH_RESULTS + i * RESULT_SIZE + field);
    if (rule == 0 || (best != 0 && later(rule, best) != 0)) continue;
    const holder = scratch + SCRATCH_HOLDERS + holderCount * HOLDER_SIZE;
    store<u32>(holder, <u32>rule);
    store<u32>(holder + 4, i);
    holderCount++;
    capabilities |= load<u32>(rule + RULE_CAPABILITIES);
  }
  if ((capabilities & CAPABILITY_DENY) != 0) capabilities = CAPABILITY_DENY;
}
