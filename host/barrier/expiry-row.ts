/** Rows of table `expiry`: what ends when, in the order of lease time. */
import type { Put } from '../ports/store.ts';
import type { Barrier } from './barrier.ts';

/** One kind of thing that ends. The number is in the row's key and never changes its meaning. */
export const KINDS = { token: 1, revocation: 2, kvVersion: 3, lease: 4, rotation: 5 } as const;
export type ExpiryKind = keyof typeof KINDS;

export const ID_SIZE = 16;
const KEY_SIZE = 8 + 1 + ID_SIZE;

/** Key: when (8, ms of lease time) ‖ kind (1) ‖ id (16). */
export function expiryKey(atMs: number, kind: ExpiryKind, id: Uint8Array): Buffer {
  const key = Buffer.alloc(KEY_SIZE);
  key.writeBigUInt64BE(BigInt(atMs));
  key[8] = KINDS[kind];
  key.set(id, 9);
  return key;
}

export function expiryPut(
  barrier: Pick<Barrier, 'seal'>,
  grant: number,
  atMs: number,
  kind: ExpiryKind,
  id: Uint8Array,
  payload: Uint8Array = new Uint8Array(0),
): Put {
  return barrier.seal(grant, 'expiry', expiryKey(atMs, kind, id), payload);
}

export function expiryDelete(atMs: number, kind: ExpiryKind, id: Uint8Array): Put {
  return { table: 'expiry', key: expiryKey(atMs, kind, id) };
}
