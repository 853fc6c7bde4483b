import { afterEach, describe, expect, test } from 'vitest';
import { type CounterIdentity, TpmCounter } from '../../../../host/seal/tpm2/counter.ts';
import type { Tss } from '../../../../host/seal/tpm2/tss.ts';
import { counterPublic, NO_SESSIONS, NONE, OWNER, PASSWORD, sized } from '../../../../host/seal/tpm2/wire.ts';
import { Machine } from '../../../tpm/machine.ts';

const INDEX = 0x0180_0010;
const rolledBack = { code: 'appliance.rolled-back' };

const open: Machine[] = [];
async function enrolled() {
  const machine = new Machine();
  open.push(machine);
  const { identity, count } = await TpmCounter.enrol(machine.tss, INDEX);
  return { machine, identity, count, counter: new TpmCounter(machine.tss, identity) };
}
afterEach(() => {
  for (const machine of open.splice(0)) machine.close();
});

function undefine(tss: Tss): Promise<void> {
  return tss.run(async (esys) => {
    const handle = [0];
    await esys.call('TR_FromTPMPublic', INDEX, ...NO_SESSIONS, handle);
    await esys.call('NV_UndefineSpace', OWNER, handle[0], PASSWORD, NONE, NONE);
  });
}

/** @param area  TPMS_NV_PUBLIC */
function define(tss: Tss, area: Buffer): Promise<void> {
  return tss.run(async (esys) => {
    const auth = esys.struct('TPM2B_DIGEST', sized(Buffer.alloc(0)));
    const wire = esys.struct('TPM2B_NV_PUBLIC', area);
    await esys.call('NV_DefineSpace', OWNER, PASSWORD, NONE, NONE, auth, wire, [0]);
  });
}

/** An old count, as a thief would put it into an ordinary index. */
function writeOne(tss: Tss): Promise<void> {
  return tss.run(async (esys) => {
    const handle = [0];
    await esys.call('TR_FromTPMPublic', INDEX, ...NO_SESSIONS, handle);
    const value = esys.struct('TPM2B_MAX_NV_BUFFER', sized(Buffer.from('0000000000000001', 'hex')));
    await esys.call('NV_Write', handle[0], handle[0], PASSWORD, NONE, NONE, value, 0);
  });
}

describe('the counter in the TPM', () => {
  test('only rises, keeps its count over power cuts, and is known by its id', async () => {
    const { machine, identity, count, counter } = await enrolled();
    expect(counter.id).toHaveLength(16);
    for (let cut = 1n; cut <= 5n; cut++) {
      expect(await counter.increment()).toBe(count + cut);
      await machine.powerCut();
      expect(await counter.read()).toBe(count + cut);
    }
    expect(Buffer.from(new TpmCounter(machine.tss, identity).id).equals(counter.id)).toBe(true);
    expect(Buffer.from(new TpmCounter(machine.tss, { ...identity, index: INDEX + 1 }).id).equals(counter.id)).toBe(
      false,
    );
  });

  test('that is gone is rolled back, never new', async () => {
    const { machine, counter } = await enrolled();
    await undefine(machine.tss);
    await expect(counter.read()).rejects.toMatchObject(rolledBack);
    await expect(counter.increment()).rejects.toMatchObject(rolledBack);
  });

  test('on another chip is rolled back', async () => {
    const { machine, counter } = await enrolled();
    await machine.replaceChip();
    await expect(counter.read()).rejects.toMatchObject(rolledBack);
    // Even one of the same index and attributes: the chip's storage key is another.
    await TpmCounter.enrol(machine.tss, INDEX);
    await expect(counter.read()).rejects.toMatchObject(rolledBack);
  });

  test.each([
    ['an ordinary index', '01800010000b020600040000' + '0008'],
    ['a counter whose count a power cut may lose', '01800010000b060600140000' + '0008'],
    ['a counter that any owner may raise', '01800010000b020600160000' + '0008'],
    ['a counter that was never raised', counterPublic(INDEX, false).subarray(2).toString('hex')],
  ])('replaced by %s is rolled back', async (name, area) => {
    const { machine, counter } = await enrolled();
    await undefine(machine.tss);
    await define(machine.tss, sized(Buffer.from(area, 'hex')));
    if (name.startsWith('an ordinary')) await writeOne(machine.tss);
    await expect(counter.read()).rejects.toMatchObject(rolledBack);
    await expect(counter.increment()).rejects.toMatchObject(rolledBack);
  });

  test('undefined and made again goes on above every count that there was', async () => {
    const { machine, counter, count } = await enrolled();
    for (let n = 0; n < 3; n++) await counter.increment();
    await undefine(machine.tss);
    const again = await TpmCounter.enrol(machine.tss, INDEX);
    expect(again.count).toBeGreaterThan(count + 3n);
  });

  test('is not made where an index lies already, and says so', async () => {
    const { machine } = await enrolled();
    await expect(TpmCounter.enrol(machine.tss, INDEX)).rejects.toMatchObject({
      code: 'slot.unavailable',
      message: expect.stringContaining('already'),
    });
  });

  test('of a TPM that does not answer is unavailable, not rolled back', async () => {
    const { machine, counter } = await enrolled();
    machine.chip.kill();
    await expect(counter.read()).rejects.toMatchObject({ code: 'slot.unavailable' });
    await machine.powerCut();
    expect(await counter.read()).toBeGreaterThan(0n);
  });

  test('of another storage key is refused though the index is right', async () => {
    const { machine, identity } = await enrolled();
    const other: CounterIdentity = { ...identity, srkName: Buffer.alloc(34, 1) };
    await expect(new TpmCounter(machine.tss, other).read()).rejects.toMatchObject(rolledBack);
  });
});
