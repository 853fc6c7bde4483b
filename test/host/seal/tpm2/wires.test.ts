import { generateKeyPairSync } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { TpmCounter } from '../../../../host/seal/tpm2/counter.ts';
import { TpmSlot } from '../../../../host/seal/tpm2/slot.ts';
import { Tss } from '../../../../host/seal/tpm2/tss.ts';
import { nameOf, SRK_TEMPLATE, sha256 } from '../../../../host/seal/tpm2/wire.ts';
import { systemClock } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { Machine, MEASURED, pin } from '../../../tpm/machine.ts';
import { Wiretap } from '../../../tpm/wiretap.ts';

const CONTEXT = Buffer.from('context of one slot of one box');
const UNSEAL = 0x15e;
const NV_READ = 0x14e;
const CREATE_PRIMARY = 0x131;
const READ_PUBLIC = 0x173;
const START_AUTH_SESSION = 0x176;

const open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0).reverse()) one.close();
});

/** A slot with a PIN on a machine whose wires are tapped; the clock's deadlines pass when `expire` is called. */
async function tapped() {
  const machine = new Machine();
  open.push(machine);
  using password = pin('lock-out password');
  await machine.slot().setLockoutAuth(password);
  const tap = await Wiretap.on(machine.chip.socket);
  open.push(tap);
  const deadlines = new Set<() => void>();
  const clock = {
    ...systemClock(),
    after: (_delayMs: number, job: () => void) => {
      deadlines.add(job);
      return { cancel: () => void deadlines.delete(job) };
    },
  };
  const tss = new Tss({ tcti: tap.tcti, clock, timeoutMs: 1000 });
  const slot = new TpmSlot({ tss, random: systemRandom, pcrs: MEASURED, shutdown: true, pin: pin('4711') });
  const expire = (): void => {
    for (const job of deadlines) job();
  };
  return { machine, tap, tss, slot, expire };
}

function otherPoint(): { readonly x: Buffer; readonly y: Buffer } {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  return { x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url') };
}

test('whoever records the wires while a slot is made and opened has neither key nor PIN', async () => {
  const { tap, slot } = await tapped();
  const { key, blob } = await slot.create(CONTEXT);
  using again = await slot.recover(blob, CONTEXT, { pin: pin('4711') });
  expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
  const { traffic } = tap;
  expect(traffic.length).toBeGreaterThan(2000);
  // What may be seen was seen: the private area goes to the TPM as it lies in the blob, wrapped by the TPM itself.
  expect(traffic.includes(Buffer.from(blob.subarray(107 + 10, 107 + 60)))).toBe(true);
  const secrets = [key.bytes, sha256(Buffer.from('holdfast/v1/tpm2-pin'), Buffer.from('4711')), Buffer.from('4711')];
  secrets.push(sha256(Buffer.from('holdfast/v1/tpm2'), CONTEXT));
  for (const secret of secrets.filter(({ length }) => length === 32)) {
    for (let at = 0; at + 6 <= secret.length; at++) {
      expect(traffic.includes(Buffer.from(secret.subarray(at, at + 6)))).toBe(false);
    }
  }
});

test('an answer that was changed on the wires is refused', async () => {
  const { tap, slot, machine } = await tapped();
  const { blob } = await slot.create(CONTEXT);
  tap.change = (answer, command) => {
    const changed = Buffer.from(answer);
    if (command === UNSEAL) changed[30] = (changed[30] ?? 0) ^ 1;
    return changed;
  };
  await expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toMatchObject({
    code: 'slot.refused',
    message: expect.stringContaining('changed on its way'),
  });
  expect(await machine.failures()).toBe(0);
});

test('a count that was changed on the wires is not believed', async () => {
  const { tap, tss } = await tapped();
  const { identity, count } = await TpmCounter.enrol(tss, 0x0180_0010);
  const counter = new TpmCounter(tss, identity);
  expect(await counter.read()).toBe(count);
  tap.change = (answer, command) => {
    const changed = Buffer.from(answer);
    if (command === NV_READ) changed[20] = (changed[20] ?? 0) ^ 1;
    return changed;
  };
  await expect(counter.read()).rejects.toMatchObject({ code: 'slot.refused' });
});

test('a chip on the wires that answers with a storage key of its own gets nothing', async () => {
  const { tap, slot } = await tapped();
  const { blob } = await slot.create(CONTEXT);
  const { x, y } = otherPoint();
  tap.change = (answer, command) => {
    const changed = Buffer.from(answer);
    // Head, handle, length of the parameters; the public area is the template with a point for its end.
    const pointAt = 10 + 4 + 4 + SRK_TEMPLATE.length - 4;
    if (command !== CREATE_PRIMARY) return changed;
    x.copy(changed, pointAt + 2);
    y.copy(changed, pointAt + 2 + 32 + 2);
    // At the end: the Name, then an empty nonce, attributes and authentication.
    nameOf(changed.subarray(10 + 4 + 4, pointAt + 2 + 32 + 2 + 32)).copy(changed, changed.length - 5 - 34);
    return changed;
  };
  const before = tap.commands.length;
  await expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toMatchObject({
    code: 'slot.refused',
    message: expect.stringContaining('another TPM'),
  });
  expect(tap.commands.slice(before)).toContain(CREATE_PRIMARY);
  expect(tap.commands.slice(before)).not.toContain(START_AUTH_SESSION);
  tap.change = (answer) => answer;
  using key = await slot.recover(blob, CONTEXT, { pin: pin('4711') });
  expect(key.length).toBe(32);
});

test('a persistent storage key is taken only as what its Name says, in every answer', async () => {
  const { tap, slot, machine } = await tapped();
  const { blob } = await slot.create(CONTEXT);
  await machine.takeOwnership('storage key');
  for (const forged of [[0], [1], [0, 1]]) {
    for (const withName of [false, true]) {
      const { x, y } = otherPoint();
      let answers = 0;
      tap.change = (answer, command) => {
        const changed = Buffer.from(answer);
        if (command !== READ_PUBLIC || !forged.includes(answers++)) return changed;
        const pointAt = 10 + SRK_TEMPLATE.length - 4;
        x.copy(changed, pointAt + 2);
        y.copy(changed, pointAt + 2 + 32 + 2);
        const end = pointAt + 2 + 32 + 2 + 32;
        if (withName) nameOf(changed.subarray(10, end)).copy(changed, end + 2);
        return changed;
      };
      const before = tap.commands.length;
      await expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toThrow();
      expect(answers).toBeGreaterThan(0);
      expect(tap.commands.slice(before)).not.toContain(START_AUTH_SESSION);
    }
  }
  tap.change = (answer) => answer;
  using key = await slot.recover(blob, CONTEXT, { pin: pin('4711') });
  expect(key.length).toBe(32);
});

test('a call that hangs is given up at its deadline, and the next one gets a context of its own', async () => {
  const { tap, slot, machine, expire } = await tapped();
  const { blob, key } = await slot.create(CONTEXT);
  for (const command of [UNSEAL, CREATE_PRIMARY]) {
    const reached = new Promise<void>((resolve) => {
      tap.swallowed = resolve;
    });
    tap.swallow = (one) => one === command;
    const failed = expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toMatchObject({
      code: 'slot.unavailable',
      message: expect.stringContaining('did not answer in time'),
    });
    await reached;
    expire();
    await failed;
    tap.swallow = () => false;
    tap.cut();
    // The stuck context held its places in the TPM: a chip without a resource manager needs its reset.
    await machine.powerCut();
    using again = await slot.recover(blob, CONTEXT, { pin: pin('4711') });
    expect(Buffer.from(again.bytes).equals(key.bytes)).toBe(true);
  }
});

test('where calls hang again and again no more are made, until one comes back', async () => {
  const { tap, slot, machine, expire } = await tapped();
  const { blob } = await slot.create(CONTEXT);
  tap.swallow = () => true;
  for (let call = 0; call < 2; call++) {
    const reached = new Promise<void>((resolve) => {
      tap.swallowed = resolve;
    });
    const failed = expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toThrow('in time');
    await reached;
    expire();
    await failed;
  }
  const before = tap.commands.length;
  await expect(slot.recover(blob, CONTEXT, { pin: pin('4711') })).rejects.toMatchObject({
    code: 'slot.unavailable',
    message: expect.stringContaining('does not answer'),
  });
  expect(tap.commands).toHaveLength(before);
  tap.swallow = () => false;
  tap.cut();
  await machine.powerCut();
  await expect.poll(() => slot.recover(blob, CONTEXT, { pin: pin('4711') }).then((key) => key.length, String)).toBe(32);
});

test('calls made at the same time follow each other', async () => {
  const { slot, tss } = await tapped();
  const { blob, key } = await slot.create(CONTEXT);
  const { identity, count } = await TpmCounter.enrol(tss, 0x0180_0011);
  const counter = new TpmCounter(tss, identity);
  const opened = Array.from({ length: 8 }, () => slot.recover(blob, CONTEXT, { pin: pin('4711') }));
  const counted = Array.from({ length: 8 }, () => counter.increment());
  for (const one of await Promise.all(opened)) expect(Buffer.from(one.bytes).equals(key.bytes)).toBe(true);
  expect(await Promise.all(counted)).toEqual(Array.from({ length: 8 }, (_, n) => count + BigInt(n) + 1n));
});
