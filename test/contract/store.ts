/** The contract of host/ports/store.ts, clause by clause. Every adapter runs it. */
import { afterEach, describe, expect, test } from 'vitest';
import {
  BATCH_ROWS_MAX,
  type Batch,
  type Change,
  type Expectation,
  KEY_SIZE_MAX,
  type Put,
  type Reader,
  type Store,
  type Table,
  VALUE_SIZE_MAX,
  type Witness,
} from '../../host/ports/store.ts';
import { SeededRandom } from '../reference/random.ts';
import { StoreModel } from '../reference/store-model.ts';

/** Makes an empty store; what it needs beside is released after the test. */
export type StoreFactory = (witness: Witness) => Promise<{ store: Store; dispose: () => Promise<void> }>;

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const put = (key: string, value?: string, table: Table = 'record'): Put =>
  value === undefined ? { table, key: bytes(key) } : { table, key: bytes(key), value: bytes(value) };
const is = (key: string, what: 'absent' | 'present' | Buffer): Expectation => ({
  table: 'record',
  key: bytes(key),
  is: what,
});
const empty = (prefix: string): Expectation => ({ table: 'record', prefix: bytes(prefix), is: 'empty' });
const read = (reader: Reader, key: string, table: Table = 'record'): string | undefined => {
  const value = reader.get(table, bytes(key));
  return value === undefined ? undefined : Buffer.from(value).toString('latin1');
};
const keys = (reader: Reader, options?: Parameters<Reader['range']>[1], table: Table = 'record'): string[] =>
  [...reader.range(table, options)].map((row) => Buffer.from(row.key).toString('latin1'));
const conflict = expect.objectContaining({ code: 'store.conflict' });
const tooLarge = expect.objectContaining({ code: 'input.too-large' });

/** Remembers what it saw; adds one row to the freshness table, as the real one does. */
class Recorder implements Witness {
  readonly calls: { key: string; table: Table; before: string | undefined; after: string | undefined }[][] = [];
  readonly settledAs: boolean[] = [];
  refuse: Error | undefined;

  fold(changes: readonly Change[]): readonly Put[] {
    const text = (value: Uint8Array | undefined) =>
      value === undefined ? undefined : Buffer.from(value).toString('latin1');
    this.calls.push(
      changes.map(({ table, key, before, after }) => ({
        table,
        key: text(key) ?? '',
        before: text(before),
        after: text(after),
      })),
    );
    if (this.refuse !== undefined) throw this.refuse;
    return [put('fresh', `after ${this.calls.length}`, 'freshness')];
  }

  settled(committed: boolean): void {
    this.settledAs.push(committed);
  }
}

export function storeContract(name: string, factory: StoreFactory): void {
  describe(`${name} keeps the store's contract`, () => {
    let dispose: (() => Promise<void>) | undefined;

    async function fresh(): Promise<{ store: Store; witness: Recorder }> {
      const witness = new Recorder();
      const made = await factory(witness);
      dispose = made.dispose;
      return { store: made.store, witness };
    }

    /** Commits in one turn; says for each whether it was taken. */
    async function together(store: Store, batches: readonly Batch[]): Promise<boolean[]> {
      const results = await Promise.allSettled(batches.map((batch) => store.commit(batch)));
      return results.map((result) => {
        if (result.status === 'rejected') expect(result.reason).toEqual(conflict);
        return result.status === 'fulfilled';
      });
    }

    afterEach(async () => {
      await dispose?.();
      dispose = undefined;
    });

    describe('reads', () => {
      test('a row that was never written is absent, in get and in range', async () => {
        const { store } = await fresh();
        expect(store.get('record', bytes('a'))).toBeUndefined();
        expect(keys(store)).toEqual([]);
      });

      test('tables do not see each other', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1', 'record'), put('a', '2', 'name')] });
        expect(read(store, 'a', 'record')).toBe('1');
        expect(read(store, 'a', 'name')).toBe('2');
        expect(keys(store, {}, 'name')).toEqual(['a']);
        expect(keys(store, {}, 'job')).toEqual([]);
      });

      test('keys of 0 to KEY_SIZE_MAX bytes and values of 0 to VALUE_SIZE_MAX bytes come back as they were', async () => {
        const { store } = await fresh();
        const random = new SeededRandom(1);
        const puts: Put[] = [0, 1, 31, 32, 63, KEY_SIZE_MAX].map((length) => ({
          table: 'record',
          key: random.bytes(length),
          value: random.bytes(length * 7),
        }));
        for (const size of [1000, 4096, 100_000, VALUE_SIZE_MAX]) {
          puts.push({ table: 'record', key: random.bytes(16), value: random.bytes(size) });
        }
        await store.commit({ puts });
        for (const { key, value } of puts) {
          expect(Buffer.compare(store.get('record', key) ?? bytes('absent'), value ?? bytes(''))).toBe(0);
        }
        expect([...store.range('record')]).toHaveLength(puts.length);
      });

      test('a view holds until the next call of a reader', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', 'first'), put('b', 'second')] });
        const view = store.get('record', bytes('a'));
        expect(Buffer.from(view ?? []).toString()).toBe('first');
        expect(view).toHaveLength(5);
        expect(read(store, 'b')).toBe('second');
      });

      test('the slice() of a view is a copy that stays', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', 'first'), put('b', 'second')] });
        const copy = store.get('record', bytes('a'))?.slice();
        read(store, 'b');
        expect(Buffer.from(copy ?? []).toString()).toBe('first');
      });

      test('rows of a range are copies that stay', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('b', '2')] });
        const rows = [...store.range('record')];
        read(store, 'b');
        expect(rows.map((row) => [Buffer.from(row.key).toString(), Buffer.from(row.value).toString()])).toEqual([
          ['a', '1'],
          ['b', '2'],
        ]);
      });
    });

    describe('ranges', () => {
      const names = [
        '',
        '\x00',
        '\x00\x00',
        '\x7f',
        '\x80',
        'a',
        'a\x00',
        'a\xff',
        'a\xff\xff',
        'ab',
        'b',
        '\xff',
        '\xff\xff',
      ];

      async function named(): Promise<Store> {
        const { store } = await fresh();
        // Written backwards, so that no order but that of the bytes can come out.
        await store.commit({ puts: [...names].reverse().map((name) => put(name, 'x')) });
        await store.commit({ puts: [put('neighbour', 'x', 'keyring'), put('neighbour', 'x', 'name')] });
        return store;
      }

      test('come in the order of the bytes, unsigned, the shorter first', async () => {
        const order = [...names].sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
        expect(keys(await named())).toEqual(order);
      });

      test('a prefix takes what begins so, up to bytes of 255', async () => {
        const store = await named();
        expect(keys(store, { prefix: bytes('a') })).toEqual(['a', 'a\x00', 'ab', 'a\xff', 'a\xff\xff']);
        expect(keys(store, { prefix: bytes('a\xff') })).toEqual(['a\xff', 'a\xff\xff']);
        expect(keys(store, { prefix: bytes('\xff') })).toEqual(['\xff', '\xff\xff']);
        expect(keys(store, { prefix: bytes('zz') })).toEqual([]);
        expect(keys(store, { prefix: bytes('') })).toHaveLength(names.length);
      });

      test('from is included, to is not, and both go with a prefix and a limit', async () => {
        const store = await named();
        expect(keys(store, { from: bytes('a'), to: bytes('b') })).toEqual(['a', 'a\x00', 'ab', 'a\xff', 'a\xff\xff']);
        expect(keys(store, { from: bytes('a\x00'), to: bytes('ab') })).toEqual(['a\x00']);
        expect(keys(store, { prefix: bytes('a'), from: bytes('ab') })).toEqual(['ab', 'a\xff', 'a\xff\xff']);
        expect(keys(store, { prefix: bytes('a'), from: bytes('') })).toHaveLength(5);
        expect(keys(store, { prefix: bytes('a'), to: bytes('ab'), limit: 1 })).toEqual(['a']);
        expect(keys(store, { prefix: bytes('a'), to: bytes('\xff') })).toHaveLength(5);
        expect(keys(store, { from: bytes('b'), to: bytes('a') })).toEqual([]);
        expect(keys(store, { from: bytes('b'), to: bytes('b') })).toEqual([]);
        expect(keys(store, { limit: 0 })).toEqual([]);
        expect(keys(store, { limit: 3 })).toHaveLength(3);
      });

      test('an iterator sees the snapshot of its beginning, and may be left before its end', async () => {
        const store = await named();
        const seen: string[] = [];
        for (const row of store.range('record', { prefix: bytes('a') })) {
          seen.push(Buffer.from(row.key).toString('latin1'));
          if (seen.length === 1)
            await store.commit({ puts: [put('ab'), put('aa', 'new'), put('a\xff\xff', 'changed')] });
          if (seen.length === 4) break;
        }
        expect(seen).toEqual(['a', 'a\x00', 'ab', 'a\xff']);
        expect(keys(store, { prefix: bytes('a') })).toEqual(['a', 'a\x00', 'aa', 'a\xff', 'a\xff\xff']);
      });
    });

    describe('commits', () => {
      test('all of a batch or nothing', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('b', '2'), put('c')] });
        expect(keys(store)).toEqual(['a', 'b']);
        await expect(
          store.commit({ expect: [is('b', 'absent')], puts: [put('a', 'x'), put('b'), put('d', 'x')] }),
        ).rejects.toEqual(conflict);
        expect([read(store, 'a'), read(store, 'b'), read(store, 'd')]).toEqual(['1', '2', undefined]);
      });

      test('of two puts of one key in a batch the last counts', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('a', '2'), put('b', '1'), put('b'), put('c'), put('c', '3')] });
        expect([read(store, 'a'), read(store, 'b'), read(store, 'c')]).toEqual(['2', undefined, '3']);
      });

      test('deleting what is absent is no error', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('nothing')] });
        await store.commit({ puts: [put('nothing'), put('a', '1')] });
        expect(keys(store)).toEqual(['a']);
      });

      test('a batch without puts checks its expectations', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [] });
        await store.commit({ expect: [is('a', 'absent')], puts: [] });
        await expect(store.commit({ expect: [is('a', 'present')], puts: [] })).rejects.toEqual(conflict);
      });

      test('reads do not see a commit before it resolves, and see it from then on', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', 'old')] });
        const under = store.commit({ puts: [put('a', 'new')] });
        expect(read(store, 'a')).toBe('old');
        await under;
        expect(read(store, 'a')).toBe('new');
      });

      test('the caller may use its buffers again as soon as commit has returned', async () => {
        const { store } = await fresh();
        const key = bytes('key');
        const value = bytes('value');
        const expected = bytes('other');
        await store.commit({ puts: [put('other', 'other')] });
        const under = store.commit({
          expect: [is('other', expected)],
          puts: [{ table: 'record', key, value }],
        });
        for (const buffer of [key, value, expected]) buffer.fill(0);
        await under;
        expect(read(store, 'key')).toBe('value');
        expect(keys(store)).toEqual(['key', 'other']);
      });

      test('what is above a limit is refused whole, what is at it is taken', async () => {
        const { store } = await fresh();
        const key = Buffer.alloc(KEY_SIZE_MAX + 1);
        const value = Buffer.alloc(VALUE_SIZE_MAX + 1);
        const rows = Array.from({ length: BATCH_ROWS_MAX + 1 }, (_, at) => put(`row ${at}`, 'x'));
        await expect(store.commit({ puts: [put('a', '1'), { table: 'record', key }] })).rejects.toEqual(tooLarge);
        await expect(store.commit({ expect: [{ table: 'record', key, is: 'absent' }], puts: [] })).rejects.toEqual(
          tooLarge,
        );
        await expect(
          store.commit({ expect: [{ table: 'record', prefix: key, is: 'empty' }], puts: [] }),
        ).rejects.toEqual(tooLarge);
        await expect(store.commit({ puts: [{ table: 'record', key: bytes('v'), value }] })).rejects.toEqual(tooLarge);
        await expect(store.commit({ puts: rows })).rejects.toEqual(tooLarge);
        expect(keys(store)).toEqual([]);
        await store.commit({ puts: rows.slice(1) });
        expect(keys(store)).toHaveLength(BATCH_ROWS_MAX);
      });
    });

    describe('expectations', () => {
      test('absent and present', async () => {
        const { store } = await fresh();
        await store.commit({ expect: [is('a', 'absent')], puts: [put('a', '1')] });
        await expect(store.commit({ expect: [is('a', 'absent')], puts: [put('a', '2')] })).rejects.toEqual(conflict);
        await store.commit({ expect: [is('a', 'present')], puts: [put('a', '3')] });
        await expect(store.commit({ expect: [is('b', 'present')], puts: [put('a', '4')] })).rejects.toEqual(conflict);
        expect(read(store, 'a')).toBe('3');
      });

      test('exact bytes: nothing less, nothing more, not absent', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '12'), put('none', '')] });
        for (const wrong of ['1', '123', '', '21']) {
          await expect(store.commit({ expect: [is('a', bytes(wrong))], puts: [put('a')] })).rejects.toEqual(conflict);
        }
        await expect(store.commit({ expect: [is('b', bytes(''))], puts: [] })).rejects.toEqual(conflict);
        await store.commit({ expect: [is('none', bytes(''))], puts: [] });
        await store.commit({ expect: [is('a', bytes('12'))], puts: [put('a')] });
        expect(read(store, 'a')).toBeUndefined();
      });

      test('empty: no key under the prefix but those that the batch itself deletes', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('d/1', 'x'), put('d/2', 'x'), put('e', 'x')] });
        await expect(store.commit({ expect: [empty('d/')], puts: [] })).rejects.toEqual(conflict);
        await expect(store.commit({ expect: [empty('d/')], puts: [put('d/1')] })).rejects.toEqual(conflict);
        // Overwritten is not deleted, also when the batch deleted it first.
        const overwritten = { expect: [empty('d/')], puts: [put('d/1'), put('d/2'), put('d/2', 'y')] };
        await expect(store.commit(overwritten)).rejects.toEqual(conflict);
        await store.commit({ expect: [empty('d/')], puts: [put('d/1'), put('d/2'), put('d/3', 'new')] });
        expect(keys(store)).toEqual(['d/3', 'e']);
        await store.commit({ expect: [empty('x')], puts: [put('d/3')] });
        await store.commit({ expect: [empty('d')], puts: [] });
        await expect(store.commit({ expect: [empty('')], puts: [] })).rejects.toEqual(conflict);
      });

      test('empty is about one table', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('d/1', 'x', 'name'), put('d/1', 'x', 'keyring')] });
        await store.commit({ expect: [empty('')], puts: [put('ok', '1')] });
        expect(read(store, 'ok')).toBe('1');
      });

      test('one that fails among many that hold fails the batch', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('b', '2')] });
        const batch = { expect: [is('a', bytes('1')), is('b', 'present'), is('c', 'present')], puts: [put('a', 'x')] };
        await expect(store.commit(batch)).rejects.toEqual(conflict);
        expect(read(store, 'a')).toBe('1');
      });
    });

    describe('batches that share a transaction', () => {
      test('see their predecessors in the order of the calls', async () => {
        const { store } = await fresh();
        const taken = await together(store, [
          { expect: [is('n', 'absent')], puts: [put('n', '1')] },
          { expect: [is('n', 'absent')], puts: [put('n', 'lost')] },
          { expect: [is('n', bytes('1'))], puts: [put('n', '2')] },
          { expect: [is('n', bytes('1'))], puts: [put('n', 'lost')] },
          { expect: [is('n', 'present')], puts: [put('n')] },
          { expect: [is('n', 'absent')], puts: [put('n', '3')] },
        ]);
        expect(taken).toEqual([true, false, true, false, true, true]);
        expect(read(store, 'n')).toBe('3');
      });

      test('a conflict contributes nothing and fails nobody else', async () => {
        const { store } = await fresh();
        const taken = await together(store, [
          { puts: [put('a', '1')] },
          { expect: [is('a', 'absent')], puts: [put('a', 'lost'), put('b', 'lost')] },
          { expect: [is('b', 'absent')], puts: [put('c', '3')] },
        ]);
        expect(taken).toEqual([true, false, true]);
        expect(keys(store)).toEqual(['a', 'c']);
      });

      test('empty sees what predecessors put and deleted', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('d/1', 'x')] });
        const taken = await together(store, [
          { puts: [put('d/1')] },
          { expect: [empty('d/')], puts: [put('gone', 'yes')] },
          { puts: [put('d/2', 'x')] },
          { expect: [empty('d/')], puts: [put('gone', 'no')] },
          { expect: [empty('d/')], puts: [put('d/2')] },
          { expect: [empty('d/')], puts: [] },
        ]);
        expect(taken).toEqual([true, true, true, false, true, true]);
        expect(keys(store)).toEqual(['gone']);
      });

      test('of 100 that claim one key at once exactly one gets it', async () => {
        const { store } = await fresh();
        const claims = Array.from({ length: 100 }, (_, at) => ({
          expect: [is('claim', 'absent')],
          puts: [put('claim', `${at}`)],
        }));
        const taken = await together(store, claims);
        expect(taken.filter(Boolean)).toHaveLength(1);
        expect(read(store, 'claim')).toBe(`${taken.indexOf(true)}`);
      });

      test('of many writers in many turns none loses an update', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('n', '0')] });
        const count = async () => {
          for (let done = 0; done < 10; ) {
            const now = read(store, 'n') ?? '';
            const next = { expect: [is('n', bytes(now))], puts: [put('n', `${Number(now) + 1}`)] };
            await store.commit(next).then(
              () => done++,
              (error: unknown) => expect(error).toEqual(conflict),
            );
          }
        };
        await Promise.all(Array.from({ length: 8 }, count));
        expect(read(store, 'n')).toBe('80');
      });
    });

    describe('snapshots', () => {
      test('see nothing that was committed later', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('b', '1')] });
        using snapshot = store.snapshot();
        await store.commit({ puts: [put('a', '2'), put('b'), put('c', '3')] });
        using later = store.snapshot();
        await store.commit({ puts: [put('a', '4')] });
        expect([read(snapshot, 'a'), read(snapshot, 'b'), read(snapshot, 'c')]).toEqual(['1', '1', undefined]);
        expect(keys(snapshot)).toEqual(['a', 'b']);
        expect([read(later, 'a'), read(later, 'b'), read(later, 'c')]).toEqual(['2', undefined, '3']);
        expect(keys(later)).toEqual(['a', 'c']);
        expect(read(store, 'a')).toBe('4');
      });

      test('hold over many commits and are released more than once without harm', async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', 'pinned')] });
        const snapshot = store.snapshot();
        for (let round = 0; round < 50; round++)
          await store.commit({ puts: [put('a', `${round}`), put(`${round}`, 'x')] });
        expect(read(snapshot, 'a')).toBe('pinned');
        expect(keys(snapshot)).toEqual(['a']);
        snapshot[Symbol.dispose]();
        snapshot[Symbol.dispose]();
        expect(read(store, 'a')).toBe('49');
        expect(keys(store)).toHaveLength(51);
      });
    });

    describe('the witness', () => {
      test('is called once a transaction with the net change a row', async () => {
        const { store, witness } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('b', '1'), put('c', '1')] });
        witness.calls.length = 0;
        await together(store, [
          { puts: [put('a', '2'), put('b'), put('d', '1')] },
          { puts: [put('a', '3'), put('d'), put('e', '5')] },
          { expect: [is('a', 'absent')], puts: [put('f', 'lost')] },
        ]);
        expect(witness.calls).toEqual([
          [
            { table: 'record', key: 'a', before: '1', after: '3' },
            { table: 'record', key: 'b', before: '1', after: undefined },
            { table: 'record', key: 'e', before: undefined, after: '5' },
          ],
        ]);
      });

      test('is not called when nothing changes, nor for boot and freshness', async () => {
        const { store, witness } = await fresh();
        await store.commit({ puts: [put('a', '1')] });
        witness.calls.length = 0;
        await store.commit({ puts: [] });
        await store.commit({ puts: [put('absent')] });
        await store.commit({ puts: [put('a', '1')] });
        await store.commit({ puts: [put('a', '2'), put('a', '1')] });
        await store.commit({ puts: [put('slot', 'x', 'boot'), put('own', 'x', 'freshness')] });
        await expect(store.commit({ expect: [is('a', 'absent')], puts: [put('b', '1')] })).rejects.toEqual(conflict);
        expect(witness.calls).toEqual([]);
        expect([read(store, 'slot', 'boot'), read(store, 'own', 'freshness')]).toEqual(['x', 'x']);
        await store.commit({ puts: [put('a', '2'), put('slot', 'y', 'boot')] });
        expect(witness.calls).toEqual([[{ table: 'record', key: 'a', before: '1', after: '2' }]]);
      });

      test("has its rows in the same transaction, over a batch's own", async () => {
        const { store } = await fresh();
        await store.commit({ puts: [put('a', '1'), put('fresh', 'mine', 'freshness')] });
        expect(read(store, 'fresh', 'freshness')).toBe('after 1');
      });

      test('that throws fails every batch of its transaction, and the next one is as if nothing had been', async () => {
        const { store, witness } = await fresh();
        witness.refuse = new Error('no');
        const results = await Promise.allSettled([
          store.commit({ puts: [put('a', '1')] }),
          store.commit({ puts: [put('b', '1')] }),
          store.commit({ expect: [is('c', 'present')], puts: [] }),
        ]);
        expect(results.map((result) => (result.status === 'rejected' ? result.reason : 'taken'))).toEqual([
          witness.refuse,
          witness.refuse,
          conflict,
        ]);
        expect(keys(store)).toEqual([]);
        witness.refuse = undefined;
        witness.calls.length = 0;
        await store.commit({ expect: [is('a', 'absent')], puts: [put('b', '2')] });
        expect(witness.calls).toEqual([[{ table: 'record', key: 'b', before: undefined, after: '2' }]]);
        expect(keys(store)).toEqual(['b']);
      });

      test('hears once of each fold that returned how it went', async () => {
        const { store, witness } = await fresh();
        await store.commit({ puts: [put('a', '1')] });
        expect(witness.settledAs).toEqual([true]);
        await store.commit({ puts: [put('slot', 'x', 'boot')] });
        witness.refuse = new Error('no');
        await expect(store.commit({ puts: [put('a', '2')] })).rejects.toBe(witness.refuse);
        expect(witness.settledAs).toEqual([true]);
        witness.refuse = undefined;
        await together(store, [{ puts: [put('a', '3')] }, { puts: [put('a', '4')] }]);
        expect(witness.settledAs).toEqual([true, true]);
      });
    });

    describe('statistics and the end', () => {
      test('statistics count the rows of each table, at first and after commits', async () => {
        const { store } = await fresh();
        const boot = store.statistics().rows.boot;
        await store.commit({ puts: [put('a', '1'), put('b', '2'), put('n', 'x', 'name'), put('s', 'x', 'boot')] });
        expect(store.statistics().rows).toMatchObject({ record: 2, name: 1, boot: boot + 1, freshness: 1, lease: 0 });
        await store.commit({ puts: [put('a', '3'), put('b'), put('c', '1'), put('absent')] });
        await store.commit({ puts: [put('c')] });
        const { usedBytes, mapBytes, rows } = store.statistics();
        expect(rows).toMatchObject({ record: 1, name: 1, boot: boot + 1, freshness: 1 });
        expect(usedBytes).toBeGreaterThan(0);
        expect(mapBytes).toBeGreaterThanOrEqual(usedBytes);
      });

      test('close waits for what is under way; then nothing may be called', async () => {
        const { store } = await fresh();
        const order: string[] = [];
        const commits = Array.from({ length: 20 }, (_, at) =>
          store.commit({ puts: [put(`${at}`, 'x')] }).then(() => order.push('commit')),
        );
        await store.close().then(() => order.push('closed'));
        await Promise.all(commits);
        expect(order).toHaveLength(21);
        expect(order.at(-1)).toBe('closed');
        expect(() => store.get('record', bytes('1'))).toThrow('closed');
        expect(() => store.snapshot()).toThrow('closed');
        expect(() => [...store.range('record')]).toThrow('closed');
        await expect(store.commit({ puts: [] })).rejects.toThrow('closed');
        await store.close();
      });
    });

    test.each([1, 2, 3, 4])('agrees with the slow model under random batches, seed %i', async (seed) => {
      const { store } = await fresh();
      const random = new SeededRandom(seed);
      const model = new StoreModel();
      const tables: readonly Table[] = ['record', 'name', 'expiry'];
      const key = () =>
        bytes(['a', 'b', '\xff', '\x00'].slice(0, 1 + random.below(4)).join('') + random.pick(['', 'x', 'y/', 'y/z']));
      const value = () => random.bytes(random.once(50) ? 5000 : random.below(3));
      const expectation = (): Expectation => {
        const table = random.pick(tables);
        const kind = random.below(5);
        if (kind === 0) return { table, prefix: key(), is: 'empty' };
        if (kind === 1) return { table, key: key(), is: value() };
        return { table, key: key(), is: kind === 2 ? 'present' : 'absent' };
      };
      const anyPut = (): Put => {
        const where = { table: random.pick(tables), key: key() };
        return random.once(3) ? where : { ...where, value: value() };
      };
      for (let turn = 0; turn < 60; turn++) {
        const batches = Array.from(
          { length: random.below(8) },
          (): Batch => ({
            expect: Array.from({ length: random.below(3) }, expectation),
            puts: Array.from({ length: random.below(5) }, anyPut),
          }),
        );
        expect(await together(store, batches)).toEqual(batches.map((batch) => model.commit(batch)));
        const table = random.pick(tables);
        const rows = [...store.range(table)].map((row) => ({
          key: Buffer.from(row.key).toString('hex'),
          value: Buffer.from(row.value).toString('hex'),
        }));
        expect(rows).toEqual(model.list(table));
        expect(store.statistics().rows[table]).toBe(rows.length);
      }
      expect(model.rows.size).toBeGreaterThan(5);
    });
  });
}
