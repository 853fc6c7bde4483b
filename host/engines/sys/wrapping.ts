/** sys/wrapping: wrap, lookup, unwrap, rewrap. */
import { Fault } from '../../fault.ts';
import type { Answer, Field, Operation, OperationContext, TableDeclarations } from '../../ports/engine.ts';
import { timestampNanos } from '../../timestamp.ts';
import { NOT_VALID, type Wrapped, type Wrapping } from '../../tokens/wrapping.ts';

const TOKEN: Field = { type: 'string', description: 'The wrapping token; absent: the token that asks.', secret: true };
const READS: TableDeclarations = [
  { table: 'token', modes: ['read'] },
  { table: 'wrap', modes: ['read'] },
];
const WRITES: TableDeclarations = [
  { table: 'token', modes: ['read', 'write'] },
  { table: 'accessor', modes: ['write'] },
  { table: 'expiry', modes: ['write'] },
  { table: 'wrap', modes: ['read', 'write'] },
];

const given = (context: OperationContext): string => String(context.fields['token'] ?? '');

/** The answer as it was, with the id that it had. */
function original({ requestId, answer }: Wrapped): Answer {
  return { ...answer, requestId };
}

export function wrappingOperations(wrapping: Wrapping): readonly Operation[] {
  const take = async (context: OperationContext): Promise<Wrapped> => {
    const text = given(context);
    if (text !== '' && text !== context.tokenText) return await wrapping.unwrap(context.grant, text);
    if (context.token?.wrapping !== true) throw new Fault('input.invalid', NOT_VALID);
    return await wrapping.unwrapOwn(context.grant, context.token.id);
  };
  const look = (context: OperationContext): Answer => {
    const { creationMs, creationNanos, creationPath, ttl } = wrapping.look(
      context.grant,
      given(context) || (context.tokenText ?? ''),
    );
    return {
      data: {
        creation_path: creationPath,
        creation_time: timestampNanos(creationMs, creationNanos),
        creation_ttl: ttl,
      },
    };
  };
  return [
    {
      name: 'wrap',
      pattern: 'wrapping/wrap',
      verb: 'write',
      summary: 'Wrap any data.',
      fields: {},
      body: 'free',
      tables: WRITES,
      flat: true,
      run: (context) => {
        if (context.wrapTtl <= 0) throw new Fault('input.invalid', 'endpoint requires response wrapping to be used');
        return { data: context.body };
      },
    },
    {
      name: 'wrapping-lookup',
      pattern: 'wrapping/lookup',
      verb: 'write',
      open: true,
      summary: 'Show when and by what a token was wrapped.',
      fields: { token: TOKEN },
      tables: READS,
      run: look,
    },
    {
      name: 'wrapping-lookup-read',
      pattern: 'wrapping/lookup',
      verb: 'read',
      summary: 'Show when and by what one’s own wrapping token was made.',
      fields: { token: TOKEN },
      tables: READS,
      run: look,
    },
    {
      name: 'unwrap',
      pattern: 'wrapping/unwrap',
      verb: 'write',
      summary: 'Take the wrapped answer out, once.',
      fields: { token: TOKEN },
      tables: WRITES,
      run: async (context) => original(await take(context)),
    },
    {
      name: 'rewrap',
      pattern: 'wrapping/rewrap',
      verb: 'write',
      summary: 'Put a wrapped answer under a new token, with the same time to live.',
      fields: { token: TOKEN },
      tables: WRITES,
      run: async (context) => {
        const { creationMs: _, creationNanos: __, ...wrapped } = await take(context);
        return { wrapInfo: await wrapping.wrap(context.grant, wrapped) };
      },
    },
  ];
}
