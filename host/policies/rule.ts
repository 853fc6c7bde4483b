/** A rule as a policy says it, before it is bytes. */
export const CAPABILITIES = {
  deny: 1,
  create: 2,
  read: 4,
  update: 8,
  delete: 16,
  list: 32,
  sudo: 64,
  patch: 128,
} as const;
export type RuleCapability = keyof typeof CAPABILITIES;

export interface RuleValue {
  readonly kind: 'text' | 'json';
  readonly value: string;
}

/** Parameter to the values that it may (not) have; none: any. */
export type RuleParameters = ReadonlyMap<string, readonly RuleValue[]>;

export interface PolicyRule {
  /** As written, without a leading slash: `+` for one segment, `*` at the end for anything. */
  readonly path: string;
  readonly capabilities: readonly RuleCapability[];
  /** Seconds, 0 not set. */
  readonly minWrappingTtl: number;
  readonly maxWrappingTtl: number;
  readonly required: readonly string[];
  readonly allowed: RuleParameters;
  readonly denied: RuleParameters;
}

export const POLICY_SIZE_MAX = 256 * 1024;
export const RULE_COUNT_MAX = 10_000;
export const PATTERN_SIZE_MAX = 1024;
/** Segments `+` of one pattern. */
export const PLUS_COUNT_MAX = 32;
/** Names of one kind (required, allowed, denied) at one path, all rules of the path together. */
export const PARAMETER_COUNT_MAX = 255;
/** Values of one parameter, likewise. */
export const VALUE_COUNT_MAX = 4096;
