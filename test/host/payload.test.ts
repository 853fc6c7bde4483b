import { expect, test } from 'vitest';
import { decodePayload, encodePayload } from '../../host/payload.ts';

// Views hand out core's own memory for the length of one decoding (host/ports/view.ts).
test.each([
  ['JSON', { text: 'a', list: [1, { b: null }] }],
  ['CBOR', { bytes: Buffer.from('abc'), list: [Buffer.alloc(100, 7), 2n ** 60n], text: 'long '.repeat(50) }],
])('what was decoded from %s keeps nothing of the bytes that it came from', (_form, value) => {
  const memory = new Uint8Array(4096);
  const payload = encodePayload(value);
  memory.set(payload, 64);
  const decoded = decodePayload(memory.subarray(64, 64 + payload.length));
  memory.fill(0xff);
  expect(decoded).toEqual(decodePayload(payload));
  expect(JSON.stringify(decoded, (_key, item) => (typeof item === 'bigint' ? String(item) : item))).not.toContain(
    '255',
  );
});
