/** What core answers to what its facade would never ask: a status, whatever it is; never a trap. */
import { describe, expect, test } from 'vitest';
import { encodeDeclarations } from '../../../core/declare.ts';
import type { OperationDeclaration } from '../../../core/types.ts';
import { RawCore } from '../raw.ts';
import { HEALTH, id, mountPayload, NOW, READ, tokenPayload, WRITE } from './box.ts';
import { NONE, RawBox, REWRAP } from './raw-box.ts';

const OK = 0;
const REFUSED = 1;
const SEALED = 2;
const DENIED = 3;
const BAD_PATH = 4;
const NO_MOUNT = 5;
const FULL = 6;
const BAD = 7;
const NO_ENTROPY = 8;

const TOKEN = 5;
const MOUNT = 10;
const text = (value: string): Buffer => Buffer.from(value);

describe('a sealed core', () => {
  test.each<readonly [string, readonly number[], number]>([
    ['wrapRoot', [8], SEALED],
    ['openKeyring', [100], SEALED],
    ['keyringInfo', [], SEALED],
    ['stageKeyring', [-1, 1, 0, 0, NOW], SEALED],
    ['adoptStaged', [], SEALED],
    ['loadMount', [50], SEALED],
    ['beginPolicies', [], SEALED],
    ['addPolicy', [50], SEALED],
    ['commitPolicies', [], BAD],
    ['route', [3], SEALED],
    ['begin', [0, 0, 0, 0], BAD],
    ['decide', [-1, -1, -1, 0, NOW, NOW, 0], BAD],
    ['tokenPayload', [5], DENIED],
    ['capabilities', [80, 3], SEALED],
    ['systemGrant', [0, 0, NOW, NOW], SEALED],
    ['finishGrant', [5], DENIED],
    ['locate', [5, 3, 0], DENIED],
    ['open', [5, 50], DENIED],
    ['sealRecord', [5, 3, 0, 1], DENIED],
    ['locateNames', [5, 0], DENIED],
    ['openName', [5, 60], DENIED],
    ['nameKey', [5, 3, 0], DENIED],
    ['sealName', [5, 3, 0], DENIED],
    ['openTable', [5, 5, 16, 60], DENIED],
    ['sealTable', [5, 5, 16, 6], DENIED],
    ['newToken', [5, 0], DENIED],
    ['tokenId', [28], SEALED],
    ['blindKey', [5, 3], SEALED],
    ['sealBatchToken', [5, 80], DENIED],
    ['openBatchToken', [5, 130], DENIED],
    ['auditStart', [0, 0], SEALED],
    ['leaf', [5, 0, 30, 8], SEALED],
    ['auditHmac', [3, 3], SEALED],
    ['auditFlush', [], SEALED],
    ['auditMark', [80], SEALED],
    ['auditOpenFrame', [5, 100], DENIED],
    ['openFreshness', [200], SEALED],
    ['foldChange', [3, 16, -1, 3], SEALED],
    ['sealFreshness', [0, NOW, 0], SEALED],
    ['verifyStart', [200], SEALED],
    ['verifyRow', [3, 16, 3], SEALED],
    ['verifyEnd', [], SEALED],
    ['acceptRows', [], SEALED],
    ['nameStaged', [], SEALED],
    ['renewStart', [], SEALED],
    ['renewRow', [3, 16, 3], SEALED],
    ['reseal', [5, 3, 32, 60], DENIED],
  ])('%s answers with a status', (name, args, status) => {
    expect(new RawCore().call(name, ...args)).toBe(status);
  });
});

describe('without random bytes', () => {
  /** Core before and after its pool is empty. */
  function drained(prepare: (box: RawBox) => () => number): number {
    const box = new RawBox();
    const work = prepare(box);
    box.drain();
    return work();
  }

  test.each<readonly [string, (box: RawBox) => () => number]>([
    ['a new keyring', (box) => () => box.call('createKeyring', NOW)],
    ['a staged keyring', (box) => () => box.call('stageKeyring', -1, 1, 0, 0, NOW)],
    [
      'a staged keyring of another appliance',
      (box) => {
        box.call('stageKeyring', -1, 0, 1, 0, NOW);
        return () => box.call('nameStaged');
      },
    ],
    ['a wrapped root', (box) => () => box.call('wrapRoot', 8)],
    [
      'a token',
      (box) => {
        const grant = box.job();
        return () => box.call('newToken', grant, 0);
      },
    ],
    ['an accessor', (box) => () => box.call('newAccessor')],
    [
      'a batch token',
      (box) => {
        const grant = box.job();
        return () => {
          const payload = tokenPayload({ type: 1 });
          box.put(payload);
          return box.call('sealBatchToken', grant, payload.length);
        };
      },
    ],
    [
      'a row',
      (box) => {
        const grant = box.job();
        return () => {
          box.put(id(1), text('value'));
          return box.call('sealTable', grant, TOKEN, 16, 5);
        };
      },
    ],
    [
      'a record',
      (box) => {
        const grant = box.job(0, id(2));
        return () => {
          box.put(text('a'), text('value'));
          return box.call('sealRecord', grant, 1, 0, 5);
        };
      },
    ],
    [
      'a frame',
      (box) => {
        const grant = box.job();
        box.put(text('2027-01-15T08:00:00Z'), text('"x":1}'));
        expect(box.call('leaf', grant, 2, 20, 6)).toBe(OK);
        return () => box.call('auditFlush');
      },
    ],
    [
      'a row moved to a new epoch',
      (box) => {
        const row = box.row(TOKEN, id(1), text('value'));
        const grant = box.job(REWRAP);
        expect(box.call('stageKeyring', -1, 1, 0, 0, NOW)).toBe(OK);
        expect(box.call('adoptStaged')).toBe(OK);
        return () => {
          box.put(id(1), row);
          const status = box.call('reseal', grant, TOKEN, 16, row.length);
          expect(box.out(row.length).every((byte) => byte === 0)).toBe(true);
          return status;
        };
      },
    ],
    [
      'a use that is taken off',
      (box) => {
        const grant = box.job();
        expect(box.call('newToken', grant, 0)).toBe(OK);
        const [token, key] = [box.out(28), box.out(16, 28)];
        const row = box.row(TOKEN, key, tokenPayload({ uses: 2 }));
        return () => {
          expect(box.call('route', box.put(text('secret/a')))).toBe(OK);
          expect(box.call('begin', READ, box.put(token), 0, 0)).toBe(OK);
          box.put(row, new Uint8Array(16));
          return box.call('decide', row.length, -1, -1, 0, NOW, NOW + 1, 0);
        };
      },
    ],
  ])('%s is a status', (_what, prepare) => {
    expect(drained(prepare)).toBe(NO_ENTROPY);
  });

  test('enough for the keys of a new keyring and not for its row is none', () => {
    const box = new RawBox();
    box.fill(7);
    const grant = box.job();
    for (let i = 0; i < 160; i++) {
      box.put(id(1), text('value'));
      expect(box.call('sealTable', grant, TOKEN, 16, 5)).toBe(OK);
    }
    expect(box.call('poolLeft')).toBe(256);
    expect(box.call('createKeyring', NOW)).toBe(NO_ENTROPY);
  });

  test('nothing of the random bytes stays where they lay', () => {
    const box = new RawBox();
    box.call('newAccessor');
    const left = box.call('poolLeft');
    expect(box.memory.subarray(0xa01000, 0xa01000 + 4096 - left).every((byte) => byte === 0)).toBe(true);
    expect(left).toBeGreaterThan(0);
  });
});

describe('declarations', () => {
  const operation = (more: Partial<OperationDeclaration> = {}): OperationDeclaration => ({
    pattern: 'a',
    verb: 'read',
    ...more,
  });

  test('are taken once, whole, and within their bounds', () => {
    const core = new RawCore();
    const good = encodeDeclarations([{ type: 't', operations: [operation()] }]);
    expect(new RawCore().call('declare', 2 * 1024 * 1024)).toBe(BAD);
    const extra = new RawCore();
    expect(extra.call('declare', extra.put(good, Buffer.of(3)))).toBe(BAD);
    expect(core.call('declare', core.put(good))).toBe(OK);
    expect(core.call('declare', core.put(good))).toBe(BAD);
  });

  test('above 128 types or 4,096 operations are full', () => {
    const types = new RawCore();
    const many = Array.from({ length: 129 }, (_, i) => ({ type: `type-${i}`, operations: [] }));
    expect(types.call('declare', types.put(encodeDeclarations(many)))).toBe(FULL);
    const operations = new RawCore();
    const one = { type: 't', operations: Array.from({ length: 4097 }, () => operation()) };
    expect(operations.call('declare', operations.put(encodeDeclarations([one])))).toBe(FULL);
  });
});

describe('a mount row', () => {
  const good = mountPayload(id(3), 'kv-v1', 'other/');
  const changed = (at: number, value: number): Buffer => {
    const bytes = Buffer.from(good);
    bytes[at] = value;
    return bytes;
  };
  test.each<readonly [string, Uint8Array, Uint8Array]>([
    ['that is short', id(3), good.subarray(0, 23)],
    ['of another version', id(3), changed(0, 2)],
    ['in an unknown state', id(3), changed(1, 2)],
    ['under another id', id(4), good],
    ['whose type ends late', id(3), changed(18, 200)],
    ['of an unknown type', id(3), mountPayload(id(3), 'nothing', 'other/')],
    ['of a type that only begins as one', id(3), mountPayload(id(3), 'kv-v2', 'other/')],
    ['whose path is too short', id(3), mountPayload(id(3), 'kv-v1', '/')],
    ['whose path is too long', id(3), mountPayload(id(3), 'kv-v1', `${'x/'.repeat(260)}`)],
    ['whose path ends late', id(3), changed(25, 99)],
    ['whose path has no slash', id(3), mountPayload(id(3), 'kv-v1', 'other')],
    ['whose path breaks the grammar', id(3), mountPayload(id(3), 'kv-v1', 'a//')],
    ['with more behind it', id(3), Buffer.concat([good, Buffer.of(0)])],
  ])('%s is refused', (_what, key, payload) => {
    expect(new RawBox().loadMount(key, payload)).toBe(BAD);
  });

  test('that does not open is refused, one that is not there is told', () => {
    const box = new RawBox();
    const row = box.row(MOUNT, id(3), good);
    box.put(id(4), row);
    expect(box.call('loadMount', row.length)).toBe(REFUSED);
    box.put(id(3));
    expect(box.call('dropMount')).toBe(NO_MOUNT);
  });

  test('takes the place of the one with its id, and a place that was freed', () => {
    const box = new RawBox();
    expect(box.mount(id(3), 'kv-v1', 'other/')).toBe(OK);
    expect(box.mount(id(3), 'kv-v1', 'moved/')).toBe(OK);
    expect(box.call('route', box.put(text('other/a')))).toBe(NO_MOUNT);
    expect(box.call('route', box.put(text('moved/a')))).toBe(OK);
    const index = box.result(0);
    box.put(id(3));
    expect(box.call('dropMount')).toBe(OK);
    expect(box.mount(id(4), 'kv-v1', 'fourth/')).toBe(OK);
    expect(box.call('route', box.put(text('fourth/a')))).toBe(OK);
    expect(box.result(0)).toBe(index);
  });

  test('above 1,024 is full, and all of them are found', () => {
    const box = new RawBox();
    const key = (n: number): Uint8Array => Buffer.from(n.toString(16).padStart(32, '0'), 'hex');
    for (let n = 1000; n < 2022; n++) expect(box.mount(key(n), 'kv-v1', `mount-${n}/`)).toBe(OK);
    expect(box.mount(key(5000), 'kv-v1', 'one-more/')).toBe(FULL);
    for (let n = 1000; n < 2022; n += 97) expect(box.call('route', box.put(text(`mount-${n}/x`)))).toBe(OK);
    expect(box.call('route', box.put(text('mount-999/x')))).toBe(NO_MOUNT);
  });
});

describe('a request', () => {
  test('is routed, begun and decided in this order', () => {
    const box = new RawBox();
    expect(box.call('begin', READ, 0, 0, 0)).toBe(BAD);
    expect(box.call('route', 0)).toBe(BAD_PATH);
    expect(box.call('route', 9000)).toBe(BAD_PATH);
    expect(box.call('route', box.put(text('secret/a')))).toBe(OK);
    expect(box.call('decide', -1, -1, -1, 0, NOW, NOW, 0)).toBe(BAD);
    expect(box.call('begin', 999, 0, 0, 0)).toBe(BAD);
    expect(box.call('begin', READ, 0, 0, 0)).toBe(OK);
    box.call('seal');
    expect(box.call('decide', -1, -1, -1, 0, NOW, NOW, 0)).toBe(BAD);
  });

  test('of a mount that went away after it was routed is no request', () => {
    const box = new RawBox();
    box.call('route', box.put(text('secret/a')));
    box.put(id(2));
    box.call('dropMount');
    expect(box.call('begin', READ, 0, 0, 0)).toBe(BAD);
    expect(box.mount(id(2), 'kv-v1', 'secret/', 1)).toBe(OK);
    expect(box.call('route', box.put(text('secret/a')))).toBe(NO_MOUNT);
  });

  test('whose existence row does not open is refused', () => {
    const box = new RawBox();
    const grant = box.job();
    box.call('newToken', grant, 0);
    const [token, key] = [box.out(28), box.out(16, 28)];
    const row = box.row(TOKEN, key, tokenPayload({}));
    box.call('route', box.put(text('secret/a')));
    expect(box.call('begin', WRITE, box.put(token), 0, 0)).toBe(OK);
    expect(box.result(1)).toBe(32);
    const forged = Buffer.alloc(60, 1);
    box.put(row, forged, new Uint8Array(16));
    expect(box.call('decide', row.length, forged.length, -1, 0, NOW, NOW + 1, 0)).toBe(REFUSED);
  });

  test('finds no grant when 1,024 are under way, and the next one when one has ended', () => {
    const box = new RawBox();
    const grants: number[] = [];
    const open = (): number => {
      box.call('route', box.put(text('sys/health')));
      expect(box.call('begin', HEALTH, 0, 0, 0)).toBe(OK);
      return box.call('decide', -1, -1, -1, 0, NOW, NOW + 1, 0);
    };
    while (open() === OK) grants.push(box.result(2) + box.result(3) * 2 ** 32);
    expect(grants).toHaveLength(1024);
    expect(new Set(grants).size).toBe(1024);
    expect(open()).toBe(FULL);
    expect(box.call('systemGrant', 0, 0, NOW, NOW)).toBe(FULL);
    expect(box.call('finishGrant', grants[5] ?? 0)).toBe(OK);
    expect(box.call('finishGrant', grants[5] ?? 0)).toBe(DENIED);
    expect(open()).toBe(OK);
    const next = box.result(2) + box.result(3) * 2 ** 32;
    expect(grants).not.toContain(next);
  });
});

describe('inside a grant', () => {
  test('what is too long, malformed or of no mount is a status', () => {
    const box = new RawBox();
    const [job, bare] = [box.job(0, id(2)), box.job()];
    const long = text(`a${'/a'.repeat(40)}`);
    expect(box.call('systemGrant', 10, 0, NOW, NOW)).toBe(BAD);
    box.put(id(77));
    expect(box.call('systemGrant', 0, 1, NOW, NOW)).toBe(NO_MOUNT);
    for (const name of ['locate', 'open', 'sealRecord', 'locateNames', 'openName', 'nameKey', 'sealName'])
      expect([name, box.call(name, bare, 1, 0, 0)]).toEqual([name, NO_MOUNT]);
    expect(box.call('locate', job, box.put(text('a')), 9)).toBe(BAD);
    expect(box.call('locate', job, box.put(long), 0)).toBe(BAD_PATH);
    expect(box.call('sealRecord', job, box.put(text('a')), 9, 0)).toBe(BAD);
    expect(box.call('sealRecord', job, box.put(text('a')), 0, 1_048_577)).toBe(BAD);
    expect(box.call('sealRecord', job, box.put(long), 0, 0)).toBe(BAD_PATH);
    expect(box.call('locateNames', job, box.put(long))).toBe(BAD_PATH);
    expect(box.call('nameKey', job, box.put(long), 0)).toBe(BAD_PATH);
    expect(box.call('open', box.job(0, id(2)), 50)).toBe(DENIED);
    expect(box.call('openName', box.job(0, id(2)), 50)).toBe(DENIED);
    for (const name of ['openTable', 'sealTable']) {
      expect(box.call(name, job, TOKEN, 0, 60)).toBe(BAD);
      expect(box.call(name, job, TOKEN, 65, 60)).toBe(BAD);
      expect(box.call(name, job, 32, 16, 60)).toBe(DENIED);
      expect(box.call(name, job, 4, 16, 60)).toBe(DENIED);
    }
    expect(box.call('sealTable', job, TOKEN, 16, 1_048_577)).toBe(BAD);
    for (const length of [0, 44, 1_048_576 + 46]) expect(box.call('openTable', job, TOKEN, 16, length)).toBe(REFUSED);
  });

  test('a name row that is no name of its directory is refused', () => {
    const box = new RawBox();
    const job = box.job(0, id(2));
    expect(box.call('sealName', job, box.put(text('dir/x')), 0)).toBe(OK);
    const key = box.out(32);
    const row = box.out(box.result(0), 40);
    expect(box.call('locateNames', job, box.put(text('dir')))).toBe(OK);
    box.put(key, row);
    expect(box.call('openName', job, row.length)).toBe(OK);
    box.put(key, row);
    expect(box.call('openName', job, 302)).toBe(REFUSED);
    const flipped = Buffer.from(row);
    flipped[50] = (flipped[50] ?? 0) ^ 1;
    box.put(key, flipped);
    expect(box.call('openName', job, flipped.length)).toBe(REFUSED);
    box.put(id(1), row);
    expect(box.call('openName', job, row.length)).toBe(DENIED);
  });

  test('a mount that was removed ends what its grants may do, but for the job that removes it', () => {
    const box = new RawBox();
    const token = ((): Buffer => {
      box.call('newToken', box.job(), 0);
      return box.out(28);
    })();
    box.put(token);
    box.call('tokenId', 28);
    const key = box.out(16);
    const row = box.row(TOKEN, key, tokenPayload({}));
    box.call('route', box.put(text('secret/a')));
    box.call('begin', READ, box.put(token), 0, 0);
    box.put(row, new Uint8Array(16));
    box.call('decide', row.length, -1, -1, 0, NOW, NOW + 1000, 0);
    const grant = box.result(2) + box.result(3) * 2 ** 32;
    box.put(text('2027-01-15T08:00:00Z'), text('"x":1}'));
    expect(box.call('leaf', grant, 0, 20, 6)).toBe(OK);
    expect(box.call('locate', grant, box.put(text('s/a')), 0)).toBe(OK);
    const job = box.job(3, id(2));
    expect(box.mount(id(2), 'kv-v1', 'secret/', 1)).toBe(OK);
    expect(box.call('locate', grant, box.put(text('s/a')), 0)).toBe(NO_MOUNT);
    expect(box.call('locate', job, box.put(text('s/a')), 0)).toBe(OK);
  });

  test('a policy row that does not open, is none, or does not fit is a status', () => {
    const box = new RawBox();
    expect(box.call('commitPolicies')).toBe(BAD);
    const policy = Buffer.concat([Buffer.of(1, 1), text('p'), Buffer.of(0, 0, 0, 2, 0, 0, 0, 0, 0, 0)]);
    const row = box.row(9, id(1), policy);
    expect(box.call('beginPolicies')).toBe(OK);
    box.put(id(1), row);
    expect(box.call('addPolicy', row.length)).toBe(OK);
    expect(box.call('commitPolicies')).toBe(OK);
    box.call('beginPolicies');
    box.put(id(2), row);
    expect(box.call('addPolicy', row.length)).toBe(REFUSED);
    const bad = box.row(9, id(1), NONE);
    box.put(id(1), bad);
    expect(box.call('addPolicy', bad.length)).toBe(BAD);
    expect(box.call('commitPolicies')).toBe(BAD);
    box.call('beginPolicies');
    const wide = (n: number): Buffer => {
      const name = text(`policy-${n}`);
      return Buffer.concat([Buffer.of(1, name.length), name, Buffer.of(0, 0, 0, 2, 0, 0, 0, 0, 0, 0)]);
    };
    let last = OK;
    for (let n = 0; n <= 4096 && last === OK; n++) {
      const one = box.row(9, id(1), wide(n));
      box.put(id(1), one);
      last = box.call('addPolicy', one.length);
    }
    expect(last).toBe(FULL);
  });
});

describe('plain tools', () => {
  test('answer with statuses', () => {
    const box = new RawBox();
    expect(box.call('tokenId', box.put(text('a token with spaces')))).toBe(BAD);
    expect(box.call('tokenId', 0)).toBe(BAD);
    expect(box.call('tokenId', 161)).toBe(BAD);
    expect(box.call('blindKey', 9, box.put(text('name')))).toBe(OK);
    expect(box.call('capabilities', box.put(Buffer.alloc(80)), 3)).toBe(BAD);
    expect(box.call('capabilities', box.put(tokenPayload({})), 9000)).toBe(BAD);
    expect(box.call('shamirSplit', 32, 3, 4)).toBe(BAD);
    expect(box.call('shamirSplit', 32, 3, 2)).toBe(OK);
    expect(box.call('shamirCombine', 33, 0)).toBe(BAD);
    box.put(box.out(66));
    expect(box.call('shamirCombine', 33, 2)).toBe(OK);
    box.put(text('abc'));
    box.call('hash', 3);
    expect(box.out(4).toString('hex')).toBe('ba7816bf');
    box.call('wipeOut', 4);
    expect(box.out(4)).toEqual(Buffer.alloc(4));
    expect(box.call('auditHmac', 0, 3)).toBe(BAD);
    expect(box.call('auditHmac', 65, 3)).toBe(BAD);
    expect(box.call('auditHmac', 3, 3)).toBe(OK);
  });
});
