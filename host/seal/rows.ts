/** Rows that the seal itself keeps: in table `boot` in clear (core/spec/slots.md), in table `job` sealed. */
import type { Core } from '../../core/types.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { LeaseTime, TimeRecord } from '../ports/lease-time.ts';
import type { Put, Reader } from '../ports/store.ts';
import type { ValueMap } from '../ports/value.ts';
import { ID_SIZE } from './slot-format.ts';

/** The only row of their tables. */
export const KEYRING_KEY = Buffer.from('keyring', 'ascii');
export const FRESHNESS_KEY = Buffer.from('freshness', 'ascii');

const COMPLETE_KEY = Buffer.from('complete', 'ascii');
const SEALED_KEY = Buffer.from('sealed', 'ascii');
const COMPLETE_SIZE = 1 + ID_SIZE + 8;

/** The epoch that a sealed row was sealed with (core/spec/record.md). */
export function epochOf(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getUint32(1);
}

/** How long a grant of the seal's own work may live. */
export const GRANT_MS = 60_000;

/** A box whose initialisation was finished; undefined for an empty folder, and for one that was cut before its end. */
export function readComplete(reader: Reader): { readonly applianceId: Buffer; readonly createdMs: number } | undefined {
  const row = reader.get('boot', COMPLETE_KEY);
  if (row === undefined || row.length !== COMPLETE_SIZE || row[0] !== 1) return undefined;
  const bytes = Buffer.from(row);
  return { applianceId: bytes.subarray(1, 1 + ID_SIZE), createdMs: Number(bytes.readBigUInt64BE(1 + ID_SIZE)) };
}

/**
 * Whether more lies here than an initialisation that was cut may have left: a row that says complete in a way that is not
 * this version's, or names that somebody wrote. What has lost its last row is a box to bring back, not an empty folder.
 */
export function holdsMore(reader: Reader): boolean {
  return reader.get('boot', COMPLETE_KEY) !== undefined || [...reader.range('name', { limit: 1 })].length > 0;
}

/** The appliance id in the form of a UUID, as cluster ids are written. */
export function clusterIdOf(id: Uint8Array): string {
  const hex = Buffer.from(id).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function completePut(applianceId: Uint8Array, createdMs: number): Put {
  const value = Buffer.alloc(COMPLETE_SIZE);
  value[0] = 1;
  value.set(applianceId, 1);
  value.writeBigUInt64BE(BigInt(createdMs), 1 + ID_SIZE);
  return { table: 'boot', key: COMPLETE_KEY, value };
}

/** True after `sys/seal`, until a person unseals. */
export function readSealMark(reader: Reader): boolean {
  return reader.get('boot', SEALED_KEY) !== undefined;
}

export function sealMarkPut(sealed: boolean): Put {
  return { table: 'boot', key: SEALED_KEY, ...(sealed ? { value: Buffer.of(1) } : {}) };
}

/** @returns undefined for what is no record of time: a later version's, or none */
export function parseTimeRecord(value: ValueMap | undefined): TimeRecord | undefined {
  const { leaseMs, wallMs, bootId, bootMs } = value ?? {};
  if (typeof leaseMs !== 'number' || typeof wallMs !== 'number' || typeof bootMs !== 'number') return undefined;
  return typeof bootId === 'string' ? { leaseMs, wallMs, bootId, bootMs } : undefined;
}

/** A row of table `job` under a name, sealed: what the box must remember of itself. */
export class JobRow {
  readonly #core: Core;
  readonly #lease: Pick<LeaseTime, 'nowMs'>;
  readonly #name: string;

  constructor(core: Core, lease: Pick<LeaseTime, 'nowMs'>, name: string) {
    this.#core = core;
    this.#lease = lease;
    this.#name = name;
  }

  /** @throws CoreFault `refused` if the row was changed */
  read(reader: Reader): ValueMap | undefined {
    const key = this.#core.blindKey('job', this.#name);
    const row = reader.get('job', key);
    if (row === undefined) return undefined;
    return decodePayload(this.#within((grant) => Buffer.from(this.#core.openTable(grant, 'job', key, row))));
  }

  /** The row as it lies in the store, sealed. Copies. */
  find(reader: Reader): { readonly key: Uint8Array; readonly value: Uint8Array } | undefined {
    const key = Uint8Array.from(this.#core.blindKey('job', this.#name));
    const value = reader.get('job', key);
    return value === undefined ? undefined : { key, value: Uint8Array.from(value) };
  }

  put(value: ValueMap): Put {
    const key = this.#core.blindKey('job', this.#name);
    const payload = encodePayload(value);
    return {
      table: 'job',
      key,
      value: this.#within((grant) => Buffer.from(this.#core.sealTable(grant, 'job', key, payload))),
    };
  }

  #within<T>(work: (grant: number) => T): T {
    const now = this.#lease.nowMs();
    const grant = this.#core.systemGrant('boot', undefined, now, now + GRANT_MS);
    try {
      return work(grant);
    } finally {
      this.#core.endGrant(grant);
    }
  }
}
