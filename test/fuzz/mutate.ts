/** Changes to what was valid, and values that operations do not expect. */
import type { SeededRandom } from '../reference/random.ts';

const PIECES = [
  ...[
    '',
    '/',
    '//',
    '/../',
    '%2e',
    '%2f',
    '%00',
    '\0',
    '\r\n',
    '\u2028',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '*',
    '+',
    '#',
  ],
  ...[
    '-1',
    '1e400',
    '99999999999999999999',
    'NaN',
    'null',
    'true',
    '__proto__',
    '\ud800',
    '\u00e9',
    'e\u0301',
    '$$',
    '{{identity.entity.name}}',
    '<<E\n',
  ],
];

/** One to four changes: a part removed, doubled, replaced, or a piece put in. */
export function mutateText(random: SeededRandom, text: string): string {
  let out = text;
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(out.length + 1);
    const end = Math.min(out.length, at + random.below(8));
    const middle = [random.pick(PIECES), '', out.slice(at, end).repeat(2), String.fromCharCode(random.below(0x300))];
    out = out.slice(0, at) + random.pick(middle) + out.slice(random.once(2) ? at : end);
  }
  return out;
}

/** The same for bytes; bits are flipped too. */
export function mutateBytes(random: SeededRandom, bytes: Uint8Array): Buffer {
  let out = Buffer.from(bytes);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(out.length + 1);
    const end = Math.min(out.length, at + random.below(8));
    const byte = out[at];
    if (random.once(2) && byte !== undefined) out[at] = byte ^ (1 << random.below(8));
    else
      out = Buffer.concat([
        out.subarray(0, at),
        random.bytes(random.below(6)),
        out.subarray(random.once(2) ? at : end),
      ]);
  }
  return out;
}

/** A value of any type, most often one at the edge of what is taken. */
export function oddValue(random: SeededRandom, depth: number): unknown {
  const kind = random.below(depth > 3 ? 5 : 7);
  if (kind === 5) return Array.from({ length: random.below(4) }, () => oddValue(random, depth + 1));
  if (kind === 6)
    return { [random.pick(PIECES).toWellFormed()]: oddValue(random, depth + 1), a: oddValue(random, depth + 1) };
  return random.pick<unknown>([
    ...[0, -1, 1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e18, 1e300, -1e300, true, false, null],
    ...[
      '',
      'a',
      'root',
      'kv',
      'service',
      'batch',
      '1h',
      '-1h',
      '1e18',
      '999999h',
      'x'.repeat(5000),
      'path "a" {}',
      '../root',
      '\0',
      '\u2028',
      'é',
    ],
    random.pick(PIECES).toWellFormed(),
  ]);
}
