/** Rows of table `lease` (core/spec/lease.md): where a lease, an intent and what is queued to be ended lie, and what they hold. */
import type { Core } from '../../core/types.ts';
import { throughCore } from '../barrier/fault.ts';
import { Fault } from '../fault.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { ValueMap } from '../ports/value.ts';

/** First byte of a row's key. */
const TREE = 0x4c; // L
const OF_TOKEN = 0x54; // T
const QUEUE = 0x51; // Q
const INTENT = 0x49; // I

const DIRECTORY = 1;
const LEASE = 2;
const HASH_SIZE = 16;
/** Bytes of the encoded `undo` of a lease. */
export const UNDO_SIZE_MAX = 65_536;
const NO_DIRECTORY = Buffer.alloc(HASH_SIZE);

/** A lease as it lies sealed. Times in milliseconds of lease time, durations in seconds. */
export interface LeaseRecord {
  readonly id: string;
  /** Mount id in hex. */
  readonly mount: string;
  readonly backend: string;
  readonly undo: ValueMap;
  readonly issueMs: number;
  readonly expireMs: number;
  /** As issued. */
  readonly ttl: number;
  /** Of the role; 0: the mount's alone. */
  readonly maxTtl: number;
  /** No renewal passes it: the end of the batch token that it was made with; 0: none. */
  readonly endMs: number;
  readonly renewable: boolean;
  /** 0: not renewed yet. */
  readonly lastRenewalMs: number;
  /** Token that it ends with (a batch token's parent), in hex; '': none. */
  readonly token: string;
  /** It goes whatever its backend says. */
  readonly force?: boolean;
}

/** What is about to be made. */
export interface IntentRecord {
  readonly id: string;
  readonly mount: string;
  readonly backend: string;
  readonly undo: ValueMap;
  /** Of the process that makes it. */
  readonly incarnation: string;
  /** Lease time in ms: whoever makes it has given up by then. */
  readonly deadlineMs: number;
  /** Marked: no lease can come of it any more. */
  readonly undoing: boolean;
  /** It goes whatever its backend says. */
  readonly force?: boolean;
}

/** What is known of something queued to be ended. */
export interface QueuedRecord {
  /** Lease time in ms. */
  readonly sinceMs: number;
  readonly reason: string;
  readonly attempts: number;
  /** Why the last attempt failed; '' before one did. */
  readonly fault: string;
  /** Intents: seen to be gone once. */
  readonly seenGone?: boolean;
}

export interface QueuedKey {
  readonly lane: Buffer;
  readonly nextMs: number;
  /** Zeros: an intent. */
  readonly directory: Buffer;
  readonly entry: Buffer;
}

const encode = (value: LeaseRecord | IntentRecord | QueuedRecord): Uint8Array =>
  encodePayload(value as unknown as ValueMap);
export const encodeLease: (lease: LeaseRecord) => Uint8Array = encode;
export const encodeIntent: (intent: IntentRecord) => Uint8Array = encode;
export const encodeQueued: (queued: QueuedRecord) => Uint8Array = encode;
export const decodeLease = (payload: Uint8Array): LeaseRecord => decodePayload(payload) as unknown as LeaseRecord;
export const decodeIntent = (payload: Uint8Array): IntentRecord => decodePayload(payload) as unknown as IntentRecord;
export const decodeQueued = (payload: Uint8Array): QueuedRecord => decodePayload(payload) as unknown as QueuedRecord;

/** @throws Fault `input.too-large` */
export function checkUndo(undo: ValueMap): void {
  if (encodePayload(undo).length > UNDO_SIZE_MAX) {
    throw new Fault(
      'input.too-large',
      `what ends a credential is larger than ${UNDO_SIZE_MAX} bytes: shorten the role’s revocation statements`,
    );
  }
}

/** The directory of a lease id or of a directory: '' the top. */
export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));
const lastOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Keys of the table. Names are blind: keyed hashes under the token key, which outlives every rotation. */
export class LeaseKeys {
  readonly #core: Pick<Core, 'blindKey'>;

  constructor(core: Pick<Core, 'blindKey'>) {
    this.#core = core;
  }

  #blind(name: string): Buffer {
    return Buffer.from(throughCore(() => this.#core.blindKey('lease', name)));
  }

  directory(path: string): Buffer {
    return this.#blind(`dir:${path}`);
  }

  /** 16 bytes that stand for a lease. */
  entry(id: string): Buffer {
    return this.#blind(`lease:${id}`);
  }

  /** What shares a queue. @param mount id in hex */
  lane(mount: string, backend: string): Buffer {
    return this.#blind(`lane:${mount}/${backend}`);
  }

  lease(id: string): Buffer {
    return leaseKey(this.directory(parentOf(id)), this.entry(id));
  }

  /** The row of a directory in the one above. */
  directoryRow(path: string): Buffer {
    return Buffer.concat([Buffer.of(TREE), this.directory(parentOf(path)), Buffer.of(DIRECTORY), this.directory(path)]);
  }

  intent(id: string): Buffer {
    return intentKey(this.entry(id));
  }
}

/** L ‖ directory (16) ‖ 2 ‖ entry (16) */
export const leaseKey = (directory: Uint8Array, entry: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(TREE), directory, Buffer.of(LEASE), entry]);
/** I ‖ entry (16) */
export const intentKey = (entry: Uint8Array): Buffer => Buffer.concat([Buffer.of(INTENT), entry]);
/** T ‖ token id (16) ‖ directory (16) ‖ entry (16) */
export const tokenKey = (token: string, directory: Uint8Array, entry: Uint8Array): Buffer =>
  Buffer.concat([tokenPrefix(token), directory, entry]);
export const tokenPrefix = (token: string): Buffer => Buffer.concat([Buffer.of(OF_TOKEN), Buffer.from(token, 'hex')]);
/** The name of a directory, as its row holds it. */
export const encodeName = (path: string): Buffer => Buffer.from(lastOf(path), 'utf8');
export const treePrefix = (directory: Uint8Array): Buffer => Buffer.concat([Buffer.of(TREE), directory]);
export const INTENTS: Buffer = Buffer.of(INTENT);
export const QUEUED: Buffer = Buffer.of(QUEUE);
export const OF_TOKENS: Buffer = Buffer.of(OF_TOKEN);

/** Directory and entry at the end of a key of the token index or of the queue. */
export const pairOf = (key: Uint8Array): { readonly directory: Buffer; readonly entry: Buffer } => {
  const bytes = Buffer.from(key);
  return { directory: bytes.subarray(-2 * HASH_SIZE, -HASH_SIZE), entry: bytes.subarray(-HASH_SIZE) };
};
/** Of a row of the tree. */
export const isLease = (key: Uint8Array): boolean => key[1 + HASH_SIZE] === LEASE;
/** Of a row of the tree: the directory or lease that it names. */
export const childOf = (key: Uint8Array): Buffer => Buffer.from(key.subarray(-HASH_SIZE));
/** Of a row of the tree: the directory that it is in. */
export const directoryOf = (key: Uint8Array): Buffer => Buffer.from(key.subarray(1, 1 + HASH_SIZE));

/** Q ‖ lane (16) ‖ next attempt (8, ms of lease time) ‖ directory (16) ‖ entry (16) */
export function queueKey({ lane, nextMs, directory, entry }: QueuedKey): Buffer {
  return Buffer.concat([lanePrefix(lane, nextMs), directory, entry]);
}

export const intentQueueKey = (lane: Buffer, nextMs: number, entry: Buffer): Buffer =>
  queueKey({ lane, nextMs, directory: NO_DIRECTORY, entry });

/** @param nextMs  absent: all of the lane */
export function lanePrefix(lane: Uint8Array, nextMs?: number): Buffer {
  const head = Buffer.concat([QUEUED, lane]);
  if (nextMs === undefined) return head;
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(nextMs));
  return Buffer.concat([head, time]);
}

export function parseQueueKey(key: Uint8Array): QueuedKey {
  const bytes = Buffer.from(key);
  return {
    lane: bytes.subarray(1, 17),
    nextMs: Number(bytes.readBigUInt64BE(17)),
    directory: bytes.subarray(25, 41),
    entry: bytes.subarray(41, 57),
  };
}

export const isIntent = ({ directory }: QueuedKey): boolean => directory.equals(NO_DIRECTORY);

/** The first key behind every one that begins with `prefix`, which does not end in ff. */
export function behind(prefix: Uint8Array): Buffer {
  const bytes = Buffer.from(prefix);
  for (let at = bytes.length - 1; at >= 0; at--) {
    const value = bytes[at] ?? 0;
    if (value < 0xff) {
      bytes[at] = value + 1;
      return bytes.subarray(0, at + 1);
    }
  }
  return Buffer.alloc(64, 0xff);
}
