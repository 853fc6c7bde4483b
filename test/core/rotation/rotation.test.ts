/** New epochs and roots: what was sealed before opens, moves to the newest epoch, and the fingerprint follows its key. */
import { describe, expect, test } from 'vitest';
import { FRESHNESS_KEY, isCoreFault } from '../../../core/index.ts';
import { PAYLOAD_SIZE_MAX } from '../../../core/types.ts';
import { Box, id, NOW } from '../gate/box.ts';

const RECORD = 3;
const MOUNT = 10;
const NO_STATE = { counters: {}, checkpointSize: 0, checkpointRoot: new Uint8Array(32), timeHighWaterMs: NOW };
const SECRET = Buffer.from('a value that a test looks for');

function status(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isCoreFault(error)) return error.status;
    throw error;
  }
  return 'ok';
}

interface Row {
  readonly table: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A box with a few rows of several tables and mounts. */
function filled(): { readonly box: Box; readonly rows: Row[]; readonly grant: () => number } {
  const box = new Box();
  const rows: Row[] = [];
  for (const [n, path] of [
    [2, 'a/b'],
    [3, 'a/b'],
    [2, 'c'],
  ] as const) {
    const grant = box.job('init', id(n));
    const record = box.core.sealRecord(grant, path, Uint8Array.of(n), SECRET);
    rows.push({ table: RECORD, key: record.key, value: record.row });
    const name = box.core.sealName(grant, path, false);
    rows.push({ table: 4, key: name.key, value: name.row });
    box.core.endGrant(grant);
  }
  const grant = box.job();
  const token = box.core.sealTable(grant, 'token', id(7), Buffer.from('a token'));
  rows.push({ table: 5, key: id(7), value: Uint8Array.from(token) });
  box.core.endGrant(grant);
  return { box, rows, grant: () => box.core.systemGrant('rewrap', undefined, NOW, NOW + 60_000) };
}

function fold(box: Box, rows: readonly Row[]): void {
  for (const { table, key, value } of rows) box.core.foldChange(table, key, undefined, value);
}

function verified(box: Box, freshness: Uint8Array, rows: readonly Row[]): boolean {
  box.core.verifyStart(freshness);
  for (const { table, key, value } of rows) box.core.verifyRow(table, key, value);
  return box.core.verifyEnd();
}

function newEpoch({ core }: Box): void {
  core.stageKeyring({ newEpoch: true, nowMs: NOW });
  core.adoptStaged();
}

describe('moving rows to the newest epoch', () => {
  test('every row of every table and mount is sealed anew, opens as before, and says its epoch', () => {
    const { box, rows, grant } = filled();
    newEpoch(box);
    const job = grant();
    for (const row of rows) {
      const moved = box.core.reseal(job, row.table, row.key, row.value);
      expect(Buffer.from(moved ?? []).readUInt32BE(1)).toBe(2);
      expect(moved?.length).toBe(row.value.length);
      expect(box.core.reseal(job, row.table, row.key, moved ?? row.value)).toBeUndefined();
    }
    const first = rows[0];
    const moved = box.core.reseal(job, RECORD, first?.key ?? id(0), first?.value ?? id(0)) ?? id(0);
    const reader = box.job('init', id(2));
    box.core.locate(reader, 'a/b', Uint8Array.of(2));
    expect(Buffer.from(box.core.open(reader, moved))).toEqual(SECRET);
  });

  test('nothing but the job of that name may ask', () => {
    const { box, rows } = filled();
    const { table, key, value } = rows[0] as Row;
    newEpoch(box);
    for (const job of ['boot', 'expiry', 'rotation', 'init'] as const) {
      const other = box.core.systemGrant(job, undefined, NOW, NOW + 1000);
      expect(status(() => box.core.reseal(other, table, key, value))).toBe('denied');
    }
    expect(status(() => box.core.reseal(0, table, key, value))).toBe('denied');
  });

  test('a row that was changed, moved or is none is refused', () => {
    const { box, rows, grant } = filled();
    newEpoch(box);
    const job = grant();
    const [record, , , , , , token] = rows as [Row, Row, Row, Row, Row, Row, Row];
    const flipped = Uint8Array.from(record.value);
    flipped[40] = (flipped[40] ?? 0) ^ 1;
    expect(status(() => box.core.reseal(job, RECORD, record.key, flipped))).toBe('refused');
    expect(status(() => box.core.reseal(job, RECORD, id(1), record.value))).toBe('refused');
    expect(status(() => box.core.reseal(job, 6, token.key, token.value))).toBe('refused');
    expect(status(() => box.core.reseal(job, RECORD, record.key, new Uint8Array(44)))).toBe('refused');
    expect(status(() => box.core.reseal(job, RECORD, record.key, new Uint8Array(PAYLOAD_SIZE_MAX + 46)))).toBe(
      'refused',
    );
    for (const table of [1, 2, 14])
      expect(status(() => box.core.reseal(job, table, record.key, record.value))).toBe('argument');
    expect(status(() => box.core.reseal(job, RECORD, new Uint8Array(0), record.value))).toBe('argument');
    expect(status(() => box.core.reseal(job, RECORD, new Uint8Array(65), record.value))).toBe('argument');
  });

  test('a mount that was removed leaves its rows closed, the other mounts their rows open', () => {
    const { box, rows, grant } = filled();
    newEpoch(box);
    box.core.dropMount(id(2));
    const job = grant();
    const results = rows.map(({ table, key, value }) => status(() => box.core.reseal(job, table, key, value)));
    expect(results).toEqual(['refused', 'refused', 'ok', 'ok', 'refused', 'refused', 'ok']);
  });

  test('an epoch that was retired opens nothing any more', () => {
    const { box, rows, grant } = filled();
    newEpoch(box);
    box.core.stageKeyring({ retireEpoch: 1, nowMs: NOW });
    box.core.adoptStaged();
    const { table, key, value } = rows[6] as Row;
    expect(status(() => box.core.reseal(grant(), table, key, value))).toBe('refused');
    expect(status(() => box.core.stageKeyring({ retireEpoch: 2, nowMs: NOW }))).toBe('argument');
    expect(status(() => box.core.stageKeyring({ retireEpoch: 9, nowMs: NOW }))).toBe('argument');
  });
});

test('rows that were counted may be taken as they are, once', () => {
  const { box, rows } = filled();
  fold(box, rows);
  const sealed = Uint8Array.from(box.core.sealFreshness(NO_STATE));
  box.core.adoptFreshness();
  expect(status(() => box.core.acceptRows())).toBe('argument');
  const [gone, ...kept] = rows as [Row, ...Row[]];
  box.core.verifyStart(sealed);
  expect(status(() => box.core.acceptRows())).toBe('argument');
  for (const { table, key, value } of kept) box.core.verifyRow(table, key, value);
  expect(box.core.verifyEnd()).toBe(false);
  box.core.acceptRows();
  expect(status(() => box.core.acceptRows())).toBe('argument');
  const accepted = Uint8Array.from(box.core.sealFreshness(NO_STATE));
  expect(verified(box, accepted, kept)).toBe(true);
  expect(verified(box, accepted, rows)).toBe(false);
  box.core.foldChange(gone.table, gone.key, undefined, gone.value);
  expect(verified(box, Uint8Array.from(box.core.sealFreshness(NO_STATE)), rows)).toBe(true);
});

describe('a new root', () => {
  test('brings a fingerprint under its own key, changes in between included', () => {
    const { box, rows } = filled();
    const [gone, ...kept] = rows as [Row, ...Row[]];
    fold(box, rows);
    const before = Uint8Array.from(box.core.sealFreshness(NO_STATE));
    box.core.adoptFreshness();
    box.core.stageKeyring({ newRoot: true, nowMs: NOW });
    box.core.renewStart();
    for (const { table, key, value } of rows.slice(0, 3)) box.core.renewRow(table, key, value);
    // A commit between two slices: one row goes, one comes, one changes.
    const added = { table: MOUNT, key: id(4), value: Buffer.from('new') };
    box.core.foldChange(gone.table, gone.key, gone.value, undefined);
    box.core.foldChange(added.table, added.key, undefined, Buffer.from('first'));
    box.core.foldChange(added.table, added.key, Buffer.from('first'), added.value);
    const between = Uint8Array.from(box.core.sealFreshness(NO_STATE));
    box.core.adoptFreshness();
    for (const { table, key, value } of rows.slice(3)) box.core.renewRow(table, key, value);
    expect(verified(box, between, [...kept, added])).toBe(true);
    // One that fails leaves no trace.
    box.core.foldChange(MOUNT, id(5), undefined, Buffer.from('never'));
    box.core.discardFreshness();
    const after = Uint8Array.from(box.core.sealFreshness(NO_STATE, true));
    box.core.adoptFreshness();
    const generation = box.core.keyringInfo().generation;
    box.core.adoptStaged();
    expect(box.core.keyringInfo()).toMatchObject({ generation: generation + 1, rootGeneration: 2, epoch: 2 });
    expect(box.core.openFreshness(after)).toMatchObject({ keyringGeneration: generation + 1, rowCount: 7 });
    expect(verified(box, after, [...kept, added])).toBe(true);
    expect(verified(box, after, rows)).toBe(false);
    expect(verified(box, before, rows)).toBe(false);
  });

  test('may make it another appliance, and nothing else may', () => {
    const { box, rows } = filled();
    fold(box, rows);
    box.core.adoptFreshness();
    const { applianceId } = box.core.keyringInfo();
    expect(status(() => box.core.stageKeyring({ newEpoch: true, applianceId: id(9), nowMs: NOW }))).toBe('argument');
    expect(status(() => box.core.stageKeyring({ newRoot: true, applianceId: id(9).subarray(1), nowMs: NOW }))).toBe(
      'argument',
    );
    const ring = box.core.stageKeyring({ newRoot: true, applianceId: id(9), nowMs: NOW });
    expect(ring.length).toBeGreaterThan(100);
    expect(box.core.keyringInfo().applianceId).toEqual(applianceId);
    box.core.renewStart();
    for (const { table, key, value } of rows) box.core.renewRow(table, key, value);
    box.core.adoptStaged();
    expect(box.core.keyringInfo()).toMatchObject({ applianceId: Uint8Array.from(id(9)), rootGeneration: 2, epoch: 2 });
    box.core.seal();
    expect(status(() => box.core.stageKeyring({ newRoot: true, applianceId: id(9), nowMs: NOW }))).toBe('sealed');
  });

  test('that is dropped changes nothing', () => {
    const { box, rows } = filled();
    fold(box, rows);
    box.core.adoptFreshness();
    box.core.stageKeyring({ newRoot: true, nowMs: NOW });
    box.core.renewStart();
    for (const { table, key, value } of rows) box.core.renewRow(table, key, value);
    box.core.discardStaged();
    expect(verified(box, Uint8Array.from(box.core.sealFreshness(NO_STATE)), rows)).toBe(true);
    expect(box.core.keyringInfo()).toMatchObject({ rootGeneration: 1, epoch: 1 });
  });

  test('cannot be recorded before every row could have been counted, nor a ring that is not staged', () => {
    const { box } = filled();
    expect(status(() => box.core.sealFreshness(NO_STATE, true))).toBe('argument');
    expect(status(() => box.core.renewStart())).toBe('argument');
    expect(status(() => box.core.renewRow(RECORD, id(1), id(1)))).toBe('argument');
    box.core.stageKeyring({ newEpoch: true, nowMs: NOW });
    expect(status(() => box.core.renewStart())).toBe('argument');
    expect(status(() => box.core.sealFreshness(NO_STATE, true))).toBe('ok');
    box.core.stageKeyring({ newRoot: true, nowMs: NOW });
    expect(status(() => box.core.sealFreshness(NO_STATE, true))).toBe('argument');
    box.core.renewStart();
    expect(status(() => box.core.renewRow(RECORD, new Uint8Array(0), id(1)))).toBe('argument');
    expect(status(() => box.core.renewRow(RECORD, new Uint8Array(65), id(1)))).toBe('argument');
    expect(status(() => box.core.sealFreshness(NO_STATE, true))).toBe('ok');
  });

  test('a new epoch alone keeps the fingerprint and tells its generation', () => {
    const { box, rows } = filled();
    fold(box, rows);
    box.core.adoptFreshness();
    const generation = box.core.keyringInfo().generation;
    box.core.stageKeyring({ newEpoch: true, nowMs: NOW });
    const row = Uint8Array.from(box.core.sealFreshness(NO_STATE, true));
    box.core.adoptFreshness();
    box.core.adoptStaged();
    expect(box.core.openFreshness(row).keyringGeneration).toBe(generation + 1);
    expect(verified(box, row, rows)).toBe(true);
    expect(FRESHNESS_KEY.length).toBe(9);
  });

  test('a sealed core does none of it', () => {
    const { box, rows } = filled();
    const { table, key, value } = rows[0] as Row;
    box.core.seal();
    expect(status(() => box.core.renewStart())).toBe('sealed');
    expect(status(() => box.core.renewRow(table, key, value))).toBe('sealed');
    expect(status(() => box.core.reseal(1, table, key, value))).toBe('denied');
  });
});
