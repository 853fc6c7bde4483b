/** Numbers that core and its facade share (core/spec/abi.md): statuses, tables, verbs, jobs, limits. */

export const OK: u32 = 0;
export const REFUSED: u32 = 1;
export const SEALED: u32 = 2;
export const DENIED: u32 = 3;
export const BAD_PATH: u32 = 4;
export const NO_MOUNT: u32 = 5;
export const FULL: u32 = 6;
export const BAD_ARGUMENT: u32 = 7;
export const NO_ENTROPY: u32 = 8;

export const TABLE_KEYRING: u32 = 1;
export const TABLE_FRESHNESS: u32 = 2;
export const TABLE_RECORD: u32 = 3;
export const TABLE_NAME: u32 = 4;
export const TABLE_TOKEN: u32 = 5;
export const TABLE_ACCESSOR: u32 = 6;
export const TABLE_CHILD: u32 = 7;
export const TABLE_EXPIRY: u32 = 8;
export const TABLE_POLICY: u32 = 9;
export const TABLE_MOUNT: u32 = 10;
export const TABLE_WRAP: u32 = 11;
export const TABLE_LEASE: u32 = 12;
export const TABLE_JOB: u32 = 13;

export const VERB_READ: u32 = 0;
export const VERB_LIST: u32 = 1;
export const VERB_WRITE: u32 = 2;
export const VERB_DELETE: u32 = 3;
export const VERB_PATCH: u32 = 4;
export const VERB_HELP: u32 = 5;

export const OP_SUDO: u32 = 1;
export const OP_ROOT: u32 = 2;
export const OP_OPEN: u32 = 4;
export const OP_SLASH: u32 = 8;
export const OP_EXISTENCE: u32 = 16;

export const MODE_NAMES: u32 = 1;
export const MODE_READ: u32 = 2;
export const MODE_WRITE: u32 = 4;

export const VERDICT_TOKEN: u32 = 0;
export const VERDICT_POLICY: u32 = 1;
export const VERDICT_ALLOWED: u32 = 2;
export const VERDICT_NEEDS_PARAMETERS: u32 = 3;

export const PHASE_REQUEST: u32 = 0;
export const PHASE_RESPONSE: u32 = 1;
export const PHASE_NOTE: u32 = 2;

export const PAYLOAD_SIZE_MAX: u32 = 1_048_576;
export const ROW_OVERHEAD: u32 = 45;
export const KEY_SIZE_MAX: u32 = 64;
export const SUFFIX_SIZE_MAX: u32 = 8;
export const LEAF_SIZE_MAX: u32 = 65_535;
export const SEGMENT_COUNT_MAX: u32 = 32;
export const SEGMENT_SIZE_MAX: u32 = 255;
/** 32 segments of 255 bytes and the slashes between them, and one at the end. */
export const PATH_SIZE_MAX: u32 = 8192;
export const MOUNT_PATH_SIZE_MAX: u32 = 512;
export const TOKEN_PAYLOAD_SIZE_MAX: u32 = 16_384;
