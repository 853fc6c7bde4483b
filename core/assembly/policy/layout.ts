/**
 * Numbers of the policy module: statuses, verdicts, capability bits, limits and offsets. core/spec/policy.md says the
 * bytes that come from outside; the offsets below are core's own and change at will.
 */

// ------------------------------------------------------------------------------------------------ answers
export const POLICY_OK: u32 = 0;
/** The payload breaks core/spec/policy.md, or no build is under way. */
export const POLICY_MALFORMED: u32 = 1;
/** The arena or the table of policies has no room. */
export const POLICY_FULL: u32 = 2;

export const VERDICT_DENIED: u32 = 0;
export const VERDICT_ALLOWED: u32 = 1;
/** Call `policyParameters` with the request's parameters. */
export const VERDICT_NEEDS_PARAMETERS: u32 = 2;
/** `policyParameters` was given bytes that are no encoded parameters; nothing is allowed. */
export const VERDICT_MALFORMED: u32 = 3;

// ------------------------------------------------------------------------------------------------ capabilities
export const CAPABILITY_DENY: u32 = 1;
export const CAPABILITY_CREATE: u32 = 2;
export const CAPABILITY_READ: u32 = 4;
export const CAPABILITY_UPDATE: u32 = 8;
export const CAPABILITY_DELETE: u32 = 16;
export const CAPABILITY_LIST: u32 = 32;
export const CAPABILITY_SUDO: u32 = 64;
export const CAPABILITY_PATCH: u32 = 128;
/** Only in the answer of `policyCapabilitiesFor`: the token has the root policy. */
export const CAPABILITY_ROOT: u32 = 256;
export const CAPABILITY_ALL: u32 = 255;

/** Flag of `policyDecide`: sudo is needed beside the wanted capability. */
export const POLICY_SUDO: u32 = 1;

// ------------------------------------------------------------------------------------------------ limits
export const POLICY_COUNT_MAX: u32 = 4096;
export const POLICY_NAME_SIZE_MAX: u32 = 128;
export const POLICY_RULE_COUNT_MAX: u32 = 10_000;
export const POLICY_PATTERN_SIZE_MAX: u32 = 1024;
/** `+` segments in one pattern; bounds the recursion of a match. */
export const POLICY_PLUS_COUNT_MAX: u32 = 32;
/** Policies that one token may hold. */
export const POLICY_SET_COUNT_MAX: u32 = 256;
/** Longest path with its trailing slash: 32 segments of 255 bytes. */
export const POLICY_PATH_SIZE_MAX: u32 = 8192;
/** Each of the two arenas, once the working memory is taken from what `policyMemory` was given. */
export const POLICY_ARENA_SIZE: u32 = 12 * 1024 * 1024;

// ------------------------------------------------------------------------------------------------ canonical rule
export const KIND_EXACT: u32 = 0;
export const KIND_GLOB: u32 = 1;
export const KIND_TEMPLATE: u32 = 2;
export const KIND_MASK: u32 = 3;
export const RULE_WRAPPING: u32 = 4;
export const RULE_PARAMETERS: u32 = 8;
export const RULE_FLAGS: u32 = 15;
/** In a pattern: one whole segment, whatever it is. */
export const PLUS: u32 = 0;
export const SLASH: u32 = 0x2f;
export const STAR: u32 = 0x2a;
/** How a `+` segment is written in a policy; matters where patterns are compared as text. */
export const PLUS_TEXT: u32 = 0x2b;

// ------------------------------------------------------------------------------------------------ working memory
/** Working memory at the start of what `policyMemory` is given. */
export const SCRATCH_SIZE: u32 = 65_536;
/** The path of the decision under way; 64 bytes of slack let it be compared 8 bytes at a time. */
export const SCRATCH_PATH: u32 = 0;
/** For each policy of the set, four numbers (`RESULT_…`). */
export const SCRATCH_RESULTS: u32 = 8320;
export const RESULT_SIZE: u32 = 12;
export const RESULT_EXACT: u32 = 0;
export const RESULT_TRIMMED: u32 = 4;
export const RESULT_BEST: u32 = 8;
/** Those that hold the deciding rule: rule (4), position in the set (4). */
export const SCRATCH_HOLDERS: u32 = 11_392;
export const HOLDER_SIZE: u32 = 8;
/** `+` children met on the literal walk: node (4), path position (4). At most one a pattern byte, and the root. */
export const SCRATCH_SPINE: u32 = 13_440;
export const SPINE_SIZE: u32 = 8;

// ------------------------------------------------------------------------------------------------ arena
/** Open-addressed table of u16 (index + 1), twice as many slots as policies. */
export const ARENA_SLOTS: u32 = 0;
export const SLOT_COUNT: u32 = 8192;
/** One entry a policy: name's address (4), name's length (4), root node (4). */
export const ARENA_POLICIES: u32 = 16_384;
export const POLICY_SIZE: u32 = 12;
export const POLICY_NAME: u32 = 0;
export const POLICY_NAME_LENGTH: u32 = 4;
export const POLICY_ROOT_NODE: u32 = 8;
/** Names, rules and nodes follow. */
export const ARENA_FREE: u32 = 65_536;
/** Bytes at the end that no one owns: keys and labels are read 16 and 8 bytes at a time. */
export const ARENA_SLACK: u32 = 16;

/** A compiled rule: rank (8), pattern length (4), capabilities (4), min (4), max (4), constraints (4, 0 none), pattern. */
export const RULE_RANK: u32 = 0;
export const RULE_PATTERN_LENGTH: u32 = 8;
export const RULE_CAPABILITIES: u32 = 12;
export const RULE_MIN: u32 = 16;
export const RULE_MAX: u32 = 20;
export const RULE_CONSTRAINTS: u32 = 24;
export const RULE_PATTERN: u32 = 28;

/** A node: label length (2), child count (2), exact rule, glob rule, `+` child (4 each, 0 none), keys, children, label. */
export const NODE_LABEL_LENGTH: u32 = 0;
export const NODE_CHILD_COUNT: u32 = 2;
export const NODE_EXACT: u32 = 4;
export const NODE_GLOB: u32 = 8;
export const NODE_PLUS: u32 = 12;
export const NODE_KEYS: u32 = 16;
