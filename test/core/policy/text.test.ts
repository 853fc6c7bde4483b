import { expect, test } from 'vitest';
import { writeText } from '../../../core/wasm.ts';

test('a text goes into core as the standard encoder writes it, or is said to be cut', () => {
  const encoder = new TextEncoder();
  for (let length = 0; length <= 200; length++) {
    for (const special of ['', 'ä', '日', '𝄞', '\ud800', '\u007f', '\u0080']) {
      for (const text of [`${'x'.repeat(length)}${special}`, `${special}${'x'.repeat(length)}`]) {
        const into = Buffer.alloc(1000, 1);
        const expected = encoder.encode(text);
        expect(writeText(text, into, 3)).toBe(expected.length);
        expect(into.subarray(3, 3 + expected.length).equals(expected)).toBe(true);
        expect(into.subarray(3 + expected.length).every((byte) => byte === 1)).toBe(true);
        if (expected.length > 0) expect(writeText(text, Buffer.alloc(2 + expected.length), 3)).toBe(-1);
      }
    }
  }
});
