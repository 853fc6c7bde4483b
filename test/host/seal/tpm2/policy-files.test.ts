import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readPolicies, readSigner } from '../../../../host/seal/tpm2/policy-files.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-policies-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let made = 0;
const newFolder = (): string => {
  const folder = join(scratch, String(made++));
  mkdirSync(folder);
  return folder;
};
const POLICY = { version: 1, digest: 'ab'.repeat(32), signature: 'cd'.repeat(64) };
const unavailable = expect.objectContaining({ code: 'slot.unavailable' });

describe('signed boot policies as files', () => {
  test('are read newest first, and other files are nobody’s business', () => {
    const folder = newFolder();
    for (const version of [3, 10, 1])
      writeFileSync(join(folder, `${version}.json`), JSON.stringify({ ...POLICY, version }));
    writeFileSync(join(folder, 'README'), 'not a policy');
    const policies = readPolicies(folder);
    expect(policies.map(({ version }) => version)).toEqual([10n, 3n, 1n]);
    expect(Buffer.from(policies[0]?.digest ?? []).toString('hex')).toBe(POLICY.digest);
    expect(Buffer.from(policies[0]?.signature ?? []).toString('hex')).toBe(POLICY.signature);
  });

  test.each([
    ['{', 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, version: -1 }), 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, version: 1.5 }), 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, version: 2 ** 32 }), 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, digest: 'ab' }), 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, signature: POLICY.signature.toUpperCase() }), 'is no signed boot policy'],
    [JSON.stringify({ ...POLICY, more: 1 }), 'is no signed boot policy'],
    ['null', 'is no signed boot policy'],
    [' '.repeat(5000), 'is no signed boot policy'],
  ])('the file %j is told by its name', (text, sentence) => {
    const folder = newFolder();
    writeFileSync(join(folder, 'bad.json'), text);
    expect(() => readPolicies(folder)).toThrow(unavailable);
    expect(() => readPolicies(folder)).toThrow(`bad.json ${sentence}`);
  });

  test('too many are refused, and so is a folder that is not there', () => {
    const folder = newFolder();
    for (let at = 0; at < 9; at++) writeFileSync(join(folder, `${at}.json`), JSON.stringify(POLICY));
    expect(() => readPolicies(folder)).toThrow('more than 8');
    expect(() => readPolicies(join(folder, 'absent'))).toThrow('cannot be read');
  });
});

describe('the signer’s key', () => {
  test('is a P-256 public key in PEM, and nothing else', () => {
    const path = join(newFolder(), 'signer.pem');
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    writeFileSync(path, publicKey.export({ type: 'spki', format: 'pem' }));
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
    expect(readSigner(path).toString('hex')).toBe(
      Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]).toString('hex'),
    );
    const others = [
      generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ type: 'spki', format: 'pem' }),
      generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }),
      'not a key',
    ];
    for (const text of others) {
      writeFileSync(path, text);
      expect(() => readSigner(path)).toThrow(unavailable);
    }
    expect(() => readSigner(`${path}.absent`)).toThrow('seal.tpm2.signerFile');
  });
});
