/** Making tokens: create, create-orphan and create/<role>. */
import { Fault } from '../../fault.ts';
import type { Answer, AuthAnswer, Field, Operation, OperationContext, TableDeclarations } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';
import type { MadeToken, NewToken, Tokens } from '../../tokens/tokens.ts';
import { creationTtl } from '../../tokens/ttl.ts';
import { parseCidrs, ROLE_AT, readRole, type TokenRole } from './role.ts';

const META_SIZE_MAX = 8192;
const POLICY_COUNT_MAX = 256;
const OWN_ID = /^[A-Za-z0-9_-]{1,128}$/;

const FIELDS = {
  id: { type: 'string', description: 'An id of one’s own instead of a drawn one; needs sudo.', secret: true },
  policies: { type: 'strings', description: 'Policies of the token; those of the caller if absent.' },
  meta: { type: 'string-map', description: 'Notes for the audit log.' },
  no_parent: { type: 'bool', description: 'Without a parent; needs sudo.' },
  no_default_policy: { type: 'bool', description: 'Without the policy default.' },
  renewable: { type: 'bool', description: 'Whether it can be renewed.', default: true },
  ttl: { type: 'duration', description: 'How long it lives.', aliases: ['lease'] },
  explicit_max_ttl: { type: 'duration', description: 'The end that no renewal passes.' },
  display_name: { type: 'string', description: 'A name in the audit log.' },
  num_uses: { type: 'int', description: 'How many requests it is good for; 0: any number.' },
  period: { type: 'duration', description: 'Each renewal gives it this long again; needs sudo.' },
  type: { type: 'string', description: 'service or batch.' },
  entity_alias: { type: 'string', description: 'A name that the role allows; none are known yet.' },
} as const satisfies Record<string, Field>;

const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', sentence);
};

const unique = (names: Iterable<string>): string[] => [...new Set(names)].sort((a, b) => (a < b ? -1 : 1));

/** The list as Go prints it. */
const listed = (names: readonly string[]): string => `[${names.map((name) => JSON.stringify(name)).join(' ')}]`;

/** Each part where it first fits: linear, where a regular expression of many stars would try every way to split the name. */
function matchesGlob(glob: string, name: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  const last = rest.pop();
  if (last === undefined) return name === glob;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

const matches = (globs: readonly string[], name: string): boolean => globs.some((glob) => matchesGlob(glob, name));

/** What a role lets its tokens have: its own lists replace the rule that children hold a subset of the parent's. */
function rolePolicies(role: TokenRole, wanted: readonly string[], context: OperationContext): string[] {
  const { allowedPolicies, allowedPoliciesGlob, disallowedPolicies, disallowedPoliciesGlob } = role;
  const restricts = allowedPolicies.length + allowedPoliciesGlob.length > 0;
  let chosen = wanted;
  if (chosen.length === 0) chosen = restricts ? allowedPolicies : (context.token?.policies ?? []);
  const addsDefault =
    !role.tokenNoDefaultPolicy &&
    context.fields['no_default_policy'] !== true &&
    !disallowedPolicies.includes('default');
  const all = unique(
    addsDefault ? [...chosen, 'default'] : chosen.filter((name) => name !== 'default' || wanted.includes(name)),
  );
  if (restricts) {
    const asked = addsDefault ? unique([...wanted, 'default']) : wanted;
    const bad = all.find(
      (name) => name !== 'default' && !allowedPolicies.includes(name) && !matches(allowedPoliciesGlob, name),
    );
    if (bad !== undefined) {
      refuse(
        `token policies (${listed(asked)}) must be subset of the role's allowed policies (${listed(allowedPolicies)}) or glob policies (${listed(allowedPoliciesGlob)})`,
      );
    }
  } else if (!context.isRoot && !context.hasSudo && disallowedPolicies.length + disallowedPoliciesGlob.length === 0) {
    if (all.some((name) => name !== 'default' && context.token?.policies.includes(name) !== true))
      refuse('child policies must be subset of parent');
  }
  const forbidden = all.find((name) => disallowedPolicies.includes(name) || matches(disallowedPoliciesGlob, name));
  if (forbidden !== undefined) refuse(`token policy ${JSON.stringify(forbidden)} is disallowed by this role`);
  return all;
}

function ownPolicies(context: OperationContext, wanted: readonly string[]): string[] {
  const { fields, token } = context;
  const parent = token?.policies ?? [];
  const privileged = context.isRoot || context.hasSudo;
  const noDefault = fields['no_default_policy'] === true;
  const inherits = wanted.length === 0;
  const base = inherits ? parent : wanted;
  if (!privileged && !inherits && base.some((name) => !parent.includes(name)))
    refuse('child policies must be subset of parent');
  const withDefault =
    !noDefault &&
    !base.includes('root') &&
    (privileged ? !inherits || parent.includes('default') : parent.includes('default'));
  const all = unique(withDefault ? [...base, 'default'] : noDefault ? base.filter((name) => name !== 'default') : base);
  return all.includes('root') ? ['root'] : all;
}

function checkNames(names: readonly string[]): void {
  if (names.length > POLICY_COUNT_MAX) refuse(`a token has at most ${POLICY_COUNT_MAX} policies`);
  if (names.includes('response-wrapping')) refuse('cannot assign policy "response-wrapping"');
  if (names.some((name) => Buffer.byteLength(name) > 128 || /\p{Cc}/u.test(name)))
    refuse('a policy name has 1 to 128 bytes without control characters');
}

function checkMeta(meta: ValueMap | undefined): Readonly<Record<string, string>> | null {
  if (meta === undefined) return null;
  if (Buffer.byteLength(JSON.stringify(meta)) > META_SIZE_MAX) refuse(`meta has at most ${META_SIZE_MAX} bytes`);
  return Object.keys(meta).length === 0 ? null : (meta as Record<string, string>);
}

function displayName(given: string | undefined): string {
  const clean = (given ?? '').replace(/[^A-Za-z0-9-]+/g, '-').replace(/^-+|-+$/g, '');
  return clean === '' ? 'token' : `token-${clean.slice(0, 128)}`;
}

export interface CreateParts {
  readonly tokens: Tokens;
  readonly policyExists: (name: string) => boolean;
  readonly ttls: (context: OperationContext) => { readonly defaultTtl: number; readonly maxTtl: number };
}

function typeOf(fields: ValueMap, role: TokenRole | undefined): 'service' | 'batch' {
  const asked = fields['type'] === undefined ? '' : String(fields['type']);
  if (!['', 'service', 'batch'].includes(asked)) return refuse("invalid 'token_type' value");
  const fixed = role?.tokenType;
  if (fixed === 'service' || fixed === 'batch') return fixed;
  if (asked !== '') return asked as 'service' | 'batch';
  return fixed === 'default-batch' ? 'batch' : 'service';
}

function checkBatch(fields: ValueMap, policies: readonly string[]): void {
  if (policies.includes('root')) refuse('batch tokens cannot be root tokens');
  for (const name of ['explicit_max_ttl', 'num_uses', 'period'] as const) {
    if (Number(fields[name] ?? 0) > 0) refuse(`batch tokens cannot have "${name}" set`);
  }
}

function ownId(context: OperationContext): string | undefined {
  const id = context.fields['id'];
  if (typeof id !== 'string' || id === '') return undefined;
  if (!context.isRoot && !context.hasSudo) refuse('root or sudo privileges required to specify token id');
  for (const prefix of ['hvs.', 'hvb.', 'hvr.', 's.', 'b.', 'r.']) {
    if (id.startsWith(prefix)) refuse(`custom token ID cannot have the '${prefix}' prefix`);
  }
  if (id.includes('.')) refuse("custom token ID cannot have a '.' in the value");
  if (!OWN_ID.test(id)) refuse('a custom token ID has 1 to 128 of A-Z a-z 0-9 _ and -');
  return id;
}

async function create(
  context: OperationContext,
  parts: CreateParts,
  way: 'child' | 'orphan' | TokenRole,
): Promise<Answer> {
  const { fields, token } = context;
  if (token === undefined) throw new Fault('token.invalid', 'permission denied');
  if (token.type === 'batch') refuse('batch tokens cannot create more tokens');
  if (token.numUses !== 0) refuse('restricted use token cannot generate child tokens');
  const role = typeof way === 'string' ? undefined : way;
  const privileged = context.isRoot || context.hasSudo;
  const wanted = unique(
    ((fields['policies'] ?? []) as readonly string[]).map((name) => name.trim().toLowerCase()).filter(Boolean),
  );
  checkNames(wanted);
  const policies = role === undefined ? ownPolicies(context, wanted) : rolePolicies(role, wanted, context);
  // A role's own lists bring names too.
  if (role !== undefined) checkNames(policies);
  const isRoot = policies.includes('root');
  // By core's decision on this request, not by what host keeps of the token.
  if (isRoot && !context.isRoot) refuse('root tokens may not be created without parent token being root');
  const type = typeOf(fields, role);
  if (type === 'batch') checkBatch(fields, policies);
  const id = ownId(context);
  if (id !== undefined && type === 'batch') refuse('batch tokens cannot have an id of their own');
  const orphan = role === undefined ? way === 'orphan' || fields['no_parent'] === true : role.orphan;
  if (role === undefined && way === 'child' && fields['no_parent'] === true && !privileged) {
    refuse('root or sudo privileges required to create orphan token');
  }
  const askedPeriod = Number(fields['period'] ?? 0);
  if (askedPeriod > 0 && !privileged) refuse('root or sudo privileges required to create periodic token');
  const numUses = Number(fields['num_uses'] ?? 0);
  if (numUses < 0) refuse('number of uses cannot be negative');
  const { ttl, period, explicitMaxTtl, warnings } = lifetime(context, parts, role, isRoot);
  if (isRoot && ttl === 0 && token.expireMs > 0) refuse('expiring root tokens cannot create non-expiring root tokens');
  const made = await parts.tokens.create(
    context.grant,
    {
      type,
      wrapping: false,
      expiresMs: ttl === 0 ? 0 : context.nowMs + ttl * 1000,
      uses: role !== undefined && role.tokenNumUses > 0 ? lesser(numUses, role.tokenNumUses) : numUses,
      parentId: orphan ? undefined : token.id,
      mountId: context.mount.id,
      policies,
      boundCidrs: role === undefined ? [] : parseCidrs(role.tokenBoundCidrs),
      displayName: displayName(fields['display_name'] as string | undefined),
      metadata: checkMeta(fields['meta'] as ValueMap | undefined),
      path: role === undefined || role.pathSuffix === '' ? context.path : `${context.path}/${role.pathSuffix}`,
      creationTtl: ttl,
      explicitMaxTtl,
      period,
      renewable: type === 'service' && ttl > 0 && fields['renewable'] !== false && role?.renewable !== false,
      role: role === undefined ? '' : (context.captures['role'] ?? ''),
    } satisfies NewToken,
    id,
  );
  const unknown = policies
    .filter((name) => !parts.policyExists(name))
    .map((name) => `Policy ${JSON.stringify(name)} does not exist`);
  const all = [...warnings, ...unknown];
  return { auth: authOf(made, ttl), ...(all.length === 0 ? {} : { warnings: all }) };
}

/** The lesser of two limits of which 0 is none. */
const lesser = (a: number, b: number): number => (a === 0 || b === 0 ? Math.max(a, b) : Math.min(a, b));

function lifetime(context: OperationContext, parts: CreateParts, role: TokenRole | undefined, isRoot: boolean) {
  const { fields } = context;
  const { defaultTtl, maxTtl } = parts.ttls(context);
  const roleMax = role === undefined ? 0 : lesser(role.tokenExplicitMaxTtl, role.explicitMaxTtl);
  const explicitMaxTtl = lesser(Number(fields['explicit_max_ttl'] ?? 0), Math.min(roleMax, maxTtl));
  const rolePeriod = role === undefined ? 0 : lesser(role.tokenPeriod, role.period);
  // A role's period is bounded by the mount; a caller's own is not.
  const period = lesser(Number(fields['period'] ?? 0), Math.min(rolePeriod, maxTtl));
  const stated = fields['ttl'] === undefined ? undefined : Number(fields['ttl']);
  // Root without a stated end never ends.
  if (isRoot && !stated && period === 0) return { ttl: 0, period, explicitMaxTtl, warnings: [] };
  return {
    ...creationTtl({ ttl: stated || undefined, period, explicitMaxTtl, defaultTtl, maxTtl }),
    period,
    explicitMaxTtl,
  };
}

export function authOf(made: Pick<MadeToken, 'text' | 'token'>, leaseDuration: number): AuthAnswer {
  const { token } = made;
  return {
    clientToken: made.text,
    accessor: token.accessor,
    policies: token.policies,
    tokenPolicies: token.policies,
    metadata: token.metadata,
    leaseDuration,
    renewable: token.renewable,
    entityId: '',
    tokenType: token.type,
    orphan: token.parentId === undefined,
    numUses: Math.max(0, token.uses),
  };
}

const TABLES: TableDeclarations = [
  { table: 'token', modes: ['read', 'write'] },
  { table: 'accessor', modes: ['write'] },
  { table: 'child', modes: ['write'] },
  { table: 'expiry', modes: ['write'] },
];

export function createOperations(parts: CreateParts): readonly Operation[] {
  const common = { verb: 'write', fields: FIELDS, tables: TABLES } as const;
  return [
    {
      ...common,
      name: 'create',
      pattern: 'create',
      summary: 'Make a token.',
      run: (context) => create(context, parts, 'child'),
    },
    {
      ...common,
      name: 'create-orphan',
      pattern: 'create-orphan',
      summary: 'Make a token without a parent.',
      run: (context) => create(context, parts, 'orphan'),
    },
    {
      ...common,
      name: 'create-by-role',
      pattern: 'create/+role',
      summary: 'Make a token by a role.',
      subtrees: [{ at: ROLE_AT.replace('{name}', '{role}'), modes: ['read'], extent: 'record' }],
      run(context) {
        const name = context.captures['role'] ?? '';
        const role = readRole(context.view, name);
        if (role === undefined) throw new Fault('input.invalid', `unknown role ${name}`);
        return create(context, parts, role);
      },
    },
  ];
}
