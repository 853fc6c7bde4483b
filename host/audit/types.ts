/** What the audit log takes and gives. */
import type { Capability, Core, Decision, Verb } from '../../core/types.ts';
import type { Clock } from '../ports/clock.ts';
import type { Answer, MountInfo, Peer, TokenInfo } from '../ports/engine.ts';
import type { LogFiles } from '../ports/log-files.ts';
import type { Random } from '../ports/random.ts';
import type { ValueMap } from '../ports/value.ts';

/** Name under which the built-in log's HMAC key is derived (core/spec/audit.md); `sys/audit-hash/audit_log` uses it too. */
export const LOG_ACCESSOR = 'audit_log';

/**
 * What is known of a request when it is decided. Pass the same object to `request` and `response`: what both leaves say
 * is built once and kept by its identity; the part of a token is kept by the identity of `token` (hand out one
 * TokenInfo object for one row as long as it does not change).
 */
export interface AuditContext {
  /** The request's id, a UUID: the random bits of its leaves. */
  readonly id: string;
  /** Wall time of the request, milliseconds and the nanoseconds below. */
  readonly timeMs: number;
  readonly timeNanos: number;
  readonly verb: Verb;
  readonly decision: Pick<Decision, 'verdict' | 'capability' | 'granting'>;
  /** As sent, e.g. `secret/data/a`. */
  readonly path: string;
  readonly mount: MountInfo | undefined;
  /** The presented token's own text; HMAC'd. */
  readonly tokenText: string | undefined;
  /** Undefined where the token is not known. */
  readonly token: TokenInfo | undefined;
  /** Body or query; its values are HMAC'd. */
  readonly body: ValueMap;
  readonly peer: Peer;
  /** Seconds; 0 none. */
  readonly wrapTtl: number;
  /** Headers that the operator audits: name to plain text or, marked `hmac`, a value to hash. */
  readonly headers?: readonly { readonly name: string; readonly value: string; readonly hmac: boolean }[];
  /** Keys whose values are written in clear: the operation's own list and the mount's audit_non_hmac_*_keys. */
  readonly clear?: { readonly request?: readonly string[]; readonly response?: readonly string[] } | undefined;
  /** Revocation: is taken though the log has no room for anything else. */
  readonly urgent?: boolean;
}

/** How a request ended. `error`: its text as the client gets it (never a secret). */
export interface AuditOutcome {
  readonly timeMs: number;
  readonly timeNanos: number;
  readonly answer?: Answer | undefined;
  readonly error?: string | undefined;
}

/** A leaf of the box's own work. `data` is written in clear, `hashed` with every value HMAC'd. */
export interface AuditNote {
  /** What happened, e.g. `expiry`, `revocation`, `seal.opened`: 1 to 64 of a-z 0-9 . - */
  readonly event: string;
  readonly data?: ValueMap;
  readonly hashed?: ValueMap;
  /** Revocation: is taken though the log has no room for anything else. */
  readonly urgent?: boolean;
}

/** What of the log lies sealed in the store: `load` opens it, `save` seals and commits it. At most 64 KiB. */
export interface AuditRecord {
  load(): Promise<ValueMap | undefined>;
  save(state: ValueMap): Promise<void>;
}

/** The part of core that the log uses. */
export type AuditCore = Pick<
  Core,
  | 'leaf'
  | 'auditHmac'
  | 'auditPending'
  | 'auditFlush'
  | 'auditMark'
  | 'auditOpenFrame'
  | 'auditStart'
  | 'systemGrant'
  | 'endGrant'
  | 'sha256'
>;

export interface AuditOptions {
  /** `<data>/audit`; made where it is absent. */
  readonly folder: string;
  readonly core: AuditCore;
  readonly files: LogFiles;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * `always` (default): `durable` waits for the medium. `interval`: an answer does not wait, at most `intervalMs` of
   * leaves are not on the medium yet; effects wait all the same.
   */
  readonly sync?: 'always' | 'interval';
  readonly intervalMs?: number;
  /**
   * Runs a job when the requests that have arrived are read, so that they share a group; default: at once, and then the
   * first of them has a group, and a wait for the medium, of its own.
   */
  readonly soon?: (job: () => void) => void;
  /** Bytes of a segment, preallocated; another one is kept in reserve. Default 16 MiB. */
  readonly segmentBytes?: number;
  /** Longest time from a leaf to `onCheckpoint`. Default 50 s. */
  readonly heartbeatMs?: number;
}

/** What `start` needs that exists only while the box is open. */
export interface AuditStart {
  /** 16 bytes. */
  readonly applianceId: Uint8Array;
  readonly record: AuditRecord;
  /** Generation of the root key now: each has a signing key of its own. */
  readonly rootGeneration: () => number;
  /** Lease time, for the grants of the log's own work. */
  readonly nowMs: () => number;
  /** The newest checkpoint that the freshness row holds; the log must contain it. Absent on a new box. */
  readonly known?: { readonly size: number; readonly root: Uint8Array } | undefined;
  /**
   * The newest checkpoint, at least once in `heartbeatMs` while the log grows; its leaves are on the medium. Resolves when the
   * store's record of it is durable. A rejection is told to `onTrouble` and tried again with the next one.
   */
  readonly onCheckpoint: (size: number, root: Uint8Array) => Promise<void>;
  /** The first leaf that is written, before what was held while the log was stopped. */
  readonly first?: AuditNote | undefined;
  /** Health sentences: the log failed, has no room, a tile or checkpoint could not be written. */
  readonly onTrouble?: (sentence: string) => void;
}

export interface AuditStarted {
  readonly size: number;
  readonly root: Uint8Array;
  /** What had to be dropped or repaired, as sentences; each is a leaf too. */
  readonly repaired: readonly string[];
}

/** Health of the log. `tight`: no reserve segment, room is nearly out; `failed`: only urgent leaves are tried. */
export type AuditState = 'stopped' | 'open' | 'tight' | 'failed';

/** What a request was asked for in Vault's words. */
export type AuditOperation = Capability | Verb;
