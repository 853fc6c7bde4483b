/** sys/tools: random bytes and hashes, for scripts that have nothing better. */
import { createHash } from 'node:crypto';
import { Fault } from '../../fault.ts';
import type { Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { Random } from '../../ports/random.ts';

const BYTES_DEFAULT = 32;
const BYTES_MAX = 65_536;

const HASHES: Readonly<Record<string, string>> = {
  'sha2-224': 'sha224',
  'sha2-256': 'sha256',
  'sha2-384': 'sha384',
  'sha2-512': 'sha512',
  'sha3-224': 'sha3-224',
  'sha3-256': 'sha3-256',
  'sha3-384': 'sha3-384',
  'sha3-512': 'sha3-512',
};

const FORMAT: Field = { type: 'string', description: 'hex or base64.' };
const FIELDS = {
  bytes: { type: 'int', description: `How many bytes, 1 to ${BYTES_MAX}; 32 if absent.` },
  format: FORMAT,
} as const satisfies Record<string, Field>;

/** The hint of the reference quotes the format in one place and not in the other; clients compare neither. */
function randomBytes(context: OperationContext, random: Random): { data: { random_bytes: string | Uint8Array } } {
  const source = context.captures['source'];
  if (source !== undefined && !['platform', 'seal', 'all'].includes(source)) {
    throw new Fault(
      'input.invalid',
      `unsupported entropy source ${JSON.stringify(source)}; must be "platform" or "seal", or "all"`,
    );
  }
  const asked = context.captures['urlbytes'];
  const bytes = asked === undefined ? Number(context.fields['bytes'] ?? BYTES_DEFAULT) : parseCount(asked);
  if (bytes < 1) throw new Fault('input.invalid', "'bytes' cannot be less than 1");
  if (bytes > BYTES_MAX) throw new Fault('input.invalid', `'bytes' should be less than ${BYTES_MAX}`);
  const format = String(context.fields['format'] ?? 'base64');
  if (format !== 'hex' && format !== 'base64') {
    throw new Fault(
      'input.invalid',
      `unsupported encoding format ${JSON.stringify(format)}; must be "hex" or "base64"`,
    );
  }
  return { data: { random_bytes: inFormat(Buffer.from(random.bytes(bytes)), format) } };
}

function parseCount(text: string): number {
  if (!/^-?\d{1,9}$/.test(text))
    throw new Fault('input.invalid', 'error parsing url-set byte count: it must be a number');
  return Number(text);
}

/** Strict base64: what decodes to something else than it says is refused. */
function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) {
    throw new Fault('input.invalid', 'unable to decode input as base64: it must be standard base64 with padding');
  }
  return bytes;
}

/** Bytes where base64 is asked for: JSON has no other form for them, CBOR has them as they are. */
const inFormat = (bytes: Uint8Array, format: 'hex' | 'base64'): string | Uint8Array =>
  format === 'hex' ? Buffer.from(bytes).toString('hex') : bytes;

function hash(context: OperationContext): { data: { sum: string | Uint8Array } } {
  const name = String(context.captures['urlalgorithm'] ?? context.fields['algorithm'] ?? 'sha2-256');
  const format = String(context.fields['format'] ?? 'hex');
  if (format !== 'hex' && format !== 'base64') {
    throw new Fault('input.invalid', `unsupported encoding format ${format}; must be "hex" or "base64"`);
  }
  const algorithm = Object.hasOwn(HASHES, name) ? HASHES[name] : undefined;
  if (algorithm === undefined) throw new Fault('input.invalid', `unsupported algorithm ${name}`);
  const input = decodeBase64(String(context.fields['input'] ?? ''));
  return { data: { sum: inFormat(createHash(algorithm).update(input).digest(), format) } };
}

const HASH_FIELDS = {
  input: { type: 'string', description: 'What is hashed, in base64.', secret: true },
  algorithm: { type: 'string', description: Object.keys(HASHES).join(', ') },
  format: FORMAT,
} as const satisfies Record<string, Field>;

export function toolOperations(random: Random): readonly Operation[] {
  const randomAt = (name: string, pattern: string): Operation => ({
    name,
    pattern,
    verb: 'write',
    summary: 'Make random bytes.',
    fields: FIELDS,
    run: (context) => randomBytes(context, random),
  });
  const hashAt = (name: string, pattern: string): Operation => ({
    name,
    pattern,
    verb: 'write',
    summary: 'Hash data with SHA-2 or SHA-3.',
    fields: HASH_FIELDS,
    run: hash,
  });
  return [
    randomAt('random', 'tools/random'),
    randomAt('random-count', 'tools/random/+urlbytes'),
    randomAt('random-source-count', 'tools/random/+source/+urlbytes'),
    hashAt('hash', 'tools/hash'),
    hashAt('hash-algorithm', 'tools/hash/+urlalgorithm'),
  ];
}
