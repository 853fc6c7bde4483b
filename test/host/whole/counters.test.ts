/** A whole box, on LMDB, whose device counts: what its clients meet, and what a power cut leaves at each step. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { TestDevice } from '../seal/device.ts';
import { assemble, sender, type WholeBox, wholeBox } from './box.ts';

const device = new TestDevice();
let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox(undefined, undefined, undefined, { devices: [device] });
});
afterAll(() => box.end());

const status = (outbound: Outbound): number =>
  outbound.kind === 'error' ? outbound.status : (outbound.answer.status ?? 200);
const POLICY = 'path "secret/data/x" { capabilities = ["read"] }';

describe('what counts', () => {
  test.each([
    ['a policy', 'write', 'sys/policies/acl/one', { policy: POLICY }, 1n],
    ['its removal', 'delete', 'sys/policies/acl/one', {}, 1n],
    ['a mount', 'write', 'sys/mounts/kv', { type: 'kv' }, 1n],
    ['its tuning', 'write', 'sys/mounts/kv/tune', { max_lease_ttl: '1h' }, 1n],
    // First nothing reaches it, then its row goes.
    ['its removal', 'delete', 'sys/mounts/kv', {}, 2n],
    ['a new data key', 'write', 'sys/rotate', {}, 1n],
  ] as const)('%s', async (_, verb, path, body, raises) => {
    const before = device.only.count;
    await box.ok(verb, path, body);
    expect(device.only.count - before).toBeGreaterThanOrEqual(raises);
    expect(device.only.count - before).toBeLessThanOrEqual(raises + 1n);
  });

  test('and what does not', async () => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = device.only.count;
    await box.ok('write', 'secret/data/x', { data: { a: 'b' } });
    await box.ok('read', 'secret/data/x');
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['default'] });
    await box.ok('write', 'auth/token/revoke', { token: auth?.clientToken ?? '' });
    expect(device.only.count).toBe(before);
  });
});

test('while the device is away changes are refused in words, and everything else goes on, revocation too', async () => {
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['default'] });
  const token = auth?.clientToken ?? '';
  device.pulled = true;
  for (const [verb, path, body] of [
    ['write', 'sys/policies/acl/two', { policy: POLICY }],
    ['write', 'sys/mounts/kv2', { type: 'kv' }],
    ['write', 'sys/rotate', {}],
    ['delete', 'sys/policies/acl/default-not', {}],
  ] as const) {
    const outbound = await box.send(verb, path, body);
    if (path === 'sys/policies/acl/default-not') expect(status(outbound)).toBe(200);
    else {
      expect(status(outbound)).toBe(503);
      expect(JSON.stringify(outbound)).toContain('nothing was changed');
    }
  }
  await box.ok('write', 'secret/data/x', { data: { a: 'c' } });
  await box.ok('write', 'auth/token/revoke', { token });
  expect(status(await box.send('read', 'auth/token/lookup-self', {}, token))).toBe(403);
  expect(box.box.status().reasons.join()).toContain('revocation goes on');
  expect(status(await box.send('read', 'sys/policies/acl/two'))).toBe(404);
  device.pulled = false;
  await box.ok('write', 'sys/policies/acl/two', { policy: POLICY });
  expect(box.box.status().reasons).toEqual([]);
});

test('a power cut before the commit, before the raise, after it and after the answer leaves a box that opens by itself', async () => {
  const cuts: { readonly at: string; readonly folder: string; readonly count: bigint }[] = [];
  const cut = (at: string): void => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-cut-'));
    cpSync(dirname(box.data), folder, { recursive: true });
    cuts.push({ at, folder, count: device.only.count });
  };
  device.step = cut;
  await box.ok('write', 'sys/policies/acl/three', { policy: POLICY });
  device.step = () => undefined;
  cut('answered');
  expect(cuts.map(({ at }) => at)).toEqual(['read', 'increment', 'incremented', 'answered']);
  const [name = ''] = device.held.keys();
  for (const { at, folder, count } of cuts) {
    const left = new TestDevice();
    left.held.set(name, { count });
    const again = await assemble(
      join(folder, 'data'),
      join(folder, 'keyfile'),
      undefined,
      undefined,
      undefined,
      undefined,
      {
        devices: [left],
      },
    );
    try {
      expect([at, await again.box.unsealAutomatically()]).toEqual([at, true]);
      expect(BigInt(again.box.counters()[0]?.count ?? -1)).toBe(left.only.count);
      const there = await sender(again.services, () => box.root)('read', 'sys/policies/acl/three');
      expect([at, status(there)]).toEqual([at, at === 'read' ? 404 : 200]);
    } finally {
      await again.stop();
    }
    // The same disk, after the living box went on: it is an old one.
    const old = new TestDevice();
    old.held.set(name, { count: count + 5n });
    const late = await assemble(
      join(folder, 'data'),
      join(folder, 'keyfile'),
      undefined,
      undefined,
      undefined,
      undefined,
      {
        devices: [old],
      },
    );
    expect([at, await late.box.unsealAutomatically()]).toEqual([at, false]);
    expect(late.box.status().reasons.join()).toContain('rolled back');
    await late.stop();
    rmSync(folder, { recursive: true });
  }
});
