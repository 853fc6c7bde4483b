/** The grammar of a path, against a second reading of it by regular expressions and TextDecoder. */
import { describe, expect, test } from 'vitest';
import { isCoreFault } from '../../../core/index.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Box } from '../gate/box.ts';
import { RawCore } from '../raw.ts';

const box = new Box('paths');

/** What core says of a path: a mount's path, `mount` for a good path with none, `path` for one that breaks the grammar. */
function routed(path: string): string {
  try {
    return box.core.route(path).mountPath;
  } catch (error) {
    if (isCoreFault(error)) return error.status;
    throw error;
  }
}

/** The grammar once more; a slash at the end names a directory and is cut off before. */
function isPath(path: string): boolean {
  const bare = path.endsWith('/') ? path.slice(0, -1) : path;
  const segments = bare.split('/');
  return (
    bare.isWellFormed() &&
    segments.length <= 32 &&
    segments.every(
      (segment) =>
        /^(?! )\P{Cc}+$/u.test(segment) &&
        !segment.endsWith(' ') &&
        segment !== '.' &&
        segment !== '..' &&
        Buffer.byteLength(segment) <= 255,
    )
  );
}

const GOOD = [
  'secret/a',
  'secret/a/',
  'secret',
  'secret/ä/ö',
  'secret/日本語',
  'secret/𝄞',
  'secret/a b',
  'secret/.a',
  'secret/...',
  'secret/a.',
  'secret/%2e',
  'secret/\u00a0',
  `secret/${'x'.repeat(255)}`,
  `s${'/a'.repeat(31)}`,
];
const BAD = [
  '',
  '/',
  '/secret',
  'secret//a',
  'secret/./a',
  'secret/..',
  'secret/.',
  '..',
  ' secret',
  'secret/ a',
  'secret/a ',
  'secret/\u0000',
  'secret/\n',
  'secret/\u007f',
  'secret/\u0080',
  'secret/\u009f',
  `secret/${'x'.repeat(256)}`,
  `secret/${'ä'.repeat(128)}`,
  `s${'/a'.repeat(32)}`,
  'secret/a//',
  'x'.repeat(8192),
];

describe('a path', () => {
  test.each(GOOD)('%j is one', (path) => {
    expect(isPath(path)).toBe(true);
    expect(routed(path)).toBe(path.startsWith('secret') ? 'secret/' : 'mount');
  });

  test.each(BAD.map((path) => [path.slice(0, 40), path]))('%j is none', (_shown, path) => {
    expect(isPath(path)).toBe(false);
    expect(routed(path)).toBe('path');
  });

  test('is one exactly where the other reading says so', () => {
    const random = new SeededRandom(5);
    const parts = [
      'a',
      '/',
      '/',
      '.',
      '..',
      ' ',
      'ä',
      '日',
      '𝄞',
      '\u0080',
      '\u0000',
      '\u007f',
      'secret/',
      'x'.repeat(250),
      '%2f',
    ];
    const seen = { good: 0, bad: 0 };
    for (let round = 0; round < 20_000; round++) {
      const path = Array.from({ length: 1 + random.below(8) }, () => random.pick(parts)).join('');
      const good = isPath(path);
      seen[good ? 'good' : 'bad']++;
      expect([path, routed(path) !== 'path']).toEqual([path, good]);
    }
    expect(seen.good).toBeGreaterThan(1000);
    expect(seen.bad).toBeGreaterThan(1000);
  });
});

describe('bytes that are no UTF-8', () => {
  /** Past the facade, whose strings are always well-formed. 4: the grammar; 5: no mount. */
  test('are refused, as the standard decoder refuses them', () => {
    const core = new RawCore();
    core.put(new Uint8Array(16));
    expect(core.call('createKeyring', 1)).toBe(0);
    const decoder = new TextDecoder('utf-8', { fatal: true });
    const random = new SeededRandom(11);
    const leads = [0x61, 0xc0, 0xc1, 0xc2, 0xc3, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff, 0x80];
    const tails = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0x61];
    let refused = 0;
    for (let round = 0; round < 40_000; round++) {
      const bytes = Buffer.concat([
        Buffer.of(0x61),
        Buffer.of(random.pick(leads)),
        Buffer.from(Array.from({ length: random.below(4) }, () => random.pick(tails))),
      ]);
      core.put(bytes);
      let good: boolean;
      try {
        good = isPath(decoder.decode(bytes));
      } catch {
        good = false;
      }
      if (!good) refused++;
      expect([bytes.toString('hex'), core.call('route', bytes.length)]).toEqual([bytes.toString('hex'), good ? 5 : 4]);
    }
    expect(refused).toBeGreaterThan(10_000);
    expect(refused).toBeLessThan(39_000);
  });
});
