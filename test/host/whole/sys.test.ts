import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

const status = (outbound: Outbound): number =>
  outbound.kind === 'error' ? outbound.status : (outbound.answer.status ?? 200);

async function tokenOf(policy: string): Promise<string> {
  await box.ok('write', 'sys/policies/acl/one', { policy });
  return (await box.ok('write', 'auth/token/create', { policies: ['one'] })).auth?.clientToken ?? '';
}

describe('?help=1', () => {
  const help = async (path: string, token?: string): Promise<string> => {
    const { raw } = await box.ok('help', path, {}, token);
    if (raw === undefined || !('json' in raw)) throw new Error('help has an envelope');
    return String(raw.json['help']);
  };

  test('of a mount lists its paths with what each does', async () => {
    const text = await help('secret/');
    expect(text).toContain('## DESCRIPTION');
    expect(text).toContain('    data/*path\n        GET     Read a version of a secret.');
    expect(await help('secret')).toBe(text);
  });

  test('of a path names what it takes and does, the catch-all not instead of it', async () => {
    const text = await help('secret/data/app/db');
    expect(text).toContain('Matching Route: data/*path');
    expect(text).toContain('    version (int)\n\n        Which version');
    expect(text).toContain('    POST    Write a new version of a secret.');
    expect(await help('sys/mounts/secret/tune')).toContain('default_lease_ttl (string)');
    expect(await help('sys/internal/ui/mounts/secret')).toContain('    GET     The mount');
  });

  test('is for any good token, and for no other', async () => {
    const any = await tokenOf('path "x" { capabilities = ["read"] }');
    expect(await help('secret/data/app', any)).toContain('Matching Route');
    expect(status(await box.send('help', 'secret/data/app', {}, null))).toBe(403);
    expect(status(await box.send('help', 'secret/data/app', {}, 'hvs.000000000000000000000000'))).toBe(403);
    expect(status(await box.send('help', 'sys/no-such-path'))).toBe(404);
    expect(status(await box.send('help', 'no-mount/x'))).toBe(404);
  });

  test('costs a use and is in the log as any request is', async () => {
    const { auth } = await box.ok('write', 'auth/token/create', { policies: ['default'], num_uses: 1 });
    const before = box.audit.size;
    expect(await help('secret/', auth?.clientToken)).toContain('## PATHS');
    expect(box.audit.size).toBeGreaterThanOrEqual(before + 2);
    expect(status(await box.send('help', 'secret/', {}, auth?.clientToken))).toBe(403);
  });
});

describe('what only some may do', () => {
  test('sealing takes sudo beside update', async () => {
    const update = await tokenOf('path "sys/seal" { capabilities = ["update"] }');
    expect(status(await box.send('write', 'sys/seal', {}, update))).toBe(403);
    const own = await tokenOf('path "sys/seal" { capabilities = ["sudo"] }');
    expect(status(await box.send('write', 'sys/seal', {}, own))).toBe(403);
    expect(status(await box.send('read', 'secret/data/none'))).toBe(404);
  });

  test('the OpenAPI document is for all', async () => {
    expect(status(await box.send('read', 'sys/internal/specs/openapi', {}, null))).toBe(200);
  });

  test('sealing with sudo and update seals', async () => {
    const both = await tokenOf('path "sys/seal" { capabilities = ["update", "sudo"] }');
    await box.send('write', 'sys/seal', {}, both);
    expect(status(await box.send('read', 'secret/data/none'))).toBe(503);
  });
});
