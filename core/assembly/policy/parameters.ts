/**
 * The second half of a decision whose rule constrains parameters: required names, then denied values, then allowed ones,
 * each united over the policies that hold the deciding rule.
 */
import { allowedOf, deniedOf, nextName, nextParameter, nextValue } from './constraints';
import { holderCount, holderRule, takePending } from './decide';
import { RULE_CONSTRAINTS, STAR, VERDICT_ALLOWED, VERDICT_DENIED, VERDICT_MALFORMED } from './layout';

/** Answers of `look`. */
const ABSENT: u32 = 0;
const OTHER_VALUE: u32 = 1;
const MEETS: u32 = 2;

/**
 * Decides the request that `policyDecide` answered with VERDICT_NEEDS_PARAMETERS, once.
 *
 * @param parameters  encoded as core/spec/policy.md says
 * @returns VERDICT_ALLOWED, VERDICT_DENIED (also when no decision waits), VERDICT_MALFORMED
 */
export function policyParameters(parameters: usize, length: u32): u32 {
  if (!takePending()) return VERDICT_DENIED;
  if (!wellFormed(parameters, length)) return VERDICT_MALFORMED;
  if (!hasRequired(parameters)) return VERDICT_DENIED;
  if (u16At(parameters) == 0) return VERDICT_ALLOWED;
  if (namesAny(false) || anyDenied(parameters)) return VERDICT_DENIED;
  return allAllowed(parameters) ? VERDICT_ALLOWED : VERDICT_DENIED;
}

function u16At(address: usize): u32 {
  return <u32>bswap<u16>(load<u16>(address));
}

function u32At(address: usize): u32 {
  return bswap<u32>(load<u32>(address));
}

/** A request's parameter: name length (2), name, kind (1), value length (4), value. */
function valueOf(parameter: usize): usize {
  return parameter + 2 + u16At(parameter);
}

function nextOf(parameter: usize): usize {
  const value = valueOf(parameter);
  return value + 5 + u32At(value + 1);
}

function wellFormed(parameters: usize, length: u32): bool {
  if (length < 2) return false;
  const end = parameters + length;
  const count = u16At(parameters);
  let at = parameters + 2;
  for (let i: u32 = 0; i < count; i++) {
    if (at + 2 > end) return false;
    const value = valueOf(at);
    if (value + 5 > end || load<u8>(value) > 1) return false;
    if (u32At(value + 1) > <u32>(end - value) - 5) return false;
    at = nextOf(at);
  }
  return at == end;
}

function hasRequired(parameters: usize): bool {
  for (let holder: u32 = 0; holder < holderCount; holder++) {
    const constraints = <usize>load<u32>(holderRule(holder) + RULE_CONSTRAINTS);
    if (constraints == 0) continue;
    const count = <u32>load<u8>(constraints);
    let name = constraints + 1;
    for (let i: u32 = 0; i < count; i++) {
      if (!presents(parameters, name)) return false;
      name = nextName(name);
    }
  }
  return true;
}

/** True if the request has a parameter of exactly this name: for required names the request's side is not folded. */
function presents(parameters: usize, name: usize): bool {
  const count = u16At(parameters);
  let at = parameters + 2;
  for (let i: u32 = 0; i < count; i++) {
    if (isName(name, at, false)) return true;
    at = nextOf(at);
  }
  return false;
}

/** Compares a rule's name with a request's, byte by byte; `fold`: ASCII letters of the request in lower case. */
function isName(name: usize, parameter: usize, fold: bool): bool {
  const length = <u32>load<u8>(name);
  if (u16At(parameter) != length) return false;
  for (let i: u32 = 0; i < length; i++) {
    let byte = <u32>load<u8>(parameter + 2 + i);
    if (fold && byte - 0x41 < 26) byte |= 0x20;
    if (byte != <u32>load<u8>(name + 1 + i)) return false;
  }
  return true;
}

/** True if `*` is among the allowed (or the denied) names. */
function namesAny(allowed: bool): bool {
  for (let holder: u32 = 0; holder < holderCount; holder++) {
    const constraints = <usize>load<u32>(holderRule(holder) + RULE_CONSTRAINTS);
    if (constraints == 0) continue;
    let at = allowed ? allowedOf(constraints) : deniedOf(constraints);
    const count = <u32>load<u8>(at);
    at++;
    for (let i: u32 = 0; i < count; i++) {
      if (load<u8>(at) == 1 && <u32>load<u8>(at + 1) == STAR) return true;
      at = nextParameter(at);
    }
  }
  return false;
}

function anyDenied(parameters: usize): bool {
  const count = u16At(parameters);
  let at = parameters + 2;
  for (let i: u32 = 0; i < count; i++) {
    if (look(at, false) == MEETS) return true;
    at = nextOf(at);
  }
  return false;
}

function allAllowed(parameters: usize): bool {
  if (!constrainsAllowed()) return true;
  const others = namesAny(true);
  const count = u16At(parameters);
  let at = parameters + 2;
  for (let i: u32 = 0; i < count; i++) {
    const found = look(at, true);
    if (found == OTHER_VALUE || (found == ABSENT && !others)) return false;
    at = nextOf(at);
  }
  return true;
}

function constrainsAllowed(): bool {
  for (let holder: u32 = 0; holder < holderCount; holder++) {
    const constraints = <usize>load<u32>(holderRule(holder) + RULE_CONSTRAINTS);
    if (constraints != 0 && load<u8>(allowedOf(constraints)) != 0) return true;
  }
  return false;
}

/**
 * Looks a request's parameter up among the allowed (or denied) ones of all holders.
 *
 * @returns ABSENT if none names it, MEETS if one that does has an empty list or its value, else OTHER_VALUE
 */
function look(parameter: usize, allowed: bool): u32 {
  let found = ABSENT;
  for (let holder: u32 = 0; holder < holderCount; holder++) {
    const constraints = <usize>load<u32>(holderRule(holder) + RULE_CONSTRAINTS);
    if (constraints == 0) continue;
    let at = allowed ? allowedOf(constraints) : deniedOf(constraints);
    const count = <u32>load<u8>(at);
    at++;
    for (let i: u32 = 0; i < count; i++) {
      if (isName(at, parameter, true)) {
        if (meets(nextName(at), valueOf(parameter))) return MEETS;
        found = OTHER_VALUE;
      }
      at = nextParameter(at);
    }
  }
  return found;
}

/** True if the list at `values` (number, values) is empty or has the request's value (kind, length 4, bytes). */
function meets(values: usize, value: usize): bool {
  const count = u16At(values);
  if (count == 0) return true;
  let at = values + 2;
  for (let i: u32 = 0; i < count; i++) {
    if (
      load<u8>(at) == load<u8>(value) &&
      equals(load<u8>(at) == 0, at + 3, u16At(at + 1), value + 5, u32At(value + 1))
    ) {
      return true;
    }
    at = nextValue(at);
  }
  return false;
}

/** Equal bytes; for text of two bytes or more a `*` at either end of the rule's side stands for anything. */
function equals(text: bool, item: usize, itemLength: u32, value: usize, valueLength: u32): bool {
  const globs = text && itemLength >= 2;
  const before: u32 = globs && <u32>load<u8>(item) == STAR ? 1 : 0;
  const after: u32 = globs && <u32>load<u8>(item + itemLength - 1) == STAR ? 1 : 0;
  const fixed = item + before;
  const fixedLength = itemLength - before - after;
  if (fixedLength > valueLength) return false;
  const spare = valueLength - fixedLength;
  if (before == 0) return (after == 1 || spare == 0) && memory.compare(fixed, value, fixedLength) == 0;
  if (after == 0) return memory.compare(fixed, value + spare, fixedLength) == 0;
  for (let i: u32 = 0; i <= spare; i++) {
    if (memory.compare(fixed, value + i, fixedLength) == 0) return true;
  }
  return false;
}
