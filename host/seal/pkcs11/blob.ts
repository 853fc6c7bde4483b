/** The blob of a PKCS#11 slot (core/spec/pkcs11.md). */
import { createHash, hkdfSync, timingSafeEqual } from 'node:crypto';
import { decodeSort, encodeSort, type Sort } from './wire.ts';

export const ID_SIZE = 16;
export const SERIAL_SIZE = 16;
export const KEY_SIZE = 32;
export const IV_SIZE = 12;
const TAG_SIZE = 16;
const CHECK_SIZE = 16;
const DIGEST_SIZE = 32;
const SORT_SIZE = 2;
const ID_AT = 1 + SORT_SIZE;
const HEAD_SIZE = ID_AT + ID_SIZE + SERIAL_SIZE;
/** RSA of 2,048 to 8,192 bits. */
const RSA_SIZE_MIN = 256;
const RSA_SIZE_MAX = 1024;

export interface SlotBlob {
  readonly sort: Sort;
  /** CKA_ID of the token's key. */
  readonly id: Uint8Array;
  /** As the token says it, filled up with blanks. */
  readonly serial: Uint8Array;
  readonly check: Uint8Array;
  /** Empty for RSA. */
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
}

type Head = Pick<SlotBlob, 'sort' | 'id' | 'serial'>;

function encodeHead({ sort, id, serial }: Head): Buffer {
  return Buffer.concat([Buffer.of(1), encodeSort(sort), id, serial]);
}

/** What AES-GCM authenticates beside the key. */
export function associatedData(head: Head, context: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from('holdfast/v1/pkcs11', 'ascii'), encodeHead(head), context]);
}

/** Tells the right key from another, for RSA too, which authenticates nothing; the key has 256 random bits. */
export function checkOf(key: Uint8Array, head: Head, context: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, Buffer.alloc(0), associatedData(head, context), CHECK_SIZE));
}

export function encodeBlob(blob: SlotBlob): Buffer {
  const body = Buffer.concat([encodeHead(blob), blob.check, blob.iv, blob.ciphertext]);
  return Buffer.concat([body, digestOf(body)]);
}

/** Undefined for what is no blob, or a damaged one: the token is not asked about it. */
export function decodeBlob(bytes: Uint8Array): SlotBlob | undefined {
  const blob = Buffer.from(bytes);
  const sort = decodeSort(blob.subarray(1, ID_AT));
  const sealedSize = blob.length - HEAD_SIZE - CHECK_SIZE - DIGEST_SIZE;
  if (blob[0] !== 1 || sort === undefined) return undefined;
  const ivSize = sort.mechanism === 'gcm' ? IV_SIZE : 0;
  const right =
    sort.mechanism === 'gcm'
      ? sealedSize === IV_SIZE + KEY_SIZE + TAG_SIZE
      : sealedSize >= RSA_SIZE_MIN && sealedSize <= RSA_SIZE_MAX;
  if (!right) return undefined;
  const body = blob.subarray(0, -DIGEST_SIZE);
  if (!timingSafeEqual(digestOf(body), blob.subarray(-DIGEST_SIZE))) return undefined;
  const sealed = HEAD_SIZE + CHECK_SIZE;
  return {
    sort,
    id: body.subarray(ID_AT, ID_AT + ID_SIZE),
    serial: body.subarray(ID_AT + ID_SIZE, HEAD_SIZE),
    check: body.subarray(HEAD_SIZE, sealed),
    iv: body.subarray(sealed, sealed + ivSize),
    ciphertext: body.subarray(sealed + ivSize),
  };
}

/** No key in it: it finds damage, it stops nobody. */
function digestOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest();
}
