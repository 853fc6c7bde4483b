/** One token behind a PKCS#11 module, inside the child: loads, logs in, makes, uses and destroys keys. All calls block. */
import { randomBytes } from 'node:crypto';
import type { Attribute, Handle, PKCS11, Mechanism as Pkcs11Mechanism } from 'pkcs11js';
import { ID_SIZE, IV_SIZE, KEY_SIZE, SERIAL_SIZE } from './blob.ts';
import * as c from './constants.ts';
import type { Mechanism, Sort, Trouble } from './wire.ts';

/** Why a request was not done. Carries no word of the module. */
export class TokenTrouble extends Error {
  readonly trouble: Trouble;

  constructor(trouble: Trouble) {
    super(trouble);
    this.trouble = trouble;
  }
}

export interface OpenedToken {
  readonly serial: Uint8Array;
  readonly flags: number;
  /** Bits of `c.CAN`. */
  readonly mechanisms: number;
}

const RSA_BITS = 2048;
const OBJECTS_MAX = 8;

/** Runs one call of the module; a return code that is not in `map` is `otherwise`. */
function call<T>(work: () => T, otherwise: Trouble = 'token-failed'): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof TokenTrouble) throw error;
    throw new TokenTrouble(c.TROUBLE_OF.get(codeOf(error)) ?? otherwise);
  }
}

/** The return code of a call. The binding leaves it in the message of some calls (C_CreateObject): "CKR_…:19". */
function codeOf(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  if ('code' in error && typeof error.code === 'number') return error.code;
  return Number(/^CKR_\w+:(\d{1,10})(?!\d)/.exec(error.message)?.[1] ?? 0);
}

export class Token {
  readonly #module: PKCS11;
  #session: Handle | undefined;
  #opened = false;

  constructor(module: PKCS11) {
    this.#module = module;
  }

  /** @param write  a session that may make and destroy keys */
  open(path: string, parameters: string, label: string, write: boolean): OpenedToken {
    const module = this.#module;
    call(() => module.load(path), 'module-missing');
    call(
      () => module.C_Initialize(parameters === '' ? { flags: c.CKF_OS_LOCKING_OK } : { libraryParameters: parameters }),
      'module-failed',
    );
    this.#opened = true;
    const found = call(() => module.C_GetSlotList(true), 'module-failed').flatMap((slot) => {
      try {
        const info = module.C_GetTokenInfo(slot);
        return info.label.trimEnd() === label && (info.flags & c.CKF_TOKEN_INITIALIZED) !== 0 ? [{ slot, info }] : [];
      } catch {
        // A reader whose card is being pulled, or one that holds another maker's: not ours.
        return [];
      }
    });
    const [one] = found;
    if (one === undefined) throw new TokenTrouble('token-absent');
    if (found.length > 1) throw new TokenTrouble('token-ambiguous');
    const has = new Set(call(() => module.C_GetMechanismList(one.slot)));
    const flags = c.CKF_SERIAL_SESSION | (write ? c.CKF_RW_SESSION : 0);
    this.#session = call(() => module.C_OpenSession(one.slot, flags));
    const serial = Buffer.alloc(SERIAL_SIZE, ' ');
    serial.write(one.info.serialNumber, 'latin1');
    const gcm = has.has(c.CKM_AES_GCM) && has.has(c.CKM_AES_KEY_GEN) ? c.CAN.gcm : 0;
    const oaep = has.has(c.CKM_RSA_PKCS_OAEP) && has.has(c.CKM_RSA_PKCS_KEY_PAIR_GEN) ? c.CAN.oaep : 0;
    return { serial, flags: one.info.flags >>> 0, mechanisms: gcm | oaep };
  }

  login(pin: Buffer): void {
    const session = this.#open();
    call(() => this.#module.C_Login(session, c.CKU_USER, pin.toString('utf8')), 'token-failed');
  }

  /** @returns 1 if the token says that the key is local, else 0; for RSA also modulus and public exponent */
  generate(mechanism: Mechanism, id: Buffer): Buffer[] {
    const session = this.#open();
    if (mechanism === 'gcm') {
      whereTaken((extra) =>
        this.#module.C_GenerateKey(session, { mechanism: c.CKM_AES_KEY_GEN }, [...aesTemplate(id), ...extra]),
      );
      return [this.#isLocal(mechanism, id)];
    }
    const pair = whereTaken((extra) =>
      this.#module.C_GenerateKeyPair(session, { mechanism: c.CKM_RSA_PKCS_KEY_PAIR_GEN }, rsaPublicTemplate(id), [
        ...rsaPrivateTemplate(id),
        ...extra,
      ]),
    );
    const local = this.#isLocal(mechanism, id);
    const parts = call(() =>
      this.#module.C_GetAttributeValue(session, pair.publicKey, [
        { type: c.CKA_MODULUS },
        { type: c.CKA_PUBLIC_EXPONENT },
      ]),
    );
    return [local, ...parts.map(({ value }) => bytesOf(value))];
  }

  /** @returns the IV as the token left it (some make their own), then ciphertext and tag */
  encrypt(sort: Sort, id: Buffer, associated: Buffer, plain: Buffer): Buffer[] {
    const session = this.#open();
    const key = this.#key(sort, id);
    const iv = randomBytes(IV_SIZE);
    call(() => this.#module.C_EncryptInit(session, gcm(iv, associated), key));
    const sealed = call(() => this.#module.C_Encrypt(session, plain, Buffer.alloc(plain.length + 64)));
    return [iv, Buffer.from(sealed)];
  }

  decrypt(sort: Sort, id: Buffer, associated: Buffer, iv: Buffer, sealed: Buffer): Buffer {
    const session = this.#open();
    const key = this.#key(sort, id);
    const how = sort.mechanism === 'gcm' ? gcm(iv, associated) : oaep(sort.mechanism);
    call(() => this.#module.C_DecryptInit(session, how, key), 'mechanism-missing');
    const plain = call(() => this.#module.C_Decrypt(session, sealed, Buffer.alloc(sealed.length + 64)), 'data-refused');
    if (plain.length !== KEY_SIZE) throw new TokenTrouble('data-refused');
    return plain;
  }

  /** Proves that token and key work: what was refused before was refused for its bytes. RSA: the key is there and sound. */
  probe(sort: Sort, id: Buffer): void {
    if (sort.mechanism !== 'gcm') {
      this.#key(sort, id);
      return;
    }
    const plain = randomBytes(KEY_SIZE);
    const associated = Buffer.from('holdfast/v1/pkcs11 probe', 'ascii');
    const [iv, sealed] = this.encrypt(sort, id, associated, plain);
    if (iv === undefined || sealed === undefined) throw new TokenTrouble('token-failed');
    let back: Buffer;
    try {
      back = this.decrypt(sort, id, associated, iv, sealed);
    } catch {
      throw new TokenTrouble('token-failed');
    }
    if (!back.equals(plain)) throw new TokenTrouble('token-failed');
  }

  destroy(id: Buffer): void {
    const session = this.#open();
    for (const object of this.#find([{ type: c.CKA_ID, value: id }], OBJECTS_MAX)) {
      call(() => this.#module.C_DestroyObject(session, object));
    }
  }

  /** The highest count under this id: a power cut between two writes leaves two. */
  count(id: Buffer): Buffer {
    const counts = this.#counts(id).map(({ count }) => count);
    const highest = counts.reduce((high, one) => (Buffer.compare(one, high) > 0 ? one : high), Buffer.alloc(0));
    if (highest.length === 0) throw new TokenTrouble('count-absent');
    return highest;
  }

  /** The new count is there before the old one goes: a power cut never leaves none. */
  setCount(id: Buffer, from: Buffer, to: Buffer): void {
    if (to.length !== COUNT_SIZE) throw new TokenTrouble('message-wrong');
    const old = this.#counts(id);
    if (from.length === 0 && old.length > 0) throw new TokenTrouble('count-other');
    if (from.length > 0 && !this.count(id).equals(from)) throw new TokenTrouble('count-other');
    const session = this.#open();
    const template = [...countTemplate(id), { type: c.CKA_VALUE, value: Buffer.concat([COUNT_VERSION, to]) }];
    try {
      this.#module.C_CreateObject(session, template);
    } catch (error) {
      if (c.TEMPLATE_REFUSED.has(codeOf(error))) throw new TokenTrouble('data-unknown');
      call(() => fail(error));
    }
    for (const { object } of old) call(() => this.#module.C_DestroyObject(session, object));
    // Some modules say that they took it and keep nothing.
    if (this.#counts(id).length === 0) throw new TokenTrouble('data-unknown');
  }

  forgetCount(id: Buffer): void {
    const session = this.#open();
    for (const { object } of this.#counts(id)) call(() => this.#module.C_DestroyObject(session, object));
  }

  #counts(id: Buffer): { readonly object: Handle; readonly count: Buffer }[] {
    if (id.length !== ID_SIZE) throw new TokenTrouble('message-wrong');
    return this.#find(countTemplate(id), OBJECTS_MAX).flatMap((object) => {
      const [answer] = call(() => this.#module.C_GetAttributeValue(this.#open(), object, [{ type: c.CKA_VALUE }]));
      const value = bytesOf(answer?.value);
      const right = value.length === 1 + COUNT_SIZE && value[0] === COUNT_VERSION[0];
      return right ? [{ object, count: value.subarray(1) }] : [];
    });
  }

  /** A module that is left without this keeps its sessions in the device (TPM). */
  close(): void {
    if (!this.#opened) return;
    this.#opened = false;
    this.#session = undefined;
    try {
      this.#module.C_Finalize();
    } catch {
      // The process ends now, and whatever it held with it.
    }
  }

  #open(): Handle {
    if (this.#session === undefined) throw new TokenTrouble('message-wrong');
    return this.#session;
  }

  #find(template: Attribute[], most: number): Handle[] {
    const session = this.#open();
    call(() => this.#module.C_FindObjectsInit(session, template));
    const found = call(() => this.#module.C_FindObjects(session, most));
    call(() => this.#module.C_FindObjectsFinal(session));
    return found;
  }

  /** Exactly one key with this id, and it never was, is, or can be outside the token. */
  #key({ mechanism, local }: Sort, id: Buffer): Handle {
    if (id.length !== ID_SIZE) throw new TokenTrouble('message-wrong');
    const kind = mechanism === 'gcm' ? c.CKO_SECRET_KEY : c.CKO_PRIVATE_KEY;
    const found = this.#find(
      [
        { type: c.CKA_CLASS, value: kind },
        { type: c.CKA_ID, value: id },
      ],
      2,
    );
    const [key] = found;
    if (key === undefined) throw new TokenTrouble('key-absent');
    if (found.length > 1) throw new TokenTrouble('key-ambiguous');
    const demands = [...(mechanism === 'gcm' ? c.AES_KEY_MUST : c.RSA_KEY_MUST), ...(local ? c.LOCAL_MUST : [])];
    if (demands.some(([type, must]) => !this.#says(key, type, must))) throw new TokenTrouble('key-weak');
    return key;
  }

  /** Asked one by one: a module that does not know an attribute fails a whole list. */
  #says(key: Handle, type: number, must: boolean | number): boolean {
    const [answer] = call(() => this.#module.C_GetAttributeValue(this.#open(), key, [{ type }]), 'key-weak');
    return is(answer?.value, must);
  }

  /** Of a key that was made a moment ago. */
  #isLocal(mechanism: Mechanism, id: Buffer): Buffer {
    const key = this.#key({ mechanism, local: false }, id);
    return Buffer.of(this.#says(key, c.CKA_LOCAL, true) ? 1 : 0);
  }
}

function bytesOf(value: unknown): Buffer {
  if (!Buffer.isBuffer(value)) throw new TokenTrouble('token-failed');
  return value;
}

/** Attributes come as the bytes of a CK_BBOOL or of a CK_ULONG. */
function is(value: unknown, must: boolean | number): boolean {
  if (!Buffer.isBuffer(value)) return false;
  if (typeof must === 'boolean') return value.length === 1 && (value[0] !== 0) === must;
  return value.length >= 4 && value.readUInt32LE(0) === must && value.subarray(4).every((byte) => byte === 0);
}

function gcm(iv: Buffer, aad: Buffer): Pkcs11Mechanism {
  // The form of PKCS#11 2.40, with the bits of the IV: SoftHSM and NSS read it.
  const parameter = { type: c.CK_PARAMS_AES_GCM_V240, iv, ivBits: iv.length * 8, aad, tagBits: 128 };
  return { mechanism: c.CKM_AES_GCM, parameter };
}

function oaep(mechanism: Mechanism): Pkcs11Mechanism {
  const [hashAlg, mgf] =
    mechanism === 'oaepSha256' ? [c.CKM_SHA256, c.CKG_MGF1_SHA256] : [c.CKM_SHA_1, c.CKG_MGF1_SHA1];
  const parameter = { type: c.CK_PARAMS_RSA_OAEP, hashAlg, mgf, source: c.CKZ_DATA_SPECIFIED };
  return { mechanism: c.CKM_RSA_PKCS_OAEP, parameter };
}

const LABEL = 'holdfast slot';

const COUNT_SIZE = 8;
const COUNT_VERSION = Buffer.of(1);
/** Data objects have no CKA_ID: the label names them. Private, so that nobody reads or changes them without the PIN. */
const countTemplate = (id: Buffer): Attribute[] => [
  { type: c.CKA_CLASS, value: c.CKO_DATA },
  { type: c.CKA_TOKEN, value: true },
  { type: c.CKA_PRIVATE, value: true },
  { type: c.CKA_APPLICATION, value: 'holdfast' },
  { type: c.CKA_LABEL, value: `holdfast counter ${id.toString('hex')}` },
];

/** What every secret of ours on a token is. */
const kept = (id: Buffer): Attribute[] => [
  { type: c.CKA_TOKEN, value: true },
  { type: c.CKA_PRIVATE, value: true },
  { type: c.CKA_SENSITIVE, value: true },
  { type: c.CKA_EXTRACTABLE, value: false },
  { type: c.CKA_DECRYPT, value: true },
  { type: c.CKA_UNWRAP, value: false },
  { type: c.CKA_ID, value: id },
  { type: c.CKA_LABEL, value: LABEL },
];

const aesTemplate = (id: Buffer): Attribute[] => [
  ...kept(id),
  { type: c.CKA_CLASS, value: c.CKO_SECRET_KEY },
  { type: c.CKA_KEY_TYPE, value: c.CKK_AES },
  { type: c.CKA_VALUE_LEN, value: KEY_SIZE },
  { type: c.CKA_ENCRYPT, value: true },
  { type: c.CKA_WRAP, value: false },
  { type: c.CKA_SIGN, value: false },
  { type: c.CKA_VERIFY, value: false },
  { type: c.CKA_DERIVE, value: false },
];

/** Says nothing of CKA_SIGN: a TPM makes RSA keys that decrypt and sign, or none. */
const rsaPrivateTemplate = (id: Buffer): Attribute[] => [
  ...kept(id),
  { type: c.CKA_CLASS, value: c.CKO_PRIVATE_KEY },
  { type: c.CKA_KEY_TYPE, value: c.CKK_RSA },
];

const rsaPublicTemplate = (id: Buffer): Attribute[] => [
  { type: c.CKA_CLASS, value: c.CKO_PUBLIC_KEY },
  { type: c.CKA_KEY_TYPE, value: c.CKK_RSA },
  { type: c.CKA_TOKEN, value: true },
  { type: c.CKA_MODULUS_BITS, value: RSA_BITS },
  { type: c.CKA_PUBLIC_EXPONENT, value: Buffer.of(1, 0, 1) },
  { type: c.CKA_ENCRYPT, value: true },
  { type: c.CKA_ID, value: id },
  { type: c.CKA_LABEL, value: LABEL },
];

const UNMODIFIABLE: Attribute = { type: c.CKA_MODIFIABLE, value: false };
const UNCOPYABLE: Attribute = { type: c.CKA_COPYABLE, value: false };

/** With everything that forbids change and copies, then with less where the token does not know it. */
function whereTaken<T>(make: (extra: Attribute[]) => T): T {
  for (const extra of [[UNMODIFIABLE, UNCOPYABLE], [UNMODIFIABLE], [UNCOPYABLE]]) {
    try {
      return make(extra);
    } catch (error) {
      if (!c.TEMPLATE_REFUSED.has(codeOf(error))) return call(() => fail(error));
    }
  }
  return call(() => make([]));
}

function fail(error: unknown): never {
  throw error;
}
