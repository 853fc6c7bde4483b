/**
 * What the box and the program that loads the PKCS#11 module say to each other, over one socket pair (descriptor 3 of the
 * child; standard input and output stay free for whatever a module prints).
 *
 *     message = 4 length of the rest, big-endian · 1 code · any number of (2 length, big-endian · bytes)
 *
 * The box asks, the child answers, one message each. An answer's code is 0 or the reason why not, without any field: what a
 * module says in its own words never leaves the child.
 */

/** Longest message without its length: an RSA key of 8,192 bits and room. */
export const MESSAGE_SIZE_MAX = 4096;
/** The child's end of the socket pair. */
export const CHANNEL = 3;

/** What the box asks, and the number of its fields. */
export const ASK = {
  /** module path, library parameters, token label, 1 write → serial (16), flags (4), mechanisms (1) */
  open: { code: 1, fields: 4 },
  /** PIN → nothing */
  login: { code: 2, fields: 1 },
  /** mechanism (1), id → 1 if the token says that the key is local, else 0; for RSA also modulus, exponent. Makes the key. */
  generate: { code: 3, fields: 2 },
  /** sort, id, associated data, plaintext → IV, ciphertext and tag. AES only. A sort is: mechanism (1), local (1) */
  encrypt: { code: 4, fields: 4 },
  /** sort, id, associated data, IV, ciphertext → plaintext */
  decrypt: { code: 5, fields: 5 },
  /** sort, id → nothing. Encrypts and decrypts something else with the same key. */
  probe: { code: 6, fields: 2 },
  /** id → nothing. Destroys every object with this id. */
  destroy: { code: 7, fields: 1 },
  /** → nothing; the module is finalised and the child ends. */
  end: { code: 8, fields: 0 },
  /** id → the count (8): the highest that lies under this id */
  count: { code: 9, fields: 1 },
  /** id, count as it is (8) or nothing where there is none yet, count as it shall be (8) → nothing */
  setCount: { code: 10, fields: 3 },
  /** id → nothing. Removes every count with this id. */
  forgetCount: { code: 11, fields: 1 },
} as const;
export type Ask = keyof typeof ASK;

export const MECHANISM = { gcm: 1, oaepSha256: 2, oaepSha1: 3 } as const;
export type Mechanism = keyof typeof MECHANISM;

/** What sort of key a slot has. */
export interface Sort {
  readonly mechanism: Mechanism;
  /** The token says CKA_LOCAL of its keys, so it must say it each time. NSS forgets it when it stores a secret key. */
  readonly local: boolean;
}

export function encodeSort({ mechanism, local }: Sort): Buffer {
  return Buffer.of(MECHANISM[mechanism], local ? 1 : 0);
}

/** Undefined unless the bytes are exactly one sort. */
export function decodeSort(bytes: Uint8Array): Sort | undefined {
  const [code, local] = bytes;
  const mechanism = (Object.keys(MECHANISM) as Mechanism[]).find((one) => MECHANISM[one] === code);
  if (bytes.length !== 2 || mechanism === undefined || (local !== 0 && local !== 1)) return undefined;
  return { mechanism, local: local === 1 };
}

/** Why not. The numbers are the codes of answers. */
export const TROUBLE = {
  'binding-missing': 1,
  'module-missing': 2,
  'module-failed': 3,
  'token-absent': 4,
  'token-ambiguous': 5,
  'pin-refused': 6,
  'pin-locked': 7,
  'pin-unset': 8,
  'key-absent': 9,
  'key-ambiguous': 10,
  'key-weak': 11,
  'data-refused': 12,
  'session-lost': 13,
  'token-failed': 14,
  'mechanism-missing': 15,
  'message-wrong': 16,
  'count-absent': 17,
  'count-other': 18,
  'data-unknown': 19,
} as const;
export type Trouble = keyof typeof TROUBLE;

const TROUBLES = new Map<number, Trouble>(Object.entries(TROUBLE).map(([name, code]) => [code, name as Trouble]));
const ASKS = new Map<number, Ask>(Object.entries(ASK).map(([name, { code }]) => [code, name as Ask]));

export function encodeMessage(code: number, fields: readonly Uint8Array[]): Buffer {
  const size = fields.reduce((sum, field) => sum + 2 + field.length, 1);
  if (size > MESSAGE_SIZE_MAX) throw new Error('a message to or from the PKCS#11 program is too long');
  const message = Buffer.alloc(4 + size);
  message.writeUInt32BE(size, 0);
  message[4] = code;
  let at = 5;
  for (const field of fields) {
    message.writeUInt16BE(field.length, at);
    message.set(field, at + 2);
    at += 2 + field.length;
  }
  return message;
}

export interface Message {
  readonly code: number;
  /** Copies. */
  readonly fields: readonly Buffer[];
}

/** Undefined unless `body` (a message without its length) is exactly one code and whole fields. */
function decodeBody(body: Buffer): Message | undefined {
  const fields: Buffer[] = [];
  let at = 1;
  while (at < body.length) {
    if (at + 2 > body.length) return undefined;
    const end = at + 2 + body.readUInt16BE(at);
    if (end > body.length) return undefined;
    fields.push(Buffer.from(body.subarray(at + 2, end)));
    at = end;
  }
  return { code: body[0] ?? 0, fields };
}

export function askOf({ code, fields }: Message): Ask | undefined {
  const ask = ASKS.get(code);
  return ask !== undefined && fields.length === ASK[ask].fields ? ask : undefined;
}

/** Undefined where the code is none that a child answers, or comes with fields. */
export function troubleOf({ code, fields }: Message): Trouble | undefined {
  return fields.length === 0 ? TROUBLES.get(code) : undefined;
}

/** Collects bytes to messages; what it holds is wiped when a message was taken out. */
export class MessageReader {
  #held: Buffer = Buffer.alloc(0);

  /**
   * @returns the messages that are whole by now
   * @throws Error if the bytes are no message
   */
  add(bytes: Uint8Array): Message[] {
    const joined = Buffer.concat([this.#held, bytes]);
    this.#held.fill(0);
    bytes.fill(0);
    const messages: Message[] = [];
    let at = 0;
    while (joined.length - at >= 4) {
      const size = joined.readUInt32BE(at);
      if (size < 1 || size > MESSAGE_SIZE_MAX) throw new Error('not a message of the PKCS#11 program');
      if (joined.length - at < 4 + size) break;
      const message = decodeBody(joined.subarray(at + 4, at + 4 + size));
      if (message === undefined) throw new Error('not a message of the PKCS#11 program');
      messages.push(message);
      at += 4 + size;
    }
    this.#held = Buffer.from(joined.subarray(at));
    joined.fill(0);
    return messages;
  }
}
