/** Operations on the versions' data of KV v2: read, write, patch, delete the latest, and the structure without values. */
import { Fault } from '../../fault.ts';
import { decodePayload, encodePayload } from '../../payload.ts';
import type {
  Answer,
  Field,
  Operation,
  OperationContext,
  SubtreeDeclarations,
  TableDeclarations,
} from '../../ports/engine.ts';
import type { Value, ValueMap } from '../../ports/value.ts';
import type { ViewChange } from '../../ports/view.ts';
import { deletionOf, type KvConfig, readConfig, versionLimit } from './config.ts';
import {
  emptyMetadata,
  encodeMetadata,
  type Instant,
  instantText,
  isGone,
  isPlainRow,
  metadataReader,
  type SecretMetadata,
  type VersionState,
  versionSuffix,
} from './metadata.ts';

export const SECRET = 's/{path}';
export const secretPath = (context: OperationContext): string => `s/${context.captures['path'] ?? ''}`;
export const instantOf = (context: OperationContext): Instant => ({ ms: context.nowMs, nanos: context.nowNanos });

export const READ_SECRET: SubtreeDeclarations = [{ at: SECRET, modes: ['read'], extent: 'record' }];
export const WRITE_SECRET: SubtreeDeclarations = [
  { at: SECRET, modes: ['read', 'write'], extent: 'record' },
  { at: 'config', modes: ['read'], extent: 'record' },
];
/** Versions are told to the expiry queue. */
export const ENDINGS: TableDeclarations = [{ table: 'expiry', modes: ['write'] }];
/** A transaction holds 4,096 rows. */
const TRIMMED_ENDINGS_MAX = 256;

const VERSION: Field = { type: 'int', description: 'Which version; 0 or absent: the current one.' };
const OPTIONS: Field = { type: 'map', description: 'cas: the version that this one replaces; 0: there is none yet.' };
const DATA: Field = { type: 'map', description: 'The secret: names and values.', secret: true };

export function versionData(version: number, state: VersionState, custom: SecretMetadata['custom']): ValueMap {
  return {
    version,
    created_time: instantText(state.created),
    deletion_time: instantText(state.deletion),
    destroyed: state.destroyed,
    custom_metadata: custom,
  };
}

/** What a change goes on from. A value from before the engine had versions becomes version 1, in this change. */
export function readSecret(context: OperationContext, change: ViewChange): SecretMetadata | undefined {
  const path = secretPath(context);
  const payload = change.get(path);
  if (payload === undefined) return undefined;
  if (isPlainRow(payload)) change.put(path, payload, versionSuffix(1));
  return metadataReader(payload, context.mount.upgradedMs ?? 0).whole();
}

/** One version as asked for, opened: what data, patch and subkeys answer from. */
interface Found {
  readonly metadata: ValueMap;
  /** Absent where the version is deleted or destroyed. */
  readonly data: ValueMap | undefined;
}

type Rows = Pick<ViewChange, 'read'>;

/** The part of a secret's metadata that one version's answer needs. */
interface Version {
  readonly number: number;
  readonly state: VersionState;
  readonly metadata: ValueMap;
  /** The row is the value itself, from before the engine had versions. */
  readonly plain: boolean;
}

function versionOf(context: OperationContext, payload: Uint8Array, asked: number): Version | undefined {
  const reader = metadataReader(payload, context.mount.upgradedMs ?? 0);
  const number = asked > 0 ? asked : reader.current;
  const state = reader.version(number);
  if (state === undefined) return undefined;
  return { number, state, metadata: versionData(number, state, reader.custom()), plain: isPlainRow(payload) };
}

function find(context: OperationContext, rows: Rows, asked: number): Found | undefined {
  const path = secretPath(context);
  const version = rows.read(path, (payload) => versionOf(context, payload, asked));
  if (version === undefined) return undefined;
  const { number, state, metadata, plain } = version;
  if (isGone(state, context.nowMs)) return { metadata, data: undefined };
  const data = rows.read(path, decodePayload, plain ? undefined : versionSuffix(number));
  // Metadata and version are written in one batch: a version that is named and absent is damage, not an empty answer.
  if (data === undefined) throw new Error('a version of a secret is named by its metadata and is not there');
  return { metadata, data };
}

const askedVersion = (context: OperationContext): number => Number(context.fields['version'] ?? 0);

/** Refuses a write whose `cas` is absent where it is required, or is not the current version. */
function checkCas(options: ValueMap | undefined, current: number, required: boolean): void {
  const cas = options?.['cas'];
  if (cas === undefined || cas === null) {
    if (required) throw new Fault('input.invalid', 'check-and-set parameter required for this call');
    return;
  }
  const number = typeof cas === 'string' && /^\d{1,10}$/.test(cas) ? Number(cas) : cas;
  if (typeof number !== 'number' || !Number.isInteger(number)) {
    throw new Fault('input.invalid', 'error parsing check-and-set parameter: it must be a whole number');
  }
  if (number !== current) {
    throw new Fault('input.invalid', 'check-and-set parameter did not match the current version');
  }
}

/** Adds a version, trims what exceeds the limit, and answers what the client is told of it. */
function addVersion(
  change: ViewChange,
  path: string,
  before: SecretMetadata,
  config: KvConfig,
  data: ValueMap,
  now: Instant,
): ValueMap {
  const version = before.current + 1;
  const state: VersionState = {
    created: now,
    deletion: deletionOf(now, config, before),
    destroyed: false,
    over: false,
  };
  const versions = new Map(before.versions).set(version, state);
  const limit = versionLimit(config, before);
  const oldest = version > limit ? version - limit + 1 : before.oldest;
  for (const [number, { deletion }] of before.versions) {
    if (number >= oldest) continue;
    versions.delete(number);
    change.delete(path, versionSuffix(number));
    // Where a lowered limit trims many at once, the queue finds them gone when their time comes.
    if (before.versions.size - limit < TRIMMED_ENDINGS_MAX) {
      change.ends(path, versionSuffix(number), deletion?.ms, undefined);
    }
  }
  change.ends(path, versionSuffix(version), undefined, state.deletion?.ms);
  change.put(path, encodeMetadata({ ...before, current: version, oldest, updated: now, versions }));
  change.put(path, encodePayload(data), versionSuffix(version));
  return versionData(version, state, before.custom);
}

function dataOf(context: OperationContext): ValueMap {
  const data = context.fields['data'];
  if (data === undefined || data === null) throw new Fault('input.invalid', 'no data provided');
  return data as ValueMap;
}

export const readData: Operation = {
  name: 'read-data',
  pattern: 'data/*path',
  verb: 'read',
  summary: 'Read a version of a secret.',
  fields: { version: VERSION },
  subtrees: READ_SECRET,
  run(context) {
    const found = find(context, context.view, askedVersion(context));
    if (found === undefined) return { status: 404 };
    const { metadata, data } = found;
    return data === undefined ? { status: 404, data: { data: null, metadata } } : { data: { data, metadata } };
  },
};

export const writeData: Operation = {
  name: 'write-data',
  pattern: 'data/*path',
  verb: 'write',
  summary: 'Write a new version of a secret.',
  fields: { data: DATA, options: OPTIONS },
  existence: SECRET,
  subtrees: WRITE_SECRET,
  tables: ENDINGS,
  async run(context) {
    const data = dataOf(context);
    const path = secretPath(context);
    return await context.view.update(path, (change) => {
      const config = readConfig(change);
      const before = readSecret(context, change) ?? emptyMetadata(instantOf(context));
      checkCas(context.fields['options'] as ValueMap, before.current, config.casRequired || before.casRequired);
      return { data: addVersion(change, path, before, config, data, instantOf(context)) };
    });
  },
};

export const patchData: Operation = {
  name: 'patch-data',
  pattern: 'data/*path',
  verb: 'patch',
  summary: 'Merge into the current version of a secret (RFC 7396); makes a new version.',
  fields: { data: DATA, options: OPTIONS },
  subtrees: WRITE_SECRET,
  tables: ENDINGS,
  async run(context) {
    const patch = dataOf(context);
    const path = secretPath(context);
    return await context.view.update(path, (change): Answer => {
      const before = readSecret(context, change);
      if (before === undefined) return { status: 404 };
      const found = find(context, change, 0);
      if (found === undefined) return { status: 404 };
      if (found.data === undefined) return { status: 404, data: found.metadata };
      const config = readConfig(change);
      checkCas(context.fields['options'] as ValueMap, before.current, config.casRequired || before.casRequired);
      const merged = mergePatch(found.data, patch) as ValueMap;
      return { data: addVersion(change, path, before, config, merged, instantOf(context)) };
    });
  },
};

const isMap = (value: Value | undefined): value is ValueMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** RFC 7396 section 2. Built from entries, so that no key of the patch can reach a prototype. */
export function mergePatch(target: Value | undefined, patch: Value): Value {
  if (!isMap(patch)) return patch;
  const merged = new Map<string, Value>(isMap(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}

export const deleteData: Operation = {
  name: 'delete-data',
  pattern: 'data/*path',
  verb: 'delete',
  summary: 'Delete the current version of a secret; it can be undeleted.',
  fields: {},
  tables: ENDINGS,
  subtrees: [{ at: SECRET, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    const path = secretPath(context);
    await context.view.update(path, (change) => {
      const before = readSecret(context, change);
      const state = before?.versions.get(before.current);
      if (before === undefined || state === undefined || isGone(state, context.nowMs)) return;
      const now = instantOf(context);
      const versions = new Map(before.versions).set(before.current, { ...state, deletion: now });
      change.ends(path, versionSuffix(before.current), state.deletion?.ms, undefined);
      change.put(path, encodeMetadata({ ...before, updated: now, versions }));
    });
    return undefined;
  },
};

/** Names without values; leaves and lists are null, `depth` 0 is unlimited. */
function structure(value: Value, depth: number): Value {
  if (!isMap(value)) return null;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, item]) => [
      key,
      depth === 1 || !isMap(item) || Object.keys(item).length === 0 ? null : structure(item, depth - 1),
    ]),
  );
}

export const readSubkeys: Operation = {
  name: 'read-subkeys',
  pattern: 'subkeys/*path',
  verb: 'read',
  summary: 'Read the structure of a secret without its values.',
  fields: { version: VERSION, depth: { type: 'int', description: 'How many levels; 0 or absent: all.' } },
  subtrees: READ_SECRET,
  run(context) {
    const found = find(context, context.view, askedVersion(context));
    if (found === undefined) return { status: 404 };
    const { metadata, data } = found;
    if (data === undefined) return { status: 404, data: { subkeys: null, metadata } };
    return { data: { subkeys: structure(data, Math.max(0, Number(context.fields['depth'] ?? 0))), metadata } };
  },
};
