/** Bytes of slots (core/spec/slots.md): rows of table `boot` that are read before any key exists. */
import { createHash } from 'node:crypto';
import type { SlotKind } from '../ports/seal-slot.ts';

export const ID_SIZE = 16;
export const PUBLIC_KEY_SIZE = 32;
export const BLOB_SIZE_MAX = 4096;
export const SLOT_COUNT_MAX = 32;

/** The byte that stands for a kind, in headers and contexts. Never reused. */
const KIND_BYTES = { tpm2: 1, pkcs11: 2, shamir: 3, keyfile: 4 } as const satisfies Record<SlotKind, number>;

const HEADER_SIZE = 76;
const LIST_ENTRY_SIZE = ID_SIZE + 1 + PUBLIC_KEY_SIZE + 32;
const DOMAIN = Buffer.from('holdfast/v1/slot', 'ascii');

export interface SlotHeader {
  readonly kind: SlotKind;
  readonly applianceId: Uint8Array;
  readonly slotId: Uint8Array;
  /** Wall time, milliseconds. */
  readonly createdMs: number;
  /** X25519. */
  readonly publicKey: Uint8Array;
  /** How many of `shares` open it; both 0 for kinds that have none. */
  readonly threshold: number;
  readonly shares: number;
}

export interface SlotRow {
  /** As stored: what the context and the keyring's list are bound to. */
  readonly headerBytes: Uint8Array;
  readonly header: SlotHeader;
  /** The adapter's own. */
  readonly blob: Uint8Array;
  readonly rootGeneration: number;
  /** Ephemeral public key of the encapsulation. */
  readonly enc: Uint8Array;
  readonly wrapped: Uint8Array;
}

function kindOf(byte: number | undefined): SlotKind | undefined {
  return (Object.keys(KIND_BYTES) as SlotKind[]).find((kind) => KIND_BYTES[kind] === byte);
}

export function encodeHeader(header: SlotHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE);
  bytes[0] = 1;
  bytes[1] = KIND_BYTES[header.kind];
  bytes.set(header.applianceId, 2);
  bytes.set(header.slotId, 18);
  bytes.writeBigUInt64BE(BigInt(header.createdMs), 34);
  bytes.set(header.publicKey, 42);
  bytes[74] = header.threshold;
  bytes[75] = header.shares;
  return bytes;
}

/** @returns undefined for what is no header of this version */
export function decodeHeader(bytes: Uint8Array): SlotHeader | undefined {
  const buffer = Buffer.from(bytes);
  const kind = kindOf(buffer[1]);
  if (buffer.length !== HEADER_SIZE || buffer[0] !== 1 || kind === undefined) return undefined;
  return {
    kind,
    applianceId: buffer.subarray(2, 18),
    slotId: buffer.subarray(18, 34),
    createdMs: Number(buffer.readBigUInt64BE(34)),
    publicKey: buffer.subarray(42, 74),
    threshold: buffer.readUInt8(74),
    shares: buffer.readUInt8(75),
  };
}

const sized = (bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

export function encodeRow(row: Omit<SlotRow, 'header'>): Buffer {
  const generation = Buffer.alloc(4);
  generation.writeUInt32BE(row.rootGeneration);
  return Buffer.concat([
    Buffer.of(1),
    sized(row.headerBytes),
    sized(row.blob),
    generation,
    row.enc,
    sized(row.wrapped),
  ]);
}

/** @returns undefined for what is no slot of this version: the caller treats such a slot as unusable */
export function decodeRow(bytes: Uint8Array): SlotRow | undefined {
  const buffer = Buffer.from(bytes);
  let at = 1;
  const take = (length: number): Buffer => {
    const part = buffer.subarray(at, at + length);
    if (part.length !== length) throw new RangeError('a slot ends early');
    at += length;
    return part;
  };
  try {
    if (buffer[0] !== 1) return undefined;
    const headerBytes = take(take(2).readUInt16BE(0));
    const blob = take(take(2).readUInt16BE(0));
    const rootGeneration = take(4).readUInt32BE(0);
    const enc = take(PUBLIC_KEY_SIZE);
    const wrapped = take(take(2).readUInt16BE(0));
    const header = decodeHeader(headerBytes);
    if (header === undefined || blob.length > BLOB_SIZE_MAX || at !== buffer.length) return undefined;
    return { headerBytes, header, blob, rootGeneration, enc, wrapped };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** What a device binds its blob to as far as it can: known before the slot has a key. */
export function deviceContext(kind: SlotKind, applianceId: Uint8Array, slotId: Uint8Array): Buffer {
  return Buffer.concat([DOMAIN, Buffer.of(KIND_BYTES[kind]), applianceId, slotId]);
}

/** What the wrapped root key is bound to. */
export function wrapContext(headerBytes: Uint8Array, rootGeneration: number): Buffer {
  const header = decodeHeader(headerBytes);
  if (header === undefined) throw new Error('a context is made of a header that was decoded before');
  const generation = Buffer.alloc(4);
  generation.writeUInt32BE(rootGeneration);
  const hash = createHash('sha256').update(headerBytes).digest();
  return Buffer.concat([deviceContext(header.kind, header.applianceId, header.slotId), generation, hash]);
}

/** The copy of all headers that the keyring seals: what lies in table `boot` must equal it after an unseal. */
export function encodeSlotList(slots: readonly { readonly headerBytes: Uint8Array }[]): Buffer {
  if (slots.length > SLOT_COUNT_MAX) throw new RangeError(`a box has at most ${SLOT_COUNT_MAX} slots`);
  const entries = slots.map(({ headerBytes }) => {
    const header = decodeHeader(headerBytes);
    if (header === undefined) throw new Error('only decoded headers are listed');
    const entry = Buffer.alloc(LIST_ENTRY_SIZE);
    entry.set(header.slotId, 0);
    entry[ID_SIZE] = KIND_BYTES[header.kind];
    entry.set(header.publicKey, ID_SIZE + 1);
    entry.set(createHash('sha256').update(headerBytes).digest(), ID_SIZE + 1 + PUBLIC_KEY_SIZE);
    return entry;
  });
  entries.sort(Buffer.compare);
  return Buffer.concat([Buffer.of(1, entries.length), ...entries]);
}
