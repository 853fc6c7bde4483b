/** The root key, wrapped to a slot of each kind: by core, by the twin, and as core/spec/slots.md has it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { u32, u64, wrapRoot } from '../../reference/keys.ts';
import { id } from '../gate/box.ts';
import { RawCore } from '../raw.ts';

const document = readFileSync('core/spec/slots.md', 'utf8');
const counting = (from: number): Buffer => Buffer.from(Array.from({ length: 32 }, (_, i) => from + i));
const NOW = 1_795_514_400_000;
/** Core draws the root first, and what it seals first after the pool was filled has this nonce. */
const POOL = Buffer.from(Array.from({ length: 4096 }, (_, i) => i & 255));
const [ROOT, NONCE, DH] = [POOL.subarray(0, 32), POOL.subarray(0, 24), counting(0x10)];
const [ENC, RECIPIENT] = [Buffer.alloc(32, 0xec), Buffer.alloc(32, 0x9b)];

/** The document's context for its slot, were it of this kind. */
function contextOf(kind: number): Buffer {
  const [appliance, slot] = [Buffer.alloc(16, 0xa1), Buffer.alloc(16, 0x51)];
  const numbers = kind === 3 ? [3, 5] : [0, 0];
  const header = Buffer.concat([Buffer.of(1, kind), ...[appliance, slot, u64(NOW), RECIPIENT], Buffer.from(numbers)]);
  const hash = createHash('sha256').update(header).digest();
  return Buffer.concat([Buffer.from('holdfast/v1/slot'), Buffer.of(kind), appliance, slot, u32(7), hash]);
}

function made(): { readonly core: RawCore; readonly row: Buffer } {
  const core = new RawCore();
  core.put(POOL);
  core.call('poolFill');
  core.put(id(9));
  expect(core.call('createKeyring', NOW)).toBe(0);
  return { core, row: core.out(core.result(0)) };
}

function wrapped(core: RawCore, kind: number): Buffer {
  core.put(POOL);
  core.call('poolFill');
  core.put(DH, ENC, RECIPIENT, contextOf(kind));
  expect(core.call('wrapRoot', contextOf(kind).length)).toBe(0);
  return core.out(core.result(0));
}

const KINDS = [
  ['tpm2', 1],
  ['pkcs11', 2],
  ['shamir', 3],
  ['keyfile', 4],
] as const;

describe.each(KINDS)('the root for a slot of kind %s', (name, kind) => {
  test('is that of the document and of the twin', () => {
    const written = new RegExp(`^    wrapped, ${name} +([0-9a-f]+)$`, 'm').exec(document)?.[1];
    expect(wrapped(made().core, kind).toString('hex')).toBe(written);
    const parts = { dh: DH, enc: ENC, recipient: RECIPIENT, context: contextOf(kind), nonce: NONCE };
    expect(wrapRoot(ROOT, parts).toString('hex')).toBe(written);
  });

  test('opens there, and as no other kind', () => {
    const { core, row } = made();
    const blob = wrapped(core, kind);
    for (const [, other] of KINDS) {
      const opening = new RawCore();
      opening.put(DH, ENC, RECIPIENT, contextOf(other), blob);
      expect(opening.call('unwrapRoot', contextOf(other).length, blob.length)).toBe(other === kind ? 0 : 1);
      opening.put(row);
      expect(opening.call('openKeyring', row.length)).toBe(other === kind ? 0 : 2);
    }
  });

  test('does not open with a bit of its secret, keys, context or bytes changed', () => {
    const input = Buffer.concat([DH, ENC, RECIPIENT, contextOf(kind), wrapped(made().core, kind)]);
    const opening = new RawCore();
    for (let at = 0; at < input.length; at++) {
      const changed = Buffer.from(input);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      opening.put(changed);
      expect([at, opening.call('unwrapRoot', contextOf(kind).length, 73)]).toEqual([at, 1]);
    }
  });
});
