/**
 * An engine (or auth method) is a table of operations; an operation is a file that parses, acts and formats. From the
 * table come routing, policy, parameter checks, OpenAPI and `?help=1`. Core gets the part it decides with
 * (`OperationDeclaration`); the rest is here.
 */
import type { Capability, OperationDeclaration, SubtreeDeclaration, TableDeclaration, Verb } from '../../core/types.ts';
import type { Value, ValueMap } from './value.ts';
import type { View } from './view.ts';

/**
 * `duration`: seconds, or Go form, or `7d`; parsed to seconds. `strings`: a list, or a text with commas. `map`: any object;
 * `string-map`: an object of strings. `int` takes digits in a string too, `bool` takes "true"/"false"/1/0 as Vault does.
 */
export type FieldType =
  | 'string'
  | 'int'
  | 'bool'
  | 'duration'
  | 'signed-duration'
  | 'strings'
  | 'ints'
  | 'map'
  | 'string-map'
  | 'any';

export type SubtreeDeclarations = readonly SubtreeDeclaration[];
export type TableDeclarations = readonly TableDeclaration[];

export interface Field {
  readonly type: FieldType;
  readonly description: string;
  readonly default?: Value;
  /** Older names that clients still send. */
  readonly aliases?: readonly string[];
  /** Never in help output examples, logs or error texts. */
  readonly secret?: boolean;
}

export interface MountInfo {
  /** 16 bytes in hex. */
  readonly id: string;
  /** `secret/`, `auth/token/` */
  readonly path: string;
  readonly type: string;
  readonly accessor: string;
  readonly description: string;
  readonly options: Readonly<Record<string, string>> | null;
  /** Seconds; 0: the system's. */
  readonly defaultLeaseTtl: number;
  readonly maxLeaseTtl: number;
  readonly builtin: boolean;
  /** KV: lease time in ms at which an engine without versions got them; absent: it never was one. */
  readonly upgradedMs?: number;
  /** What else tuning set, as sys/mounts shows it. */
  readonly config: ValueMap;
}

/** The presented token as host needs it; core decided with the row's own bytes. */
export interface TokenInfo {
  /** 16 bytes in hex: the row's key; never the token itself. */
  readonly id: string;
  readonly type: 'service' | 'batch';
  readonly accessor: string;
  readonly displayName: string;
  readonly policies: readonly string[];
  readonly identityPolicies: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly path: string;
  readonly creationMs: number;
  readonly creationTtl: number;
  /** Lease time ms, 0 never. */
  readonly expireMs: number;
  readonly explicitMaxTtl: number;
  readonly period: number;
  readonly renewable: boolean;
  readonly orphan: boolean;
  readonly parentId: string | undefined;
  readonly numUses: number;
  readonly entityId: string;
  readonly role: string;
  readonly boundCidrs: readonly string[];
  readonly issueMs: number;
  /** 0: not renewed yet. */
  readonly lastRenewalMs: number;
  readonly wrapping: boolean;
}

export interface Peer {
  /** Absent for unix sockets. */
  readonly address?: string | undefined;
  readonly port?: number | undefined;
}

/** What an operation gets. */
export interface OperationContext {
  readonly requestId: string;
  readonly path: string;
  readonly capability: Capability;
  /** What the pattern captured, by name, without slashes at the ends. */
  readonly captures: Readonly<Record<string, string>>;
  /** Parsed by the operation's `fields`: aliases resolved, defaults filled in, absent ones missing. */
  readonly fields: ValueMap;
  /** The body as sent ({} if none), for engines whose body is the secret; query parameters on read, list and delete. */
  readonly body: ValueMap;
  readonly mount: MountInfo;
  readonly view: View;
  /** Number of the grant in core: services need it. */
  readonly grant: number;
  /** Absent on operations declared `open`. */
  readonly token: TokenInfo | undefined;
  /** The presented token itself: for operations that answer with it (lookup-self, renew-self) or use it up (unwrap). */
  readonly tokenText: string | undefined;
  readonly isRoot: boolean;
  readonly hasSudo: boolean;
  /** Lease time, milliseconds since 1970. */
  readonly nowMs: number;
  /** Nanoseconds below the millisecond, for time stamps in answers. */
  readonly nowNanos: number;
  readonly peer: Peer;
  readonly wrapTtl: number;
}

/** `auth` of the envelope, before a token is made of it. */
export interface AuthAnswer {
  readonly clientToken: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly tokenPolicies: readonly string[];
  readonly identityPolicies?: readonly string[];
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly leaseDuration: number;
  readonly renewable: boolean;
  readonly entityId: string;
  readonly tokenType: 'service' | 'batch';
  readonly orphan: boolean;
  readonly numUses: number;
}

export interface WrapInfo {
  readonly token: string;
  readonly accessor: string;
  readonly ttl: number;
  /** RFC 3339 with nanoseconds. */
  readonly creationTime: string;
  readonly creationPath: string;
  readonly wrappedAccessor?: string;
}

/**
 * What an operation answers. Nothing at all (undefined) is 204; with only warnings 200. A Fault thrown becomes an error
 * answer: one from the engine (`input.invalid`) bare, others as semantics.md's table says.
 */
export interface Answer {
  /** Instead of the request's own id: an unwrapped answer has the id that it was made with. */
  readonly requestId?: string;
  /** Default: 200 with data, auth or warnings; 204 else; a read or list without data is 404 with no errors. */
  readonly status?: number;
  readonly data?: ValueMap | null;
  readonly auth?: AuthAnswer;
  readonly wrapInfo?: WrapInfo;
  readonly lease?: { readonly id: string; readonly renewable: boolean; readonly durationSeconds: number };
  /** KV v1: a duration without a lease. */
  readonly leaseDuration?: number;
  readonly warnings?: readonly string[];
  /** Sent as they are, without envelope (seal-status, metrics, an unwrapped response …). */
  readonly raw?: { readonly contentType: string; readonly body: Uint8Array | string } | { readonly json: ValueMap };
  /** Wrap even if the client did not ask, for so many seconds. */
  readonly wrapTtl?: number;
}

export interface Operation extends OperationDeclaration {
  /** The verb that reaches it, where core decides it as `help` (any good token may, whatever its policies). */
  readonly answers?: Verb;
  /**
   * Stands behind an `open` operation of the same pattern and verb, and answers in its place a request that brings a token and
   * does not bring the field `without`. Core decides it as any operation that needs a token.
   */
  readonly insteadOfOpen?: { readonly without?: string };
  /** Unique in its engine, for OpenAPI's operationId: `read-data`. */
  readonly name: string;
  readonly summary: string;
  readonly description?: string;
  readonly fields: Readonly<Record<string, Field>>;
  /** Fields that a write takes from the query too; elsewhere the query of a write counts for nothing. */
  readonly fieldsInQuery?: readonly string[];
  /** A field of the wrong type is told of without `Field validation failed: ` before it, as the reference does here. */
  readonly plainFieldErrors?: boolean;
  /** `fields` (default): unknown ones are warned of. `free`: the body is the engine's own (KV v1, cubbyhole). */
  readonly body?: 'fields' | 'free';
  /** Keys of `data` are repeated at the top level (api.md). */
  readonly flat?: boolean;
  /** Audit: keys of request or response data that are written in clear (versions, names), as the engine's own list. */
  readonly auditClear?: { readonly request?: readonly string[]; readonly response?: readonly string[] };
  readonly run: (context: OperationContext) => Answer | undefined | Promise<Answer | undefined>;
}

export interface Engine {
  /** `kv`, `cubbyhole`, `system`, `token` */
  readonly type: string;
  /** Operations of one type may depend on a mount option (KV's version): each version is its own core type (`kv-v1`). */
  readonly operations: readonly Operation[];
  /** First sentence: what `?help=1` shows for the mount. */
  readonly help: string;
}
