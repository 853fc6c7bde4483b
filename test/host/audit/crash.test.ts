import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verifyFolder } from '../../../host/audit/verify.ts';
import { leafHash, merkleTreeHash, verifyTiles } from '../../reference/tlog.ts';
import { Disk, FATES, type Fate, RecordingFiles } from './power.ts';
import { FakeStore, quickFiles, Rig } from './rig.ts';

interface Moment {
  /** Operations done by then. */
  readonly at: number;
  readonly acknowledged: number;
  readonly store: FakeStore;
}

/** Leaves that are the box's own after a start: what it says of a repair is not part of the recorded run. */
const isRepair = (line: string): boolean => line.includes('"event":"log.repaired"');

describe('a power cut at any point', () => {
  let base = '';
  let files: RecordingFiles;
  let lines: string[] = [];
  const moments: Moment[] = [];

  beforeAll(async () => {
    base = mkdtempSync(join(tmpdir(), 'holdfast-power-'));
    files = new RecordingFiles(base);
    const store = new FakeStore();
    const rig = new Rig({ base, store, files, segmentBytes: 24 * 1024 });
    const moment = (): void => {
      moments.push({ at: files.operations.length, acknowledged: rig.log.size, store: store.copy() });
    };
    moment();
    await rig.start();
    moment();
    for (let group = 0; group < 10; group++) {
      for (let at = 0; at <= group % 5; at++) rig.pair();
      await rig.log.durable();
      moment();
      if (group % 8 === 5) {
        rig.clock.advance(60_000);
        await settled(rig);
        moment();
      }
    }
    // Enough for full tiles.
    await rig.groups(1, 10);
    moment();
    await rig.groups(11, 10);
    moment();
    // Two checkpoints that stand on the same hash of level 1.
    for (let twice = 0; twice < 2; twice++) {
      rig.clock.advance(60_000);
      await settled(rig);
      moment();
      await rig.groups(1);
      moment();
    }
    await rig.log.stop();
    moment();
    lines = rig.core.written;
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  /** What the timers began (tiles, checkpoint, heartbeat) ends by itself; a leaf behind it in the queue says when. */
  async function settled(rig: Rig): Promise<void> {
    for (let turns = 0; turns < 400; turns++) await new Promise((resolve) => setImmediate(resolve));
    await rig.log.durable();
  }

  async function reopen(count: number, fate: Fate, disk: Disk, folder: string): Promise<void> {
    const moment = moments.findLast(({ at }) => at <= count) as Moment;
    disk.writeTo(folder, fate);
    const rig = new Rig({ base: folder, store: moment.store.copy(), files: quickFiles, segmentBytes: 24 * 1024 });
    const { size, repaired } = await rig.start();
    const opened: string[] = [];
    for (let from = 0; from < size; ) {
      const page = rig.log.history.entries(from, size);
      opened.push(...page.lines);
      from = page.nextSeq;
    }
    const kept = opened.slice(0, size - repaired.length);
    if (kept.length > 1) {
      expect(kept.length).toBeGreaterThanOrEqual(moment.acknowledged);
      expect(kept).toEqual(lines.slice(0, kept.length));
    } else {
      expect(moment.acknowledged).toBeLessThanOrEqual(1);
    }
    expect(opened.slice(kept.length).every(isRepair)).toBe(true);
    await rig.groups(1);
    await rig.log.stop();
    const report = verifyFolder(rig.folder, { open: rig.opener });
    expect(report).toMatchObject({ ok: true, leaves: size + 2, unacknowledgedBytes: 0 });
    expect(report.checkpoint?.size).toBe(size + 2);
  }

  test.each(FATES)(
    'the log opens, has every acknowledged leaf, goes on and verifies: unsynced writes %s',
    async (fate) => {
      const folder = mkdtempSync(join(tmpdir(), 'holdfast-cut-'));
      const disk = new Disk();
      expect(files.operations.length).toBeGreaterThan(150);
      for (let count = 0; count <= files.operations.length; count++) {
        const operation = files.operations[count - 1];
        if (operation !== undefined) disk.apply(operation);
        try {
          await reopen(count, fate, disk, folder);
        } catch (error) {
          throw new Error(`cut after operation ${count} (${operation?.kind} ${operation?.path}), ${fate}`, {
            cause: error,
          });
        }
      }
      rmSync(folder, { recursive: true, force: true });
    },
  );

  test('the harness sees a sync that is left out', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-cut-'));
    const disk = new Disk();
    for (const operation of files.operations) if (operation.kind !== 'sync') disk.apply(operation);
    await expect(reopen(files.operations.length, 'dropped', disk, folder)).rejects.toThrow();
    rmSync(folder, { recursive: true, force: true });
  });

  test('the run as a whole agrees with the independent verifier', async () => {
    const { leaves } = verifyTiles(join(base, 'audit'), verifierKey(base));
    expect(merkleTreeHash(leaves)).toEqual(merkleTreeHash(lines.map((line) => leafHash(Buffer.from(line)))));
  });
});

const verifierKey = (base: string): string => readFileSync(join(base, 'audit', 'keys'), 'utf8').trim();
