/** Every kind of branch, for the tests of the coverage tool. */
let last: i32 = 0;

export function implicitElse(a: i32): i32 {
  if (a > 0) last = a;
  return last;
}

export function both(a: i32, b: i32): i32 {
  return a > 0 && b > 0 ? 1 : 2;
}

export function cases(a: i32): i32 {
  switch (a) {
    case 0:
      return 10;
    case 1:
      return 11;
    case 2:
      return 12;
    default:
      return 13;
  }
}

export function until(a: i32): i32 {
  let n = 0;
  do n++;
  while (n < a);
  return n;
}

export function chosen(a: i32, b: i32): i32 {
  return select<i32>(a, b, a > b);
}
