import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { openCounter, readCounter, TpmCounter } from '../../../../host/seal/tpm2/counter.ts';
import { openSrk, policyDigest, startSession } from '../../../../host/seal/tpm2/device.ts';
import { bootPolicy, type SignedPolicy } from '../../../../host/seal/tpm2/policy.ts';
import { TpmSlot } from '../../../../host/seal/tpm2/slot.ts';
import { Tss } from '../../../../host/seal/tpm2/tss.ts';
import { policyReference } from '../../../../host/seal/tpm2/wire.ts';
import { Secret } from '../../../../host/secret.ts';
import { systemClock } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { SoftTpm } from '../../../tpm/swtpm.ts';

const open: SoftTpm[] = [];
afterEach(() => {
  for (const tpm of open.splice(0)) tpm.close();
});
const CONTEXT = Buffer.from('context');
const pinOf = (text: string) => new Secret(Buffer.from(text));
function bench() {
  const tpm = new SoftTpm();
  open.push(tpm);
  const tss = new Tss({ tcti: tpm.tcti, clock: systemClock(), timeoutMs: 5000 });
  const make = (pin?: Secret) =>
    new TpmSlot({ tss, random: systemRandom, pcrs: 1 << 16, shutdown: true, ...(pin === undefined ? {} : { pin }) });
  const extend = () =>
    tss.run((esys) =>
      esys.call(
        'PCR_Extend',
        16,
        0xff,
        0xfff,
        0xfff,
        esys.struct('TPML_DIGEST_VALUES', Buffer.concat([Buffer.from('00000001000b', 'hex'), Buffer.alloc(32, 7)])),
      ),
    );
  return { tpm, tss, make, extend };
}

test('opens, and not after its PCR moved, another context or another TPM', async () => {
  const { make, extend, tpm } = bench();
  await extend();
  const slot = make();
  const { key, blob } = await slot.create(CONTEXT);
  expect(Buffer.from((await slot.recover(blob, CONTEXT, {})).bytes).equals(key.bytes)).toBe(true);
  await expect(slot.recover(blob, Buffer.from('x'), {})).rejects.toMatchObject({ code: 'slot.refused' });
  await expect(bench().make().recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
  await extend();
  await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
  tpm.kill();
  await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.unavailable' });
});

test('counts up over a power cut', async () => {
  const { tss, tpm } = bench();
  const { identity, count } = await TpmCounter.enrol(tss, 0x01800010);
  const counter = new TpmCounter(tss, identity);
  expect(await counter.increment()).toBe(count + 1n);
  tpm.powerCut();
  expect(await counter.read()).toBe(count + 1n);
});

test('ten power cuts after PIN unseals do not lock it out; wrong PINs do', async () => {
  const { make, extend, tpm } = bench();
  await extend();
  await make().setLockoutAuth(pinOf('lockout'));
  const slot = make(pinOf('1234'));
  const { blob } = await slot.create(CONTEXT);
  for (let cut = 0; cut < 10; cut++) {
    await slot.recover(blob, CONTEXT, { pin: pinOf('1234') });
    tpm.powerCut();
    await extend();
  }
  const wrong = () => slot.recover(blob, CONTEXT, { pin: pinOf('9') }).catch((e: unknown) => String(e));
  const said = [await wrong(), await wrong(), await wrong(), await wrong()];
  expect(said[0]).toContain('PIN is wrong');
  expect(said[3]).toContain('locked out');
});

test('an ordinary index in the place of the counter is rolled back', async () => {
  const { tss } = bench();
  const { identity } = await TpmCounter.enrol(tss, 0x01800010);
  const counter = new TpmCounter(tss, identity);
  await tss.run(async (esys) => {
    const handle = [0];
    await esys.call('TR_FromTPMPublic', identity.index, 0xfff, 0xfff, 0xfff, handle);
    await esys.call('NV_UndefineSpace', 0x101, handle[0], 0xff, 0xfff, 0xfff);
  });
  await expect(counter.read()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
  await tss.run(async (esys) => {
    const area = Buffer.from('000e01800010000b0206000400000008', 'hex');
    const handle = [0];
    const auth = esys.struct('TPM2B_DIGEST', Buffer.alloc(2));
    await esys.call('NV_DefineSpace', 0x101, 0xff, 0xfff, 0xfff, auth, esys.struct('TPM2B_NV_PUBLIC', area), handle);
    const value = esys.struct('TPM2B_MAX_NV_BUFFER', Buffer.from('00080000000000000001', 'hex'));
    await esys.call('NV_Write', handle[0], handle[0], 0xff, 0xfff, 0xfff, value, 0);
  });
  await expect(counter.increment()).rejects.toMatchObject({ code: 'appliance.rolled-back' });
});

test('a signed policy follows an update and refuses a downgrade', async () => {
  const { tss, extend } = bench();
  await extend();
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = pair.publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from(jwk.x ?? '', 'base64url'), Buffer.from(jwk.y ?? '', 'base64url')]);
  const applianceId = Buffer.alloc(16, 5);
  const index = 0x01800020;
  let policies: SignedPolicy[] = [];
  const signed = { applianceId, point, index, policies: () => policies };
  const slot = new TpmSlot({ tss, random: systemRandom, pcrs: 1 << 16, shutdown: true, signed });
  const { key, blob } = await slot.create(CONTEXT);
  const signNow = (ahead: bigint) =>
    tss.run(async (esys) => {
      const srk = await openSrk(esys);
      const version = (await readCounter(esys, srk, await openCounter(esys, index))) + ahead;
      const session = await startSession(esys, srk, 'trial');
      await bootPolicy(esys, srk, session, 1 << 16, index, version);
      const digest = await policyDigest(esys, session);
      const message = Buffer.concat([digest, policyReference(applianceId)]);
      const signature = sign('sha256', message, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
      return { version, digest, signature };
    });
  const old = await signNow(0n);
  policies = [old];
  expect(Buffer.from((await slot.recover(blob, CONTEXT, {})).bytes).equals(key.bytes)).toBe(true);
  policies = [{ ...old, signature: Buffer.alloc(64, 1) }];
  await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
  const next = await signNow(1n);
  policies = [old, next];
  policies = [next];
  expect(Buffer.from((await slot.recover(blob, CONTEXT, {})).bytes).equals(key.bytes)).toBe(true);
  policies = [old];
  await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('downgrade');
});

test('the traffic of making and opening a slot does not contain the key', async () => {
  const { tpm } = bench();
  const seen: Buffer[] = [];
  const path = `${tpm.socket}.proxy`;
  const relay = (from: string, to: string) =>
    createServer((near) => {
      const far = connect(to);
      near.on('data', (bytes: Buffer) => {
        seen.push(bytes);
        far.write(bytes);
      });
      far.on('data', (bytes: Buffer) => {
        seen.push(bytes);
        near.write(bytes);
      });
      near.on('close', () => far.destroy());
      far.on('close', () => near.destroy());
      near.on('error', () => far.destroy());
      far.on('error', () => near.destroy());
    }).listen(from);
  const servers = [relay(path, tpm.socket), relay(`${path}.ctrl`, `${tpm.socket}.ctrl`)];
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const tss = new Tss({ tcti: `swtpm:path=${path}`, clock: systemClock(), timeoutMs: 5000 });
  await tss.run((esys) =>
    esys.call(
      'PCR_Extend',
      16,
      0xff,
      0xfff,
      0xfff,
      esys.struct('TPML_DIGEST_VALUES', Buffer.concat([Buffer.from('00000001000b', 'hex'), Buffer.alloc(32, 7)])),
    ),
  );
  const slot = new TpmSlot({ tss, random: systemRandom, pcrs: 1 << 16, shutdown: true });
  const { key, blob } = await slot.create(CONTEXT);
  await slot.recover(blob, CONTEXT, {});
  for (const server of servers) server.close();
  const traffic = Buffer.concat(seen);
  expect(traffic.includes(Buffer.alloc(32, 7))).toBe(true);
  for (let at = 0; at + 8 <= 32; at++)
    expect(traffic.includes(Buffer.from(key.bytes.subarray(at, at + 8)))).toBe(false);
});

test('a header or blob edited with its check value made anew is refused', async () => {
  const { make, extend } = bench();
  await extend();
  const slot = make();
  const { blob } = await slot.create(CONTEXT);
  for (const at of [0, 1, 2, 10, 60, 104, 112, 140, 200, blob.length - 20]) {
    const body = Buffer.from(blob.subarray(0, -16));
    body[at] = (body[at] ?? 0) ^ 1;
    const edited = Buffer.concat([body, createHash('sha256').update(body).digest().subarray(0, 16)]);
    const result = slot.recover(edited, CONTEXT, {});
    await expect(result, `byte ${at}`).rejects.toMatchObject({ code: 'slot.refused' });
  }
});
