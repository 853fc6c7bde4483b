/** Random bytes: used once, zero after it, and too few of them change nothing. */
import { expect, test } from 'vitest';
import { SeededRandom } from '../../reference/random.ts';
import { id, NOW } from '../gate/box.ts';
import { RawBox } from '../gate/raw-box.ts';
import { RawCore } from '../raw.ts';

const OK = 0;
const BAD_ARGUMENT = 7;
const NO_ENTROPY = 8;
const POOL = 0xa01000;
const POOL_SIZE = 4096;

/** Wraps roots, 24 bytes each, until fewer than so many random bytes are left. */
function use(box: RawCore, below: number): number {
  while (box.call('poolLeft') >= below) {
    box.put(Buffer.alloc(97));
    expect(box.call('wrapRoot', 1)).toBe(OK);
  }
  return box.call('poolLeft');
}

test('a change for which there are too few is not staged, and one staged before stays', () => {
  const box = new RawBox();
  expect(box.call('stageKeyring', -1, 1, 0, 0, NOW)).toBe(OK);
  const left = use(box, 248);
  expect(left).toBeGreaterThanOrEqual(224);
  expect(box.call('stageKeyring', -1, 1, 1, 0, NOW)).toBe(NO_ENTROPY);
  expect(box.call('poolLeft')).toBe(left);
  expect(box.call('adoptStaged')).toBe(OK);
  expect(box.call('stageKeyring', -1, 1, 1, 0, NOW)).toBe(NO_ENTROPY);
  expect(box.call('adoptStaged')).toBe(BAD_ARGUMENT);
  expect(box.call('isSealed')).toBe(0);
});

test('a new box for which there are too few is not made, and none is open', () => {
  const box = new RawBox();
  const left = use(box, 280);
  expect(left).toBeGreaterThanOrEqual(256);
  box.put(id(9));
  expect(box.call('createKeyring', NOW)).toBe(NO_ENTROPY);
  expect(box.call('isSealed')).toBe(1);
  expect(box.call('poolLeft')).toBe(left);
});

test('those that were used are zero, and those that were not are there', () => {
  const core = new RawCore();
  const pool = Buffer.alloc(POOL_SIZE, 0xa5);
  core.put(pool);
  core.call('poolFill');
  core.put(id(9));
  expect(core.call('createKeyring', NOW)).toBe(OK);
  const used = POOL_SIZE - core.call('poolLeft');
  expect(used).toBe(280);
  const now = Buffer.from(core.memory.subarray(POOL, POOL + POOL_SIZE));
  expect(now.subarray(0, used)).toEqual(Buffer.alloc(used));
  expect(now.subarray(used)).toEqual(pool.subarray(used));
  use(core, 24);
  core.put(Buffer.alloc(97));
  expect(core.call('wrapRoot', 1)).toBe(NO_ENTROPY);
});

test('nothing of a new box or of a change is left where keys were composed', () => {
  const core = new RawCore();
  const pool = new SeededRandom(1).bytes(POOL_SIZE);
  const places = (bytes: Buffer): number => {
    let count = 0;
    for (let at = core.memory.indexOf(bytes); at >= 0; at = core.memory.indexOf(bytes, at + 1)) count++;
    return count;
  };
  core.put(pool);
  core.call('poolFill');
  core.put(id(9));
  expect(core.call('createKeyring', NOW)).toBe(OK);
  // The root lies at ROOT, the keys of the ring in the ring: once each.
  for (let i = 0; i < 8; i++) expect([i, places(pool.subarray(i * 32, i * 32 + 32))]).toEqual([i, 1]);
  expect(core.call('stageKeyring', -1, 1, 1, 0, NOW)).toBe(OK);
  core.call('discardStaged');
  for (let i = 0; i < 6; i++) expect([i, places(pool.subarray(280 + i * 32, 312 + i * 32))]).toEqual([i, 0]);
  core.call('seal');
  for (let i = 0; i < 8; i++) expect([i, places(pool.subarray(i * 32, i * 32 + 32))]).toEqual([i, 0]);
});
