/** Grants of work that the box does by itself (core/spec/gate.md, Jobs). */
import {
  BAD_ARGUMENT,
  FULL,
  NO_MOUNT,
  OK,
  SEALED,
  TABLE_ACCESSOR,
  TABLE_EXPIRY,
  TABLE_LEASE,
  TABLE_TOKEN,
  TABLE_WRAP,
  VERDICT_ALLOWED,
} from './abi';
import { copy } from './bytes';
import {
  DEADLINE,
  FLAG_JOB,
  FLAGS,
  JOB,
  MOUNT,
  MOUNT_ID,
  newGrant,
  numberOf,
  READ_TABLES,
  STATE,
  STATE_ACTIVE,
  tell,
  VERDICT,
  WRITE_TABLES,
} from './grants';
import { isOpen } from './keyring';
import { IN, setResult64 } from './memory';
import { findMount } from './mounts';

/** The table of jobs: which system tables each may open and seal. All may work in the whole of the mount they name. */
const TOKENS: u32 =
  (1 << TABLE_TOKEN) |
  (1 << TABLE_ACCESSOR) |
  (1 << 7) |
  (1 << TABLE_EXPIRY) |
  (1 << TABLE_WRAP) |
  (1 << TABLE_LEASE) |
  (1 << 13);
const POLICY_AND_MOUNT: u32 = (1 << 9) | (1 << 10);
const JOBS = memory.data<u32>([
  TOKENS | POLICY_AND_MOUNT, // boot
  TOKENS, // expiry
  TOKENS, // revocation
  TOKENS | POLICY_AND_MOUNT, // unmount
  TOKENS, // tidy
  TOKENS | POLICY_AND_MOUNT, // rotation
  TOKENS | POLICY_AND_MOUNT, // rewrap
  1 << 13, // audit
  TOKENS | POLICY_AND_MOUNT, // init
  (1 << TABLE_LEASE) | (1 << TABLE_EXPIRY), // lease
]);
const JOB_COUNT: u32 = 10;

/** IN: the mount's id, if `withMount`. Results: grant number (2 words). Open at once: a job leaves its leaves itself. */
export function systemGrant(job: u32, withMount: bool, nowMs: f64, deadlineMs: f64): u32 {
  if (!isOpen()) return SEALED;
  if (job >= JOB_COUNT) return BAD_ARGUMENT;
  tell(<u64>nowMs);
  const found = withMount ? findMount(IN) : -1;
  if (withMount && found < 0) return NO_MOUNT;
  const grant = newGrant();
  if (grant == 0) return FULL;
  const tables = load<u32>(JOBS + <usize>job * 4);
  store<u32>(grant + STATE, STATE_ACTIVE);
  store<u32>(grant + MOUNT, found < 0 ? 0xffffffff : <u32>found);
  if (found >= 0) copy(grant + MOUNT_ID, IN, 16);
  store<u32>(grant + JOB, job + 1);
  store<u64>(grant + DEADLINE, <u64>deadlineMs);
  store<u32>(grant + READ_TABLES, tables);
  store<u32>(grant + WRITE_TABLES, tables);
  store<u32>(grant + FLAGS, FLAG_JOB);
  store<u32>(grant + VERDICT, VERDICT_ALLOWED);
  setResult64(0, numberOf(grant));
  return OK;
}
