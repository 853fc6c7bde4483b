/** The keyring, sealed rows, names and the fingerprint, byte for byte against slow twins; and what core refuses of them. */
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isCoreFault } from '../../../core/index.ts';
import {
  type Drawn,
  drawn,
  fingerprint,
  freshnessPayload,
  hmac,
  Names,
  namePayload,
  newRing,
  sealRing,
  sealRow,
  u16,
} from '../../reference/keys.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Box, id, NOW } from '../gate/box.ts';
import { RawBox, REWRAP } from '../gate/raw-box.ts';
import { RawCore } from '../raw.ts';

const OK = 0;
const REFUSED = 1;
const FULL = 6;
const BAD = 7;

/** A new core whose random bytes the test knows. */
function known(pool: Buffer): { readonly core: RawCore; readonly keys: Drawn; readonly row: Buffer } {
  const core = new RawCore();
  core.put(pool);
  core.call('poolFill');
  core.put(id(9));
  expect(core.call('createKeyring', NOW)).toBe(OK);
  return { core, keys: drawn(pool), row: core.out(core.result(0)) };
}

const pool = (seed: number): Buffer => new SeededRandom(seed).bytes(4096);

/** Unwraps a root into a core, through a slot that the test makes of it by core itself. */
function rooted(from: RawCore): RawCore {
  const [dh, enc, recipient, context] = [
    Buffer.alloc(32, 1),
    Buffer.alloc(32, 2),
    Buffer.alloc(32, 3),
    Buffer.from('context'),
  ];
  from.put(dh, enc, recipient, context);
  expect(from.call('wrapRoot', context.length)).toBe(OK);
  const wrapped = from.out(from.result(0));
  const core = new RawCore();
  core.put(dh, enc, recipient, context, wrapped);
  expect(core.call('unwrapRoot', context.length, wrapped.length)).toBe(OK);
  return core;
}

describe('the keyring', () => {
  test('is sealed as its twin seals it', () => {
    const { keys, row } = known(pool(1));
    expect(row.toString('hex')).toBe(sealRing(keys.root, 1, keys.nonce, newRing(keys, id(9), NOW)).toString('hex'));
  });

  test('opens with its root, and with no other', () => {
    const { core, row } = known(pool(2));
    const other = rooted(known(pool(3)).core);
    other.put(row);
    expect(other.call('openKeyring', row.length)).toBe(REFUSED);
    const same = rooted(core);
    same.put(row);
    expect(same.call('openKeyring', row.length)).toBe(OK);
    expect(same.call('isSealed')).toBe(0);
  });

  test('with any byte changed is refused, and the root is gone with it', () => {
    const { core, row } = known(pool(4));
    for (let at = 0; at < row.length; at += 7) {
      const opening = rooted(core);
      const changed = Buffer.from(row);
      changed[at] = (changed[at] ?? 0) ^ 0x10;
      opening.put(changed);
      expect(opening.call('openKeyring', changed.length)).toBe(REFUSED);
      opening.put(row);
      expect(opening.call('openKeyring', row.length)).toBe(2);
      if (core.call('poolLeft') < 64) core.fill(5);
    }
    for (const length of [0, 44, 65_537]) {
      const opening = rooted(core);
      expect(opening.call('openKeyring', length)).toBe(REFUSED);
    }
  });

  test('of a shape that this version does not know is refused, though it is authentic', () => {
    const { core, keys } = known(pool(5));
    const good = newRing(keys, id(9), NOW);
    const changed = (at: number, ...bytes: number[]): Buffer => {
      const ring = Buffer.from(good);
      ring.set(bytes, at);
      return ring;
    };
    const rings: readonly (readonly [string, Buffer, number])[] = [
      ['good', good, OK],
      ['short', good.subarray(0, 134), REFUSED],
      ['another version', changed(0, 2), REFUSED],
      ['no epoch', changed(125, 0, 0), REFUSED],
      ['no batch key', changed(127, 0, 0), REFUSED],
      ['no audit keys', changed(129, 0, 0), REFUSED],
      ['too many slots', changed(131, 0, 0, 0x40, 1), REFUSED],
      ['slots beyond its end', changed(131, 0, 0, 0, 1), REFUSED],
      ['more than it says', Buffer.concat([good, Buffer.of(0)]), REFUSED],
    ];
    for (const [what, ring, status] of rings) {
      const opening = rooted(core);
      const row = sealRing(keys.root, 1, Buffer.alloc(24, 9), ring);
      opening.put(row);
      expect([what, opening.call('openKeyring', row.length)]).toEqual([what, status]);
    }
  });

  test('takes 256 epochs and 256 roots, and no more', () => {
    const epochs = new RawBox();
    const change = (core: RawCore, newRoot: number): number => {
      if (core.call('poolLeft') < 512) core.fill(3);
      const status = core.call('stageKeyring', -1, 1, newRoot, 0, NOW);
      if (status === OK) expect(core.call('adoptStaged')).toBe(OK);
      return status;
    };
    for (let n = 2; n <= 256; n++) expect(change(epochs, 0)).toBe(OK);
    expect(change(epochs, 0)).toBe(FULL);
    const roots = new RawBox();
    for (let n = 2; n <= 256; n++) {
      expect(change(roots, 1)).toBe(OK);
      roots.fill(n & 255);
      expect(roots.call('stageKeyring', -1, 0, 0, n - 1, NOW)).toBe(OK);
      expect(roots.call('adoptStaged')).toBe(OK);
    }
    expect(change(roots, 1)).toBe(FULL);
    expect(roots.call('stageKeyring', 16_385, 0, 0, 0, NOW)).toBe(BAD);
    expect(roots.call('adoptStaged')).toBe(BAD);
  });

  test('keeps its slots unless it is given others', () => {
    const box = new RawBox();
    box.put(Buffer.from('slots'));
    expect(box.call('stageKeyring', 5, 0, 0, 0, NOW)).toBe(OK);
    expect(box.call('adoptStaged')).toBe(OK);
    expect(box.call('stageKeyring', -1, 1, 0, 0, NOW)).toBe(OK);
    expect(box.call('adoptStaged')).toBe(OK);
    expect(box.call('keyringInfo')).toBe(OK);
    expect([box.result(0), box.result(2), box.result(3), box.result(4)]).toEqual([3, 2, 2, 5]);
    expect(box.out(5, 16 + 24).toString()).toBe('slots');
  });

  test('with a staged root wraps that root', () => {
    const box = new Box();
    const dh = new Uint8Array(32).fill(1);
    const enc = new Uint8Array(32).fill(2);
    const ring = Uint8Array.from(box.core.stageKeyring({ newRoot: true, nowMs: NOW }));
    const wrapped = Uint8Array.from(box.core.wrapRoot(dh, enc, enc, Buffer.from('c')));
    box.core.adoptStaged();
    box.core.seal();
    box.core.unwrapRoot(dh, enc, enc, Buffer.from('c'), wrapped);
    expect(() => box.core.openKeyring(box.keyring)).toThrow();
    box.core.unwrapRoot(dh, enc, enc, Buffer.from('c'), wrapped);
    expect(box.core.openKeyring(ring).rootGeneration).toBe(2);
  });

  test('a wrapped root of another size or version is refused', () => {
    const { core } = known(pool(6));
    core.put(Buffer.alloc(96), Buffer.from('c'));
    expect(core.call('wrapRoot', 1)).toBe(OK);
    const wrapped = core.out(core.result(0));
    const fresh = new RawCore();
    for (const bad of [wrapped.subarray(1), Buffer.concat([Buffer.of(2), wrapped.subarray(1)])]) {
      fresh.put(Buffer.alloc(96), Buffer.from('c'), bad);
      expect(fresh.call('unwrapRoot', 1, bad.length)).toBe(REFUSED);
    }
  });
});

describe('a sealed row', () => {
  test('is what its twin makes of the same nonce, for every table and mount', () => {
    const bytes = pool(7);
    const { core, keys } = known(bytes);
    expect(core.call('systemGrant', 0, 0, NOW, NOW)).toBe(OK);
    const grant = core.result(0) + core.result(1) * 2 ** 32;
    let at = 280;
    for (const table of [5, 6, 7, 8, 9, 10, 11, 12, 13]) {
      const [key, payload] = [Buffer.from(`key of ${table}`), Buffer.from('x'.repeat(table * 11))];
      core.put(key, payload);
      expect(core.call('sealTable', grant, table, key.length, payload.length)).toBe(OK);
      const nonce = bytes.subarray(at, at + 24);
      at += 24;
      const row = core.out(core.result(0));
      expect(row.toString('hex')).toBe(
        sealRow({ epoch: 1, epochKey: keys.epochKey, table, key, nonce, payload }).toString('hex'),
      );
      core.put(key, row);
      expect(core.call('openTable', grant, table, key.length, row.length)).toBe(OK);
      expect(core.out(core.result(0))).toEqual(payload);
    }
  });

  test('with any bit changed is refused, in one way, and leaves nothing', () => {
    const box = new RawBox();
    const row = box.row(5, id(1), Buffer.from('a secret that is looked for'));
    const grant = box.job();
    for (let bit = 0; bit < row.length * 8; bit++) {
      const changed = Buffer.from(row);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      box.put(id(1), changed);
      box.memory.fill(0, 0x400000, 0x400100);
      expect(box.call('openTable', grant, 5, 16, changed.length)).toBe(REFUSED);
      expect(box.out(64)).toEqual(Buffer.alloc(64));
    }
  });

  test('of a table, key, mount or box that is another does not open', () => {
    const box = new Box();
    const grant = box.job('init', id(2));
    const record = box.core.sealRecord(grant, 'a', new Uint8Array(0), Buffer.from('v'));
    const other = box.job('init', id(3));
    box.core.locate(other, 'a', new Uint8Array(0));
    expect(() => box.core.open(other, record.row)).toThrow();
    const foreign = new Box('foreign');
    const there = foreign.job('init', id(2));
    foreign.core.locate(there, 'a', new Uint8Array(0));
    expect(() => foreign.core.open(there, record.row)).toThrow();
    box.core.locate(grant, 'b', new Uint8Array(0));
    expect(() => box.core.open(grant, record.row)).toThrow();
    box.core.locate(grant, 'a', new Uint8Array(0));
    expect(Buffer.from(box.core.open(grant, record.row)).toString()).toBe('v');
  });
});

describe('names', () => {
  test('are those of the twin, at any depth, and pad what they seal', () => {
    const random = new SeededRandom(8);
    const bytes = pool(9);
    const { core, keys } = known(bytes);
    const box = new RawBox();
    // The same keys in a box with mounts: they are drawn from the constant pool of RawCore.
    const twin = new Names(drawn(Buffer.alloc(4096, 7)).nameKey, id(2));
    const grant = box.job(0, id(2));
    for (let round = 0; round < 200; round++) {
      const segments = Array.from({ length: 1 + random.below(6) }, () =>
        random.pick(['a', 'bb', 'ä', 'x'.repeat(60), 'y'.repeat(200)]),
      );
      const path = segments.join('/');
      const text = Buffer.from(path);
      if (box.call('poolLeft') < 64) box.fill(7);
      expect(box.call('locate', grant, box.put(text), 0)).toBe(OK);
      expect(box.out(32)).toEqual(twin.record(path));
      expect(box.call('nameKey', grant, box.put(text), 1)).toBe(OK);
      expect(box.out(32)).toEqual(twin.directoryName(path));
      expect(box.call('sealName', grant, box.put(text), 0)).toBe(OK);
      expect(box.result(0)).toBe(namePayload(segments.at(-1) ?? '').length + 45);
    }
    expect(keys.nameKey).not.toEqual(drawn(Buffer.alloc(4096, 7)).nameKey);
    expect(core.call('isSealed')).toBe(0);
  });

  test('of system tables are keyed, and bound to their table', () => {
    const { core, keys } = known(pool(10));
    const name = Buffer.from('a policy');
    core.call('blindKey', 9, core.put(name));
    const policy = core.out(16);
    expect(policy).toEqual(hmac(keys.tokenKey, Buffer.of(9), name).subarray(0, 16));
    core.call('blindKey', 13, core.put(name));
    expect(core.out(16)).not.toEqual(policy);
    const token = Buffer.from('hvs.abc');
    core.call('tokenId', core.put(token));
    expect(core.out(16)).toEqual(hmac(keys.tokenKey, token).subarray(0, 16));
  });
});

describe('the fingerprint', () => {
  const rows = Array.from({ length: 40 }, (_, i) => ({
    table: 3 + (i % 11),
    key: Buffer.from(`key ${i}`),
    value: Buffer.alloc(i * 13, i),
  }));
  const fold = (
    core: RawCore,
    table: number,
    key: Uint8Array,
    before: Uint8Array | undefined,
    after: Uint8Array | undefined,
  ): number => {
    core.put(key, before ?? Buffer.alloc(0), after ?? Buffer.alloc(0));
    return core.call('foldChange', table, key.length, before?.length ?? -1, after?.length ?? -1);
  };
  const sealed = (core: RawCore, size: number, counters: readonly Buffer[] = []): Buffer => {
    core.put(Buffer.alloc(32, 6), Buffer.of(counters.length), ...counters);
    expect(core.call('sealFreshness', size, NOW, 0)).toBe(OK);
    return core.out(core.result(0));
  };

  test('is that of the twin, in any order, and takes away what it added', () => {
    const bytes = pool(11);
    const { core, keys } = known(bytes);
    for (const { table, key, value } of [...rows].reverse()) expect(fold(core, table, key, undefined, value)).toBe(OK);
    expect(fold(core, 3, id(1), undefined, Buffer.from('first'))).toBe(OK);
    expect(fold(core, 3, id(1), Buffer.from('first'), Buffer.alloc(0))).toBe(OK);
    expect(fold(core, 3, id(1), Buffer.alloc(0), undefined)).toBe(OK);
    const counter = Buffer.concat([id(4), Buffer.alloc(7), Buffer.of(5)]);
    const row = sealed(core, 77, [counter]);
    const payload = freshnessPayload({
      generation: 1,
      rows: rows.length,
      fingerprint: fingerprint(keys.fingerprintKey, rows),
      size: 77,
      root: Buffer.alloc(32, 6),
      timeMs: NOW,
      counters: [[id(4), 5]],
    });
    const nonce = bytes.subarray(280, 304);
    const key = Buffer.from('freshness');
    expect(row.toString('hex')).toBe(
      sealRow({ epoch: 1, epochKey: keys.epochKey, table: 2, key, nonce, payload }).toString('hex'),
    );
  });

  test('tells a row that was changed, moved to another table or key, is missing or there twice', () => {
    const { core } = known(pool(12));
    for (const { table, key, value } of rows) fold(core, table, key, undefined, value);
    const row = sealed(core, 0);
    const verdict = (list: readonly (typeof rows)[number][]): number => {
      core.put(row);
      expect(core.call('verifyStart', row.length)).toBe(OK);
      for (const { table, key, value } of list) {
        core.put(key, value);
        expect(core.call('verifyRow', table, key.length, value.length)).toBe(OK);
      }
      expect(core.call('verifyEnd')).toBe(OK);
      return core.result(0);
    };
    const [first, ...others] = rows as [(typeof rows)[number], ...(typeof rows)[number][]];
    expect(verdict(rows)).toBe(1);
    expect(verdict([...rows].reverse())).toBe(1);
    expect(verdict(others)).toBe(0);
    expect(verdict([...rows, first])).toBe(0);
    expect(verdict([...others, { ...first, table: first.table + 1 }])).toBe(0);
    expect(verdict([...others, { ...first, key: Buffer.from('key x') }])).toBe(0);
    expect(verdict([...others, { ...first, value: Buffer.of(1) }])).toBe(0);
  });

  test('and its row have bounds', () => {
    const { core, keys } = known(pool(13));
    expect(fold(core, 3, Buffer.alloc(0), undefined, id(1))).toBe(BAD);
    expect(fold(core, 3, Buffer.alloc(65), undefined, id(1))).toBe(BAD);
    core.put(Buffer.alloc(32), Buffer.of(17));
    expect(core.call('sealFreshness', 0, NOW, 0)).toBe(BAD);
    const forged = (payload: Uint8Array): Buffer =>
      sealRow({
        epoch: 1,
        epochKey: keys.epochKey,
        table: 2,
        key: Buffer.from('freshness'),
        nonce: Buffer.alloc(24, 1),
        payload,
      });
    const good = freshnessPayload({
      generation: 1,
      rows: 0,
      fingerprint: Buffer.alloc(32),
      size: 0,
      root: Buffer.alloc(32),
      timeMs: 0,
      counters: [],
    });
    const opened = (payload: Uint8Array): readonly number[] => {
      const row = forged(payload);
      core.put(row);
      const opening = core.call('openFreshness', row.length);
      core.put(row);
      return [opening, core.call('verifyStart', row.length)];
    };
    expect(opened(good)).toEqual([OK, OK]);
    expect(opened(good.subarray(1))).toEqual([REFUSED, REFUSED]);
    expect(opened(Buffer.concat([Buffer.of(2), good.subarray(1)]))).toEqual([REFUSED, REFUSED]);
    expect(opened(Buffer.concat([good.subarray(0, 93), Buffer.of(1)]))).toEqual([REFUSED, REFUSED]);
    core.put(Buffer.alloc(150));
    expect(core.call('openFreshness', 150)).toBe(REFUSED);
    expect(core.call('renewRow', 3, 16, 1)).toBe(BAD);
  });
});

describe('the wrapped root', () => {
  test('is DHKEM(X25519, HKDF-SHA256) of RFC 9180, appendix A.2', () => {
    // skRm, enc and shared_secret of A.2.1.
    const x25519 = (hex: string, type: 'pkcs8' | 'spki'): Buffer =>
      Buffer.concat([
        Buffer.from(type === 'pkcs8' ? '302e020100300506032b656e04220420' : '302a300506032b656e032100', 'hex'),
        Buffer.from(hex, 'hex'),
      ]);
    const privateKey = createPrivateKey({
      key: x25519('4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8', 'pkcs8'),
      format: 'der',
      type: 'pkcs8',
    });
    const enc = Buffer.from('37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431', 'hex');
    const publicKey = createPublicKey({ key: x25519(enc.toString('hex'), 'spki'), format: 'der', type: 'spki' });
    const recipient = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
    const core = new RawCore();
    core.put(diffieHellman({ privateKey, publicKey }), enc, recipient);
    core.call('dhkem');
    expect(core.out(32).toString('hex')).toBe('fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc');
  });
});

test('rows are moved to the newest epoch for mounts wherever they lie in the table', () => {
  const box = new RawBox();
  expect(box.mount(id(3), 'kv-v1', 'other/')).toBe(OK);
  const grant = box.job(0, id(3));
  box.put(Buffer.from('a'), Buffer.from('v'));
  expect(box.call('sealRecord', grant, 1, 0, 1)).toBe(OK);
  const [key, row] = [box.out(32), box.out(box.result(1), 40)];
  expect(box.call('stageKeyring', -1, 1, 0, 0, NOW)).toBe(OK);
  expect(box.call('adoptStaged')).toBe(OK);
  const job = box.job(REWRAP);
  box.put(key, row);
  expect(box.call('reseal', job, 3, 32, row.length)).toBe(OK);
  expect(box.out(5)).toEqual(Buffer.concat([Buffer.of(1), Buffer.from(u16(0)), Buffer.from(u16(2))]));
});

test('a fault names its status and nothing else', () => {
  const box = new Box();
  try {
    box.core.route('nothing/secret-name');
  } catch (error) {
    expect(isCoreFault(error)).toBe(true);
    expect(String(error)).not.toContain('secret-name');
  }
});
