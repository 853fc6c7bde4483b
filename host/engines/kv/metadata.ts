/**
 * The metadata of one KV v2 secret: what lies in the row with the empty suffix beside its versions.
 *
 * Payload, version 1, big-endian: version 1 (1) ‖ current version (4) ‖ oldest version (4) ‖ max_versions (4) ‖ flags (1:
 * cas_required) ‖ delete_version_after in ms (8, signed) ‖ created (12) ‖ updated (12) ‖ custom metadata (4 + JSON; empty:
 * none) ‖ count (2) ‖ versions, ascending, 29 each: number (4), created (12), deletion (12), flags (1: destroyed, 2: the expiry
 * queue has come for it).
 * A time is milliseconds (8) and nanoseconds below them (4); all zeros: unset. Fixed places instead of JSON: a read finds
 * its version without parsing the others.
 */
import { timestampNanos } from '../../timestamp.ts';

export interface Instant {
  readonly ms: number;
  readonly nanos: number;
}

export interface VersionState {
  readonly created: Instant;
  readonly deletion: Instant | undefined;
  readonly destroyed: boolean;
  /** The expiry queue has come for it: deleted, whatever a clock says later. */
  readonly over: boolean;
}

export interface SecretMetadata {
  readonly current: number;
  readonly oldest: number;
  /** 0: the engine's. */
  readonly maxVersions: number;
  readonly casRequired: boolean;
  readonly deleteAfterMs: number;
  readonly created: Instant;
  readonly updated: Instant;
  readonly custom: Readonly<Record<string, string>> | null;
  readonly versions: ReadonlyMap<number, VersionState>;
}

/** Versions that one secret may keep: its metadata stays below the payload's limit, and a write below a batch's. */
export const MAX_VERSIONS_MAX = 4000;
const VERSION_SIZE = 29;
const DESTROYED = 1;
const OVER = 2;
const FIXED_SIZE = 46;
/** No value begins with it (host/payload.ts). */
const FORMAT = 1;

/** The row of one version, beside the metadata: kind 1, then the number. */
export function versionSuffix(version: number): Uint8Array {
  return Uint8Array.of(1, version >>> 24, version >>> 16, version >>> 8, version);
}

/** A whole number of at most 53 bits, as 64 bits in two's complement; without the big integer that DataView would want. */
function setSigned64(view: DataView, at: number, value: number): void {
  view.setInt32(at, Math.floor(value / 0x1_0000_0000));
  view.setUint32(at + 4, value >>> 0);
}

/** The version that a suffix names; undefined: it names none. */
export function versionOf(suffix: Uint8Array): number | undefined {
  return suffix.length === 5 && suffix[0] === 1 ? Buffer.from(suffix).readUInt32BE(1) : undefined;
}

function putInstant(view: DataView, at: number, instant: Instant | undefined): void {
  setSigned64(view, at, instant?.ms ?? 0);
  view.setUint32(at + 8, instant?.nanos ?? 0);
}

function getInstant(view: DataView, at: number): Instant {
  return { ms: view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4), nanos: view.getUint32(at + 8) };
}

export function encodeMetadata(metadata: SecretMetadata): Uint8Array {
  const custom = metadata.custom === null ? new Uint8Array(0) : Buffer.from(JSON.stringify(metadata.custom));
  const bytes = new Uint8Array(FIXED_SIZE + 4 + custom.length + 2 + VERSION_SIZE * metadata.versions.size);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, FORMAT);
  view.setUint32(1, metadata.current);
  view.setUint32(5, metadata.oldest);
  view.setUint32(9, metadata.maxVersions);
  view.setUint8(13, metadata.casRequired ? 1 : 0);
  setSigned64(view, 14, metadata.deleteAfterMs);
  putInstant(view, 22, metadata.created);
  putInstant(view, 34, metadata.updated);
  view.setUint32(FIXED_SIZE, custom.length);
  bytes.set(custom, FIXED_SIZE + 4);
  let at = FIXED_SIZE + 4 + custom.length;
  view.setUint16(at, metadata.versions.size);
  at += 2;
  for (const [number, state] of [...metadata.versions].sort(([a], [b]) => a - b)) {
    view.setUint32(at, number);
    putInstant(view, at + 4, state.created);
    putInstant(view, at + 16, state.deletion);
    view.setUint8(at + 28, (state.destroyed ? DESTROYED : 0) | (state.over ? OVER : 0));
    at += VERSION_SIZE;
  }
  return bytes;
}

/** Reads what one answer needs and leaves the rest; `decodeMetadata` reads all. */
export class MetadataReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #versionsAt: number;
  readonly current: number;
  readonly count: number;

  /** @throws Error if the payload is not of version 1: a row of a later program, or a bug */
  constructor(payload: Uint8Array) {
    this.#bytes = payload;
    this.#view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    if (this.#view.getUint8(0) !== FORMAT) throw new Error('the metadata of a secret has an unknown version');
    this.current = this.#view.getUint32(1);
    const customEnd = FIXED_SIZE + 4 + this.#view.getUint32(FIXED_SIZE);
    this.count = this.#view.getUint16(customEnd);
    this.#versionsAt = customEnd + 2;
  }

  custom(): Readonly<Record<string, string>> | null {
    const length = this.#view.getUint32(FIXED_SIZE);
    if (length === 0) return null;
    const text = Buffer.from(this.#bytes.subarray(FIXED_SIZE + 4, FIXED_SIZE + 4 + length)).toString('utf8');
    return JSON.parse(text) as Record<string, string>;
  }

  numberAt(index: number): number {
    return this.#view.getUint32(this.#versionsAt + index * VERSION_SIZE);
  }

  stateAt(index: number): VersionState {
    const at = this.#versionsAt + index * VERSION_SIZE;
    const deletion = getInstant(this.#view, at + 16);
    const flags = this.#view.getUint8(at + 28);
    return {
      created: getInstant(this.#view, at + 4),
      deletion: deletion.ms === 0 ? undefined : deletion,
      destroyed: (flags & DESTROYED) !== 0,
      over: (flags & OVER) !== 0,
    };
  }

  /** The newest versions stand last and are asked for most. */
  version(number: number): VersionState | undefined {
    for (let index = this.count - 1; index >= 0; index--) {
      const here = this.numberAt(index);
      if (here === number) return this.stateAt(index);
      if (here < number) return undefined;
    }
    return undefined;
  }

  whole(): SecretMetadata {
    const versions = new Map<number, VersionState>();
    for (let index = 0; index < this.count; index++) versions.set(this.numberAt(index), this.stateAt(index));
    return {
      current: this.current,
      oldest: this.#view.getUint32(5),
      maxVersions: this.#view.getUint32(9),
      casRequired: this.#view.getUint8(13) === 1,
      deleteAfterMs: Number(this.#view.getBigInt64(14)),
      created: getInstant(this.#view, 22),
      updated: getInstant(this.#view, 34),
      custom: this.custom(),
      versions,
    };
  }
}

export function emptyMetadata(now: Instant): SecretMetadata {
  return {
    current: 0,
    oldest: 0,
    maxVersions: 0,
    casRequired: false,
    deleteAfterMs: 0,
    created: now,
    updated: now,
    custom: null,
    versions: new Map(),
  };
}

/** A row that the engine wrote before it had versions: the value itself lies where metadata lies else. */
export const isPlainRow = (payload: Uint8Array): boolean => payload[0] !== FORMAT;

/** @param upgradedMs  when the engine got its versions: what it had stored until then counts as made at that time */
export function metadataReader(payload: Uint8Array, upgradedMs: number): MetadataReader {
  return new MetadataReader(isPlainRow(payload) ? encodeMetadata(firstVersion(upgradedMs)) : payload);
}

function firstVersion(ms: number): SecretMetadata {
  const made = { ms, nanos: 0 };
  const versions = new Map([[1, { created: made, deletion: undefined, destroyed: false, over: false }]]);
  return { ...emptyMetadata(made), current: 1, versions };
}

/** RFC 3339 with nanoseconds; unset is the empty text, never null. */
export function instantText(instant: Instant | undefined): string {
  return instant === undefined ? '' : timestampNanos(instant.ms, instant.nanos);
}

export function isGone(state: VersionState, nowMs: number): boolean {
  return state.destroyed || state.over || (state.deletion !== undefined && state.deletion.ms <= nowMs);
}
