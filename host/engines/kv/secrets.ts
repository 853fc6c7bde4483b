/** Operations on whole secrets of KV v2: their metadata and their names. */
import { formatDuration } from '../../duration.ts';
import { Fault } from '../../fault.ts';
import type { Answer, Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { Value, ValueMap } from '../../ports/value.ts';
import { checkMaxVersions, LIMIT_FIELDS, readConfig } from './config.ts';
import { instantOf, READ_SECRET, readSecret, SECRET, secretPath, WRITE_SECRET } from './data.ts';
import { emptyMetadata, encodeMetadata, instantText, metadataReader, type SecretMetadata } from './metadata.ts';

const FIELDS = {
  ...LIMIT_FIELDS,
  custom_metadata: { type: 'map', description: 'Up to 64 names with texts, for people; not secret.' },
} as const satisfies Record<string, Field>;

const CUSTOM_KEYS_MAX = 64;
const CUSTOM_KEY_LENGTH_MAX = 128;
const CUSTOM_VALUE_LENGTH_MAX = 512;
// Printable: no control, surrogate, private or unassigned character, and no separator but the space.
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]*$/u;

function describe(secret: SecretMetadata): ValueMap {
  const versions = [...secret.versions].map(([number, state]): [string, Value] => [
    String(number),
    {
      created_time: instantText(state.created),
      deletion_time: instantText(state.deletion),
      destroyed: state.destroyed,
    },
  ]);
  return {
    versions: Object.fromEntries(versions),
    current_version: secret.current,
    oldest_version: secret.oldest,
    created_time: instantText(secret.created),
    updated_time: instantText(secret.updated),
    max_versions: secret.maxVersions,
    cas_required: secret.casRequired,
    delete_version_after: formatDuration(secret.deleteAfterMs),
    custom_metadata: secret.custom,
  };
}

function refuseCustom(reason: string): Fault {
  return new Fault('input.invalid', `1 error occurred:\n\t* custom_metadata validation failed: ${reason}\n\n`);
}

function customText(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  throw refuseCustom('values must be texts');
}

/** Checks and coerces custom metadata; texts say which rule is broken, not what was sent. */
function parseCustom(entries: Iterable<[string, Value]>): Record<string, string> | null {
  const texts = new Map<string, string>();
  for (const [key, value] of entries) {
    const text = customText(value);
    const keyLength = Buffer.byteLength(key);
    if (keyLength < 1 || keyLength > CUSTOM_KEY_LENGTH_MAX) {
      throw refuseCustom(`length of a key is ${keyLength} bytes, allowed are 1 to ${CUSTOM_KEY_LENGTH_MAX}`);
    }
    const length = Buffer.byteLength(text);
    if (length < 1 || length > CUSTOM_VALUE_LENGTH_MAX) {
      throw refuseCustom(`length of a value is ${length} bytes, allowed are 1 to ${CUSTOM_VALUE_LENGTH_MAX}`);
    }
    if (!PRINTABLE.test(key) || !PRINTABLE.test(text)) throw refuseCustom('keys and values must be printable');
    texts.set(key, text);
  }
  if (texts.size > CUSTOM_KEYS_MAX) {
    throw refuseCustom(`there are ${texts.size} keys, allowed are ${CUSTOM_KEYS_MAX}`);
  }
  return texts.size === 0 ? null : Object.fromEntries(texts);
}

/** The settings that a write names, over those before. */
function withLimits(before: SecretMetadata, fields: ValueMap): SecretMetadata {
  return {
    ...before,
    ...(typeof fields['max_versions'] === 'number' ? { maxVersions: checkMaxVersions(fields['max_versions']) } : {}),
    ...(typeof fields['cas_required'] === 'boolean' ? { casRequired: fields['cas_required'] } : {}),
    ...(typeof fields['delete_version_after'] === 'number'
      ? { deleteAfterMs: Math.trunc(fields['delete_version_after'] * 1000) }
      : {}),
  };
}

const CAS_IGNORED = '"cas_required" set to false, but is mandated by backend config. This value will be ignored.';

function answerOf(context: OperationContext, engineRequiresCas: boolean): Answer | undefined {
  return engineRequiresCas && context.fields['cas_required'] === false ? { warnings: [CAS_IGNORED] } : undefined;
}

export const readMetadata: Operation = {
  name: 'read-metadata',
  pattern: 'metadata/*path',
  verb: 'read',
  summary: 'Read what is known of a secret and its versions.',
  fields: {},
  subtrees: READ_SECRET,
  run(context) {
    const payload = context.view.get(secretPath(context));
    return payload === undefined
      ? { status: 404 }
      : { data: describe(metadataReader(payload, context.mount.upgradedMs ?? 0).whole()) };
  },
};

export const writeMetadata: Operation = {
  name: 'write-metadata',
  plainFieldErrors: true,
  pattern: 'metadata/*path',
  verb: 'write',
  summary: 'Set limits and custom metadata of a secret, before or after its first version.',
  fields: FIELDS,
  existence: SECRET,
  subtrees: WRITE_SECRET,
  async run(context) {
    const { fields, view } = context;
    if (Object.keys(FIELDS).every((name) => fields[name] === undefined)) return undefined;
    const custom = fields['custom_metadata'];
    const replacement = custom === undefined ? undefined : parseCustom(Object.entries((custom ?? {}) as ValueMap));
    const path = secretPath(context);
    return await view.update(path, (change) => {
      const now = instantOf(context);
      const before = readSecret(context, change) ?? emptyMetadata(now);
      const after = { ...withLimits(before, fields), updated: now };
      change.put(path, encodeMetadata(replacement === undefined ? after : { ...after, custom: replacement }));
      return answerOf(context, readConfig(change).casRequired);
    });
  },
};

export const patchMetadata: Operation = {
  name: 'patch-metadata',
  plainFieldErrors: true,
  pattern: 'metadata/*path',
  verb: 'patch',
  summary: 'Change limits and merge custom metadata of a secret; null removes or resets.',
  fields: FIELDS,
  subtrees: WRITE_SECRET,
  async run(context) {
    const { fields, view } = context;
    const path = secretPath(context);
    return await view.update(path, (change): Answer | undefined => {
      const before = readSecret(context, change);
      if (before === undefined) return { status: 404 };
      const reset: SecretMetadata = {
        ...before,
        ...(fields['max_versions'] === null ? { maxVersions: 0 } : {}),
        ...(fields['cas_required'] === null ? { casRequired: false } : {}),
        ...(fields['delete_version_after'] === null ? { deleteAfterMs: 0 } : {}),
      };
      const after = { ...withLimits(reset, fields), updated: instantOf(context) };
      change.put(path, encodeMetadata({ ...after, custom: mergeCustom(before.custom, fields['custom_metadata']) }));
      return answerOf(context, readConfig(change).casRequired);
    });
  },
};

function mergeCustom(before: SecretMetadata['custom'], patch: Value | undefined): SecretMetadata['custom'] {
  if (patch === undefined) return before;
  if (patch === null) return null;
  const merged = new Map<string, Value>(Object.entries(before ?? {}));
  for (const [key, value] of Object.entries(patch as ValueMap)) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  return parseCustom(merged);
}

export const deleteMetadata: Operation = {
  name: 'delete-metadata',
  pattern: 'metadata/*path',
  verb: 'delete',
  summary: 'Remove a secret with all its versions, for good.',
  fields: {},
  subtrees: [{ at: SECRET, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    const path = secretPath(context);
    await context.view.update(path, (change) => {
      if (change.get(path) !== undefined) change.delete(path);
    });
    return undefined;
  },
};

const PAGE = {
  after: { type: 'string', description: 'List only names that come after this one.' },
  limit: { type: 'int', description: 'How many names at most; 0 or less: all.' },
} as const satisfies Record<string, Field>;

/** Names of one directory, from `after` on, at most `limit`. */
function page(context: OperationContext): string[] {
  const after = context.fields['after'];
  const limit = Number(context.fields['limit'] ?? 0);
  const path = context.captures['path'] ?? '';
  const names = context.view.list(path === '' ? 's' : `s/${path}`);
  const rest =
    typeof after === 'string' && after !== ''
      ? names.filter((name) => Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0)
      : names;
  return limit > 0 ? rest.slice(0, limit) : rest;
}

export const listMetadata: Operation = {
  name: 'list-metadata',
  pattern: 'metadata/*path',
  verb: 'list',
  summary: 'List names of secrets, one level; folders end in a slash.',
  fields: PAGE,
  subtrees: [{ at: SECRET, modes: ['names'], extent: 'record' }],
  run(context) {
    const keys = page(context);
    return keys.length === 0 ? { status: 404 } : { data: { keys } };
  },
};

export const listDetailedMetadata: Operation = {
  name: 'list-detailed-metadata',
  pattern: 'detailed-metadata/*path',
  verb: 'list',
  summary: 'List names of secrets with their metadata, one level.',
  fields: PAGE,
  subtrees: [{ at: SECRET, modes: ['names', 'read'], extent: 'subtree' }],
  run(context) {
    const keys = page(context);
    if (keys.length === 0) return { status: 404 };
    const folder = secretPath(context).replace(/\/$/, '');
    const info = keys
      .filter((key) => !key.endsWith('/'))
      .map((key): [string, Value] => {
        const payload = context.view.get(`${folder}/${key}`);
        return [
          key,
          payload === undefined ? null : describe(metadataReader(payload, context.mount.upgradedMs ?? 0).whole()),
        ];
      });
    return { data: { keys, key_info: Object.fromEntries(info) } };
  },
};
