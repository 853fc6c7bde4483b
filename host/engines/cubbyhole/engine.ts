/** Cubbyhole: a store private to one token; it dies with it. */
import { Fault } from '../../fault.ts';
import type { Engine, OperationContext } from '../../ports/engine.ts';
import { plainOperations } from '../plain.ts';

/** The caller's own corner. @throws Fault `input.invalid` for tokens that have none */
function pathOf(context: OperationContext): string {
  if (context.token?.type !== 'service') {
    throw new Fault('input.invalid', "cubbyhole operations are only supported by 'service' type tokens");
  }
  const path = context.captures['path'] ?? '';
  return path === '' ? context.token.id : `${context.token.id}/${path}`;
}

/** A store private to one token. */
export const cubbyhole: Engine = {
  type: 'cubbyhole',
  help: 'A store private to the token that asks: no other token, root included, reads it, and it ends with the token.',
  operations: plainOperations({
    at: '{token}/{path}',
    pathOf,
    words: {
      read: { name: 'read-own', summary: 'Read a value of this token.' },
      write: { name: 'write-own', summary: 'Write a value that only this token can read.' },
      delete: { name: 'delete-own', summary: 'Delete a value of this token.' },
      list: { name: 'list-own', summary: 'List names of this token, one level.' },
    },
  }),
};
