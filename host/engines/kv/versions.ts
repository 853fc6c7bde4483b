/** Operations on named versions of KV v2: delete, undelete, destroy. */
import { Fault } from '../../fault.ts';
import type { Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ViewChange } from '../../ports/view.ts';
import { deletionOf, readConfig } from './config.ts';
import { ENDINGS, instantOf, readSecret, secretPath, WRITE_SECRET } from './data.ts';
import { encodeMetadata, isGone, type SecretMetadata, type VersionState, versionSuffix } from './metadata.ts';

const VERSIONS: Field = { type: 'ints', description: 'Numbers of the versions.' };

/** What becomes of one named version; undefined: it stays as it is. */
type Step = (
  state: VersionState,
  version: number,
  secret: SecretMetadata,
  change: ViewChange,
) => VersionState | undefined;

async function forVersions(context: OperationContext, missing: string, step: Step): Promise<undefined> {
  const numbers = (context.fields['versions'] ?? []) as readonly number[];
  if (numbers.length === 0) throw new Fault('input.invalid', missing);
  const path = secretPath(context);
  await context.view.update(path, (change) => {
    const before = readSecret(context, change);
    if (before === undefined) return;
    const versions = new Map(before.versions);
    for (const number of new Set(numbers)) {
      const state = versions.get(number);
      const next = state === undefined ? undefined : step(state, number, before, change);
      if (next === undefined) continue;
      versions.set(number, next);
      // One that is destroyed keeps its deletion time, and nothing is left that could end.
      const ends = next.destroyed ? undefined : futureEnd(next, context);
      change.ends(path, versionSuffix(number), state && futureEnd(state, context), ends);
    }
    change.put(path, encodeMetadata({ ...before, updated: instantOf(context), versions }));
  });
  return undefined;
}

/** When the queue comes for a version; undefined: never (again). */
const futureEnd = ({ deletion }: VersionState, { nowMs }: OperationContext): number | undefined =>
  deletion !== undefined && deletion.ms > nowMs ? deletion.ms : undefined;

const COMMON = { verb: 'write', fields: { versions: VERSIONS }, subtrees: WRITE_SECRET, tables: ENDINGS } as const;

export const deleteVersions: Operation = {
  ...COMMON,
  name: 'delete-versions',
  pattern: 'delete/*path',
  summary: 'Delete versions of a secret; they can be undeleted.',
  run: (context) =>
    forVersions(context, 'No version number provided', (state) =>
      isGone(state, context.nowMs) ? undefined : { ...state, deletion: instantOf(context) },
    ),
};

export const undeleteVersions: Operation = {
  ...COMMON,
  name: 'undelete-versions',
  pattern: 'undelete/*path',
  summary: 'Take back the deletion of versions; destroyed ones stay destroyed.',
  run: (context) =>
    forVersions(context, 'No version number provided', (state, _version, secret, change) =>
      state.destroyed
        ? undefined
        : { ...state, deletion: deletionOf(instantOf(context), readConfig(change), secret), over: false },
    ),
};

export const destroyVersions: Operation = {
  ...COMMON,
  name: 'destroy-versions',
  pattern: 'destroy/*path',
  summary: 'Remove the data of versions for good.',
  run: (context) =>
    forVersions(context, 'no version number provided', (state, version, _secret, change) => {
      if (state.destroyed) return undefined;
      change.delete(secretPath(context), versionSuffix(version));
      return { ...state, destroyed: true };
    }),
};
