import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { verifyFolder } from '../../host/audit/index.ts';
import { removeScratch } from '../host/seal/pkcs11/tokens.ts';
import { KINDS, type SlotMachine, slotMachine } from './slot-machines.ts';
import { cutRounds } from './slot-rounds.ts';

/** Power cuts a kind of slot: 10 here, more in `npm run campaign -- slots`. */
const ROUNDS = Number(process.env['HOLDFAST_SLOT_ROUNDS'] ?? 10);

const open: SlotMachine[] = [];
afterEach(async () => {
  for (const machine of open.splice(0)) await machine.close();
});
afterAll(removeScratch);

async function machineOf(kind: (typeof KINDS)[number]): Promise<SlotMachine> {
  const machine = await slotMachine(kind);
  open.push(machine);
  return machine;
}

describe('power cuts of a real server that opens by', () => {
  test.each(KINDS)(
    '%s',
    async (kind) => {
      const machine = await machineOf(kind);
      const result = await cutRounds(machine, { rounds: ROUNDS, seed: 21 });
      expect(result.wrong).toEqual([]);
      expect(result.failures).toEqual(Array.from({ length: ROUNDS }, () => 0));
      expect(result.acknowledged).toBeGreaterThanOrEqual(ROUNDS);
      if (ROUNDS >= 10) expect(result.counted).toBeGreaterThan(0);
      expect(verifyFolder(join(machine.home.data, 'audit'))).toMatchObject({ ok: true });
      console.log(
        `${kind}: ${ROUNDS} power cuts, ${result.acknowledged} writes acknowledged, ${result.counted} of them counted`,
      );
    },
    3_000_000,
  );

  test('a disk whose syncs do nothing is noticed', async () => {
    const machine = await machineOf('keyfile');
    const { wrong } = await cutRounds(machine, { rounds: 6, seed: 21, ignoreSyncs: true });
    expect(wrong.length).toBeGreaterThan(0);
  }, 300_000);
});
