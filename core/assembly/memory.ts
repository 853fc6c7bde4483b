/**
 * Where everything lies. Memory is fixed at start; each region has one owner and a capacity (core/spec/abi.md). Static
 * data of single files lies between 64 KiB and 1 MiB. Addresses are literals: a global that is computed from another may be
 * read before it is made.
 */
import { wipe } from './bytes';

/** Host → core: arguments of the call under way. */
export const IN: usize = 0x100000;
export const IN_SIZE: u32 = 3_145_728;
/** Core → host: results of the last call. */
export const OUT: usize = 0x400000;
export const OUT_SIZE: u32 = 6_291_456;
/** Numbers beside OUT: 16 words. */
export const RESULT: usize = 0xa00000;
/** Random bytes that the host gave; used ones are zero. */
export const POOL: usize = 0xa01000;
export const POOL_SIZE: u32 = 4096;
/** Root key, staged root key, keyring, staged keyring, derived keys: keyring.ts. */
export const ROOT: usize = 0xa02000;
export const RING: usize = 0xa04000;
export const STAGED: usize = 0xa14000;
export const RING_SIZE: u32 = 65_536;
export const DERIVED: usize = 0xa24000;
export const DERIVED_SIZE: u32 = 8192;
/** The request between route and decide: gate.ts. */
export const REQUEST: usize = 0xa28000;
export const REQUEST_SIZE: u32 = 65_536;
/** Opened token rows of decide, before they are in a grant. */
export const OPENED: usize = 0xa38000;
export const OPENED_SIZE: u32 = 32_768;
/** Directory hashes: names.ts. */
export const DIRECTORIES: usize = 0xb00000;
export const DIRECTORY_SLOTS: u32 = 1024;
export const DIRECTORY_SLOT_SIZE: u32 = 256;
/** Declared operations: operations.ts. */
export const OPERATIONS: usize = 0xc00000;
export const OPERATIONS_SIZE: u32 = 1_048_576;
/** Mount table: mounts.ts. */
export const MOUNTS: usize = 0xd00000;
export const MOUNT_COUNT_MAX: u32 = 1024;
export const MOUNT_SIZE: u32 = 1024;
export const MOUNT_INDEX: usize = 0xe00000;
export const MOUNT_INDEX_SLOTS: u32 = 4096;
/** Lines of the audit group under way, where each lies, and its hash: audit/. */
export const LINES: usize = 0xf00000;
export const LINES_SIZE: u32 = 4_194_304;
export const LINE_TABLE: usize = 0x1300000;
export const LINE_COUNT_MAX: u32 = 16_384;
export const LEAF_HASHES: usize = 0x1340000;
export const FRONTIER: usize = 0x13fc000;
/** Live grants: gate.ts. */
export const GRANTS: usize = 0x1400000;
export const GRANT_COUNT_MAX: u32 = 1024;
export const GRANT_SIZE: u32 = 28_672;
/** Policies: working memory and two arenas. */
export const POLICIES: usize = 0x3000000;
export const POLICIES_SIZE: u32 = 25_231_360;
/** Plaintext whose tag is not verified yet: cipher/xchacha20poly1305.ts. */
export const STAGE: usize = 0x4900000;
export const STAGE_SIZE: u32 = 1_048_576;

let poolAt: u32 = POOL_SIZE;

/** Random bytes left in the pool. */
export function poolLeft(): u32 {
  return POOL_SIZE - poolAt;
}

/** Takes the whole pool anew from IN. */
export function poolFill(): void {
  memory.copy(POOL, IN, POOL_SIZE);
  wipe(IN, POOL_SIZE);
  poolAt = 0;
}

/** Moves `length` random bytes to `to`: they are gone from the pool. @returns false if there are not so many */
export function poolTake(to: usize, length: u32): bool {
  if (POOL_SIZE - poolAt < length) return false;
  memory.copy(to, POOL + poolAt, length);
  wipe(POOL + poolAt, length);
  poolAt += length;
  return true;
}

export function poolWipe(): void {
  wipe(POOL, POOL_SIZE);
  poolAt = POOL_SIZE;
}

export function setResult(index: u32, value: u32): void {
  store<u32>(RESULT + index * 4, value);
}

/** Two words, low first: what a double holds exactly. */
export function setResult64(index: u32, value: u64): void {
  store<u64>(RESULT + index * 4, value);
}
