/** What a request presents, as core reads it: parameters (core/spec/policy.md, Parameters) and batch tokens. */
import type { Parameter } from './types.ts';

/** Names and values as core/spec/policy.md encodes them. */
export function encodeParameters(parameters: readonly Parameter[]): Buffer {
  const parts: Uint8Array[] = [];
  const head = Buffer.alloc(2);
  head.writeUInt16BE(parameters.length);
  parts.push(head);
  for (const { name, kind, value } of parameters) {
    const nameBytes = Buffer.from(name);
    const valueBytes = Buffer.from(value);
    const sizes = Buffer.alloc(7);
    sizes.writeUInt16BE(nameBytes.length, 0);
    sizes.writeUInt8(kind === 'text' ? 0 : 1, 2);
    sizes.writeUInt32BE(valueBytes.length, 3);
    parts.push(sizes.subarray(0, 2), nameBytes, sizes.subarray(2), valueBytes);
  }
  return Buffer.concat(parts);
}

const EMPTY = new Uint8Array(0);

/** Bytes of a batch token, if its text is `hvb.` and canonical base64url. */
export function batchBytes(text: string): Uint8Array | undefined {
  if (!text.startsWith('hvb.')) return undefined;
  const bytes = Buffer.from(text.slice(4), 'base64url');
  return bytes.toString('base64url') === text.slice(4) ? bytes : EMPTY;
}
