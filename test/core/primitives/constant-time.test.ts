import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { markedFunctions } from './constant-time.ts';

const FOLDER = 'core/assembly';
const marked = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) =>
    markedFunctions(readFileSync(join(FOLDER, file), 'utf8')).map(({ name, faults }) => ({
      what: `${file} ${name}`,
      faults,
    })),
  );

/** What works on secrets in the primitives: a mark that is lost is noticed. */
const HELD = [
  'bytes.ts equalBytes',
  'cipher/chacha20.ts xorBytes',
  'cipher/poly1305.ts blocks',
  'cipher/poly1305.ts equalTags',
  'cipher/poly1305.ts polyFinish',
  'cipher/poly1305.ts polyStart',
  'cipher/rounds.ts hchacha20',
  'cipher/rounds.ts stream2',
  'cipher/rounds.ts xor4',
  'hash/rounds.ts compress',
  'hash/rounds.ts compress4',
  'shamir.ts accumulate',
  'shamir.ts evaluate',
  'shamir.ts invert',
  'shamir.ts multiply',
];

test('every function that works on secrets is marked', () => {
  expect(marked.map(({ what }) => what)).toEqual(expect.arrayContaining(HELD));
});

test.each(marked)('$what takes no branch and no index from secret data', ({ faults }) => {
  expect(faults).toEqual([]);
});

describe('the check bites', () => {
  const wrap = (body: string, parameters = 'p: usize, length: u32'): string =>
    `// constant-time\nexport function bad(${parameters}): u32 {\n${body}\n}\n`;

  test.each([
    ['  if (load<u8>(p) == 1) return 1;', 'branch: if'],
    ['  return load<u8>(p) == 1 ? 1 : 0;', 'branch: ?'],
    ['  return load<u8>(p) && 1;', 'branch: &&'],
    ['  return load<u8>(p) || 1;', 'branch: ||'],
    ['  let n = load<u8>(p);\n  while (n) n--;', 'branch: while'],
    ['  const n = load<u8>(p);\n  for (let i: u32 = 0; i < n; i++) length ^= i;', 'loop on n'],
    ['  const n = load<u8>(p);\n  const m = n ^ 5;\n  return load<u8>(TABLE + m);', 'address of m'],
    ['  return load<u8>(TABLE + load<u8>(p));', 'address of TABLE + load<u8>(p)'],
    ['  let s: u32 = 0;\n  s ^= load<u8>(p);\n  store<u8>(p + s, 0);', 'address of s'],
  ])('on %j', (body, fault) => {
    expect(markedFunctions(wrap(body))[0]?.faults).toContain(fault);
  });

  test('on a table that is indexed by a value', () => {
    expect(markedFunctions(wrap('  return load<u8>(LOG + a);', 'a: u32'))[0]?.faults).toEqual(['address of a']);
  });

  test('and not on a loop over a public length', () => {
    const body = '  let d: u32 = 0;\n  for (let i: u32 = 0; i < length; i++) d |= load<u8>(p + i);\n  return d;';
    expect(markedFunctions(wrap(body))[0]?.faults).toEqual([]);
  });
});
