import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openNote, parseCheckpoint, parseVerifierKey } from '../../../host/audit/note.ts';
import { parseTilePath, Tiles, tilePath } from '../../../host/audit/tiles.ts';
import { CompactRange, consistencyProof, inclusionProof, rootAt, TreeHasher } from '../../../host/audit/tree.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { SeededRandom } from '../../reference/random.ts';
import {
  leafHash,
  merkleTreeHash,
  readCheckpoint,
  tilePathOf,
  verifyConsistency,
  verifyInclusion,
  verifyTiles,
} from '../../reference/tlog.ts';
import { Rig } from './rig.ts';

const hasher = new TreeHasher();
const leaves = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) => createHash('sha256').update(`leaf ${at}`).digest());
const buffers = (hashes: readonly Uint8Array[]): Buffer[] => hashes.map((hash) => Buffer.from(hash));

describe('the tree (RFC 6962 section 2.1, RFC 9162 section 2.1)', () => {
  let folder = '';
  const all = leaves(600);
  let tiles: Tiles;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdfast-tree-'));
    tiles = new Tiles(folder, logFiles, hasher);
    for (const leaf of all) tiles.append(leaf);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // Test vectors of certificate-transparency-go: the tree over these inputs.
  test('has the roots of the published vectors', () => {
    const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
    const hashes = inputs.map((input) => leafHash(Buffer.from(input, 'hex')));
    const range = new CompactRange(hasher);
    expect(Buffer.from(range.root()).toString('hex')).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    );
    const roots = hashes.map((hash) => {
      range.append(hash);
      return Buffer.from(range.root()).toString('hex');
    });
    expect(roots[0]).toBe('6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d');
    expect(roots[1]).toBe('fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125');
    expect(roots[7]).toBe('5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328');
  });

  test('compact range, tiles and the slow definition agree on every root', () => {
    const range = new CompactRange(hasher);
    for (let size = 0; size <= 600; size++) {
      if (size > 0) range.append(all[size - 1] as Buffer);
      if (size > 20 && size % 13 !== 0 && size % 256 > 1) continue;
      const root = merkleTreeHash(all.slice(0, size));
      expect(Buffer.from(range.root())).toEqual(root);
      expect(Buffer.from(rootAt(tiles.reader, hasher, size))).toEqual(root);
    }
  });

  test('an independent verifier accepts every inclusion proof, and none for another leaf, index or root', () => {
    const random = new SeededRandom(7);
    for (const size of [1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 512, 513, 600]) {
      const root = merkleTreeHash(all.slice(0, size));
      for (const seq of new Set([0, size - 1, random.below(size), random.below(size)])) {
        const proof = buffers(inclusionProof(tiles.reader, hasher, seq, size));
        const leaf = all[seq] as Buffer;
        expect(verifyInclusion(leaf, seq, size, proof, root)).toBe(true);
        expect(verifyInclusion(all[(seq + 1) % 600] as Buffer, seq, size, proof, root)).toBe(false);
        expect(verifyInclusion(leaf, seq, size, proof, leafHash(root))).toBe(false);
        if (size > 1) expect(verifyInclusion(leaf, (seq + 1) % size, size, proof, root)).toBe(false);
      }
    }
  });

  test('an independent verifier accepts every consistency proof, and none for another root', () => {
    const sizes = [0, 1, 2, 3, 6, 8, 200, 255, 256, 257, 512, 599, 600];
    for (const to of sizes) {
      for (const from of sizes.filter((size) => size <= to)) {
        const roots = [merkleTreeHash(all.slice(0, from)), merkleTreeHash(all.slice(0, to))] as const;
        const proof = buffers(consistencyProof(tiles.reader, hasher, from, to));
        expect(verifyConsistency(from, to, ...roots, proof)).toBe(true);
        if (from > 0 && from < to) {
          expect(verifyConsistency(from, to, leafHash(roots[0]), roots[1], proof)).toBe(false);
          expect(verifyConsistency(from, to, roots[0], leafHash(roots[1]), proof)).toBe(false);
        }
      }
    }
  });
});

describe('tiles (C2SP tlog-tiles)', () => {
  test.each([
    [0, 0, 256, 'tile/0/000'],
    [3, 1_234_067, 256, 'tile/3/x001/x234/067'],
    [0, 999, 17, 'tile/0/999.p/17'],
    [1, 1000, 1, 'tile/1/x001/000.p/1'],
    [0, 999_999, 256, 'tile/0/x999/999'],
    [0, 1_000_000, 256, 'tile/0/x001/x000/000'],
  ])('path of level %i, index %i, width %i', (level, index, width, path) => {
    expect(tilePath(level, index, width)).toBe(path);
    expect(tilePathOf(level, index, width)).toBe(path);
    expect(parseTilePath(path.slice('tile/'.length))).toEqual({ level, index, width });
  });

  test.each([
    '0/0',
    '0/x000/001',
    '7/000',
    '0/000.p/256',
    '0/000.p/0',
    '0/000.p/01',
    '0/../../keys',
    '0/x001/x234',
    '',
    '0/000/',
  ])('no tile has the path %j', (path) => {
    expect(parseTilePath(path)).toBeUndefined();
  });

  test('a tree above 65,536 leaves has three levels, and its start finds the same root', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-tiles-'));
    const tiles = new Tiles(folder, logFiles, hasher);
    const range = new CompactRange(hasher);
    const count = 65_536 + 300;
    for (const leaf of leaves(count)) {
      tiles.append(leaf);
      range.append(leaf);
    }
    (await tiles.settle()).retire();
    const again = new Tiles(folder, logFiles, hasher);
    expect(again.load(count)).toBeUndefined();
    expect(Buffer.from(again.range().root())).toEqual(Buffer.from(range.root()));
    expect(Buffer.from(again.range().frontier())).toEqual(Buffer.from(range.frontier()));
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('a whole folder', () => {
  test.each([1, 5, 85, 128, 129, 300])('with %i requests: the independent verifier agrees', async (pairs) => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(1, pairs);
    await rig.log.stop();
    const key = readFileSync(join(rig.folder, 'keys'), 'utf8').trim();
    const { checkpoint, leaves: hashes } = verifyTiles(rig.folder, key);
    expect(checkpoint.size).toBe(2 * pairs + 1);
    expect(checkpoint.origin).toBe(`holdfast/${rig.keys.applianceId.toString('hex')}`);
    expect(hashes).toEqual(rig.core.written.map((line) => leafHash(Buffer.from(line))));
  });

  test('a tile or checkpoint that was changed is refused by the independent verifier too', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(1, 200);
    await rig.log.stop();
    const key = readFileSync(join(rig.folder, 'keys'), 'utf8').trim();
    for (const file of ['checkpoint', 'tile/0/000', 'tile/1/000.p/1']) {
      const bytes = readFileSync(join(rig.folder, file));
      const changed = Buffer.from(bytes);
      changed[20] = (changed[20] ?? 0) ^ 1;
      writeFileSync(join(rig.folder, file), changed);
      expect(() => verifyTiles(rig.folder, key)).toThrow();
      writeFileSync(join(rig.folder, file), bytes);
    }
    expect(verifyTiles(rig.folder, key).leaves).toHaveLength(401);
  });

  test('what the running log hands out proves itself: tile, inclusion, consistency', async () => {
    using rig = new Rig();
    await rig.start();
    await rig.groups(3, 50);
    const { history } = rig.log;
    const first = readCheckpoint(history.checkpoint(), history.verifierKey());
    rig.clock.advance(1000);
    await rig.groups(3, 50);
    const second = readCheckpoint(history.checkpoint(), history.verifierKey());
    expect([first.size, second.size]).toEqual([301, 601]);
    const { hashes } = history.proveConsistency(first.size, second.size);
    expect(verifyConsistency(first.size, second.size, first.root, second.root, buffers(hashes))).toBe(true);
    const line = history.entries(299, 300).lines[0] ?? '';
    const inclusion = history.proveInclusion(299, second.size);
    expect(verifyInclusion(leafHash(Buffer.from(line)), 299, 601, buffers(inclusion.hashes), second.root)).toBe(true);
    const tile = history.tile(0, 1, 44);
    expect(Buffer.from(tile.subarray(43 * 32))).toEqual(leafHash(Buffer.from(line)));
    expect(() => history.tile(0, 2, 90)).toThrow(expect.objectContaining({ code: 'value.absent' }));
    expect(() => history.tile(0, -1, 1)).toThrow(expect.objectContaining({ code: 'input.invalid' }));
    expect(() => history.proveInclusion(601, 601)).toThrow(expect.objectContaining({ code: 'input.invalid' }));
    expect(() => history.proveConsistency(5, 602)).toThrow(expect.objectContaining({ code: 'input.invalid' }));
  });
});

describe('notes (C2SP signed-note, tlog-checkpoint)', () => {
  // The example of golang.org/x/mod/sumdb/note, whose format the C2SP text took over.
  const GO_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
  const GO_NOTE =
    'If you think cryptography is the answer to your problem,\n' +
    "then you don't know what your problem is.\n\n" +
    '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';

  test("opens the Go implementation's example", () => {
    const key = parseVerifierKey(GO_KEY);
    expect(key).toBeDefined();
    if (key === undefined) return;
    expect(openNote(GO_NOTE, key)).toMatch(/^If you think/);
    expect(openNote(GO_NOTE.replace('you', 'we'), key)).toBeUndefined();
    expect(openNote(GO_NOTE.replace('x08go', 'x08gp'), key)).toBeUndefined();
    expect(openNote(`${GO_NOTE}\u2014 witness AAAAAGJsYQ==\n`, key)).toMatch(/^If you think/);
  });

  test.each([
    ['no root', 'o\n5\n'],
    ['a short root', 'o\n5\nAAAA\n'],
    ['a leading zero', `o\n05\n${'A'.repeat(43)}=\n`],
    ['no origin', `\n5\n${'A'.repeat(43)}=\n`],
    ['a negative size', `o\n-5\n${'A'.repeat(43)}=\n`],
    ['a size beyond a double', `o\n99999999999999999999\n${'A'.repeat(43)}=\n`],
    ['loose base64', `o\n5\n${'A'.repeat(42)}B=\n`],
    ['an empty extension line', `o\n5\n${'A'.repeat(43)}=\n\nx\n`],
  ])('refuses a checkpoint with %s', (_, text) => {
    expect(parseCheckpoint(text)).toBeUndefined();
  });

  test('takes a checkpoint with extension lines', () => {
    expect(parseCheckpoint(`o\n5\n${'A'.repeat(43)}=\nmore\n`)).toMatchObject({ origin: 'o', size: 5 });
  });
});
