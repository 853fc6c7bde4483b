/** C2SP's Wycheproof cases. They are not part of the project: HOLDFAST_WYCHEPROOF names their folder. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Primitives } from './load.ts';

const named = process.env['HOLDFAST_WYCHEPROOF'];
const beside = join(process.cwd(), '../shared/vectors/wycheproof');
const folder = named ?? (existsSync(beside) ? beside : undefined);
const WHY = 'no folder of vectors: name it in HOLDFAST_WYCHEPROOF, or lay it at ../shared/vectors/wycheproof';

interface Case {
  readonly tcId: number;
  readonly comment: string;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly ikm: string;
  readonly salt: string;
  readonly info: string;
  readonly size: number;
  readonly okm: string;
}

interface File {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly ivSize?: number;
    readonly tagSize?: number;
    readonly tests: readonly Case[];
  }[];
}

const core = new Primitives();
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

function cases(name: string): { readonly file: File; readonly all: readonly (Case & { readonly tagSize: number })[] } {
  const file = JSON.parse(readFileSync(join(folder ?? '', `${name}_test.json`), 'utf8')) as File;
  const all = file.testGroups.flatMap((group) => group.tests.map((one) => ({ ...one, tagSize: group.tagSize ?? 0 })));
  return { file, all };
}

/** What a case says about one construction: empty if all agree. */
function disagreements(name: string, check: (one: Case & { readonly tagSize: number }) => boolean): string[] {
  const { file, all } = cases(name);
  expect(all.length).toBe(file.numberOfTests);
  return all
    .filter((one) => check(one) !== (one.result === 'valid'))
    .map((one) => `${name} ${one.tcId}: ${one.comment}, ${one.result}`);
}

function aead(nonceSize: number): (one: Case) => boolean {
  return ({ key, iv, aad, msg, ct, tag, result }) => {
    // A nonce of another length has no call in core: its pointer is to exactly so many bytes.
    if (iv.length !== nonceSize * 2) return false;
    const opened = core.open(hex(key), hex(iv), hex(aad), hex(ct + tag));
    const sealed = core.seal(hex(key), hex(iv), hex(aad), hex(msg)).toString('hex');
    if (result === 'valid') return opened?.toString('hex') === msg && sealed === ct + tag;
    return opened !== undefined;
  };
}

describe('Wycheproof', () => {
  if (folder === undefined) {
    // In CI a missing folder is a failure; elsewhere the skip shows in the closing line, with its reason as the name.
    test.skipIf(process.env['CI'] === undefined)(WHY, () => {
      throw new Error(WHY);
    });
    return;
  }

  test('XChaCha20-Poly1305', () => {
    expect(disagreements('xchacha20_poly1305', aead(24))).toEqual([]);
  });

  test('ChaCha20-Poly1305', () => {
    expect(disagreements('chacha20_poly1305', aead(12))).toEqual([]);
  });

  test('HMAC-SHA256', () => {
    const mac = ({ key, msg, tag, tagSize }: Case & { readonly tagSize: number }): boolean =>
      core
        .hmac(hex(key), hex(msg))
        .toString('hex')
        .slice(0, tagSize / 4) === tag;
    expect(disagreements('hmac_sha256', mac)).toEqual([]);
  });

  test('HKDF-SHA256', () => {
    // Core's callers ask for fixed sizes; more than 255 blocks is refused by the host of this test, as RFC 5869 wants.
    const derive = ({ ikm, salt, info, size, okm }: Case): boolean =>
      size <= 255 * 32 && core.hkdf(hex(salt), hex(ikm), hex(info), size).toString('hex') === okm;
    expect(disagreements('hkdf_sha256', derive)).toEqual([]);
  });

  test('a wrong answer is noticed', () => {
    expect(disagreements('xchacha20_poly1305', () => true).length).toBeGreaterThan(10);
  });
});
