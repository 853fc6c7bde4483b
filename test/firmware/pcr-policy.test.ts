/** Signed boot policies from the signer's machine to a box: the worked example, run as it is written, and the life of a firmware. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openSrk, policyDigest, startSession } from '../../host/seal/tpm2/device.ts';
import { bootPolicy } from '../../host/seal/tpm2/policy.ts';
import { readPolicies, readSigner } from '../../host/seal/tpm2/policy-files.ts';
import type { TpmSlot } from '../../host/seal/tpm2/slot.ts';
import { Machine, MEASURED } from '../tpm/machine.ts';

const FOLDER = 'firmware-config/pcr-policy';
const blocks = [...readFileSync(join(FOLDER, 'README.md'), 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].map(
  ([, text = '']) => text.trim(),
);
const CONTEXT = Buffer.from('context of one slot of one box');
const APPLIANCE = '05050505-0505-0505-0505-050505050505';
const OTHER_APPLIANCE = '06060606-0606-0606-0606-060606060606';
const INDEX = 0x0180_0020;

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-pcr-policy-'));
const at = (name: string): string => join(scratch, name);
const folder = at('policies');
const tool = resolve(FOLDER, 'pcr-policy.mjs');
const machine = new Machine();
let slot: TpmSlot;
let blob: Uint8Array;
let key: Buffer;
let version = 0;

function sh(line: string): string {
  const env = { ...process.env, TPM2TOOLS_TCTI: machine.chip.tcti, APPLIANCE, VERSION: String(version) };
  const run = spawnSync('sh', ['-c', line], { cwd: scratch, env, encoding: 'utf8' });
  expect([line, run.status, run.stderr.slice(0, 300)]).toEqual([line, 0, run.stderr.slice(0, 300)]);
  return run.stdout;
}
function run(args: string, input = ''): { readonly code: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [tool, ...args.split(' ')], {
    cwd: scratch,
    input,
    encoding: 'utf8',
  });
  return { code: status, text: `${stdout}${stderr}` };
}
/** Signs the PCRs that the machine has now. @returns the policy's file */
function signed(name: string, version: number, more = '', appliance = APPLIANCE): string {
  sh(`tpm2_pcrread sha256:0,7 > ${name}.txt`);
  const args = `sign --appliance ${appliance} --version ${version} --pcrs ${name}.txt --out ${name}.json --key signer-key.pem`;
  expect(run(more === '' ? args : args.replace('signer-key.pem', more))).toMatchObject({ code: 0 });
  return at(`${name}.json`);
}
/** These policies and no others lie in the box's folder. */
function install(...paths: readonly string[]): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [number, path] of paths.entries()) copyFileSync(path, join(folder, `${number}.json`));
}
async function opens(): Promise<boolean> {
  using recovered = await slot.recover(blob, CONTEXT, {});
  return Buffer.from(recovered.bytes).equals(key);
}
const refused = (words: string): ReturnType<typeof expect.objectContaining> =>
  expect.objectContaining({ code: 'slot.refused', message: expect.stringContaining(words) });

beforeAll(async () => {
  copyFileSync(tool, at('pcr-policy.mjs'));
  for (const line of (blocks[0] ?? '').split('\n')) sh(line);
  await machine.started();
  slot = machine.slot({
    signed: {
      applianceId: Buffer.alloc(16, 5),
      point: readSigner(at('signer.pem')),
      index: INDEX,
      policies: () => readPolicies(folder),
    },
  });
  const created = await slot.create(CONTEXT);
  blob = created.blob;
  key = Buffer.from(created.key.bytes);
});
afterAll(() => {
  machine.close();
  rmSync(scratch, { recursive: true, force: true });
});

describe('the worked example', () => {
  test('has a block for the key, the box, the policy and the HSM', () => {
    expect(blocks).toHaveLength(4);
  });

  test('makes a policy that opens the box, line by line', async () => {
    const [count = '', read = ''] = (blocks[1] ?? '').split('\n');
    version = Number(sh(count));
    expect(version).toBeGreaterThan(0);
    sh(read);
    const said = (blocks[2] ?? '').split('\n').map(sh);
    expect(said[0]).toContain(`version ${version}, PCR 0, 7`);
    expect(said[1]).toContain('opens this box');
    install(at('1.json'));
    expect(await opens()).toBe(true);
  });

  test('with the key in an HSM makes one too', async () => {
    for (const line of (blocks[3] ?? '').split('\n')) sh(line);
    install(at('also-1.json'));
    expect(await opens()).toBe(true);
  });

  test('signs the digest that the TPM itself comes to', async () => {
    const digest = await machine.tss.run(async (esys) => {
      const srk = await openSrk(esys);
      const session = await startSession(esys, srk, 'trial');
      await bootPolicy(esys, srk, session, MEASURED, INDEX, BigInt(version));
      return policyDigest(esys, session);
    });
    expect(JSON.parse(readFileSync(at('1.json'), 'utf8'))).toMatchObject({ version, digest: digest.toString('hex') });
  });
});

describe('a box', () => {
  test('does not open with what another key signed, or what was signed for another box', async () => {
    sh('openssl ecparam -name prime256v1 -genkey -noout -out other-key.pem && chmod 600 other-key.pem');
    for (const path of [
      signed('forged', version, 'other-key.pem'),
      signed('elsewhere', version, '', OTHER_APPLIANCE),
    ]) {
      install(path);
      await expect(opens()).rejects.toEqual(refused(''));
      expect(run(`check --appliance ${APPLIANCE} --signer signer.pem --pcrs pcrs-1.txt ${path}`)).toEqual({
        code: 1,
        text: expect.stringContaining('another key, or for another box'),
      });
    }
    install(at('1.json'));
    expect(await opens()).toBe(true);
  });

  test('follows its firmware, and does not go back once the new one has opened it', async () => {
    await machine.powerCut('firmware 2');
    install(at('1.json'));
    await expect(opens()).rejects.toEqual(refused('no signed boot policy fits'));
    const second = signed('2', version + 1);
    // Both lie there while the update may still fail: it can go back as long as the new firmware has not opened the box.
    install(at('1.json'), second);
    await machine.powerCut('firmware 1');
    expect(await opens()).toBe(true);
    await machine.powerCut('firmware 2');
    expect(await opens()).toBe(true);
    for (const policies of [[at('1.json'), second], [at('1.json')]]) {
      await machine.powerCut('firmware 1');
      install(...policies);
      await expect(opens()).rejects.toEqual(refused('downgrade'));
    }
    await machine.powerCut('firmware 2');
    install(second);
    expect(await opens()).toBe(true);
    // Unless somebody signs the older firmware for what the index has now.
    await machine.powerCut('firmware 1');
    install(signed('1-again', version + 1));
    expect(await opens()).toBe(true);
  });

  test('stays shut for a firmware that nobody signed, whatever lies in the folder', async () => {
    await machine.powerCut('firmware 3');
    install(at('1.json'), at('2.json'));
    await expect(opens()).rejects.toEqual(refused(''));
    install();
    await expect(opens()).rejects.toEqual(refused('no signed boot policy'));
  });
});

describe('the tool', () => {
  const COMMON = `--appliance ${APPLIANCE} --version 1 --pcrs pcrs-1.txt`;

  test('reads the passphrase of a key from standard input, and takes no key that others may read', () => {
    sh(
      'openssl ec -in signer-key.pem -aes256 -passout pass:hunter2 -out locked-key.pem 2>/dev/null && chmod 600 locked-key.pem',
    );
    const args = `sign ${COMMON} --key locked-key.pem --out locked.json`;
    expect(run(args, 'hunter3\n')).toMatchObject({ code: 1, text: expect.stringContaining('does not open') });
    expect(run(args, 'hunter2\n')).toMatchObject({ code: 0 });
    expect(run(`check ${COMMON} --signer signer.pem locked.json`)).toMatchObject({ code: 0 });
    sh('cp signer-key.pem open-key.pem && chmod 644 open-key.pem');
    expect(run(`sign ${COMMON} --key open-key.pem --out open.json`)).toEqual({
      code: 1,
      text: expect.stringContaining('make its mode 0600'),
    });
    expect(existsSync(at('open.json'))).toBe(false);
  });

  test('does not write over a policy, and leaves no half of one', () => {
    const before = readFileSync(at('1.json'), 'utf8');
    expect(run(`sign ${COMMON} --key signer-key.pem --out 1.json`)).toMatchObject({
      code: 1,
      text: expect.stringContaining('there already'),
    });
    expect(readFileSync(at('1.json'), 'utf8')).toBe(before);
    expect(existsSync(at('1.json.part'))).toBe(false);
  });

  test.each([
    ['1 : 0x00', 'no PCR of the SHA-256 bank'],
    [`24 : 0x${'ab'.repeat(32)}`, 'no PCR of the SHA-256 bank'],
    [`7 : ${'ab'.repeat(32)}\n7 : ${'ab'.repeat(32)}`, 'twice'],
    [`7 : 0x${'00'.repeat(32)}`, 'never measured'],
    [`7 : 0x${'FF'.repeat(32)}`, 'never measured'],
    ['  sha256:\n', 'names no PCR'],
    ['sha1:\n  7 : 0x00', 'no PCR of the SHA-256 bank'],
  ])('refuses the PCRs %j', (text, words) => {
    writeFileSync(at('bad.txt'), text);
    expect(run(`message --appliance ${APPLIANCE} --version 1 --pcrs bad.txt --out m.bin`)).toEqual({
      code: 1,
      text: expect.stringContaining(words),
    });
  });

  test.each([
    ['message --appliance 05 --version 1 --pcrs pcrs-1.txt --out m.bin', 'id of the box'],
    [`message --appliance ${APPLIANCE} --version -1 --pcrs pcrs-1.txt --out m.bin`, 'whole number'],
    [`message --appliance ${APPLIANCE} --version 4294967296 --pcrs pcrs-1.txt --out m.bin`, 'whole number'],
    [`message ${COMMON} --index 0x01c00000 --out m.bin`, 'NV index of the owner'],
    [`message ${COMMON}`, '--out is missing'],
    [`message ${COMMON} --out`, 'has no value'],
    [`message ${COMMON} --key signer-key.pem --out m.bin`, 'takes no --key'],
    [`message ${COMMON} --out m.bin more`, 'only options'],
    [`sign ${COMMON} --key absent.pem --out m.json`, 'cannot be read'],
    [`sign ${COMMON} --key signer.pem --out m.json`, 'mode 0600'],
    [`attach ${COMMON} --signature pcrs-1.txt --signer signer.pem --out m.json`, 'no signature of these bytes'],
    [`check ${COMMON} --signer pcrs-1.txt 1.json`, 'public key on P-256'],
    [`check ${COMMON} --signer signer.pem pcrs-1.txt`, 'no signed boot policy'],
    [
      `check --appliance ${APPLIANCE} --pcrs pcrs-1.txt --index 0x01800021 --signer signer.pem 1.json`,
      'another version index',
    ],
    [`check ${COMMON.replace('--version 1', '--version 77')} --signer signer.pem 1.json`, 'is of version'],
  ])('refuses %j', (args, words) => {
    expect(run(args)).toEqual({ code: 1, text: expect.stringContaining(words) });
    for (const name of ['m.bin', 'm.json']) expect(existsSync(at(name))).toBe(false);
  });

  test('says how it is used', () => {
    expect(run('--help')).toMatchObject({ code: 0, text: expect.stringContaining('usage:') });
    expect(run('nothing')).toMatchObject({ code: 64, text: expect.stringContaining('usage:') });
  });
});
