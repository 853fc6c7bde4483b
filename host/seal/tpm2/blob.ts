/** The slot's header and blob: core/spec/tpm2.md. */
import { Fault } from '../../fault.ts';
import { ANEW } from './codes.ts';
import { sha256, sized } from './wire.ts';

const VERSION = 1;
const NAME_SIZE = 34;
const POINT_SIZE = 64;
const CHECK_SIZE = 16;
const FLAG_PIN = 1;
const FLAG_SIGNED = 2;
const HEAD_SIZE = 2 + 3 + NAME_SIZE + POINT_SIZE + 4;

export interface Header {
  readonly pin: boolean;
  /** Bit n is PCR n, 0 to 23. */
  readonly pcrs: number;
  readonly srkName: Buffer;
  /** P-256 point (x, y) of who signs boot policies, and the NV index of their version. */
  readonly signed?: { readonly point: Buffer; readonly index: number };
  readonly publicArea: Buffer;
  readonly privateArea: Buffer;
}

/** `publicArea` and `privateArea` are TPM2B bytes with their length. */
export function encodeBlob(header: Header): Buffer {
  const head = Buffer.alloc(HEAD_SIZE);
  head[0] = VERSION;
  head[1] = (header.pin ? FLAG_PIN : 0) | (header.signed === undefined ? 0 : FLAG_SIGNED);
  head.writeUIntBE(header.pcrs, 2, 3);
  header.srkName.copy(head, 5);
  if (header.signed !== undefined) {
    header.signed.point.copy(head, 5 + NAME_SIZE);
    head.writeUInt32BE(header.signed.index, 5 + NAME_SIZE + POINT_SIZE);
  }
  const body = Buffer.concat([head, header.publicArea, header.privateArea]);
  return Buffer.concat([body, sha256(body).subarray(0, CHECK_SIZE)]);
}

/**
 * The check value is no protection against whoever edits with intent (the TPM's own integrity and policy are): it keeps
 * a worn flash cell from costing a counted failure of the PIN.
 */
export function decodeBlob(blob: Uint8Array): Header {
  const bytes = Buffer.from(blob);
  const body = bytes.subarray(0, -CHECK_SIZE);
  if (bytes.length < HEAD_SIZE + 4 + CHECK_SIZE || bytes.length > 4096) throw refused();
  if (!sha256(body).subarray(0, CHECK_SIZE).equals(bytes.subarray(-CHECK_SIZE))) throw refused();
  const flags = body[1] ?? 0;
  if (body[0] !== VERSION || flags > (FLAG_PIN | FLAG_SIGNED)) throw refused();
  const middle = HEAD_SIZE + 2 + body.readUInt16BE(HEAD_SIZE);
  if (middle + 2 > body.length || middle + 2 + body.readUInt16BE(middle) !== body.length) throw refused();
  const point = body.subarray(5 + NAME_SIZE, 5 + NAME_SIZE + POINT_SIZE);
  const index = body.readUInt32BE(5 + NAME_SIZE + POINT_SIZE);
  const signed = (flags & FLAG_SIGNED) !== 0;
  if (!signed && (index !== 0 || point.some((byte) => byte !== 0))) throw refused();
  return {
    pin: (flags & FLAG_PIN) !== 0,
    pcrs: body.readUIntBE(2, 3),
    srkName: body.subarray(5, 5 + NAME_SIZE),
    ...(signed ? { signed: { point, index } } : {}),
    publicArea: sized(body.subarray(HEAD_SIZE + 2, middle)),
    privateArea: sized(body.subarray(middle + 2)),
  };
}

export function refused(): Fault {
  return new Fault('slot.refused', `the TPM slot was changed: ${ANEW}`);
}
