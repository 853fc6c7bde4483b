/** The settings of one KV v2 mount: `config`. */
import { formatDuration } from '../../duration.ts';
import { Fault } from '../../fault.ts';
import { decodePayload, encodePayload } from '../../payload.ts';
import type { Field, Operation } from '../../ports/engine.ts';
import type { Instant, SecretMetadata } from './metadata.ts';
import { MAX_VERSIONS_MAX } from './metadata.ts';

export interface KvConfig {
  /** 0: ten. */
  readonly maxVersions: number;
  readonly casRequired: boolean;
  /** 0 unset; negative switches it off for every key. */
  readonly deleteAfterMs: number;
}

const CONFIG = 'config';
const VERSIONS_DEFAULT = 10;
const DEFAULTS: KvConfig = { maxVersions: 0, casRequired: false, deleteAfterMs: 0 };

export const LIMIT_FIELDS = {
  max_versions: { type: 'int', description: 'Versions that are kept; 0 leaves it to the engine, and there to 10.' },
  cas_required: { type: 'bool', description: 'Whether every write must name the version that it replaces.' },
  delete_version_after: {
    type: 'signed-duration',
    description: 'Time after which a version is deleted; 0s never; on the engine a negative one switches it off.',
  },
} as const satisfies Record<string, Field>;

/** @throws Fault `input.invalid` for a number of versions that no secret can keep */
export function checkMaxVersions(value: number): number {
  if (value < 0 || value > MAX_VERSIONS_MAX) {
    throw new Fault('input.invalid', `max_versions must be from 0 to ${MAX_VERSIONS_MAX}`);
  }
  return value;
}

export function decodeConfig(payload: Uint8Array | undefined): KvConfig {
  return payload === undefined ? DEFAULTS : (decodePayload(payload) as unknown as KvConfig);
}

/** Anything that reads rows: a view or a change of it. */
interface Rows {
  get(path: string): Uint8Array | undefined;
}

export function readConfig(rows: Rows): KvConfig {
  return decodeConfig(rows.get(CONFIG));
}

/** The larger of key and engine, else ten. */
export function versionLimit(config: KvConfig, metadata: SecretMetadata): number {
  return Math.max(config.maxVersions, metadata.maxVersions) || VERSIONS_DEFAULT;
}

/** When a version made now is deleted: the smaller that is set of engine and key; never if the engine switched it off. */
export function deletionOf(now: Instant, config: KvConfig, metadata: SecretMetadata): Instant | undefined {
  if (config.deleteAfterMs < 0) return undefined;
  const set = [config.deleteAfterMs, metadata.deleteAfterMs].filter((ms) => ms > 0);
  return set.length === 0 ? undefined : { ms: now.ms + Math.min(...set), nanos: now.nanos };
}

export const readConfigOperation: Operation = {
  name: 'read-config',
  pattern: CONFIG,
  verb: 'read',
  summary: 'Read the settings of the engine.',
  fields: {},
  subtrees: [{ at: CONFIG, modes: ['read'], extent: 'record' }],
  run({ view }) {
    const config = readConfig(view);
    return {
      data: {
        max_versions: config.maxVersions,
        cas_required: config.casRequired,
        delete_version_after: formatDuration(config.deleteAfterMs),
      },
    };
  },
};

export const writeConfigOperation: Operation = {
  name: 'write-config',
  pattern: CONFIG,
  verb: 'write',
  summary: 'Change the settings of the engine; what is not named stays.',
  fields: LIMIT_FIELDS,
  subtrees: [{ at: CONFIG, modes: ['read', 'write'], extent: 'record' }],
  async run({ view, fields }) {
    const wanted = {
      ...(fields['max_versions'] === undefined
        ? {}
        : { maxVersions: checkMaxVersions(Number(fields['max_versions'])) }),
      ...(fields['cas_required'] === undefined ? {} : { casRequired: fields['cas_required'] === true }),
      ...(fields['delete_version_after'] === undefined
        ? {}
        : { deleteAfterMs: Math.trunc(Number(fields['delete_version_after']) * 1000) }),
    };
    if (Object.keys(wanted).length === 0) return undefined;
    await view.update(CONFIG, (change) => {
      change.put(CONFIG, encodePayload({ ...decodeConfig(change.get(CONFIG)), ...wanted }));
    });
    return undefined;
  },
};
