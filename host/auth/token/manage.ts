/** Looking up, renewing and revoking tokens: one's own, a given one, or that of an accessor. */
import { retry } from '../../barrier/barrier.ts';
import { capped } from '../../duration.ts';
import { Fault } from '../../fault.ts';
import type { Answer, Field, Operation, OperationContext, TableDeclarations } from '../../ports/engine.ts';
import type { LeaseTime } from '../../ports/lease-time.ts';
import type { ValueMap } from '../../ports/value.ts';
import { timestampNanos, timestampSeconds } from '../../timestamp.ts';
import type { TokenRecord } from '../../tokens/row.ts';
import type { FoundToken, Tokens } from '../../tokens/tokens.ts';
import { renewedExpiry } from '../../tokens/ttl.ts';
import { authOf } from './create.ts';

const TOKEN: Field = { type: 'string', description: 'The token.', secret: true };
const ACCESSOR: Field = { type: 'string', description: 'The token’s accessor.' };
const INCREMENT: Field = { type: 'duration', description: 'How long it should live from now.' };
const READS: TableDeclarations = [
  { table: 'token', modes: ['read'] },
  { table: 'accessor', modes: ['read'] },
];
const CHANGES: TableDeclarations = [
  { table: 'token', modes: ['read', 'write'] },
  { table: 'accessor', modes: ['read'] },
  { table: 'expiry', modes: ['write'] },
];

export interface ManageParts {
  readonly tokens: Tokens;
  readonly lease: LeaseTime;
  readonly maxTtl: (context: OperationContext) => number;
}

const passed = (text: string): Fault => new Fault('input.invalid', `1 error occurred:\n\t* ${text}\n\n`);

function describe(parts: ManageParts, text: string, token: TokenRecord): ValueMap {
  const { lease } = parts;
  const now = lease.nowMs();
  const time = token.type === 'batch' ? timestampSeconds : (ms: number): string => timestampNanos(ms, 0);
  const at = (ms: number): number => lease.wallOf(ms);
  const isRootLike = token.expiresMs === 0 && token.path === 'auth/token/root';
  return {
    accessor: token.accessor,
    creation_time: Math.floor(at(token.createdMs) / 1000),
    creation_ttl: token.creationTtl,
    display_name: token.displayName,
    entity_id: '',
    expire_time: token.expiresMs === 0 ? null : time(at(token.expiresMs)),
    explicit_max_ttl: token.explicitMaxTtl,
    id: text,
    meta: token.metadata,
    num_uses: Math.max(0, token.uses),
    orphan: token.parentId === undefined,
    path: token.path,
    policies: token.policies,
    ttl: token.expiresMs === 0 ? 0 : Math.max(0, Math.floor((token.expiresMs - now) / 1000)),
    type: token.type,
    ...(isRootLike ? {} : { issue_time: time(at(token.issueMs)), renewable: token.renewable }),
    ...(token.lastRenewalMs === 0
      ? {}
      : { last_renewal: time(at(token.lastRenewalMs)), last_renewal_time: Math.floor(at(token.lastRenewalMs) / 1000) }),
    ...(token.role === '' ? {} : { role: token.role }),
    ...(token.period === 0 ? {} : { period: token.period }),
    ...(token.boundCidrs.length === 0 ? {} : { bound_cidrs: token.boundCidrs }),
  };
}

/** The caller's own token, as it is now. */
function own(
  context: OperationContext,
  parts: ManageParts,
): { readonly text: string; readonly token: TokenRecord; readonly found?: FoundToken } {
  const text = context.tokenText ?? '';
  const found = parts.tokens.byText(context.grant, text);
  if (found === undefined) throw new Fault('token.invalid', 'permission denied');
  const { opened } = found;
  return {
    text,
    token: found.token,
    ...(opened === undefined ? {} : { found: { id: found.id, token: found.token, opened } }),
  };
}

function byAccessor(context: OperationContext, parts: ManageParts): FoundToken {
  const accessor = String(context.fields['accessor'] ?? '');
  if (accessor === '') throw passed('missing accessor');
  const found = parts.tokens.byAccessor(context.grant, accessor);
  if (found === undefined) throw passed('invalid accessor');
  return found;
}

function lookupOperations(parts: ManageParts): readonly Operation[] {
  const lookupSelf = (context: OperationContext): Answer => {
    const { text, token } = own(context, parts);
    return { data: describe(parts, text, token) };
  };
  const lookup = (context: OperationContext): Answer => {
    const given = String(context.fields['token'] ?? '');
    const text = given === '' ? (context.tokenText ?? '') : given;
    const found = parts.tokens.byText(context.grant, text);
    if (found === undefined) throw new BadToken();
    return { data: describe(parts, text, found.token) };
  };
  return [
    {
      name: 'lookup-self',
      pattern: 'lookup-self',
      verb: 'read',
      summary: 'Show one’s own token.',
      fields: {},
      tables: READS,
      run: lookupSelf,
    },
    {
      name: 'lookup-self-write',
      pattern: 'lookup-self',
      verb: 'write',
      summary: 'Show one’s own token.',
      fields: { token: TOKEN },
      tables: READS,
      run: lookupSelf,
    },
    {
      name: 'lookup-read',
      pattern: 'lookup',
      verb: 'read',
      summary: 'Show a token.',
      fields: { token: TOKEN },
      tables: READS,
      run: lookup,
    },
    {
      name: 'lookup',
      pattern: 'lookup',
      verb: 'write',
      summary: 'Show a token.',
      fields: { token: TOKEN },
      tables: READS,
      run: lookup,
    },
    {
      name: 'lookup-accessor',
      pattern: 'lookup-accessor',
      verb: 'write',
      summary: 'Show the token of an accessor, without the token itself.',
      fields: { accessor: ACCESSOR },
      tables: READS,
      run: (context) => ({ data: describe(parts, '', byAccessor(context, parts).token) }),
    },
  ];
}

/** 403 with its own words. */
class BadToken extends Fault {
  constructor() {
    super('token.bad', 'bad token');
  }
}

async function renew(
  context: OperationContext,
  parts: ManageParts,
  text: string,
  find: () => FoundToken | undefined,
): Promise<Answer> {
  const asked = context.fields['increment'];
  const increment = asked === undefined ? undefined : Number(asked);
  return await retry(async () => {
    const found = find();
    if (found === undefined) throw new Fault('input.invalid', 'token not found');
    const { token } = found;
    if (!token.renewable || token.expiresMs === 0) throw new Fault('input.invalid', 'lease is not renewable');
    const nowMs = parts.lease.nowMs();
    const maxTtl = parts.maxTtl(context);
    const expiresMs = renewedExpiry({ nowMs, increment, maxTtl, ...token });
    if (expiresMs === undefined) throw new Fault('input.invalid', 'past the max TTL, cannot renew');
    const next: TokenRecord = { ...token, expiresMs, lastRenewalMs: nowMs };
    await parts.tokens.replace(context.grant, found, next);
    const granted = Math.round((expiresMs - nowMs) / 1000);
    const wanted = token.period > 0 ? token.period : increment || token.creationTtl;
    const ceiling = token.explicitMaxTtl > 0 ? Math.min(token.explicitMaxTtl, maxTtl) : maxTtl;
    const auth = authOf({ text, token: next }, granted);
    return wanted > granted ? { auth, warnings: [capped(wanted, ceiling)] } : { auth };
  });
}

function renewOperations(parts: ManageParts): readonly Operation[] {
  const common = { verb: 'write', tables: CHANGES } as const;
  const given = async (context: OperationContext, text: string): Promise<Answer> => {
    if (text.startsWith('hvb.')) throw new Fault('input.invalid', 'batch tokens cannot be renewed');
    return await renew(context, parts, text, () => {
      const id = parts.tokens.idOf(text);
      return id === undefined ? undefined : parts.tokens.byId(context.grant, id);
    });
  };
  return [
    {
      ...common,
      name: 'renew-self',
      pattern: 'renew-self',
      summary: 'Renew one’s own token.',
      fields: { increment: INCREMENT, token: TOKEN },
      run: (context) => given(context, context.tokenText ?? ''),
    },
    {
      ...common,
      name: 'renew',
      pattern: 'renew',
      summary: 'Renew a token.',
      fields: { token: TOKEN, increment: INCREMENT },
      run: (context) => given(context, String(context.fields['token'] ?? '') || (context.tokenText ?? '')),
    },
    {
      ...common,
      name: 'renew-accessor',
      pattern: 'renew-accessor',
      summary: 'Renew the token of an accessor.',
      fields: { accessor: ACCESSOR, increment: INCREMENT },
      run(context) {
        byAccessor(context, parts);
        return renew(context, parts, '', () =>
          parts.tokens.byAccessor(context.grant, String(context.fields['accessor'])),
        );
      },
    },
  ];
}

function revokeOperations(parts: ManageParts): readonly Operation[] {
  const common = { verb: 'write', tables: READS } as const;
  const revoke = async (context: OperationContext, text: string, keepChildren = false): Promise<undefined> => {
    if (text === '') throw new Fault('input.invalid', 'missing token ID');
    if (text.startsWith('hvb.')) throw new Fault('input.invalid', 'batch tokens cannot be revoked');
    const id = parts.tokens.idOf(text);
    if (id !== undefined && parts.tokens.byId(context.grant, id) !== undefined)
      await parts.tokens.revoke(id, keepChildren);
    return undefined;
  };
  return [
    {
      ...common,
      name: 'revoke-self',
      pattern: 'revoke-self',
      summary: 'Revoke one’s own token with all that it made.',
      fields: {},
      run: (context) => revoke(context, context.tokenText ?? ''),
    },
    {
      ...common,
      name: 'revoke',
      pattern: 'revoke',
      summary: 'Revoke a token with all that it made.',
      fields: { token: TOKEN },
      run: (context) => revoke(context, String(context.fields['token'] ?? '')),
    },
    {
      ...common,
      name: 'revoke-accessor',
      pattern: 'revoke-accessor',
      summary: 'Revoke the token of an accessor with all that it made.',
      fields: { accessor: ACCESSOR },
      async run(context) {
        const accessor = String(context.fields['accessor'] ?? '');
        if (accessor === '') throw passed('missing accessor');
        const found = parts.tokens.byAccessor(context.grant, accessor);
        if (found === undefined) return { data: null, warnings: ['No token found with this accessor'] };
        await parts.tokens.revoke(found.id);
        return undefined;
      },
    },
    {
      ...common,
      name: 'revoke-orphan',
      pattern: 'revoke-orphan',
      summary: 'Revoke a token; what it made lives on without a parent.',
      fields: { token: TOKEN },
      run(context) {
        if (!context.isRoot && !context.hasSudo) {
          throw new Fault('input.invalid', 'root or sudo privileges required to revoke and orphan');
        }
        return revoke(context, String(context.fields['token'] ?? ''), true);
      },
    },
  ];
}

function listOperations(parts: ManageParts): readonly Operation[] {
  return [
    {
      name: 'list-accessors',
      pattern: 'accessors',
      verb: 'list',
      sudo: true,
      summary: 'List the accessors of all tokens.',
      fields: {},
      tables: READS,
      run(context) {
        const keys = parts.tokens.accessors(context.grant);
        return keys.length === 0 ? { status: 404 } : { data: { keys } };
      },
    },
    {
      name: 'tidy',
      pattern: 'tidy',
      verb: 'write',
      summary: 'Nothing needs tidying here: what belongs together is removed together.',
      fields: {},
      run: () => ({
        status: 202,
        data: null,
        warnings: [
          'Tidy operation successfully started. Any information from the operation will be printed to the server logs.',
        ],
      }),
    },
  ];
}

export function manageOperations(parts: ManageParts): readonly Operation[] {
  return [...lookupOperations(parts), ...renewOperations(parts), ...revokeOperations(parts), ...listOperations(parts)];
}
