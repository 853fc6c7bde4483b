/** The TPM's lockout authorisation as the box keeps it, and as a (software) TPM takes it. */
import { afterEach, describe, expect, test } from 'vitest';
import type { LeaseTime } from '../../../host/ports/lease-time.ts';
import type { LockoutDevice, LockoutState } from '../../../host/ports/lockout.ts';
import { Lockout } from '../../../host/seal/lockout.ts';
import { TpmLockout } from '../../../host/seal/tpm2/lockout.ts';
import type { Secret } from '../../../host/secret.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { Machine as Chip, pin } from '../../tpm/machine.ts';
import { Machine } from './machine.ts';

const open: Chip[] = [];
afterEach(() => {
  for (const chip of open.splice(0)) chip.close();
});

class Device implements LockoutDevice {
  auth = '';
  fails = false;
  readonly asked: string[] = [];
  async state(): Promise<LockoutState> {
    return { failures: 0, failuresMax: 3, intervalS: 1000, recoveryS: 1000, authSet: this.auth !== '' };
  }
  async setAuth(auth: Secret): Promise<void> {
    if (this.fails) throw new Error('the power went');
    this.auth = Buffer.from(auth.bytes).toString();
  }
  async reset(auth: Secret): Promise<void> {
    this.asked.push(`reset ${Buffer.from(auth.bytes)}`);
  }
  async setParameters(auth: Secret, parameters: object): Promise<void> {
    this.asked.push(`${JSON.stringify(parameters)} ${Buffer.from(auth.bytes)}`);
  }
}

async function bench() {
  const machine = new Machine('sealed');
  await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  expect(await machine.box.unsealAutomatically()).toBe(true);
  const device = new Device();
  const lease = { nowMs: () => machine.clock.now } as unknown as LeaseTime;
  const lockout = new Lockout({
    ...{ core: machine.core, store: machine.store, lease, random: systemRandom, device },
    holder: () => machine.box.holder(),
    note: (event) => void machine.notes.push(event),
    leavesDurable: async () => undefined,
  });
  return { machine, device, lockout };
}

const text = (secret: Secret): string => Buffer.from(secret.bytes).toString();

describe('the lockout authorisation', () => {
  test('is made once, kept sealed, and used for what a person asks', async () => {
    const { machine, device, lockout } = await bench();
    await expect(lockout.reset()).rejects.toThrow('is not kept here');
    using auth = await lockout.take();
    expect(text(auth)).toMatch(/^[0-9a-f]{32}$/);
    expect(device.auth).toBe(text(auth));
    expect(await lockout.state()).toMatchObject({ authSet: true, kept: true });
    await expect(lockout.take()).rejects.toThrow('shown once');
    await lockout.reset();
    await lockout.setParameters({ failuresMax: 9 });
    expect(device.asked).toEqual([
      `reset ${text(auth)}`,
      `{"failuresMax":9,"intervalS":1000,"recoveryS":1000} ${text(auth)}`,
    ]);
    expect(machine.notes.slice(-3)).toEqual(['tpm.lockout-taken', 'tpm.lockout-reset', 'tpm.lockout-parameters']);
    for (const { value } of machine.store.range('job')) expect(Buffer.from(value).includes(text(auth))).toBe(false);
  });

  test('that was kept and not set, for the power went, is the one that the next try sets', async () => {
    const { device, lockout } = await bench();
    device.fails = true;
    await expect(lockout.take()).rejects.toThrow('the power went');
    expect(await lockout.state()).toMatchObject({ authSet: false, kept: true });
    device.fails = false;
    using auth = await lockout.take();
    expect(device.auth).toBe(text(auth));
    await lockout.reset();
    expect(device.asked).toEqual([`reset ${text(auth)}`]);
  });

  test('that somebody else set is left alone', async () => {
    const { device, lockout } = await bench();
    device.auth = 'the owner’s';
    await expect(lockout.take()).rejects.toThrow('somebody else set');
    expect(device.auth).toBe('the owner’s');
    expect(await lockout.state()).toMatchObject({ kept: false });
  });

  test('is nobody’s on a sealed box', async () => {
    const { machine, lockout } = await bench();
    await machine.box.seal();
    await expect(lockout.take()).rejects.toMatchObject({ code: 'appliance.sealed' });
  });
});

describe('a TPM', () => {
  test('takes the authorisation, the parameters and the reset by it, and by no other', async () => {
    const chip = new Chip();
    open.push(chip);
    await chip.started();
    const lockout = new TpmLockout(chip.tss);
    expect(await lockout.state()).toMatchObject({ failures: 0, failuresMax: 3, authSet: false });
    await lockout.setAuth(pin('the right one'));
    expect((await lockout.state()).authSet).toBe(true);
    await expect(lockout.setAuth(pin('another'))).rejects.toMatchObject({ code: 'slot.refused' });
    await chip.powerCut();
  });

  test('locked by wrong PINs is unlocked by it, and forgives at the rate that was set', async () => {
    const chip = new Chip();
    open.push(chip);
    await chip.started();
    const lockout = new TpmLockout(chip.tss);
    await lockout.setAuth(pin('the right one'));
    await lockout.setParameters(pin('the right one'), { failuresMax: 2, intervalS: 600, recoveryS: 0 });
    const slot = chip.slot({ pin: pin('4711') });
    const context = Buffer.from('context');
    const { blob } = await slot.create(context);
    for (let tries = 0; tries < 2; tries++)
      await expect(slot.recover(blob, context, { pin: pin('1') })).rejects.toThrow();
    expect(await lockout.state()).toMatchObject({ failures: 2, failuresMax: 2, intervalS: 600, recoveryS: 0 });
    await expect(slot.recover(blob, context, { pin: pin('4711') })).rejects.toThrow('wait 600 seconds');
    await lockout.reset(pin('the right one'));
    expect(await chip.failures()).toBe(0);
    using key = await slot.recover(blob, context, { pin: pin('4711') });
    expect(key.length).toBe(32);
    await expect(lockout.reset(pin('another'))).rejects.toMatchObject({
      code: 'slot.refused',
      message: expect.stringContaining('another lockout authorisation'),
    });
    // recoveryS 0: it is not asked again before the machine starts anew.
    await expect(lockout.reset(pin('the right one'))).rejects.toMatchObject({ code: 'slot.unavailable' });
    await chip.powerCut();
    await lockout.reset(pin('the right one'));
  });
});
