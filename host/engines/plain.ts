/** One value a path, without history: what KV version 1 and the cubbyhole have in common. The whole body is the value. */
import { Fault } from '../fault.ts';
import { decodePayload, encodePayload } from '../payload.ts';
import type { Answer, Operation, OperationContext } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';

export interface PlainStore {
  /** Where a value lies, as core fills it in. */
  readonly at: string;
  /** The same for one request. @throws Fault where the caller has no such place */
  readonly pathOf: (context: OperationContext) => string;
  /** Names and sentences of the operations, for OpenAPI and help. */
  readonly words: Readonly<
    Record<'read' | 'write' | 'delete' | 'list', { readonly name: string; readonly summary: string }>
  >;
  /** What a read answers beside the value. */
  readonly beside?: (context: OperationContext, data: ValueMap) => Omit<Answer, 'data'>;
  /** Looks at a stored row before it is read, replaced or deleted. @throws Fault if it is not for this engine (any more) */
  readonly check?: (payload: Uint8Array) => void;
}

export function plainOperations({ at, pathOf, words, beside, check }: PlainStore): readonly Operation[] {
  return [
    {
      ...words.read,
      pattern: '*path',
      verb: 'read',
      fields: {},
      subtrees: [{ at, modes: ['read'], extent: 'record' }],
      run(context) {
        const payload = context.view.get(pathOf(context));
        if (payload === undefined) return { status: 404 };
        check?.(payload);
        const data = decodePayload(payload);
        return { ...beside?.(context, data), data };
      },
    },
    {
      ...words.write,
      pattern: '*path',
      verb: 'write',
      fields: {},
      body: 'free',
      existence: at,
      subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }],
      async run(context) {
        const path = pathOf(context);
        if (Object.keys(context.body).length === 0) throw new Fault('input.invalid', 'missing data fields');
        await context.view.update(path, (change) => {
          const before = check === undefined ? undefined : change.get(path);
          if (before !== undefined) check?.(before);
          change.put(path, encodePayload(context.body));
        });
        return undefined;
      },
    },
    {
      ...words.delete,
      pattern: '*path',
      verb: 'delete',
      fields: {},
      subtrees: [{ at, modes: ['read', 'write'], extent: 'record' }],
      async run(context) {
        const path = pathOf(context);
        await context.view.update(path, (change) => {
          const before = change.get(path);
          if (before === undefined) return;
          check?.(before);
          change.delete(path);
        });
        return undefined;
      },
    },
    {
      ...words.list,
      pattern: '*path',
      verb: 'list',
      fields: {},
      subtrees: [{ at, modes: ['names'], extent: 'record' }],
      run(context) {
        const keys = context.view.list(pathOf(context).replace(/\/$/, ''));
        return keys.length === 0 ? { status: 404 } : { data: { keys } };
      },
    },
  ];
}
