import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  ASK,
  askOf,
  decodeSort,
  encodeMessage,
  encodeSort,
  MESSAGE_SIZE_MAX,
  MessageReader,
  TROUBLE,
  troubleOf,
} from '../../../../host/seal/pkcs11/wire.ts';
import { newFolder, removeScratch, softHsm } from './tokens.ts';

afterAll(removeScratch);

describe('a message', () => {
  const fields = [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(300, 7)];

  test('comes back, however its bytes were cut', () => {
    const bytes = Buffer.concat([encodeMessage(4, fields), encodeMessage(8, []), encodeMessage(0, [Buffer.from('b')])]);
    for (const size of [1, 2, 3, 5, 64, bytes.length]) {
      const reader = new MessageReader();
      const messages = [];
      for (let at = 0; at < bytes.length; at += size) {
        messages.push(...reader.add(Buffer.from(bytes.subarray(at, at + size))));
      }
      expect(messages).toEqual([
        { code: 4, fields },
        { code: 8, fields: [] },
        { code: 0, fields: [Buffer.from('b')] },
      ]);
    }
  });

  test('is wiped where it was read', () => {
    const bytes = encodeMessage(2, [Buffer.from('482913')]);
    new MessageReader().add(bytes);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test.each(['00000000', '00001001', 'ffffffff', '0000000201ff', '000000030100ff', '00000004010002aa'])(
    'is not %s',
    (hex) => {
      expect(() => new MessageReader().add(Buffer.from(hex, 'hex'))).toThrow('not a message');
    },
  );

  test('is not longer than its limit', () => {
    expect(encodeMessage(1, [Buffer.alloc(MESSAGE_SIZE_MAX - 3)])).toHaveLength(4 + MESSAGE_SIZE_MAX);
    expect(() => encodeMessage(1, [Buffer.alloc(MESSAGE_SIZE_MAX - 2)])).toThrow('too long');
  });

  test('of random bytes is read or refused, and nothing else happens', () => {
    for (let round = 0; round < 2000; round++) {
      const bytes = randomBytes(4 + (round % 40));
      bytes.set([0, 0, 0], 0);
      try {
        for (const message of new MessageReader().add(bytes)) {
          expect(typeof askOf(message) === 'string' || askOf(message) === undefined).toBe(true);
        }
      } catch (error) {
        expect(String(error)).toContain('not a message');
      }
    }
  });

  test('asks or answers only what is in its table, with as many fields', () => {
    for (const [name, { code, fields: count }] of Object.entries(ASK)) {
      const some = (n: number): Buffer[] => Array.from({ length: n }, () => Buffer.of(1));
      expect(askOf({ code, fields: some(count) })).toBe(name);
      expect(askOf({ code, fields: some(count + 1) })).toBeUndefined();
    }
    expect(askOf({ code: 0, fields: [] })).toBeUndefined();
    expect(askOf({ code: 9, fields: [] })).toBeUndefined();
    for (const [name, code] of Object.entries(TROUBLE)) {
      expect(troubleOf({ code, fields: [] })).toBe(name);
      expect(troubleOf({ code, fields: [Buffer.from('a word of the module')] })).toBeUndefined();
    }
    expect(troubleOf({ code: 200, fields: [] })).toBeUndefined();
  });

  test('names a sort of key exactly', () => {
    const sort = { mechanism: 'oaepSha1', local: true } as const;
    expect(decodeSort(encodeSort(sort))).toEqual(sort);
    for (const hex of ['', '01', '010100', '0001', '0401', '0102']) {
      expect(decodeSort(Buffer.from(hex, 'hex'))).toBeUndefined();
    }
  });
});

test.each([
  ['no message', '00000000'],
  ['a code that is none', '00000001c8'],
  ['words of the module', '0000000604000361616100'],
  ['too few fields', '0000000100'],
  ['fields of the wrong size', '0000000a00000161000162000163'],
  ['more than was asked', '00000001040000000104'],
])('a program that answers with %s costs an error', async (_what, hex) => {
  const program = join(newFolder(), 'other.mjs');
  writeFileSync(
    program,
    `import { Socket } from 'node:net';
     const channel = new Socket({ fd: 3, readable: true, writable: true });
     channel.on('data', () => channel.write(Buffer.from('${hex}', 'hex')));
     channel.on('end', () => process.exit(0));`,
  );
  const { slot } = softHsm({ program, deadlineMs: 10_000 });
  await expect(slot.create(Buffer.alloc(4))).rejects.toMatchObject({ code: 'slot.unavailable' });
});
