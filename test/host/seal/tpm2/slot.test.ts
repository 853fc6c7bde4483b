import { afterEach, describe, expect, test } from 'vitest';
import { decodeBlob, encodeBlob } from '../../../../host/seal/tpm2/blob.ts';
import { kernelOwns } from '../../../../host/seal/tpm2/tss.ts';
import { Machine, MEASURED, pin } from '../../../tpm/machine.ts';

const CONTEXT = Buffer.from('context of one slot of one box');
const open: Machine[] = [];
function newMachine(): Machine {
  const machine = new Machine();
  open.push(machine);
  return machine;
}
afterEach(() => {
  for (const machine of open.splice(0)) {
    machine.close();
    expect(machine.chip.running).toBe(false);
  }
});

describe('a slot in the TPM', () => {
  test('opens after a restart that measured the same, and not after one that did not', async () => {
    const machine = newMachine();
    const slot = machine.slot();
    const { blob, key } = await slot.create(CONTEXT);
    await machine.powerCut();
    using again = await slot.recover(blob, CONTEXT, {});
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
    await machine.powerCut('firmware 2');
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({
      code: 'slot.refused',
      message: expect.stringContaining('PCRs moved'),
    });
    // The TPM has three places for objects and three for sessions: a refusal leaves none taken.
    for (let round = 0; round < 4; round++) await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('moved');
    await machine.powerCut();
    using back = await slot.recover(blob, CONTEXT, {});
    expect(back.length).toBe(32);
  });

  test('is not made for PCRs that nothing was measured into, or that no bank holds', async () => {
    const machine = newMachine();
    for (const pcrs of [MEASURED | (1 << 4), 1 << 23, 1 << 17, 0]) {
      await expect(machine.slot({ pcrs }).create(CONTEXT)).rejects.toMatchObject({
        code: 'slot.refused',
        message: expect.stringContaining('PCR'),
      });
    }
  });

  test('does not open on another TPM, which says so', async () => {
    const machine = newMachine();
    const slot = machine.slot();
    const { blob } = await slot.create(CONTEXT);
    await machine.replaceChip();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({
      code: 'slot.refused',
      message: expect.stringContaining('another TPM'),
    });
    // Whoever writes the new chip's Name into the blob is refused by the chip.
    const fresh = decodeBlob((await slot.create(CONTEXT)).blob);
    const moved = encodeBlob({ ...decodeBlob(blob), srkName: fresh.srkName });
    await expect(slot.recover(moved, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
  });

  test('whose parts were edited by somebody who mends the check value is refused by the TPM', async () => {
    const machine = newMachine();
    const slot = machine.slot();
    const header = decodeBlob((await slot.create(CONTEXT)).blob);
    const { publicArea, privateArea } = header;
    const flipped = (bytes: Buffer, at: number): Buffer => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 0x40;
      return copy;
    };
    const edits = [
      { ...header, pin: true },
      { ...header, signed: { point: Buffer.alloc(64, 1), index: 0x0180_0020 } },
      { ...header, pcrs: 1 },
      { ...header, pcrs: 0 },
      ...Array.from({ length: 16 }, (_, n) => ({ ...header, publicArea: flipped(publicArea, 2 + n * 3) })),
      ...Array.from({ length: 16 }, (_, n) => ({ ...header, privateArea: flipped(privateArea, 2 + n * 9) })),
      { ...header, publicArea: Buffer.from('0000', 'hex') },
      { ...header, privateArea: Buffer.from('0000', 'hex') },
    ];
    for (const edit of edits) {
      await expect(slot.recover(encodeBlob(edit), CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
      const offered = { pin: pin('4711') };
      await expect(slot.recover(encodeBlob(edit), CONTEXT, offered)).rejects.toMatchObject({ code: 'slot.refused' });
    }
    expect(await machine.failures()).toBe(0);
    using key = await slot.recover(encodeBlob(header), CONTEXT, {});
    expect(key.length).toBe(32);
  });

  test('opens under an owner password by the key that the owner kept, and says so where none was kept', async () => {
    const machine = newMachine();
    const slot = machine.slot();
    const { blob, key } = await slot.create(CONTEXT);
    await machine.takeOwnership('storage key');
    await machine.powerCut();
    using again = await slot.recover(blob, CONTEXT, {});
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
    const other = newMachine();
    const alone = await other.slot().create(CONTEXT);
    await expect(slot.recover(alone.blob, CONTEXT, {})).rejects.toThrow('another TPM');
    const ownerWanted = { code: 'slot.unavailable', message: expect.stringContaining('owner authorisation') };
    await other.takeOwnership('none');
    await expect(other.slot().recover(alone.blob, CONTEXT, {})).rejects.toMatchObject(ownerWanted);
    const stranger = newMachine();
    await stranger.takeOwnership('other');
    await expect(stranger.slot().create(CONTEXT)).rejects.toMatchObject(ownerWanted);
  });

  test('names the setting where the TPM cannot be reached', async () => {
    for (const tcti of ['swtpm:path=/nowhere/s', 'device:/nowhere', 'nonsense:1']) {
      const machine = new Machine({ tcti });
      open.push(machine);
      await expect(machine.slot().create(CONTEXT)).rejects.toMatchObject({
        code: 'slot.unavailable',
        message: expect.stringContaining('seal.tpm2.tcti'),
      });
    }
  });
});

test('the TPM is shut down by whoever uses it only where no kernel driver does', () => {
  expect(['', 'device', 'device:/dev/tpmrm0', 'device:/dev/tpm0', 'tabrmd'].map(kernelOwns)).not.toContain(false);
  expect(['swtpm', 'swtpm:path=/run/s', 'mssim:host=127.0.0.1', 'cmd:tpm'].map(kernelOwns)).not.toContain(true);
});

describe('a slot with a PIN', () => {
  async function withPin() {
    const machine = newMachine();
    const slot = machine.slot({ pin: pin('4711') });
    using password = pin('lock-out password');
    await slot.setLockoutAuth(password);
    return { machine, slot, created: await slot.create(CONTEXT) };
  }

  test('is not made while anybody could reset the count of wrong PINs', async () => {
    const slot = newMachine().slot({ pin: pin('4711') });
    await expect(slot.create(CONTEXT)).rejects.toMatchObject({ code: 'slot.refused' });
    await expect(
      newMachine()
        .slot({ pin: pin('') })
        .create(CONTEXT),
    ).rejects.toMatchObject({ code: 'input.invalid' });
  });

  test('opens with it alone; a wrong one is counted, a missing one is not; then the TPM locks and says how long', async () => {
    const { machine, slot, created } = await withPin();
    expect(slot.automatic).toBe(false);
    using key = await slot.recover(created.blob, CONTEXT, { pin: pin('4711') });
    expect(Buffer.from(key.bytes).equals(created.key.bytes)).toBe(true);
    await expect(slot.recover(created.blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    expect(await machine.failures()).toBe(0);
    for (let wrong = 1; wrong <= 3; wrong++) {
      await expect(slot.recover(created.blob, CONTEXT, { pin: pin('4712') })).rejects.toMatchObject({
        code: 'slot.refused',
        message: expect.stringContaining('PIN is wrong'),
      });
      expect(await machine.failures()).toBe(wrong);
    }
    await expect(slot.recover(created.blob, CONTEXT, { pin: pin('4711') })).rejects.toMatchObject({
      code: 'slot.unavailable',
      message: expect.stringContaining('wait 1000 seconds'),
    });
  });

  test('survives ten power cuts in a row, each right after it was opened', async () => {
    const { machine, slot, created } = await withPin();
    for (let cut = 0; cut < 10; cut++) {
      using key = await slot.recover(created.blob, CONTEXT, { pin: pin('4711') });
      expect(key.length).toBe(32);
      await machine.powerCut();
      expect(await machine.failures()).toBe(0);
    }
  });

  test('that is not shut down after each opening is locked by the third cut: the cuts above prove something', async () => {
    const { machine, created } = await withPin();
    const careless = machine.slot({ shutdown: false });
    for (let cut = 0; cut < 3; cut++) {
      using key = await careless.recover(created.blob, CONTEXT, { pin: pin('4711') });
      expect(key.length).toBe(32);
      await machine.powerCut();
    }
    expect(await machine.failures()).toBe(3);
  });
});
