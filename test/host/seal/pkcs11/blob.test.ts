import { createCipheriv, createHash, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { associatedData, checkOf, decodeBlob, encodeBlob, type SlotBlob } from '../../../../host/seal/pkcs11/blob.ts';
import { deviceContext } from '../../../../host/seal/slot-format.ts';

const document = readFileSync('core/spec/pkcs11.md', 'utf8');
const says = (name: string): string =>
  new RegExp(`^ {4}${name} +([0-9a-f]+)$`, 'm').exec(document)?.[1] ?? `no example of ${name}`;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const range = (from: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => from + i));

const key = range(0, 32);
const context = deviceContext('pkcs11', Buffer.alloc(16, 0xa1), Buffer.alloc(16, 0x51));
const head = {
  sort: { mechanism: 'gcm', local: true },
  id: Buffer.alloc(16, 0x1d),
  serial: Buffer.from('a1b2c3d4'.padEnd(16)),
} as const;

/** By the document alone, with node:crypto in the place of the token. */
function twin(): { readonly associated: Buffer; readonly check: Buffer; readonly blob: Buffer } {
  const first = Buffer.concat([Buffer.of(1, 1, 1), Buffer.alloc(16, 0x1d), Buffer.from('a1b2c3d4        ')]);
  const associated = Buffer.concat([Buffer.from('holdfast/v1/pkcs11'), first, context]);
  const check = Buffer.from(hkdfSync('sha256', key, '', associated, 16));
  const cipher = createCipheriv('aes-256-gcm', range(0x80, 32), range(0xe0, 12));
  cipher.setAAD(associated);
  const sealed = Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  const body = Buffer.concat([first, check, range(0xe0, 12), sealed]);
  return { associated, check, blob: Buffer.concat([body, createHash('sha256').update(body).digest()]) };
}

function example(): SlotBlob {
  const sealed = twin().blob.subarray(63, 111);
  return { ...head, check: Buffer.from(checkOf(key, head, context)), iv: range(0xe0, 12), ciphertext: sealed };
}

test('pkcs11.md: the example is what the code makes, and what the document says by itself', () => {
  const { associated, check, blob } = twin();
  expect(hex(associatedData(head, context))).toBe(hex(associated));
  expect(hex(associated)).toBe(says('associated data'));
  expect(hex(checkOf(key, head, context))).toBe(hex(check));
  expect(hex(check)).toBe(says('check'));
  expect(hex(encodeBlob(example()))).toBe(hex(blob));
  expect(hex(blob)).toBe(says('blob'));
  expect(decodeBlob(blob)).toEqual(example());
});

test('a blob for RSA is as long as its modulus says', () => {
  for (const mechanism of ['oaepSha256', 'oaepSha1'] as const) {
    const rsa = { ...example(), sort: { mechanism, local: false }, iv: Buffer.alloc(0) };
    for (const size of [256, 384, 512, 1024]) {
      const blob = { ...rsa, ciphertext: Buffer.alloc(size, 7) };
      expect(decodeBlob(encodeBlob(blob))).toEqual(blob);
    }
    for (const size of [0, 60, 255, 1025]) {
      expect(decodeBlob(encodeBlob({ ...rsa, ciphertext: Buffer.alloc(size, 7) }))).toBeUndefined();
    }
  }
});

test('what is no blob is none, however right its digest is', () => {
  const { blob } = twin();
  const digested = (body: Uint8Array): Buffer => Buffer.concat([body, createHash('sha256').update(body).digest()]);
  const body = blob.subarray(0, -32);
  expect(decodeBlob(digested(body))).toEqual(example());
  for (const [at, value] of [
    [0, 0],
    [0, 2],
    [1, 0],
    [1, 2],
    [1, 4],
    [2, 2],
    [2, 255],
  ] as const) {
    const changed = Buffer.from(body);
    changed[at] = value;
    expect(decodeBlob(digested(changed)), `byte ${at} = ${value}`).toBeUndefined();
  }
  for (let size = 0; size < blob.length; size++) expect(decodeBlob(blob.subarray(0, size))).toBeUndefined();
  for (const other of [body.subarray(0, -1), Buffer.concat([body, Buffer.of(0)]), Buffer.alloc(0)]) {
    expect(decodeBlob(digested(other))).toBeUndefined();
  }
});
