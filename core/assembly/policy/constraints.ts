/**
 * Parameter constraints of a rule as they stand in its bytes (core/spec/policy.md): required names, allowed parameters,
 * denied parameters. Checked once when a policy is added, then read in place.
 */

/**
 * @returns one past the constraints that begin at `at`, or 0 if they break the format or leave `end`
 */
export function checkConstraints(at: usize, end: usize): usize {
  if (at >= end) return 0;
  const count = <u32>load<u8>(at);
  at++;
  for (let i: u32 = 0; i < count; i++) {
    at = checkName(at, end, false);
    if (at == 0) return 0;
  }
  at = checkParameters(at, end);
  if (at == 0) return 0;
  return checkParameters(at, end);
}

function checkParameters(at: usize, end: usize): usize {
  if (at >= end) return 0;
  const count = <u32>load<u8>(at);
  at++;
  for (let i: u32 = 0; i < count; i++) {
    at = checkName(at, end, true);
    if (at == 0 || at + 2 > end) return 0;
    const values = <u32>bswap<u16>(load<u16>(at));
    at += 2;
    for (let j: u32 = 0; j < values; j++) {
      if (at + 3 > end || load<u8>(at) > 1) return 0;
      at = nextValue(at);
      if (at > end) return 0;
    }
  }
  return at;
}

/** @param folded  an upper-case letter is refused: it would never meet a request's name, which is folded */
function checkName(at: usize, end: usize, folded: bool): usize {
  if (at >= end) return 0;
  const next = nextName(at);
  if (next > end) return 0;
  if (folded) {
    for (let i = at + 1; i < next; i++) {
      if (<u32>load<u8>(i) - 0x41 < 26) return 0;
    }
  }
  return next;
}

/** One past a name: length (1), bytes. */
export function nextName(at: usize): usize {
  return at + 1 + <usize>load<u8>(at);
}

/** One past a value: kind (1), length (2), bytes. */
export function nextValue(at: usize): usize {
  return at + 3 + <usize>bswap<u16>(load<u16>(at + 1));
}

/** One past a parameter: name, number of values (2), values. */
export function nextParameter(at: usize): usize {
  at = nextName(at);
  const values = <u32>bswap<u16>(load<u16>(at));
  at += 2;
  for (let i: u32 = 0; i < values; i++) at = nextValue(at);
  return at;
}

/** One past the required names: the allowed parameters. */
export function allowedOf(constraints: usize): usize {
  const count = <u32>load<u8>(constraints);
  let at = constraints + 1;
  for (let i: u32 = 0; i < count; i++) at = nextName(at);
  return at;
}

/** One past the allowed parameters: the denied ones. */
export function deniedOf(constraints: usize): usize {
  let at = allowedOf(constraints);
  const count = <u32>load<u8>(at);
  at++;
  for (let i: u32 = 0; i < count; i++) at = nextParameter(at);
  return at;
}
