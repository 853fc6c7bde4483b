import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  decodeHeader,
  decodeRow,
  deviceContext,
  encodeHeader,
  encodeRow,
  encodeSlotList,
  type SlotHeader,
  wrapContext,
} from '../../../host/seal/slot-format.ts';
import { decapsulate, encapsulate, publicKey } from '../../../host/seal/x25519.ts';
import { Secret } from '../../../host/secret.ts';

const document = readFileSync('core/spec/slots.md', 'utf8');
const example = (name: string): string => {
  const found = new RegExp(`^    ${name} +([0-9a-f]+)$`, 'm').exec(document)?.[1];
  if (found === undefined) throw new Error(`the document has no example of ${name}`);
  return found;
};

const HEADER: SlotHeader = {
  kind: 'shamir',
  applianceId: Buffer.alloc(16, 0xa1),
  slotId: Buffer.alloc(16, 0x51),
  createdMs: 1_795_514_400_000,
  publicKey: Buffer.alloc(32, 0x9b),
  threshold: 3,
  shares: 5,
};
const bytes = encodeHeader(HEADER);
const ROW = {
  headerBytes: bytes,
  blob: Buffer.from('010305', 'hex'),
  rootGeneration: 7,
  enc: Buffer.alloc(32, 0xec),
  wrapped: Buffer.from('c0ffee', 'hex'),
};

describe('core/spec/slots.md', () => {
  test('its example is what the code makes', () => {
    expect(bytes.toString('hex')).toBe(example('header'));
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(example('header hash'));
    expect(deviceContext('shamir', HEADER.applianceId, HEADER.slotId).toString('hex')).toBe(example('device context'));
    expect(wrapContext(bytes, 7).toString('hex')).toBe(example('wrap context'));
    expect(encodeRow(ROW).toString('hex')).toBe(example('row'));
    expect(encodeSlotList([{ headerBytes: bytes }]).toString('hex')).toBe(example("keyring's list"));
  });

  test('what was written is read back', () => {
    expect(decodeHeader(bytes)).toEqual(HEADER);
    expect(decodeRow(encodeRow(ROW))).toEqual({ ...ROW, header: HEADER });
  });

  test('a row that is cut, grown or of another version is not read', () => {
    const row = encodeRow(ROW);
    for (let length = 0; length < row.length; length++) expect(decodeRow(row.subarray(0, length))).toBeUndefined();
    expect(decodeRow(Buffer.concat([row, Buffer.of(0)]))).toBeUndefined();
    for (const at of [0, 3, 4]) {
      const other = Buffer.from(row);
      other[at] = 99;
      expect(decodeRow(other)).toBeUndefined();
    }
  });

  test('every bit of a header moves the context that the root key is bound to', () => {
    const seen = new Set([wrapContext(bytes, 7).toString('hex'), wrapContext(bytes, 8).toString('hex')]);
    let readable = 0;
    for (let bit = 16; bit < bytes.length * 8; bit++) {
      const moved = Buffer.from(bytes);
      moved[bit >> 3] = (moved[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      readable++;
      seen.add(wrapContext(moved, 7).toString('hex'));
    }
    expect(seen.size).toBe(readable + 2);
  });

  test('the order in which slots were read does not matter to the list', () => {
    const other = encodeHeader({ ...HEADER, kind: 'keyfile', slotId: Buffer.alloc(16, 0x11), threshold: 0, shares: 0 });
    const one = { headerBytes: bytes };
    const two = { headerBytes: other };
    expect(encodeSlotList([one, two]).equals(encodeSlotList([two, one]))).toBe(true);
    expect(encodeSlotList([one]).equals(encodeSlotList([two]))).toBe(false);
  });
});

describe('X25519', () => {
  const secret = (hex: string): Secret => new Secret(Buffer.from(hex, 'hex'));

  test('RFC 7748, section 6.1', () => {
    using alice = secret('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    expect(publicKey(alice).toString('hex')).toBe('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f');
    using shared = decapsulate(
      alice,
      Buffer.from('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a', 'hex'),
    );
    expect(Buffer.from(shared.bytes).toString('hex')).toBe(
      '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
    );
  });

  test('both sides agree, and every encapsulation is fresh', () => {
    using key = secret('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    const one = encapsulate(publicKey(key));
    const two = encapsulate(publicKey(key));
    using again = decapsulate(key, one.enc);
    expect(Buffer.from(again.bytes).equals(one.shared.bytes)).toBe(true);
    expect(one.enc.equals(two.enc)).toBe(false);
    expect(Buffer.from(one.shared.bytes).equals(two.shared.bytes)).toBe(false);
  });

  test('a public key of low order is refused', () => {
    using key = secret('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
    expect(() => decapsulate(key, Buffer.alloc(32))).toThrow();
    expect(() => encapsulate(Buffer.alloc(32))).toThrow();
  });
});
