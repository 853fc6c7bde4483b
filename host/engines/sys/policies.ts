/** sys/policies/acl, the older sys/policy, and what a token may do: sys/capabilities. */
import type { Core } from '../../../core/types.ts';
import { Fault } from '../../fault.ts';
import type { Policies } from '../../policies/store.ts';
import type { Answer, Field, Operation, OperationContext, TableDeclarations } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import { encodeToken } from '../../tokens/row.ts';
import type { Tokens } from '../../tokens/tokens.ts';

const TABLES: TableDeclarations = [{ table: 'policy', modes: ['read', 'write'] }];
const TOKENS: TableDeclarations = [
  { table: 'token', modes: ['read'] },
  { table: 'accessor', modes: ['read'] },
];
const POLICY: Field = {
  type: 'string',
  description: 'The rules, in HCL or JSON; base64 of them is taken too.',
  aliases: ['rules'],
};
const PATHS: Field = { type: 'strings', description: 'Paths to ask about.', aliases: ['path'] };
const PATH_COUNT_MAX = 1000;

/** Base64 of a policy, as some clients send it. */
function decodeSource(text: string): string {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return text;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.toString('utf8') : text;
}

export function policyOperations(policies: Policies): readonly Operation[] {
  const nameOf = (context: OperationContext): string => context.captures['name'] ?? '';
  const write = async (context: OperationContext): Promise<Answer | undefined> => {
    const source = decodeSource(String(context.fields['policy'] ?? ''));
    if (source === '') throw new Fault('input.invalid', "'policy' parameter not supplied or empty");
    const warnings = await policies.write(context.grant, nameOf(context), source);
    return warnings.length === 0 ? undefined : { data: null, warnings };
  };
  const remove = async (context: OperationContext): Promise<undefined> => {
    await policies.remove(context.grant, nameOf(context));
  };
  const at = (kind: 'policies/acl' | 'policy', source: 'policy' | 'rules'): Operation[] => {
    const old = kind === 'policy';
    const suffix = old ? '-old' : '';
    const list = (): Answer => {
      const keys = policies.names();
      return { data: old ? { keys, policies: keys } : { keys } };
    };
    const common = { pattern: `${kind}/*name`, tables: TABLES } as const;
    return [
      {
        name: `list-policies${suffix}`,
        pattern: kind,
        verb: 'list',
        flat: old,
        summary: 'List the names of policies.',
        fields: {},
        run: list,
      },
      ...(old
        ? [
            {
              name: 'list-policies-old-read',
              pattern: kind,
              verb: 'read',
              flat: true,
              summary: 'List the names of policies.',
              fields: {},
              run: list,
            } as const,
          ]
        : []),
      {
        ...common,
        name: `read-policy${suffix}`,
        verb: 'read',
        flat: old,
        summary: 'Read a policy.',
        fields: {},
        run: (context) => {
          const policy = policies.read(context.grant, nameOf(context));
          return policy === undefined ? { status: 404 } : { data: { name: policy.name, [source]: policy.source } };
        },
      },
      {
        ...common,
        name: `write-policy${suffix}`,
        verb: 'write',
        summary: 'Write a policy.',
        fields: { policy: POLICY },
        run: write,
      },
      {
        ...common,
        name: `delete-policy${suffix}`,
        verb: 'delete',
        summary: 'Delete a policy.',
        fields: {},
        run: remove,
      },
    ];
  };
  return [...at('policies/acl', 'policy'), ...at('policy', 'rules')];
}

export function capabilityOperations(core: Core, tokens: Tokens): readonly Operation[] {
  const answer = (context: OperationContext, payload: Uint8Array): Answer => {
    const paths = (context.fields['paths'] ?? []) as readonly string[];
    if (paths.length === 0) throw new Fault('input.invalid', 'paths must be supplied');
    if (paths.length > PATH_COUNT_MAX) throw new Fault('input.invalid', `at most ${PATH_COUNT_MAX} paths at once`);
    const found = paths.map((path): [string, string[]] => [
      path,
      core.capabilities(context.grant, payload, path.replace(/^\/+/, '')),
    ]);
    const data: ValueMap = Object.fromEntries(found);
    const [only] = found;
    return { data: found.length === 1 && only !== undefined ? { ...data, capabilities: only[1] } : data };
  };
  const common = { verb: 'write', flat: true, tables: TOKENS } as const;
  const invalid = (what: string): Fault => new Fault('input.invalid', `1 error occurred:\n\t* ${what}\n\n`);
  return [
    {
      ...common,
      name: 'capabilities-self',
      pattern: 'capabilities-self',
      summary: 'What one’s own token may do at paths.',
      fields: { paths: PATHS },
      run: (context) => {
        const payload = core.tokenPayload(context.grant);
        if (payload === undefined) throw new Fault('token.invalid', 'permission denied');
        return answer(context, payload);
      },
    },
    {
      ...common,
      name: 'capabilities',
      pattern: 'capabilities',
      summary: 'What a token may do at paths.',
      fields: { paths: PATHS, token: { type: 'string', description: 'The token.', secret: true } },
      run: (context) => {
        const found = tokens.byText(context.grant, String(context.fields['token'] ?? ''));
        if (found === undefined) throw invalid('invalid token');
        return answer(context, encodeToken(found.token));
      },
    },
    {
      ...common,
      name: 'capabilities-accessor',
      pattern: 'capabilities-accessor',
      summary: 'What the token of an accessor may do at paths.',
      fields: { paths: PATHS, accessor: { type: 'string', description: 'The token’s accessor.' } },
      run: (context) => {
        const found = tokens.byAccessor(context.grant, String(context.fields['accessor'] ?? ''));
        if (found === undefined) throw invalid('invalid accessor');
        return answer(context, encodeToken(found.token));
      },
    },
  ];
}
