/** The policies that every box begins with. `root` is none of them: it has no rules. */
const DEFAULT = `# What every token may do unless it is made without this policy. Change it freely.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# What it may do, and what the login form of clients asks for.
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

# Its own entity.
path "identity/entity/id/{{identity.entity.id}}" { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }

# Leases are known by ids that nobody can guess.
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# A corner of its own.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Response wrapping.
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

path "sys/tools/hash" { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
`;

const RESPONSE_WRAPPING = `# Held by wrapping tokens alone, which are good for one use.
path "cubbyhole/response" { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
`;

/** Held by wrapping tokens alone: no token is given it. */
export const WRAPPING_POLICY = 'response-wrapping';

export const BUILTIN_POLICIES: Readonly<Record<string, string>> = {
  default: DEFAULT,
  [WRAPPING_POLICY]: RESPONSE_WRAPPING,
};
