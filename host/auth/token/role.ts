/** Roles of the token method: templates that a token is made by. */
import { Fault } from '../../fault.ts';
import { decodePayload, encodePayload } from '../../payload.ts';
import type { Field, Operation, OperationContext } from '../../ports/engine.ts';
import type { ValueMap } from '../../ports/value.ts';

export interface TokenRole {
  readonly allowedPolicies: readonly string[];
  readonly allowedPoliciesGlob: readonly string[];
  readonly disallowedPolicies: readonly string[];
  readonly disallowedPoliciesGlob: readonly string[];
  readonly orphan: boolean;
  readonly renewable: boolean;
  readonly pathSuffix: string;
  readonly tokenPeriod: number;
  readonly tokenExplicitMaxTtl: number;
  readonly tokenBoundCidrs: readonly string[];
  readonly tokenNoDefaultPolicy: boolean;
  readonly tokenNumUses: number;
  readonly tokenType: string;
  /** The older names, shown as they were written. */
  readonly period: number;
  readonly explicitMaxTtl: number;
}

const DEFAULTS: TokenRole = {
  allowedPolicies: [],
  allowedPoliciesGlob: [],
  disallowedPolicies: [],
  disallowedPoliciesGlob: [],
  orphan: false,
  renewable: true,
  pathSuffix: '',
  tokenPeriod: 0,
  tokenExplicitMaxTtl: 0,
  tokenBoundCidrs: [],
  tokenNoDefaultPolicy: false,
  tokenNumUses: 0,
  tokenType: 'default-service',
  period: 0,
  explicitMaxTtl: 0,
};

const TYPES = ['service', 'batch', 'default-service', 'default-batch'];

const FIELDS = {
  allowed_policies: { type: 'strings', description: 'Policies that its tokens may have; empty: as the caller may.' },
  allowed_policies_glob: { type: 'strings', description: 'The same with * as a wildcard.' },
  disallowed_policies: { type: 'strings', description: 'Policies that its tokens may not have.' },
  disallowed_policies_glob: { type: 'strings', description: 'The same with * as a wildcard.' },
  allowed_entity_aliases: { type: 'strings', description: 'Names that a token may be made for; none are known yet.' },
  orphan: { type: 'bool', description: 'Its tokens have no parent.' },
  renewable: { type: 'bool', description: 'Whether its tokens can be renewed.' },
  path_suffix: { type: 'string', description: 'Added to the path that its tokens are listed under.' },
  period: { type: 'duration', description: 'Older name of token_period.' },
  explicit_max_ttl: { type: 'duration', description: 'Older name of token_explicit_max_ttl.' },
  bound_cidrs: { type: 'strings', description: 'Older name of token_bound_cidrs.' },
  token_period: { type: 'duration', description: 'Each renewal gives its tokens this long again.' },
  token_explicit_max_ttl: { type: 'duration', description: 'The end that no renewal of its tokens passes.' },
  token_bound_cidrs: { type: 'strings', description: 'Networks from which its tokens may be used.' },
  token_no_default_policy: { type: 'bool', description: 'Its tokens do not get the policy default.' },
  token_num_uses: { type: 'int', description: 'How many requests its tokens are good for; 0: any number.' },
  token_type: { type: 'string', description: TYPES.join(', ') },
} as const satisfies Record<string, Field>;

export const ROLE_AT = 'roles/{name}';
const pathOf = (name: string): string => `roles/${name}`;
const nameOf = (context: OperationContext): string => context.captures['name'] ?? '';

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)$/;
const IPV6 =
  /^(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$|^(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?$/i;

/** Networks with their prefix; a bare address is itself. @throws Fault `input.invalid` */
export function parseCidrs(texts: readonly string[]): string[] {
  return texts.map((text) => {
    const [address = '', bits] = text.split('/');
    const four = IPV4.test(address);
    const six = !four && IPV6.test(address);
    const most = four ? 32 : 128;
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
    if ((!four && !six) || !(prefix <= most)) {
      throw new Fault('input.invalid', 'a bound network looks like 10.0.0.0/8 or 2001:db8::/32');
    }
    return `${address.toLowerCase()}/${prefix}`;
  });
}

export function readRole(rows: { get(path: string): Uint8Array | undefined }, name: string): TokenRole | undefined {
  const payload = rows.get(pathOf(name));
  return payload === undefined ? undefined : (decodePayload(payload) as unknown as TokenRole);
}

function change(role: TokenRole, fields: ValueMap): TokenRole {
  const has = (name: string): boolean => fields[name] !== undefined;
  const strings = (name: string): readonly string[] => fields[name] as readonly string[];
  const lowered = (name: string): string[] => strings(name).map((policy) => policy.trim().toLowerCase());
  const type = has('token_type') ? String(fields['token_type']) : role.tokenType;
  if (!TYPES.includes(type))
    throw new Fault('input.invalid', `invalid 'token_type' value ${JSON.stringify(type.slice(0, 32))}`);
  const suffix = String(fields['path_suffix'] ?? role.pathSuffix);
  if (suffix !== '' && !/^[\w.~@-]{1,128}(\/[\w.~@-]{1,128}){0,8}$/.test(suffix)) {
    throw new Fault(
      'input.invalid',
      'given role path suffix contains invalid characters; must match a-z A-Z 0-9 _ . ~ @ - and /',
    );
  }
  const cidrs = has('token_bound_cidrs')
    ? strings('token_bound_cidrs')
    : has('bound_cidrs')
      ? strings('bound_cidrs')
      : undefined;
  return {
    ...role,
    ...(has('allowed_policies') ? { allowedPolicies: lowered('allowed_policies') } : {}),
    ...(has('allowed_policies_glob') ? { allowedPoliciesGlob: lowered('allowed_policies_glob') } : {}),
    ...(has('disallowed_policies') ? { disallowedPolicies: lowered('disallowed_policies') } : {}),
    ...(has('disallowed_policies_glob') ? { disallowedPoliciesGlob: lowered('disallowed_policies_glob') } : {}),
    ...(has('orphan') ? { orphan: fields['orphan'] === true } : {}),
    ...(has('renewable') ? { renewable: fields['renewable'] === true } : {}),
    ...(has('period') ? { period: Number(fields['period']) } : {}),
    ...(has('explicit_max_ttl') ? { explicitMaxTtl: Number(fields['explicit_max_ttl']) } : {}),
    ...(has('token_period') ? { tokenPeriod: Number(fields['token_period']) } : {}),
    ...(has('token_explicit_max_ttl') ? { tokenExplicitMaxTtl: Number(fields['token_explicit_max_ttl']) } : {}),
    ...(has('token_no_default_policy') ? { tokenNoDefaultPolicy: fields['token_no_default_policy'] === true } : {}),
    ...(has('token_num_uses') ? { tokenNumUses: Math.max(0, Number(fields['token_num_uses'])) } : {}),
    ...(cidrs === undefined ? {} : { tokenBoundCidrs: parseCidrs(cidrs) }),
    tokenType: type,
    pathSuffix: suffix,
  };
}

function describe(name: string, role: TokenRole): ValueMap {
  return {
    name,
    allowed_entity_aliases: null,
    allowed_policies: role.allowedPolicies,
    allowed_policies_glob: role.allowedPoliciesGlob,
    disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob,
    orphan: role.orphan,
    renewable: role.renewable,
    path_suffix: role.pathSuffix,
    period: role.period,
    explicit_max_ttl: role.explicitMaxTtl,
    token_period: role.tokenPeriod,
    token_explicit_max_ttl: role.tokenExplicitMaxTtl,
    token_no_default_policy: role.tokenNoDefaultPolicy,
    token_type: role.tokenType,
    ...(role.tokenBoundCidrs.length === 0
      ? {}
      : { token_bound_cidrs: role.tokenBoundCidrs, bound_cidrs: role.tokenBoundCidrs }),
    ...(role.tokenNumUses === 0 ? {} : { token_num_uses: role.tokenNumUses }),
  };
}

const COMMON = { pattern: 'roles/+name', fields: {} } as const;

export const roleOperations: readonly Operation[] = [
  {
    ...COMMON,
    name: 'read-role',
    verb: 'read',
    summary: 'Read a token role.',
    subtrees: [{ at: ROLE_AT, modes: ['read'], extent: 'record' }],
    run(context) {
      const role = readRole(context.view, nameOf(context));
      return role === undefined ? { status: 404 } : { data: describe(nameOf(context), role) };
    },
  },
  {
    ...COMMON,
    name: 'write-role',
    plainFieldErrors: true,
    verb: 'write',
    summary: 'Write a token role; what is not named stays.',
    fields: FIELDS,
    existence: ROLE_AT,
    subtrees: [{ at: ROLE_AT, modes: ['read', 'write'], extent: 'record' }],
    async run(context) {
      const path = pathOf(nameOf(context));
      await context.view.update(path, (rows) => {
        const role = change(readRole(rows, nameOf(context)) ?? DEFAULTS, context.fields);
        rows.put(path, encodePayload(role as unknown as ValueMap));
      });
      return undefined;
    },
  },
  {
    ...COMMON,
    name: 'delete-role',
    verb: 'delete',
    summary: 'Delete a token role; its tokens live on.',
    subtrees: [{ at: ROLE_AT, modes: ['read', 'write'], extent: 'record' }],
    async run(context) {
      const path = pathOf(nameOf(context));
      await context.view.update(path, (rows) => {
        if (rows.get(path) !== undefined) rows.delete(path);
      });
      return undefined;
    },
  },
  {
    name: 'list-roles',
    pattern: 'roles',
    verb: 'list',
    summary: 'List token roles.',
    fields: {},
    subtrees: [{ at: 'roles', modes: ['names'], extent: 'record' }],
    run({ view }) {
      const keys = view.list('roles');
      return keys.length === 0 ? { status: 404 } : { data: { keys } };
    },
  },
];
