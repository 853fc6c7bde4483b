import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { deviceContext } from '../../../../host/seal/slot-format.ts';
import { openCounter, readCounter } from '../../../../host/seal/tpm2/counter.ts';
import { openSrk, policyDigest, startSession } from '../../../../host/seal/tpm2/device.ts';
import { bootPolicy, type SignedPolicy } from '../../../../host/seal/tpm2/policy.ts';
import { policyReference } from '../../../../host/seal/tpm2/wire.ts';
import { Machine, MEASURED, pin } from '../../../tpm/machine.ts';

const CONTEXT = Buffer.from('context of one slot of one box');
const APPLIANCE = Buffer.alloc(16, 5);
const INDEX = 0x0180_0020;

const open: Machine[] = [];
afterEach(() => {
  for (const machine of open.splice(0)) machine.close();
});

/** A slot by signed policies, and whoever signs them. */
function signedBench(options: { readonly pin?: string; readonly byContext?: true } = {}) {
  const machine = new Machine();
  open.push(machine);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  let policies: readonly SignedPolicy[] = [];
  const named = options.byContext ? {} : { applianceId: APPLIANCE };
  const signed = { ...named, point, index: INDEX, policies: () => policies };
  const slot = machine.slot({ signed, ...(options.pin === undefined ? {} : { pin: pin(options.pin) }) });
  /** Signs the PCRs as they are now, `ahead` of the version index. */
  const signNow = (
    ahead: bigint,
    applianceId: Buffer = APPLIANCE,
    key: KeyObject = privateKey,
  ): Promise<SignedPolicy> =>
    machine.tss.run(async (esys) => {
      const srk = await openSrk(esys);
      const version = (await readCounter(esys, srk, await openCounter(esys, INDEX))) + ahead;
      const session = await startSession(esys, srk, 'trial');
      await bootPolicy(esys, srk, session, MEASURED, INDEX, version);
      const digest = await policyDigest(esys, session);
      const message = Buffer.concat([digest, policyReference(applianceId)]);
      return { version, digest, signature: sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' }) };
    });
  const use = (...some: readonly SignedPolicy[]): void => {
    policies = some;
  };
  return { machine, slot, signNow, use };
}

describe('a slot by signed boot policies', () => {
  test('follows an update of the firmware, and refuses the firmware before it from then on', async () => {
    const { machine, slot, signNow, use } = signedBench();
    const { key, blob } = await slot.create(CONTEXT);
    const first = await signNow(0n);
    use(first);
    using before = await slot.recover(blob, CONTEXT, {});
    expect(Buffer.from(before.bytes).equals(key.bytes)).toBe(true);
    await machine.powerCut('firmware 2');
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    const second = await signNow(1n);
    use(first, second);
    using after = await slot.recover(blob, CONTEXT, {});
    expect(Buffer.from(after.bytes).equals(key.bytes)).toBe(true);
    await machine.powerCut('firmware 1');
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({
      code: 'slot.refused',
      message: expect.stringContaining('downgrade'),
    });
  });

  test('takes no policy that another key signed, or that was signed for another appliance', async () => {
    const { slot, signNow, use } = signedBench();
    const { blob } = await slot.create(CONTEXT);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    for (const policy of [await signNow(0n, APPLIANCE, other), await signNow(0n, Buffer.alloc(16, 6))]) {
      use(policy);
      await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    }
    use();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('no signed boot policy');
    use(await signNow(0n));
    using key = await slot.recover(blob, CONTEXT, {});
    expect(key.length).toBe(32);
  });

  test('shares its version index with the slot that replaces it: the count goes on, and goes with the last of them', async () => {
    const { machine, slot, signNow, use } = signedBench();
    const first = await slot.create(CONTEXT);
    use(await signNow(3n));
    using _raised = await slot.recover(first.blob, CONTEXT, {});
    const count = (): Promise<bigint> =>
      machine.tss.run(async (esys) => readCounter(esys, await openSrk(esys), await openCounter(esys, INDEX)));
    const raised = await count();
    const second = await slot.create(CONTEXT);
    expect(await count()).toBe(raised);
    await slot.discard(first.blob, [second.blob]);
    expect(await count()).toBe(raised);
    use(await signNow(0n));
    using again = await slot.recover(second.blob, CONTEXT, {});
    expect(Buffer.from(again.bytes).equals(second.key.bytes)).toBe(true);
    await slot.discard(second.blob, []);
    await expect(count()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
  });

  test('is bound to the appliance that its context names, and keeps it', async () => {
    const { slot, signNow, use } = signedBench({ byContext: true });
    await expect(slot.create(CONTEXT)).rejects.toThrow('made for an appliance');
    const context = deviceContext('tpm2', APPLIANCE, Buffer.alloc(16, 9));
    const { key, blob } = await slot.create(context);
    use(await signNow(0n, Buffer.alloc(16, 6)));
    await expect(slot.recover(blob, context, {})).rejects.toMatchObject({ code: 'slot.refused' });
    use(await signNow(0n));
    using again = await slot.recover(blob, context, {});
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
  });

  test('asks for its PIN too', async () => {
    const { machine, slot, signNow, use } = signedBench({ pin: '4711' });
    using password = pin('lock-out password');
    await slot.setLockoutAuth(password);
    const { key, blob } = await slot.create(CONTEXT);
    use(await signNow(0n));
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    await expect(slot.recover(blob, CONTEXT, { pin: pin('4712') })).rejects.toThrow('PIN is wrong');
    expect(await machine.failures()).toBe(1);
    using again = await slot.recover(blob, CONTEXT, { pin: pin('4711') });
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
  });

  test('does not let one policy use the version up', async () => {
    const { slot, signNow, use } = signedBench();
    const { blob } = await slot.create(CONTEXT);
    use(await signNow(65n));
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({
      code: 'slot.refused',
      message: expect.stringContaining('ahead'),
    });
  });

  test('takes its index with it when it goes, and goes though the chip is dead', async () => {
    const { machine, slot } = signedBench();
    const one = await slot.create(CONTEXT);
    await slot.discard(one.blob);
    await expect(machine.tss.run((esys) => openCounter(esys, INDEX))).rejects.toMatchObject({
      code: 'appliance.rolled-back',
    });
    const two = await slot.create(CONTEXT);
    // A slot by PCRs alone does not know the index, and leaves it.
    await machine.slot().discard(two.blob);
    expect(await machine.tss.run((esys) => openCounter(esys, INDEX))).toBeGreaterThan(0);
    machine.chip.kill();
    await expect(slot.discard(two.blob)).resolves.toBeUndefined();
  });
});
