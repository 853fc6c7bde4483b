/** The store moves into a new file: what was deleted is on no page any more, and nobody who reads or writes is lost. */
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Files } from '../../../host/ports/files.ts';
import type { MoveStep, Store } from '../../../host/ports/store.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { SeededRandom } from '../../reference/random.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-move-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const random = new SeededRandom(11);
const destroyed = Buffer.from(random.bytes(400));
const put = (name: string, value?: Uint8Array) => ({
  puts: [{ table: 'record' as const, key: Buffer.from(name), ...(value === undefined ? {} : { value }) }],
});
const namesOf = (store: Store): string[] => [...store.range('record')].map(({ key }) => Buffer.from(key).toString());

/** Files of the folder that hold these bytes. */
function holding(bytes: Buffer): string[] {
  return readdirSync(folder).filter((name) => readFileSync(at(name)).includes(bytes));
}

async function withStore(body: (store: Store) => Promise<void>, own: Files = files): Promise<void> {
  const lock = lockFolder(folder);
  try {
    const store = await openLmdbStore({ lock, files: own, witness: { fold: () => [] }, ballastBytes: 0 });
    try {
      await body(store);
    } finally {
      await store.close();
    }
  } finally {
    lock.release();
  }
}

/** A store with rows of every size, and one that was deleted. */
async function filled(store: Store): Promise<Map<string, Buffer>> {
  const rows = new Map<string, Buffer>();
  for (let n = 0; n < 300; n++) {
    const value = Buffer.from(random.bytes(n % 50 === 0 ? 70_000 : 20 + ((n * 37) % 1500)));
    rows.set(`row ${n}`, value);
    await store.commit(put(`row ${n}`, value));
  }
  await store.commit(put('destroyed', destroyed));
  await store.commit(put('destroyed'));
  return rows;
}

function agrees(store: Store, rows: ReadonlyMap<string, Buffer>): void {
  expect(new Set(namesOf(store))).toEqual(new Set(rows.keys()));
  for (const [name, value] of rows) {
    expect(Buffer.compare(store.get('record', Buffer.from(name)) ?? Buffer.of(), value)).toBe(0);
  }
}

describe('a move', () => {
  test('takes the bytes of a deleted row from the medium, in the file and its free pages, and keeps every row', async () => {
    let rows = new Map<string, Buffer>();
    await withStore(async (store) => {
      rows = await filled(store);
      expect(holding(destroyed)).toEqual(['store.mdb']);
      const steps: MoveStep[] = [];
      const bytes = await store.move((step) => steps.push(step));
      expect(steps).toEqual(['copying', 'waiting', 'overwriting']);
      expect(bytes).toBeGreaterThan(100_000);
      expect(holding(destroyed)).toEqual([]);
      expect(readdirSync(folder).toSorted()).toEqual(['lock', 'probe', 'store.mdb', 'store.mdb-lock']);
      agrees(store, rows);
      // And once more, with commits in between: nothing of the first move is in the way of the second.
      rows.set('after', destroyed);
      await store.commit(put('after', destroyed));
      expect(holding(destroyed)).toEqual(['store.mdb']);
      rows.delete('after');
      await store.commit(put('after'));
      await store.move();
      expect(holding(destroyed)).toEqual([]);
      agrees(store, rows);
      expect(store.statistics().rows.record).toBe(rows.size);
    });
    await withStore(async (store) => agrees(store, rows));
  });

  test('waits for nobody who writes, and loses nothing that was acknowledged meanwhile', async () => {
    const rows = new Map<string, Buffer>();
    await withStore(async (store) => {
      for (const [name, value] of await filled(store)) rows.set(name, value);
      let moving = true;
      let meanwhile = 0;
      const writers = Array.from({ length: 8 }, async (_, own) => {
        for (let n = 0; moving || n < 20; n++) {
          const name = `row ${(n * 8 + own) % 400}`;
          const value = n % 7 === 0 ? undefined : Buffer.from(`${own} wrote ${n}`);
          await store.commit(put(name, value));
          if (value === undefined) rows.delete(name);
          else rows.set(name, value);
          if (moving) meanwhile++;
        }
      });
      for (let round = 0; round < 5; round++) await store.move();
      moving = false;
      await Promise.all(writers);
      expect(meanwhile).toBeGreaterThan(20);
      agrees(store, rows);
    });
    await withStore(async (store) => agrees(store, rows));
  });

  test('lets a reader of the old file end before it is overwritten', async () => {
    await withStore(async (store) => {
      const rows = await filled(store);
      const snapshot = store.snapshot();
      const steps: MoveStep[] = [];
      const moved = store.move((step) => steps.push(step));
      while (steps.at(-1) !== 'waiting') await new Promise((resolve) => setImmediate(resolve));
      await store.commit(put('row 1', Buffer.from('changed')));
      expect(
        Buffer.compare(snapshot.get('record', Buffer.from('row 1')) ?? Buffer.of(), rows.get('row 1') ?? Buffer.of()),
      ).toBe(0);
      expect(steps).toEqual(['copying', 'waiting']);
      snapshot[Symbol.dispose]();
      await moved;
      expect(Buffer.from(store.get('record', Buffer.from('row 1')) ?? []).toString()).toBe('changed');
      expect(holding(destroyed)).toEqual([]);
    });
  });

  test('that was given up by closing is finished by the next start', async () => {
    let rows = new Map<string, Buffer>();
    await withStore(async (store) => {
      rows = await filled(store);
      const snapshot = store.snapshot();
      const steps: MoveStep[] = [];
      const moved = store.move((step) => steps.push(step));
      moved.catch(() => undefined);
      while (steps.at(-1) !== 'waiting') await new Promise((resolve) => setImmediate(resolve));
      await store.close();
      await expect(moved).rejects.toMatchObject({ code: 'store.unavailable', message: /the next start goes on/ });
      snapshot[Symbol.dispose]();
      expect(holding(destroyed)).toEqual(['store.mdb.old']);
    });
    await withStore(async (store) => {
      agrees(store, rows);
      expect(holding(destroyed)).toEqual([]);
      expect(existsSync(at('store.mdb.old'))).toBe(false);
    });
  });

  test('closed while it copies leaves the store as it was', async () => {
    let rows = new Map<string, Buffer>();
    await withStore(async (store) => {
      rows = await filled(store);
      const moved = store.move();
      moved.catch(() => undefined);
      await store.close();
      await expect(moved).rejects.toMatchObject({ code: 'store.unavailable' });
      expect(readdirSync(folder).toSorted()).toEqual(['lock', 'probe', 'store.mdb', 'store.mdb-lock']);
    });
    await withStore(async (store) => agrees(store, rows));
  });

  test('for which the disk has no room changes nothing, and goes through once there is', async () => {
    let room = Number.POSITIVE_INFINITY;
    const own: Files = {
      ...files,
      reserve(path, bytes) {
        if (path.endsWith('.fresh') && bytes > room) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        files.reserve(path, bytes);
      },
    };
    await withStore(async (store) => {
      const rows = await filled(store);
      for (room of [0, 300_000]) {
        await expect(store.move()).rejects.toMatchObject({ code: 'store.full' });
        expect(readdirSync(folder).toSorted()).toEqual(['lock', 'probe', 'store.mdb', 'store.mdb-lock']);
        agrees(store, rows);
        await store.commit(put('row 0', rows.get('row 0')));
      }
      room = Number.POSITIVE_INFINITY;
      await store.move();
      agrees(store, rows);
      expect(holding(destroyed)).toEqual([]);
    }, own);
  });

  test('whose new name may not be durable takes no more commits, and reads go on', async () => {
    let fails = false;
    const own: Files = {
      ...files,
      syncFolder(path) {
        if (fails) throw Object.assign(new Error('EIO'), { code: 'EIO' });
        files.syncFolder(path);
      },
    };
    let rows = new Map<string, Buffer>();
    await withStore(async (store) => {
      rows = await filled(store);
      fails = true;
      await expect(store.move()).rejects.toMatchObject({ code: 'store.unavailable' });
      await expect(store.commit(put('x', Buffer.of(1)))).rejects.toMatchObject({ code: 'store.unavailable' });
      agrees(store, rows);
    }, own);
    fails = false;
    await withStore(async (store) => {
      agrees(store, rows);
      expect(holding(destroyed)).toEqual([]);
    });
  });
});

describe('at the next start', () => {
  test('a copy that was not finished is done away with', async () => {
    await withStore(async (store) => void (await filled(store)));
    copyFileSync(at('store.mdb'), at('store.mdb.fresh'));
    writeFileSync(at('store.mdb.fresh-lock'), 'x');
    await withStore(async (store) => expect(namesOf(store)).toHaveLength(300));
    expect(existsSync(at('store.mdb.fresh'))).toBe(false);
    expect(existsSync(at('store.mdb.fresh-lock'))).toBe(false);
  });

  test('a second name of the store itself is taken away, and not what it names', async () => {
    await withStore(async (store) => void (await filled(store)));
    linkSync(at('store.mdb'), at('store.mdb.old'));
    await withStore(async (store) => expect(namesOf(store)).toHaveLength(300));
    expect(existsSync(at('store.mdb.old'))).toBe(false);
  });

  test('an older file beside no store is not touched, and nothing is begun in its place', async () => {
    await withStore(async (store) => void (await filled(store)));
    copyFileSync(at('store.mdb'), at('store.mdb.old'));
    rmSync(at('store.mdb'));
    await expect(withStore(async () => undefined)).rejects.toMatchObject({
      code: 'store.unavailable',
      message: /store\.mdb\.old is/,
    });
    expect(holding(destroyed)).toEqual(['store.mdb.old']);
    expect(existsSync(at('store.mdb'))).toBe(false);
  });
});
