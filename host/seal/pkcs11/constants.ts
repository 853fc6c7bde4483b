/** Numbers of PKCS#11 (OASIS, version 2.40 and 3.0, "Current Mechanisms" and "Base Specification"), as far as they are used. */
import type { Trouble } from './wire.ts';

export const CKF_RW_SESSION = 0x2;
export const CKF_SERIAL_SESSION = 0x4;
export const CKF_OS_LOCKING_OK = 0x2;
export const CKU_USER = 1;

/** Flags of CK_TOKEN_INFO. */
export const CKF_LOGIN_REQUIRED = 0x4;
export const CKF_TOKEN_INITIALIZED = 0x400;
/** A wrong PIN was entered since the last right one. */
export const CKF_USER_PIN_COUNT_LOW = 0x10000;
/** One more wrong PIN locks it. */
export const CKF_USER_PIN_FINAL_TRY = 0x20000;
export const CKF_USER_PIN_LOCKED = 0x40000;

export const CKO_DATA = 0;
export const CKO_PUBLIC_KEY = 2;
export const CKO_PRIVATE_KEY = 3;
export const CKO_SECRET_KEY = 4;
export const CKK_RSA = 0;
export const CKK_AES = 0x1f;

export const CKA_CLASS = 0x0;
export const CKA_TOKEN = 0x1;
export const CKA_PRIVATE = 0x2;
export const CKA_LABEL = 0x3;
export const CKA_APPLICATION = 0x10;
export const CKA_VALUE = 0x11;
export const CKA_KEY_TYPE = 0x100;
export const CKA_ID = 0x102;
export const CKA_SENSITIVE = 0x103;
export const CKA_ENCRYPT = 0x104;
export const CKA_DECRYPT = 0x105;
export const CKA_WRAP = 0x106;
export const CKA_UNWRAP = 0x107;
export const CKA_SIGN = 0x108;
export const CKA_VERIFY = 0x10a;
export const CKA_DERIVE = 0x10c;
export const CKA_MODULUS = 0x120;
export const CKA_MODULUS_BITS = 0x121;
export const CKA_PUBLIC_EXPONENT = 0x122;
export const CKA_VALUE_LEN = 0x161;
export const CKA_EXTRACTABLE = 0x162;
export const CKA_LOCAL = 0x163;
export const CKA_NEVER_EXTRACTABLE = 0x164;
export const CKA_ALWAYS_SENSITIVE = 0x165;
export const CKA_MODIFIABLE = 0x170;
export const CKA_COPYABLE = 0x171;

export const CKM_RSA_PKCS_KEY_PAIR_GEN = 0x0;
export const CKM_RSA_PKCS_OAEP = 0x9;
export const CKM_SHA_1 = 0x220;
export const CKM_SHA256 = 0x250;
export const CKM_AES_KEY_GEN = 0x1080;
export const CKM_AES_GCM = 0x1087;
export const CKG_MGF1_SHA1 = 1;
export const CKG_MGF1_SHA256 = 2;
export const CKZ_DATA_SPECIFIED = 1;

/** Forms of parameters, as pkcs11js numbers them. */
export const CK_PARAMS_AES_GCM_V240 = 7;
export const CK_PARAMS_RSA_OAEP = 4;

/** What a token can do for a slot, as bits. */
export const CAN = { gcm: 1, oaep: 2 } as const;

const KEY_MUST: readonly (readonly [number, boolean])[] = [
  [CKA_TOKEN, true],
  [CKA_PRIVATE, true],
  [CKA_SENSITIVE, true],
  [CKA_EXTRACTABLE, false],
  [CKA_ALWAYS_SENSITIVE, true],
  [CKA_NEVER_EXTRACTABLE, true],
  [CKA_UNWRAP, false],
];

/** What a slot's key must be each time before it is used: made in this token, and never readable outside it. */
export const AES_KEY_MUST: readonly (readonly [number, boolean | number])[] = [
  ...KEY_MUST,
  [CKA_KEY_TYPE, CKK_AES],
  [CKA_VALUE_LEN, 32],
  [CKA_WRAP, false],
  [CKA_DERIVE, false],
];
export const RSA_KEY_MUST: readonly (readonly [number, boolean | number])[] = [...KEY_MUST, [CKA_KEY_TYPE, CKK_RSA]];

/** Where the token said it when the key was made. */
export const LOCAL_MUST: readonly (readonly [number, boolean])[] = [[CKA_LOCAL, true]];

/** Return codes that say that an attribute of a template is not known or not wanted; NSS says CKR_GENERAL_ERROR to CKA_COPYABLE. */
export const TEMPLATE_REFUSED: ReadonlySet<number> = new Set([0x5, 0x10, 0x11, 0x12, 0x13, 0xd0, 0xd1]);

/** Return codes with a meaning of their own; all others are what the call makes of them. */
export const TROUBLE_OF: ReadonlyMap<number, Trouble> = new Map<number, Trouble>([
  [0x30, 'session-lost'], // CKR_DEVICE_ERROR
  [0x31, 'session-lost'], // CKR_DEVICE_MEMORY
  [0x32, 'session-lost'], // CKR_DEVICE_REMOVED
  [0x70, 'mechanism-missing'], // CKR_MECHANISM_INVALID
  [0x71, 'mechanism-missing'], // CKR_MECHANISM_PARAM_INVALID
  [0xa0, 'pin-refused'], // CKR_PIN_INCORRECT
  [0xa1, 'pin-refused'], // CKR_PIN_INVALID
  [0xa2, 'pin-refused'], // CKR_PIN_LEN_RANGE
  [0xa3, 'pin-refused'], // CKR_PIN_EXPIRED
  [0xa4, 'pin-locked'], // CKR_PIN_LOCKED
  [0xb0, 'session-lost'], // CKR_SESSION_CLOSED
  [0xb3, 'session-lost'], // CKR_SESSION_HANDLE_INVALID
  [0xe0, 'session-lost'], // CKR_TOKEN_NOT_PRESENT
  [0xe1, 'session-lost'], // CKR_TOKEN_NOT_RECOGNIZED
  [0x101, 'session-lost'], // CKR_USER_NOT_LOGGED_IN
  [0x102, 'pin-unset'], // CKR_USER_PIN_NOT_INITIALIZED
]);
