/** The count in a token's data object. SoftHSM keeps data objects; NSS does not, and says so. */
import { execFileSync } from 'node:child_process';
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Pkcs11CounterDevice } from '../../../../host/seal/pkcs11/counter.ts';
import { TokenUse } from '../../../../host/seal/pkcs11/use.ts';
import { Secret } from '../../../../host/secret.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { counterContract } from '../../../contract/counter.ts';
import { Machine } from '../machine.ts';
import { childrenAlive, shimmed } from './shim.ts';
import { initSoftHsmToken, nss, removeScratch, softHsm, type TokenBench } from './tokens.ts';

afterAll(() => {
  expect(childrenAlive()).toEqual([]);
  removeScratch();
});

const deviceOf = ({ options }: Pick<TokenBench, 'options'>): Pkcs11CounterDevice =>
  new Pkcs11CounterDevice(new TokenUse(options), systemRandom);

counterContract('SoftHSM', async () => {
  const bench = softHsm();
  return {
    device: deviceOf(bench),
    // Each use is a process of its own, which ends after it: there is nothing that a power cut could take besides.
    powerCut: async () => undefined,
    replace: async () => {
      rmSync(join(bench.folder, 'tokens'), { recursive: true });
      execFileSync('mkdir', ['-m', '700', join(bench.folder, 'tokens')]);
      initSoftHsmToken(bench.folder, 'box');
    },
  };
});

describe('a count in a token', () => {
  test('a token without data objects says so, and the slot works without a counter', async () => {
    await expect(deviceOf(nss()).enrol()).rejects.toMatchObject({
      code: 'slot.unavailable',
      message: expect.stringContaining('keeps no data objects'),
    });
  });

  test('a module that dies between the two writes leaves the higher count', async () => {
    const hsm = shimmed();
    const device = deviceOf(hsm);
    const { counter, place } = await device.enrol();
    expect(await counter.increment()).toBe(2n);
    hsm.misbehave({ at: 'C_DestroyObject', does: 'abort' });
    await expect(counter.increment()).rejects.toMatchObject({ code: 'slot.unavailable' });
    hsm.misbehave(undefined);
    expect(await counter.read()).toBe(3n);
    expect(await counter.increment()).toBe(4n);
    expect(await device.at(place).read()).toBe(4n);
  });

  test('is not asked for without a PIN', async () => {
    const { options } = softHsm();
    const { pinFile: _, ...rest } = options;
    const device = new Pkcs11CounterDevice(new TokenUse(rest), systemRandom);
    await expect(device.enrol()).rejects.toMatchObject({ code: 'slot.refused' });
  });
});

test('a box whose HSM counts: an old store is refused, its holder of the PIN can set it back, and it is called advisory', async () => {
  const machine = new Machine('sealed');
  const hsm = softHsm();
  const token = new TokenUse(hsm.options);
  machine.hardware.push(hsm.slot);
  machine.devices.push(new Pkcs11CounterDevice(token, systemRandom));
  machine.restart();
  const { shares } = await machine.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  const share = (): Secret => new Secret(Buffer.from(shares[0]?.bytes ?? []));
  const start = (): Promise<boolean> => {
    machine.restart();
    return machine.box.unsealAutomatically();
  };
  await machine.box.unsealAutomatically();
  await machine.box.keyService.addSlot('pkcs11');
  expect(machine.box.counters()).toMatchObject([{ kind: 'pkcs11', advisory: true, count: 1 }]);
  const tokens = join(hsm.folder, 'tokens');
  const old = machine.copyOfStore();
  execFileSync('cp', ['-a', tokens, `${tokens}-old`]);
  expect(await start()).toBe(true);
  await machine.putBack(old);
  expect(await start()).toBe(false);
  expect(machine.box.status().reasons.join()).toContain('the pkcs11 counter is at 2 and the store at 1');
  // Advisory: with the token's old files (or the PIN) the old count is back, and nothing is noticed.
  renameSync(tokens, `${tokens}-new`);
  renameSync(`${tokens}-old`, tokens);
  expect(readdirSync(tokens)).not.toEqual([]);
  expect(await start()).toBe(true);
  rmSync(tokens, { recursive: true });
  machine.restart();
  await expect(machine.box.offerShare(share())).rejects.toMatchObject({ code: 'appliance.rolled-back' });
  expect(await machine.box.offerShare(share(), 'rolled-back')).toMatchObject({ sealed: false });
  expect(machine.box.counters()).toEqual([]);
  expect(machine.box.status().reasons.join()).toContain('no counter in the pkcs11 device');
});
