/** The socket of the service's user: who may use it, what it takes, what it answers. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Control, startControl } from '../../../host/api/control.ts';
import { Fault } from '../../../host/fault.ts';
import type { Appliance } from '../../../host/ports/appliance.ts';
import { send } from '../../e2e/server.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-control-'));
const path = join(folder, 'control.sock');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const offered: [string, string | undefined][] = [];
let refusal: Error | undefined;
const way = { id: 'a'.repeat(32), kind: 'tpm2', opens: 'pin', threshold: 0, shares: 0 } as const;
const appliance = {
  status: () => ({ initialized: true, sealed: true, marked: false, reasons: ['why'] }),
  ways: () => [{ ...way, trouble: undefined }],
  async unsealBy(id: string, pin: { bytes: Uint8Array } | undefined) {
    offered.push([id, pin === undefined ? undefined : Buffer.from(pin.bytes).toString()]);
    if (refusal !== undefined) throw refusal;
    return { sealed: false };
  },
} as unknown as Appliance;

let control: Control;
beforeEach(async () => {
  offered.length = 0;
  refusal = undefined;
  control = await startControl(path, appliance);
});
afterEach(() => control.close());

const ask = (method: string, at: string, body?: unknown) => send(`unix:${path}`, undefined, method, at, {}, body);

describe('the control socket', () => {
  test('is this user’s alone from the moment it is there, and the mask of the process stays', async () => {
    const mask = process.umask(0);
    try {
      await control.close();
      control = await startControl(path, appliance);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(mask);
    }
  });

  test('tells the ways into the box', async () => {
    expect((await ask('GET', '/v1/ways')).json).toEqual({
      ...{ initialized: true, sealed: true, marked: false, reasons: ['why'] },
      slots: [{ ...way, trouble: null }],
    });
  });

  test('takes a slot and its PIN', async () => {
    expect(await ask('PUT', '/v1/unseal', { slot: 'aaaaaaaa', pin: '4711' })).toMatchObject({
      status: 200,
      json: { sealed: false },
    });
    await ask('PUT', '/v1/unseal', { slot: 'aaaaaaaa' });
    expect(offered).toEqual([
      ['aaaaaaaa', '4711'],
      ['aaaaaaaa', undefined],
    ]);
  });

  test.each([
    [{}],
    [{ slot: 1 }],
    [{ slot: 'a', pin: 1 }],
    [{ slot: 'a', more: 1 }],
    [[]],
    ['text'],
    [{ slot: 'a', pin: 'two\nlines' }],
    [{ slot: 'a', pin: 'x'.repeat(256) }],
  ])('refuses %j, and asks nobody', async (body) => {
    expect((await ask('PUT', '/v1/unseal', body)).status).toBe(400);
    expect(offered).toEqual([]);
  });

  test('refuses what is too large, and paths that it has not: the API is elsewhere', async () => {
    expect((await ask('PUT', '/v1/unseal', { slot: 'a'.repeat(5000) })).status).toBe(413);
    for (const [method, at] of [
      ['GET', '/v1/sys/health'],
      ['POST', '/v1/unseal'],
      ['GET', '/v1/ways?x=1'],
      ['PUT', '/v1/sys/seal'],
    ] as const)
      expect([at, (await ask(method, at)).status]).toEqual([at, 404]);
    expect(offered).toEqual([]);
  });

  test('answers what the device said, and nothing of a bug', async () => {
    refusal = new Fault('slot.refused', 'the PIN is wrong');
    const answer = await ask('PUT', '/v1/unseal', { slot: 'aaaaaaaa', pin: '4712' });
    expect(answer).toMatchObject({ status: 400, json: { errors: ['the PIN is wrong'] } });
    expect(answer.text).not.toContain('4712');
    refusal = new Error('a secret of the inside');
    expect(await ask('PUT', '/v1/unseal', { slot: 'aaaaaaaa' })).toMatchObject({
      status: 500,
      json: { errors: ['internal error'] },
    });
  });
});
