/** `sys/rotate?erase=true` on a whole box over LMDB: the bytes of what was destroyed, looked for in every file. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TABLES, type Table } from '../../../host/ports/store.ts';
import { KEYRING_KEY } from '../../../host/seal/rows.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

/** Every sealed row there is, by table and key. */
function rowsNow(): Map<string, Buffer> {
  const rows = new Map<string, Buffer>();
  for (const table of Object.keys(TABLES) as Table[]) {
    if (table === 'boot' || table === 'freshness') continue;
    for (const { key, value } of box.store.range(table))
      rows.set(`${table} ${Buffer.from(key).toString('hex')}`, Buffer.from(value));
  }
  return rows;
}

/** Files of the data folder that hold these bytes, pages in use and free. */
function holding(bytes: Uint8Array): string[] {
  return readdirSync(box.data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .filter((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(Buffer.from(bytes)))
    .map(({ name }) => name);
}

async function erased(): Promise<void> {
  for (;;) {
    const { data } = await box.ok('read', 'sys/rotate');
    if (data?.['erase'] === 'none' && data['running'] === false) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
const term = async (): Promise<unknown> => (await box.ok('read', 'sys/key-status')).data?.['term'];

describe('sys/rotate?erase=true', () => {
  test('takes the sealed rows of destroyed secrets, and the key they were sealed with, out of every file', async () => {
    for (let n = 0; n < 60; n++)
      await box.ok('write', `secret/data/kept/${n}`, { data: { n, text: 'x'.repeat(n * 20) } });
    const before = rowsNow();
    await box.ok('write', 'secret/data/gone', { data: { password: 'to be destroyed' } });
    await box.ok('write', 'secret/data/gone', { data: { password: 'and this one' } });
    const sealed = [...rowsNow()]
      .filter(([key]) => key.startsWith('record ') && !before.has(key))
      .map(([, value]) => value);
    expect(sealed.length).toBeGreaterThan(1);
    await box.ok('delete', 'secret/metadata/gone');
    const ring = Buffer.from(box.store.get('keyring', KEYRING_KEY) ?? []);
    const oldTerm = await term();
    // Gone from the API, and still on the medium.
    expect(await box.send('read', 'secret/data/gone')).toMatchObject({ kind: 'error', status: 404 });
    for (const row of sealed) expect(holding(row)).toEqual(['store.mdb']);
    expect(holding(ring)).toEqual(['store.mdb']);

    expect(await box.send('write', 'sys/rotate', {}, undefined, { query: { erase: 'true' } })).toMatchObject({
      kind: 'answer',
      answer: {},
    });
    await erased();
    for (const row of [...sealed, ...[...before.values()].slice(0, 40)]) expect(holding(row)).toEqual([]);
    expect(holding(ring)).toEqual([]);
    expect(await term()).toBe(Number(oldTerm) + 1);
    expect((await box.ok('read', 'sys/rotate')).data).toMatchObject({ older_terms: [], erase: 'none' });
    for (let n = 0; n < 60; n += 7)
      expect((await box.ok('read', `secret/data/kept/${n}`)).data).toMatchObject({ data: { n } });
    await box.restart();
    for (let n = 0; n < 60; n += 7)
      expect((await box.ok('read', `secret/data/kept/${n}`)).data).toMatchObject({ data: { n } });
    expect(await term()).toBe(Number(oldTerm) + 1);
  });

  test('loses nothing that is written meanwhile', async () => {
    let stop = false;
    const last = new Map<string, number>();
    const load = Promise.all(
      Array.from({ length: 4 }, async (_, worker) => {
        for (let n = 0; !stop; n++) {
          const name = `${worker}-${n % 10}`;
          await box.ok('write', `secret/data/load/${name}`, { data: { n } });
          last.set(name, n);
          expect((await box.ok('read', `secret/data/load/${name}`)).data).toMatchObject({ data: { n } });
        }
      }),
    );
    for (let round = 0; round < 2; round++) {
      await box.ok('write', 'sys/rotate', { erase: true });
      await erased();
    }
    stop = true;
    await load;
    expect(last.size).toBe(40);
    for (const again of [false, true]) {
      if (again) await box.restart();
      for (const [name, n] of last)
        expect((await box.ok('read', `secret/data/load/${name}`)).data).toMatchObject({ data: { n } });
    }
  });

  test('leaves its leaves: who asked, that the key is gone, and that the medium was overwritten', async () => {
    let text = '';
    const end = box.audit.size;
    for (let from = 0; from < end; ) {
      const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: String(from) });
      const lines = raw !== undefined && 'body' in raw ? String(raw.body) : '';
      if (lines === '') break;
      text += lines;
      from += lines.split('\n').length - 1;
    }
    const order = ['"sys/rotate"', 'keys.erase-asked', 'keys.retired', 'keys.erased'].map((word) => text.indexOf(word));
    expect(order.every((at) => at > 0)).toBe(true);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });
});

describe('the query of a write', () => {
  const rotate = (query: Record<string, string>, body = {}) =>
    box.send('write', 'sys/rotate', body, undefined, { query });

  test('is read where the operation says so, and must not contradict the body', async () => {
    const before = Number(await term());
    expect(await rotate({ erase: 'false' })).toMatchObject({ kind: 'answer' });
    expect(await rotate({ erase: 'true' }, { erase: true })).toMatchObject({ kind: 'answer' });
    await erased();
    expect(await term()).toBe(before + 2);
    for (const [query, body, words] of [
      [{ erase: '' }, {}, 'give erase=true'],
      [{ erase: 'true' }, { erase: false }, 'another in the body'],
      [{ erase: 'perhaps' }, {}, 'error converting input for field'],
    ] as const) {
      const refused = await rotate(query, body);
      expect(refused).toMatchObject({ kind: 'error', status: 400 });
      expect(refused.kind === 'error' && refused.errors.join()).toContain(words);
    }
    expect(await term()).toBe(before + 2);
  });

  test('counts for nothing elsewhere, and not for other names', async () => {
    const before = Number(await term());
    await rotate({ Erase: 'true', other: 'x' });
    expect((await box.ok('read', 'sys/rotate')).data?.['erase']).toBe('none');
    expect(await term()).toBe(before + 1);
    await box.send('write', 'secret/data/query', { data: { a: '1' } }, undefined, {
      query: { data: 'x', erase: 'true' },
    });
    expect((await box.ok('read', 'secret/data/query')).data).toMatchObject({ data: { a: '1' } });
  });

  test('without sudo nothing is erased', async () => {
    await box.ok('write', 'sys/policies/acl/rotator', { policy: 'path "sys/rotate" { capabilities = ["update"] }' });
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['rotator'] });
    expect(await box.send('write', 'sys/rotate', {}, auth?.clientToken, { query: { erase: 'true' } })).toMatchObject({
      status: 403,
    });
  });
});
