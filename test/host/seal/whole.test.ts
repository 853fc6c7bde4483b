import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadCore } from '../../../core/index.ts';
import { AuditLog } from '../../../host/audit/index.ts';
import type { Store } from '../../../host/ports/store.ts';
import { Box } from '../../../host/seal/appliance.ts';
import { Counters } from '../../../host/seal/counters.ts';
import { Freshness } from '../../../host/seal/freshness.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { boxLog } from '../../../host/seal/log.ts';
import { ShamirSlot } from '../../../host/seal/shamir/shamir.ts';
import { Secret } from '../../../host/secret.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { systemClock } from '../../../host/system/clock.ts';
import { files } from '../../../host/system/files.ts';
import { LeaseClock } from '../../../host/system/lease-time.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { logFiles } from '../../../host/system/log-files.ts';
import { systemRandom } from '../../../host/system/random.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-whole-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Seal, store, log and core as one program has them, without what lives on the box. */
async function start(data: string) {
  const lock = lockFolder(data);
  const clock = systemClock();
  const core = loadCore({ wasm: readFileSync('dist/core.wasm'), random: (length) => systemRandom.bytes(length) });
  const lease = new LeaseClock({ clock, trust: 'kernel', builtMs: 0, synchronised: () => true });
  const freshness = new Freshness(core, lease);
  const store: Store = await openLmdbStore({ lock, files, witness: freshness });
  const folder = join(data, 'audit');
  const audit = new AuditLog({ folder, core, files: logFiles, clock, random: systemRandom, segmentBytes: 1024 * 1024 });
  const troubles: string[] = [];
  const box = new Box({
    ...{ core, store, freshness, clock, lease, random: systemRandom },
    counters: new Counters({ core, store, freshness, clock, lease, devices: [], intervalMs: 900_000 }),
    log: boxLog({ audit, folder, core, store, lease, trouble: (sentence) => troubles.push(sentence) }),
    residents: {
      found: async () => ({ rootToken: new Secret(Buffer.from('hvs.none')) }),
      newRootToken: async () => new Secret(Buffer.from('hvs.none')),
      open: async () => undefined,
      close: async () => undefined,
    },
    allowed: ['shamir', 'keyfile'],
    shamir: (threshold, shares) => new ShamirSlot({ core, random: systemRandom, threshold, shares }),
    automatic: [new KeyfileSlot({ path: join(scratch, 'keyfile'), random: systemRandom, files })],
    machine: () => [],
    heartbeatMs: 60_000,
    settleMs: 0,
    reasons: () => audit.reasons,
  });
  return {
    ...{ box, audit, store, core, troubles },
    async end() {
      await box.stop();
      await store.close();
      lock.release();
    },
  };
}

test('a box goes through life: made, opened, stopped, opened again, its log growing on', async () => {
  const data = join(scratch, 'data');
  let box = await start(data);
  await box.box.initialise({ shares: 3, threshold: 2, keyfile: true });
  expect(box.core.sealed).toBe(true);
  expect(await box.box.unsealAutomatically()).toBe(true);
  const first = box.audit.size;
  await box.end();
  let last = 0;

  for (let round = 0; round < 3; round++) {
    box = await start(data);
    expect(box.box.status()).toMatchObject({ initialized: true, sealed: true, t: 2, n: 3 });
    expect(await box.box.unsealAutomatically()).toBe(true);
    expect(box.box.status()).toMatchObject({ sealed: false, reasons: [] });
    expect(box.troubles).toEqual([]);
    last = box.audit.size;
    await box.end();
  }
  // Leaves of the newest start may wait for the disk still; those of the starts before it do not.
  expect(last).toBeGreaterThan(first);
});
