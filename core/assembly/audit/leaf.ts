/** Composes lines of the log into the group under way (core/spec/audit.md, Leaf). */
import {
  BAD_ARGUMENT,
  DENIED,
  FULL,
  LEAF_SIZE_MAX,
  OK,
  PHASE_NOTE,
  PHASE_REQUEST,
  SEALED,
  VERDICT_ALLOWED,
  VERDICT_POLICY,
} from '../abi';
import { copy, loadU16, wipe } from '../bytes';
import {
  CAPABILITY,
  endGrant,
  FLAG_JOB,
  FLAG_TOKEN,
  FLAGS,
  findGrant,
  JOB,
  MOUNT,
  MOUNT_ID,
  PATH,
  PATH_LENGTH,
  SLASHED,
  STATE,
  STATE_ACTIVE,
  STATE_DECIDED,
  TOKEN,
  TOKEN_HMAC_HEX,
  VERDICT,
} from '../grants';
import { hmac } from '../hash/hmac';
import { AUDIT_HMAC, isOpen } from '../keyring';
import { IN, LINE_COUNT_MAX, LINE_TABLE, LINES, LINES_SIZE, setResult64 } from '../memory';
import { hex } from '../operations';
import { TOKEN_POLICIES } from '../tokens';
import { treeSize } from './frontier';

const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;
const LF: u8 = 0x0a;
const MARK_START: u32 = 1;
const MARK_END: u32 = 2;

/** Bytes and lines of the group under way. */
export let groupBytes: u32 = 0;
export let groupLines: u32 = 0;

const digest = memory.data(32);

export function tokenHmac(out: usize, text: usize, length: u32): void {
  hmac(digest, AUDIT_HMAC, text, length);
  hex(out, digest, 32);
}

let to: usize = 0;
let limit: usize = 0;
/** The line under way has a control character in core's own part: it is no line. */
let broken = false;

/** Bytes beyond the limit are counted and not written: the line is refused as a whole at its end. */
function put(from: usize, length: u32): void {
  if (to + length <= limit) copy(to, from, length);
  to += length;
}

/** For core's own part, which is far below the limit: a path and a token's payload, every byte escaped, are 48 KiB. */
function putByte(byte: u32): void {
  store<u8>(to, <u8>byte);
  to++;
}

/** A static text: its length in the first byte. */
function say(text: usize): void {
  put(text + 1, <u32>load<u8>(text));
}

function putNumber(value: u64): void {
  let divisor: u64 = 1;
  while (value / divisor > 9) divisor *= 10;
  while (divisor > 0) {
    putByte(0x30 + <u32>((value / divisor) % 10));
    divisor /= 10;
  }
}

const ESCAPED = memory.data<u8>([5, 92, 117, 50, 48, 50]); // \u202, then 8 or 9

/** Text without control characters as the inside of a JSON string; U+2028 and U+2029 are escaped: a leaf is one line. */
function putText(from: usize, length: u32): void {
  for (let i: u32 = 0; i < length; i++) {
    const byte = <u32>load<u8>(from + i);
    if (
      byte == 0xe2 &&
      i + 2 < length &&
      <u32>load<u8>(from + i + 1) == 0x80 &&
      (<u32>load<u8>(from + i + 2) & 0xfe) == 0xa8
    ) {
      say(ESCAPED);
      putByte(<u32>load<u8>(from + i + 2) == 0xa8 ? 0x38 : 0x39);
      i += 2;
      continue;
    }
    if (byte < 0x20) broken = true;
    if (byte == QUOTE || byte == BACKSLASH) putByte(BACKSLASH);
    putByte(byte);
  }
}

// Static texts, each with its length first.
const T_SEQ = memory.data<u8>([15, 123, 34, 99, 111, 114, 101, 34, 58, 123, 34, 115, 101, 113, 34, 58]); // {"core":{"seq":
const T_TIME = memory.data<u8>([9, 44, 34, 116, 105, 109, 101, 34, 58, 34]); // ,"time":"
const T_PHASE = memory.data<u8>([11, 34, 44, 34, 112, 104, 97, 115, 101, 34, 58, 34]); // ","phase":"
const T_OPERATION = memory.data<u8>([15, 34, 44, 34, 111, 112, 101, 114, 97, 116, 105, 111, 110, 34, 58, 34]); // ","operation":"
const T_PATH = memory.data<u8>([10, 34, 44, 34, 112, 97, 116, 104, 34, 58, 34]); // ","path":"
const T_MOUNT = memory.data<u8>([11, 34, 44, 34, 109, 111, 117, 110, 116, 34, 58, 34]); // ","mount":"
const T_POLICIES = memory.data<u8>([14, 34, 44, 34, 112, 111, 108, 105, 99, 105, 101, 115, 34, 58, 91]); // ","policies":[
const T_DECISION = memory.data<u8>([14, 93, 44, 34, 100, 101, 99, 105, 115, 105, 111, 110, 34, 58, 34]); // ],"decision":"
const T_TOKEN = memory.data<u8>([
  23, 34, 44, 34, 116, 111, 107, 101, 110, 34, 58, 34, 104, 109, 97, 99, 45, 115, 104, 97, 50, 53, 54, 58,
]); // ","token":"hmac-sha256:
const T_END = memory.data<u8>([3, 34, 125, 44]); // "},
const T_HMAC = memory.data<u8>([12, 104, 109, 97, 99, 45, 115, 104, 97, 50, 53, 54, 58]); // hmac-sha256:
const P_REQUEST = memory.data<u8>([7, 114, 101, 113, 117, 101, 115, 116]);
const P_RESPONSE = memory.data<u8>([8, 114, 101, 115, 112, 111, 110, 115, 101]);
const P_NOTE = memory.data<u8>([4, 110, 111, 116, 101]);
const D_ALLOWED = memory.data<u8>([7, 97, 108, 108, 111, 119, 101, 100]);
const D_TOKEN = memory.data<u8>([5, 116, 111, 107, 101, 110]);
const D_POLICY = memory.data<u8>([6, 112, 111, 108, 105, 99, 121]);
const D_JOB = memory.data<u8>([3, 106, 111, 98]);
/** Names of capabilities by their bit (1 << n from create on), and of help (0). */
const C_HELP = memory.data<u8>([4, 104, 101, 108, 112]);
const C_NAMES = memory.data<u8>([
  6, 99, 114, 101, 97, 116, 101, 0, 4, 114, 101, 97, 100, 0, 0, 0, 6, 117, 112, 100, 97, 116, 101, 0, 6, 100, 101, 108,
  101, 116, 101, 0, 4, 108, 105, 115, 116, 0, 0, 0, 4, 115, 117, 100, 111, 0, 0, 0, 5, 112, 97, 116, 99, 104, 0, 0,
]); // create read update delete list sudo patch, 8 bytes each
const J_NAMES = memory.data<u8>([
  4, 98, 111, 111, 116, 0, 0, 0, 0, 0, 0, 0, 6, 101, 120, 112, 105, 114, 121, 0, 0, 0, 0, 0, 10, 114, 101, 118, 111, 99,
  97, 116, 105, 111, 110, 0, 7, 117, 110, 109, 111, 117, 110, 116, 0, 0, 0, 0, 4, 116, 105, 100, 121, 0, 0, 0, 0, 0, 0,
  0, 8, 114, 111, 116, 97, 116, 105, 111, 110, 0, 0, 0, 6, 114, 101, 119, 114, 97, 112, 0, 0, 0, 0, 0, 5, 97, 117, 100,
  105, 116, 0, 0, 0, 0, 0, 0, 4, 105, 110, 105, 116, 0, 0, 0, 0, 0, 0, 0, 5, 108, 101, 97, 115, 101, 0, 0, 0, 0, 0, 0,
]); // boot expiry revocation unmount tidy rotation rewrap audit init lease, 12 bytes each

function capabilityName(bit: u32): usize {
  return bit == 0 ? C_HELP : C_NAMES + <usize>(ctz<u32>(bit) - 1) * 8;
}

function putPolicies(grant: usize): void {
  const count = loadU16(grant + TOKEN + TOKEN_POLICIES);
  let at = grant + TOKEN + TOKEN_POLICIES + 2;
  for (let i: u32 = 0; i < count; i++) {
    const length = <u32>load<u8>(at);
    if (i > 0) putByte(0x2c);
    putByte(QUOTE);
    putText(at + 1, length);
    putByte(QUOTE);
    at += 1 + length;
  }
}

function putCore(grant: usize, phase: u32, time: usize, timeLength: u32, seq: u64): void {
  const flags = load<u32>(grant + FLAGS);
  const isJob = (flags & FLAG_JOB) != 0;
  say(T_SEQ);
  putNumber(seq);
  say(T_TIME);
  putText(time, timeLength);
  say(T_PHASE);
  say(phase == PHASE_REQUEST ? P_REQUEST : phase == PHASE_NOTE ? P_NOTE : P_RESPONSE);
  say(T_OPERATION);
  say(isJob ? J_NAMES + <usize>(load<u32>(grant + JOB) - 1) * 12 : capabilityName(load<u32>(grant + CAPABILITY)));
  say(T_PATH);
  putText(grant + PATH, load<u32>(grant + PATH_LENGTH));
  if (load<u32>(grant + SLASHED) == 1) putByte(0x2f);
  say(T_MOUNT);
  if (load<u32>(grant + MOUNT) != 0xffffffff) {
    hex(digestHex, grant + MOUNT_ID, 16);
    put(digestHex, 32);
  }
  say(T_POLICIES);
  if ((flags & FLAG_TOKEN) != 0) putPolicies(grant);
  say(T_DECISION);
  const verdict = load<u32>(grant + VERDICT);
  say(isJob ? D_JOB : verdict == VERDICT_ALLOWED ? D_ALLOWED : verdict == VERDICT_POLICY ? D_POLICY : D_TOKEN);
  if (load<u8>(grant + TOKEN_HMAC_HEX) != 0) {
    say(T_TOKEN);
    put(grant + TOKEN_HMAC_HEX, 64);
  }
  say(T_END);
}

const digestHex = memory.data(64);

/** Copies `rest`, with what stands between 1 and 2 replaced by its HMAC. @returns false for another control byte */
function putRest(from: usize, length: u32): bool {
  const end = from + length;
  let plain = from;
  let at = from;
  while (at < end) {
    const byte = <u32>load<u8>(at);
    if (byte >= 0x20) {
      at++;
      continue;
    }
    if (byte != MARK_START) return false;
    put(plain, <u32>(at - plain));
    const raw = at + 1;
    at = raw;
    while (at < end && <u32>load<u8>(at) != MARK_END) {
      if (<u32>load<u8>(at) == MARK_START) return false;
      at++;
    }
    if (at == end) return false;
    tokenHmac(digestHex, raw, <u32>(at - raw));
    say(T_HMAC);
    put(digestHex, 64);
    at++;
    plain = at;
  }
  put(plain, <u32>(end - plain));
  return true;
}

/** IN: time text, rest. Result: sequence number (2 words). */
export function leaf(number: f64, phase: u32, timeLength: u32, restLength: u32): u32 {
  if (!isOpen()) return SEALED;
  const grant = findGrant(number);
  if (grant == 0) return DENIED;
  const isJob = (load<u32>(grant + FLAGS) & FLAG_JOB) != 0;
  const state = load<u32>(grant + STATE);
  if (isJob != (phase == PHASE_NOTE)) return DENIED;
  if (!isJob && state != (phase == PHASE_REQUEST ? STATE_DECIDED : STATE_ACTIVE)) return DENIED;
  if (timeLength > 64 || restLength < 2) return BAD_ARGUMENT;
  if (groupLines == LINE_COUNT_MAX || groupBytes + LEAF_SIZE_MAX + 1 > LINES_SIZE) return FULL;
  const start = LINES + groupBytes;
  to = start;
  limit = start + LEAF_SIZE_MAX;
  broken = false;
  const seq = treeSize() + <u64>groupLines;
  putCore(grant, phase, IN, timeLength, seq);
  const good = putRest(IN + timeLength, restLength);
  if (!good || broken || to > limit) {
    wipe(start, LEAF_SIZE_MAX);
    return BAD_ARGUMENT;
  }
  const entry = LINE_TABLE + <usize>groupLines * 8;
  store<u32>(entry, groupBytes);
  store<u32>(entry, <u32>(to - start), 4);
  store<u8>(to, LF);
  groupBytes += <u32>(to - start) + 1;
  groupLines++;
  if (phase == PHASE_REQUEST) store<u32>(grant + STATE, STATE_ACTIVE);
  else if (!isJob) endGrant(grant);
  setResult64(0, seq);
  return OK;
}

export function clearGroup(): void {
  wipe(LINES, groupBytes);
  wipe(LINE_TABLE, groupLines * 8);
  groupBytes = 0;
  groupLines = 0;
}

export function wipeLeaves(): void {
  clearGroup();
  wipe(digest, 32);
  wipe(digestHex, 64);
}
