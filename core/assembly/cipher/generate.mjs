// Writes the straight-line code of ChaCha20: `node core/assembly/cipher/generate.mjs` (test/core/primitives/generated.test.ts
// checks that the file is what this script writes). Every word of state is a local, because AssemblyScript has no arrays of
// locals and a state in memory costs a load and a store for each step.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const range = (n) => Array.from({ length: n }, (_, i) => i);

const COLUMNS = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
];
const DIAGONALS = [
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];

/** Rotations by 16 and 8 are a byte shuffle by a constant; the others two shifts. */
function rotated(x, bits) {
  if (bits === 16 || bits === 8) return `i8x16.swizzle(${x}, ROTATE_${bits})`;
  return `v128.or(i32x4.shl(${x}, ${bits}), i32x4.shr_u(${x}, ${32 - bits}))`;
}

/** One step of several quarter rounds at once: `a += b; d = rotate(d ^ a)`, interleaved so that none waits for itself. */
function step(names, bits) {
  return [
    ...names.map(([a, b]) => `${a} = i32x4.add(${a}, ${b});`),
    ...names.map(([a, , d]) => `${d} = v128.xor(${d}, ${a});`),
    ...names.map(([, , d]) => `${d} = ${rotated(d, bits)};`),
  ];
}

function quarterRounds(names) {
  return [
    ...step(
      names.map(([a, b, , d]) => [a, b, d]),
      16,
    ),
    ...step(
      names.map(([, b, c, d]) => [c, d, b]),
      12,
    ),
    ...step(
      names.map(([a, b, , d]) => [a, b, d]),
      8,
    ),
    ...step(
      names.map(([, b, c, d]) => [c, d, b]),
      7,
    ),
  ];
}

const turned = (x, words) => {
  const bytes = [0, 1, 2, 3].flatMap((i) => [0, 1, 2, 3].map((byte) => ((i + words) % 4) * 4 + byte));
  return `${x} = i8x16.shuffle(${x}, ${x}, ${bytes.join(', ')});`;
};

/** A block a set of four rows; `blocks` sets side by side, so that one fills the gaps of the other. */
function rowRounds(blocks) {
  const names = blocks.map((block) => ['a', 'b', 'c', 'd'].map((row) => `${row}${block}`));
  const turn = (b, c, d) => names.flatMap((rows) => [turned(rows[1], b), turned(rows[2], c), turned(rows[3], d)]);
  return [...quarterRounds(names), ...turn(1, 2, 3), ...quarterRounds(names), ...turn(3, 2, 1)];
}

const x = (i) => `x${i}`;
const laneRounds = () => [
  ...quarterRounds(COLUMNS.map((column) => column.map(x))),
  ...quarterRounds(DIAGONALS.map((diagonal) => diagonal.map(x))),
];

const indent = (lines, depth) => lines.map((line) => ' '.repeat(depth) + line).join('\n');

const WORDS = ['0x61707865', '0x3320646e', '0x79622d32', '0x6b206574'];

/** Initial word i in all lanes. */
function initial(i) {
  if (i < 4) return `i32x4.splat(${WORDS[i]})`;
  if (i < 12) return `v128.load32_splat(key, ${(i - 4) * 4})`;
  if (i === 12) return 'counters';
  return `v128.load32_splat(nonce, ${(i - 13) * 4})`;
}

/** Four rows of four blocks are turned into four times 16 bytes of one block each, XORed and stored. */
function output(group) {
  const [a, b, c, d] = range(4).map((i) => x(group * 4 + i));
  const low = '0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23';
  const high = '8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31';
  const lowHalf = '0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23';
  const highHalf = '8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31';
  const at = (block) => (block * 64 + group * 16 === 0 ? '' : `, ${block * 64 + group * 16}`);
  const put = (block, value) => `v128.store(out, v128.xor(v128.load(input${at(block)}), ${value})${at(block)});`;
  return [
    `${a} = i32x4.add(${a}, ${initial(group * 4)});`,
    `${b} = i32x4.add(${b}, ${initial(group * 4 + 1)});`,
    `${c} = i32x4.add(${c}, ${initial(group * 4 + 2)});`,
    `${d} = i32x4.add(${d}, ${initial(group * 4 + 3)});`,
    `low = i8x16.shuffle(${a}, ${b}, ${low});`,
    `high = i8x16.shuffle(${c}, ${d}, ${low});`,
    `${a} = i8x16.shuffle(${a}, ${b}, ${high});`,
    `${c} = i8x16.shuffle(${c}, ${d}, ${high});`,
    put(0, `i8x16.shuffle(low, high, ${lowHalf})`),
    put(1, `i8x16.shuffle(low, high, ${highHalf})`),
    put(2, `i8x16.shuffle(${a}, ${c}, ${lowHalf})`),
    put(3, `i8x16.shuffle(${a}, ${c}, ${highHalf})`),
  ];
}

/** One block of Poly1305; poly1305.ts has the same with its bounds. */
const polyBlock = () => [
  'h0 += <u64>load<u32>(message);',
  'h1 += <u64>load<u32>(message, 4);',
  'h2 += <u64>load<u32>(message, 8);',
  'h3 += <u64>load<u32>(message, 12) + 0x100000000;',
  'message += 16;',
  'd0 = h0 * r0 + h1 * s3 + (h2 * s2 + h3 * s1);',
  'd1 = h0 * r1 + h1 * r0 + (h2 * s3 + h3 * s2) + (d0 >> 32);',
  'd2 = h0 * r2 + h1 * r1 + (h2 * r0 + h3 * s3) + (d1 >> 32);',
  'd3 = h0 * r3 + h1 * r2 + (h2 * r1 + h3 * r0) + (d2 >> 32);',
  'h0 = (d0 & 0xffffffff) + (d3 >> 34) * 5;',
  'h1 = d1 & 0xffffffff;',
  'h2 = d2 & 0xffffffff;',
  'h3 = d3 & 0x3ffffffff;',
];

const POLY_LOAD = [
  ...range(4).map((i) => `let h${i} = load<u64>(poly${i === 0 ? '' : `, ${i * 8}`});`),
  ...range(4).map((i) => `const r${i} = load<u64>(poly, ${32 + i * 8});`),
  ...[1, 2, 3].map((i) => `const s${i} = r${i} + (r${i} >> 2);`),
  'let d0: u64, d1: u64, d2: u64, d3: u64;',
];

export function generated() {
  return `/** Generated by core/assembly/cipher/generate.mjs: ChaCha20 (RFC 8439 section 2.3) in straight-line SIMD. */

const ROTATE_16 = v128(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
const ROTATE_8 = v128(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14);
const CONSTANTS = i32x4(${WORDS.join(', ')});

/** draft-irtf-cfrg-xchacha-03 section 2.2: 32 bytes of subkey. */
// constant-time
export function hchacha20(out: usize, key: usize, nonce16: usize): void {
  let a0: v128 = CONSTANTS;
  let b0 = v128.load(key);
  let c0 = v128.load(key, 16);
  let d0 = v128.load(nonce16);
  for (let round = 0; round < 10; round++) {
${indent(rowRounds([0]), 4)}
  }
  v128.store(out, a0);
  v128.store(out, d0, 16);
}

/** Key stream of two blocks, whichever: 128 bytes. */
// constant-time
export function stream2(out: usize, key: usize, counter0: u32, counter1: u32, nonce: usize): void {
  let tail = i32x4.replace_lane(i32x4(0, 0, 0, 0), 1, load<u32>(nonce));
  tail = i64x2.replace_lane(tail, 1, load<u64>(nonce, 4));
  const first = i32x4.replace_lane(tail, 0, counter0);
  const second = i32x4.replace_lane(tail, 0, counter1);
  const key0 = v128.load(key);
  const key1 = v128.load(key, 16);
  let a0: v128 = CONSTANTS;
  let b0 = key0;
  let c0 = key1;
  let d0 = first;
  let a1: v128 = CONSTANTS;
  let b1 = key0;
  let c1 = key1;
  let d1 = second;
  for (let round = 0; round < 10; round++) {
${indent(rowRounds([0, 1]), 4)}
  }
  v128.store(out, i32x4.add(a0, CONSTANTS));
  v128.store(out, i32x4.add(b0, key0), 16);
  v128.store(out, i32x4.add(c0, key1), 32);
  v128.store(out, i32x4.add(d0, first), 48);
  v128.store(out, i32x4.add(a1, CONSTANTS), 64);
  v128.store(out, i32x4.add(b1, key0), 80);
  v128.store(out, i32x4.add(c1, key1), 96);
  v128.store(out, i32x4.add(d1, second), 112);
}

/**
 * XORs 256 bytes with the key stream of block \`first\` and of the three from \`next\` on, a block a lane. \`out\` may equal
 * \`input\`.
 */
// constant-time
export function xor4(out: usize, input: usize, key: usize, first: u32, next: u32, nonce: usize): void {
  const counters = i32x4.replace_lane(i32x4.add(i32x4.splat(next), i32x4(0, 0, 1, 2)), 0, first);
${indent(
  range(16).map((i) => `let ${x(i)}${i < 4 ? ': v128' : ''} = ${initial(i)};`),
  2,
)}
  for (let round = 0; round < 10; round++) {
${indent(laneRounds(), 4)}
  }
  let low: v128;
  let high: v128;
${indent(range(4).flatMap(output), 2)}
}

/**
 * XORs 256 bytes with the key stream of blocks \`counter\` to \`counter\` + 3, while Poly1305 takes 2 × \`pairs\` blocks at \`message\`, at most 16: its products are scalar and the rounds are not,
 * so the processor does both at once. \`poly\` points to h and r as poly1305.ts keeps them.
 */
// constant-time
export function xor4poly(
  out: usize,
  input: usize,
  key: usize,
  counter: u32,
  nonce: usize,
  poly: usize,
  message: usize,
  pairs: u32,
): void {
  const counters = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
${indent(
  range(16).map((i) => `let ${x(i)}${i < 4 ? ': v128' : ''} = ${initial(i)};`),
  2,
)}
${indent(POLY_LOAD, 2)}
  for (let round: u32 = 0; round < pairs; round++) {
${indent([...polyBlock(), ...laneRounds(), ...polyBlock()], 4)}
  }
${indent(
  range(4).map((i) => `store<u64>(poly, h${i}${i === 0 ? '' : `, ${i * 8}`});`),
  2,
)}
  for (let round = pairs; round < 10; round++) {
${indent(laneRounds(), 4)}
  }
  let low: v128;
  let high: v128;
${indent(range(4).flatMap(output), 2)}
}
`;
}

const target = join(import.meta.dirname ?? '.', 'rounds.ts');
if (process.argv[1] === import.meta.filename) writeFileSync(target, generated());
