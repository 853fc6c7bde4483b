/** What the database engine stores: one record a connection, a role and a static role. JSON inside sealed rows. */
import { decodePayload, encodePayload } from '../../payload.ts';
import type { CredentialType } from '../../ports/database.ts';
import type { ValueMap } from '../../ports/value.ts';

/** How credentials of a role are made (Vault's credential_config); absent members have the defaults of credentials.ts. */
export interface CredentialConfig {
  readonly type: CredentialType;
  /** As it was given. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface ConnectionRecord {
  /** As it was given: an adapter's name or an alias of it. */
  readonly plugin: string;
  /** The adapter's own, secrets included, and what it shows of them. */
  readonly settings: ValueMap;
  readonly shown: ValueMap;
  readonly username: string;
  readonly allowedRoles: readonly string[];
  readonly rootStatements: readonly string[];
  readonly passwordPolicy: string;
  /** '': the adapter's. */
  readonly usernameTemplate: string;
  /** Has no login of its own: static roles change their passwords themselves. */
  readonly selfManaged: boolean;
  readonly skipImportRotation: boolean;
  readonly connectionCountMax: number;
  readonly idleCountMax: number;
  readonly lifetimeMs: number;
  /** What names of logins began with, under this template and earlier ones: how leftovers are found. */
  readonly prefixes: readonly string[];
  /** Another one with every change: a connection made with an older one is made anew. */
  readonly revision: string;
  /** The next password of the box's own login, while it is not known whether the server has it. */
  readonly pending?: string;
  /** Lease time until which a change to the pending one may still arrive at the server, from a dead process too. */
  readonly pendingUntilMs?: number;
  /** Lease time of the last rotation; 0: none. */
  readonly rotatedMs: number;
}

export interface RoleRecord {
  readonly database: string;
  readonly creation: readonly string[];
  readonly revocation: readonly string[];
  readonly rollback: readonly string[];
  readonly renewal: readonly string[];
  /** Seconds; 0: the mount's. */
  readonly defaultTtl: number;
  readonly maxTtl: number;
  readonly credential: CredentialConfig;
}

export interface StaticRecord {
  readonly database: string;
  readonly username: string;
  readonly credential: CredentialConfig;
  readonly statements: readonly string[];
  /** Seconds; 0: it has a schedule. */
  readonly period: number;
  /** '': it has a period. */
  readonly schedule: string;
  /** Seconds behind a point of the schedule within which it may be rotated; 0: at any time. */
  readonly window: number;
  /** Password or private key; '': not known yet. */
  readonly secret: string;
  /** Written before the server hears of it, until it is known to be in force. */
  readonly pending?: string;
  /** Kept until the new one has logged in. */
  readonly previous?: string;
  /** Nobody has been answered that the role exists: it goes if its first rotation is refused. */
  readonly creating?: boolean;
  /** Lease time, ms and the nanoseconds below. */
  readonly rotatedMs: number;
  readonly rotatedNanos: number;
  /** Lease time at which it is to be rotated. */
  readonly dueMs: number;
  /** Lease time at which the expiry queue comes for it: `dueMs`, or the next attempt. */
  readonly nextMs: number;
  /** Attempts that failed since the last rotation. */
  readonly attempts: number;
}

/** Records lie at these paths of the mount's storage. */
export const configPath = (name: string): string => `config/${name}`;
export const rolePath = (name: string): string => `role/${name}`;
export const staticPath = (name: string): string => `static/${name}`;

/** Anything that reads records: a view or a change of it. */
export interface Records {
  read<T>(path: string, decode: (payload: Uint8Array) => T): T | undefined;
}

const decode = <T>(payload: Uint8Array): T => decodePayload(payload) as unknown as T;

export const readConnection = (records: Records, name: string): ConnectionRecord | undefined =>
  records.read(configPath(name), decode<ConnectionRecord>);
export const readRole = (records: Records, name: string): RoleRecord | undefined =>
  records.read(rolePath(name), decode<RoleRecord>);
export const readStatic = (records: Records, name: string): StaticRecord | undefined =>
  records.read(staticPath(name), decode<StaticRecord>);

export const encodeRecord = (record: ConnectionRecord | RoleRecord | StaticRecord): Uint8Array =>
  encodePayload(record as unknown as ValueMap);

/** Whether a list of `allowed_roles` has a role: names, `*`, and names with `*` in them. */
export function allows(allowed: readonly string[], role: string): boolean {
  return allowed.some((pattern) => matches(pattern, role));
}

function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
