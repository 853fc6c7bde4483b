/** An epoch is retired when a full count proves that no row uses it, and not before. */
import { describe, expect, test } from 'vitest';
import type { RangeOptions, Row, Table } from '../../../host/ports/store.ts';
import { epochOf } from '../../../host/seal/rows.ts';
import { Machine } from './machine.ts';

const names = Array.from({ length: 200 }, (_, n) => `row ${n}`);

/** A box, and a row that the walk over the rows does not see until it is `shown`. */
async function hiding(hidden: string) {
  const machine = new Machine('sealed');
  await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  await machine.putAll(names);
  const { store } = machine;
  const range = store.range.bind(store);
  let hides = true;
  let walks = 0;
  Object.assign(store, {
    *range(table: Table, options?: RangeOptions): IterableIterator<Row> {
      if (table === 'token' && options?.from?.length === 0) walks++;
      for (const row of range(table, options)) {
        if (!hides || Buffer.from(row.key).toString() !== hidden) yield row;
      }
    },
  });
  return {
    machine,
    walks: () => walks,
    show: () => {
      hides = false;
    },
  };
}

const settle = (machine: Machine): Promise<void> => machine.clock.wake(() => !machine.box.keys.progress.running);
const epochOfRow = (machine: Machine, name: string): number =>
  epochOf(machine.store.get('token', Buffer.from(name)) ?? Buffer.alloc(5));

const CHANGES: Readonly<Record<string, (machine: Machine) => Promise<unknown>>> = {
  'a rotation': ({ box }) => box.keys.rotate(box.holder()),
  'an erase': ({ box }) => box.keys.erase(box.holder()),
  'new shares': (machine) =>
    machine.box.keys.rekey(machine.box.holder(), machine.shamir(1, 1), { threshold: 1, shares: 1 }),
};

describe.each(Object.keys(CHANGES))('a single row that is left of an epoch, after %s', (name) => {
  test('keeps the epoch, through walks and restarts, and opens; without it the epoch goes', async () => {
    const { machine, walks, show } = await hiding('row 77');
    await CHANGES[name]?.(machine);
    const since = walks();
    await machine.clock.wake(() => walks() > since + 8);
    expect(names.filter((one) => epochOfRow(machine, one) === 1)).toEqual(['row 77']);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(machine.box.keys.progress).toMatchObject({ running: true, epochs: [1] });
    expect(machine.notes).not.toContain('keys.retired');
    expect(machine.notes).not.toContain('keys.erased');

    await machine.box.stop();
    machine.restart();
    expect(await machine.box.unsealAutomatically()).toBe(true);
    const again = walks();
    await machine.clock.wake(() => walks() > again + 4);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
    for (const one of names) expect(machine.get(one)).toBe(one);

    show();
    await settle(machine);
    expect(machine.core.keyringInfo().epochs.map(({ epoch }) => epoch)).toEqual([2]);
    expect(machine.notes.filter((note) => note === 'keys.retired')).toHaveLength(1);
    expect(epochOfRow(machine, 'row 77')).toBe(2);
    for (const one of names) expect(machine.get(one)).toBe(one);
  });
});

test('a row of each table that has an epoch keeps it', async () => {
  for (const table of [
    'record',
    'name',
    'token',
    'accessor',
    'child',
    'expiry',
    'policy',
    'mount',
    'wrap',
    'lease',
    'job',
  ] as const) {
    const machine = new Machine('sealed');
    await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
    expect(await machine.box.unsealAutomatically()).toBe(true);
    // One that no core opens: it can neither be moved nor be given up.
    const value = Buffer.concat([Buffer.of(1, 0, 0, 0, 1), Buffer.alloc(60, 7)]);
    await machine.store.commit({ puts: [{ table, key: Buffer.from('left'), value }] });
    await machine.box.keys.rotate(machine.box.holder());
    await settle(machine);
    expect([table, machine.core.keyringInfo().epochs.length]).toEqual([table, 2]);
    expect(machine.box.status().reasons.join()).toContain('could not be moved to the newest epoch');
  }
});
