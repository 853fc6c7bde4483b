/** A real server with an HSM (SoftHSM stands in), as its operator meets it. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { openLmdbStore } from '../../host/store/lmdb/open.ts';
import { files } from '../../host/system/files.ts';
import { lockFolder } from '../../host/system/lock.ts';
import { initSoftHsmToken, PIN, removeScratch, SOFTHSM_MODULE, softHsm } from '../host/seal/pkcs11/tokens.ts';
import { Operator } from './cli.ts';
import { Home, type RunningServer } from './server.ts';

// Some dozen processes a test, on machines that do other things too.
vi.setConfig({ testTimeout: 240_000 });

const homes: Home[] = [];
afterEach(async () => {
  for (const home of homes.splice(0)) await home.close();
});
afterAll(removeScratch);

function bench(profile = 'onprem-hsm', pinFile = true) {
  const home = new Home();
  homes.push(home);
  const hsm = softHsm();
  const variables: Record<string, string> = {
    HOLDFAST_PROFILE: profile,
    HOLDFAST_PKCS11_MODULE: SOFTHSM_MODULE,
    HOLDFAST_PKCS11_TOKEN: 'box',
    SOFTHSM2_CONF: join(hsm.folder, 'softhsm2.conf'),
    ...(pinFile ? { HOLDFAST_PKCS11_PIN_FILE: hsm.pinFile } : {}),
  };
  const tokens = join(hsm.folder, 'tokens');
  return {
    ...{ home, hsm, variables },
    operator: new Operator(home, variables),
    start: (args: readonly string[] = []): Promise<RunningServer> => home.start(args, variables),
    pull: () => {
      renameSync(tokens, `${tokens}.pulled`);
      mkdirSync(tokens, { mode: 0o700 });
    },
    plug: () => {
      rmSync(tokens, { recursive: true, force: true });
      renameSync(`${tokens}.pulled`, tokens);
    },
    /** Another token with the same label in the same place. */
    swap: () => {
      renameSync(tokens, `${tokens}.pulled`);
      mkdirSync(tokens, { mode: 0o700 });
      initSoftHsmToken(hsm.folder, 'box');
    },
  };
}

const isSealed = async (server: RunningServer): Promise<unknown> =>
  (await server.call('GET', 'sys/seal-status', undefined, '')).json?.['sealed'];

async function becomesOpen(server: RunningServer): Promise<void> {
  for (let tries = 0; tries < 1200; tries++) {
    if ((await isSealed(server)) === false) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the box did not open');
}

describe('a box with an HSM', () => {
  test('is made with its slot and opens by itself; its token may be pulled while it serves, and is missed at the next start', async () => {
    const at = bench();
    let server = await at.start(['--init']);
    expect(server.stdout).toContain('opened by:       pkcs11');
    expect(at.operator.kinds()).toEqual(['pkcs11', 'shamir']);
    at.operator.ok('kv put secret/a b=c');
    await server.stop();
    server = await at.start();
    expect(server.stdout).toContain('opened by:       pkcs11');
    at.pull();
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
    expect(at.operator.run('slot test pkcs11').error).toContain('no token has the label');
    await server.stop();

    server = await at.start();
    expect(await isSealed(server)).toBe(true);
    expect(server.stdout).toMatch(
      /note:\s+slot pkcs11 [0-9a-f]{8}: no token has the label that seal.pkcs11.token names/,
    );
    expect(at.operator.finding('slot pkcs11')).toMatchObject({
      state: 'bad',
      sentence: expect.stringContaining('plug the HSM in, or correct the label'),
    });
    at.plug();
    // Nobody does anything: it is tried again.
    await becomesOpen(server);
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
    expect(at.operator.finding('slot pkcs11')).toMatchObject({ state: 'ok' });
  });

  test('does not open by another token of the same label, which is not told the PIN', async () => {
    const at = bench();
    const server = await at.start(['--init']);
    await server.stop();
    at.swap();
    const again = await at.start();
    expect(await isSealed(again)).toBe(true);
    expect(again.stdout).toContain('another serial number');
    await again.stop();
    expect(at.operator.finding('slot pkcs11')).toMatchObject({
      state: 'bad',
      sentence: expect.stringContaining('was not told the PIN; plug that one in'),
    });
    at.plug();
    expect(await isSealed(await at.start())).toBe(false);
  });

  test('tries a wrong PIN once over all starts and diagnoses, until a person opens the slot with the right one', async () => {
    const at = bench();
    let server = await at.start(['--init']);
    await server.stop();
    writeFileSync(at.hsm.pinFile, '111111\n');
    server = await at.start();
    expect(server.stdout).toContain('the token refused the PIN, which is not tried again by itself');
    await server.stop();
    expect(at.operator.finding('slot pkcs11')?.sentence).toContain('holdfast unseal -slot=pkcs11 -pin');
    writeFileSync(at.hsm.pinFile, `${PIN}\n`);
    server = await at.start();
    expect(server.stdout).toMatch(/none is tried by itself|was refused before/);
    expect(at.operator.run('unseal -slot=pkcs11 -pin', '111111').error).toContain('refused the PIN');
    at.operator.ok('unseal -slot=pkcs11 -pin', PIN);
    expect(await isSealed(server)).toBe(false);
    expect(at.operator.ok('unseal -slot=pkcs11 -pin', '111111')).toContain('open already: nothing was tried');
    await server.stop();
    expect(await isSealed(await at.start())).toBe(false);
  });

  test('says which library is missing, and which settings are', async () => {
    const at = bench();
    const server = await at.start(['--init']);
    await server.stop();
    const without = new Operator(at.home, { ...at.variables, HOLDFAST_PKCS11_MODULE: '/usr/lib/absent.so' });
    expect(without.finding('slot pkcs11')?.sentence).toContain('the PKCS#11 module cannot be loaded');
    const unset = new Operator(at.home, { HOLDFAST_PROFILE: 'onprem-hsm' });
    expect(unset.finding('settings')).toMatchObject({
      state: 'bad',
      sentence: expect.stringContaining('HOLDFAST_PKCS11_MODULE'),
    });
    const other = new Operator(at.home, { HOLDFAST_PROFILE: 'edge-tpm', HOLDFAST_TPM2_TCTI: 'swtpm:path=/absent' });
    expect(other.finding('slot pkcs11')?.sentence).toContain('not allowed here');
    const dev = new Operator(at.home, {});
    expect(dev.finding('slot pkcs11')?.sentence).toContain('settings seal.pkcs11.*');
  });

  test('is not made where the token is not told its PIN, and says so', async () => {
    const at = bench('onprem-hsm', false);
    await at.start();
    expect(at.operator.run('init -key-shares=1 -key-threshold=1')).toMatchObject({
      code: 2,
      error: expect.stringMatching(/\* the token asks for a PIN: name its file in seal.pkcs11.pinFile/),
    });
    expect(at.operator.run('init -status').code).toBe(2);
  });

  test('whose row was edited on the disk stays shut and names the damage', async () => {
    const at = bench();
    const server = await at.start(['--init']);
    await server.stop();
    const lock = lockFolder(at.home.data);
    const store = await openLmdbStore({ lock, files, witness: { fold: () => [] } });
    for (const { key, value } of [...store.range('boot', { prefix: Buffer.from('slot/') })]) {
      const row = Buffer.from(value);
      const blob = 3 + 76 + 2;
      if (row[4] !== 2) continue;
      row.writeUInt8(row.readUInt8(blob + 40) ^ 1, blob + 40);
      await store.commit({ puts: [{ table: 'boot', key: Uint8Array.from(key), value: row }] });
    }
    await store.close();
    lock.release();
    const again = await at.start();
    expect(await isSealed(again)).toBe(true);
    expect(again.stdout).toContain('what is stored of this slot was changed or damaged');
  });

  test('whose HSM died opens by its share as it is, and takes another token in its place', async () => {
    const at = bench();
    let server = await at.start(['--init']);
    at.operator.ok('kv put secret/a b=c');
    await server.stop();
    at.swap();
    server = await at.start();
    expect(at.operator.run('unseal -', at.home.read('recovery-share')).error).toContain('rolled back');
    at.operator.ok('unseal -accept=rolled-back -', at.home.read('recovery-share'));
    const replaced = at.operator.run('slot replace pkcs11');
    expect(replaced.code).toBe(0);
    expect(replaced.error).toContain('its key on the device stays until it is deleted there');
    await server.stop();
    server = await at.start();
    expect(server.stdout).toContain('opened by:       pkcs11');
    expect(at.operator.ok('kv get -field=b secret/a')).toBe('c');
  });
});

describe('an air-gapped box', () => {
  test('opens by nothing of itself: its shares make it, a person adds the token and brings the PIN', async () => {
    const at = bench('airgapped', false);
    let server = await at.start(['--init']);
    expect(await isSealed(server)).toBe(true);
    expect(at.operator.finding('opening')?.sentence).toContain('give 1 of 1 recovery shares');
    at.operator.ok('unseal -', at.home.read('recovery-share'));
    expect(at.operator.ok('operator clock')).toMatch(/believed\s+(true|false)/);
    expect(at.operator.ok('operator clock -confirm')).toMatch(/believed\s+true/);
    expect(at.operator.run('slot add pkcs11').error).toContain('the token asks for a PIN');
    at.operator.ok('slot add pkcs11 -pin', PIN);
    expect(at.operator.ok('slot list')).toMatch(/pkcs11\s+with its PIN/);
    at.operator.ok('slot test pkcs11 -pin', PIN);
    await server.stop();
    server = await at.start();
    expect(await isSealed(server)).toBe(true);
    at.operator.ok('unseal -slot=pkcs11', PIN);
    expect(await isSealed(server)).toBe(false);
    at.operator.ok('slot remove pkcs11 -pin', PIN);
    expect(at.operator.kinds()).toEqual(['shamir']);
  });
});
