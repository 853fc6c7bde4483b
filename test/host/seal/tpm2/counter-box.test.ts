/** A box whose TPM keeps its counter: what a thief or an accident puts back, and what the quorum does about it. */
import { afterEach, describe, expect, test } from 'vitest';
import { TpmCounterDevice } from '../../../../host/seal/tpm2/counter-device.ts';
import { NO_SESSIONS, NONE, OWNER, PASSWORD, sized } from '../../../../host/seal/tpm2/wire.ts';
import { Secret } from '../../../../host/secret.ts';
import { counterContract } from '../../../contract/counter.ts';
import { Machine as Chip } from '../../../tpm/machine.ts';
import { Machine } from '../machine.ts';

const open: Chip[] = [];
afterEach(() => {
  for (const chip of open.splice(0)) chip.close();
});

const contractChips: Chip[] = [];
counterContract('TPM', async () => {
  const chip = new Chip();
  contractChips.push(chip);
  return {
    device: new TpmCounterDevice(chip.tss),
    powerCut: () => chip.powerCut(),
    replace: () => chip.replaceChip(),
  };
});
test('the chip of the contract is given back', () => {
  for (const chip of contractChips.splice(0)) chip.close();
  expect(contractChips).toEqual([]);
});

async function box() {
  const chip = new Chip();
  open.push(chip);
  const machine = new Machine('sealed');
  machine.hardware.push(chip.slot());
  machine.devices.push(new TpmCounterDevice(chip.tss));
  machine.restart();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  await machine.box.keyService.addSlot('tpm2');
  expect(machine.box.counters()).toMatchObject([{ kind: 'tpm2', advisory: false }]);
  const start = async (): Promise<boolean> => {
    machine.restart();
    await chip.powerCut();
    return machine.box.unsealAutomatically();
  };
  const give = (accept?: 'rolled-back') =>
    machine.box.offerShare(new Secret(Buffer.from(shares[0]?.bytes ?? [])), accept);
  const change = (text: string) => machine.counters.change((more) => machine.commit(text, more));
  const reasons = (): string => machine.box.status().reasons.join();
  return { chip, machine, start, give, change, reasons };
}

/** Takes the counter out of the TPM, and puts an ordinary index with this count in its place. */
function forge({ chip }: { chip: Chip }, index: number, count: number): Promise<void> {
  return chip.tss.run(async (esys) => {
    const handle = [0];
    await esys.call('TR_FromTPMPublic', index, ...NO_SESSIONS, handle);
    await esys.call('NV_UndefineSpace', OWNER, handle[0], PASSWORD, NONE, NONE);
    const area = esys.struct('TPM2B_NV_PUBLIC', sized(Buffer.from('01800010000b0206000400000008', 'hex')));
    await esys.call(
      'NV_DefineSpace',
      OWNER,
      PASSWORD,
      NONE,
      NONE,
      esys.struct('TPM2B_DIGEST', sized(Buffer.alloc(0))),
      area,
      [0],
    );
    await esys.call('TR_FromTPMPublic', index, ...NO_SESSIONS, handle);
    const value = Buffer.alloc(8);
    value.writeBigUInt64BE(BigInt(count));
    await esys.call(
      'NV_Write',
      handle[0],
      handle[0],
      PASSWORD,
      NONE,
      NONE,
      esys.struct('TPM2B_MAX_NV_BUFFER', sized(value)),
      0,
    );
  });
}

const INDEX = 0x0180_0010;

describe('a box whose TPM counts', () => {
  test('opens at every start, and its count rises with it', async () => {
    const it = await box();
    const first = it.machine.box.counters()[0]?.count ?? 0;
    for (let n = 1; n <= 3; n++) {
      expect(await it.start()).toBe(true);
      expect(it.machine.box.counters()[0]?.count).toBe(first + n);
    }
    expect(it.reasons()).toBe('');
  });

  test('an old store is refused by the TPM slot, the key file and the shares alike, and so are old blobs with it', async () => {
    const it = await box();
    const old = it.machine.copyOfStore();
    await it.change('a');
    await it.change('b');
    await it.machine.putBack(old);
    expect(await it.start()).toBe(false);
    expect(it.machine.core.sealed).toBe(true);
    expect(it.reasons()).toMatch(/rolled back: the tpm2 counter is at \d+ and the store at \d+/);
    await expect(it.give()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    expect(it.machine.first).toMatchObject({ event: 'seal.overridden' });
    expect(await it.start()).toBe(true);
  });

  test('one old row, and all of it together, are refused', async () => {
    const it = await box();
    const old = it.machine.copyOfStore();
    await it.machine.box.keys.rotate(it.machine.box.holder());
    await it.machine.clock.wake(() => !it.machine.box.keys.progress.running);
    await it.machine.put('a row');
    await it.machine.put('a row');
    const now = it.machine.copyOfStore();
    const tables = ['keyring', 'freshness', 'job'] as const;
    for (const table of tables) {
      const mixed = now.map((row) =>
        row.table === table
          ? (old.find((one) => one.table === table && Buffer.compare(one.key, row.key) === 0) ?? row)
          : row,
      );
      await it.machine.putBack(mixed);
      expect(await it.start()).toBe(false);
      expect(it.machine.core.sealed).toBe(true);
    }
    await it.machine.putBack(old);
    expect(await it.start()).toBe(false);
    await it.machine.putBack(now);
    expect(await it.start()).toBe(true);
  });

  test('old blobs on the current disk are refused, by themselves and with the old keyring', async () => {
    const it = await box();
    const old = it.machine.copyOfStore();
    const tpm = it.machine.box.keyService.slots().find(({ kind }) => kind === 'tpm2');
    await it.machine.box.keyService.replaceSlot(tpm?.id ?? '', 'tpm2');
    await it.machine.clock.wake(() => !it.machine.box.keys.progress.running);
    const now = it.machine.copyOfStore();
    const without = (tables: readonly string[]) => now.filter(({ table }) => !tables.includes(table));
    for (const tables of [['boot'], ['boot', 'keyring'], ['boot', 'keyring', 'freshness']]) {
      await it.machine.putBack([...without(tables), ...old.filter(({ table }) => tables.includes(table))]);
      expect([tables, await it.start()]).toEqual([tables, false]);
      expect(it.machine.core.sealed).toBe(true);
      await expect(it.give()).rejects.toMatchObject({ code: expect.stringMatching(/slot\.refused|rolled-back/) });
    }
    await it.machine.putBack(now);
    expect(await it.start()).toBe(true);
  });

  test('an ordinary index in its place is refused, whatever count it holds', async () => {
    const it = await box();
    const count = it.machine.box.counters()[0]?.count ?? 0;
    const old = it.machine.copyOfStore();
    await it.change('a');
    await it.machine.putBack(old);
    await forge(it, INDEX, count);
    expect(await it.start()).toBe(false);
    expect(it.reasons()).toContain('another stands in its place');
    // The quorum takes it: a new counter is made beside the forged one.
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    expect(await it.start()).toBe(true);
  });

  test('a chip that was cleared, or is another, is rolled back for the shares too; their word enrols the new one', async () => {
    const it = await box();
    await it.machine.put('a row');
    it.machine.restart();
    await it.chip.replaceChip();
    expect(await it.machine.box.unsealAutomatically()).toBe(false);
    await expect(it.give()).rejects.toMatchObject({
      code: 'appliance.rolled-back',
      message: expect.stringContaining('counter is gone or another stands in its place'),
    });
    expect(await it.give('rolled-back')).toMatchObject({ sealed: false });
    expect(it.machine.get('a row')).toBe('a row');
    expect(it.machine.box.counters()).toHaveLength(1);
    expect(it.machine.notes).toContain('counter.enrolled');
  });

  test('a TPM that is away while it serves keeps keys from changing, and nothing else', async () => {
    const it = await box();
    it.chip.chip.kill();
    await expect(it.machine.box.keys.rotate(it.machine.box.holder())).rejects.toMatchObject({
      code: 'counter.unavailable',
    });
    await it.machine.put('a row');
    expect(it.reasons()).toContain('revocation goes on');
    await it.chip.powerCut();
    await it.machine.box.keys.rotate(it.machine.box.holder());
    expect(it.reasons()).toBe('');
  });
});
