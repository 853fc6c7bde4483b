/** Cubbyhole: a store private to one token; it dies with it. */
import { Fault } from '../../fault.ts';
import { decodePayload, encodePayload } from '../../payload.ts';
import type { Engine, Operation, OperationContext } from '../../ports/engine.ts';

const AT = '{token}/{path}';

/** The caller's own corner. @throws Fault `input.invalid` for tokens that have none */
function pathOf(context: OperationContext): string {
  if (context.token?.type !== 'service') {
    throw new Fault('input.invalid', "cubbyhole operations are only supported by 'service' type tokens");
  }
  const path = context.captures['path'] ?? '';
  return path === '' ? context.token.id : `${context.token.id}/${path}`;
}

const read: Operation = {
  name: 'read-own',
  pattern: '*path',
  verb: 'read',
  summary: 'Read a value of this token.',
  fields: {},
  subtrees: [{ at: AT, modes: ['read'], extent: 'record' }],
  run(context) {
    const payload = context.view.get(pathOf(context));
    return payload === undefined ? { status: 404 } : { data: decodePayload(payload) };
  },
};

const write: Operation = {
  name: 'write-own',
  pattern: '*path',
  verb: 'write',
  summary: 'Write a value that only this token can read.',
  fields: {},
  body: 'free',
  existence: AT,
  subtrees: [{ at: AT, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    const path = pathOf(context);
    if (Object.keys(context.body).length === 0) throw new Fault('input.invalid', 'missing data fields');
    await context.view.update(path, (change) => change.put(path, encodePayload(context.body)));
    return undefined;
  },
};

const remove: Operation = {
  name: 'delete-own',
  pattern: '*path',
  verb: 'delete',
  summary: 'Delete a value of this token.',
  fields: {},
  subtrees: [{ at: AT, modes: ['read', 'write'], extent: 'record' }],
  async run(context) {
    const path = pathOf(context);
    await context.view.update(path, (change) => {
      if (change.get(path) !== undefined) change.delete(path);
    });
    return undefined;
  },
};

const list: Operation = {
  name: 'list-own',
  pattern: '*path',
  verb: 'list',
  summary: 'List names of this token, one level.',
  fields: {},
  subtrees: [{ at: AT, modes: ['names'], extent: 'record' }],
  run(context) {
    const keys = context.view.list(pathOf(context));
    return keys.length === 0 ? { status: 404 } : { data: { keys } };
  },
};

/** A store private to one token. */
export const cubbyhole: Engine = {
  type: 'cubbyhole',
  help: 'A store private to the token that asks: no other token, root included, reads it, and it ends with the token.',
  operations: [read, write, remove, list],
};
