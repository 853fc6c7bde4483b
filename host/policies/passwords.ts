/**
 * Password policies (sys/policies/password): how generated passwords look. Vault's HCL form:
 *
 *     length = 20
 *     rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
 *
 * A password is drawn without bias from all characters of all rules, and drawn anew until every rule is met: so each password
 * that the rules allow is as likely as any other.
 */
import { Fault } from '../fault.ts';
import type { Random } from '../ports/random.ts';
import { HclError, type HclValue, parseHcl } from './hcl.ts';

export interface PasswordRule {
  /** Without doubles. */
  readonly charset: readonly string[];
  readonly minChars: number;
}

export interface PasswordPolicy {
  readonly length: number;
  readonly rules: readonly PasswordRule[];
}

const SOURCE_SIZE_MAX = 65_536;
const LENGTH_MIN = 4;
const LENGTH_MAX = 100;
const RULES_MAX = 32;
/** A charset is at most this long, so that two bytes draw a character. */
const CHARSET_MAX = 4096;
/** Draws that a policy may need at most before it is refused as one that chance hardly meets. */
const ATTEMPTS_MAX = 2000;
/** Passwords that are weaker than names would be what is guessed first. */
const BITS_MIN = 20;

const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';

/** What a login gets without a policy: 20 characters with a small letter, a capital, a digit and a dash. */
export const DEFAULT_PASSWORD: PasswordPolicy = {
  length: 20,
  rules: [LOWER, LOWER.toUpperCase(), DIGITS, '-'].map((charset) => ({ charset: [...charset], minChars: 1 })),
};

const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', `failed to parse password policy: ${sentence}`);
};

function wholeNumber(value: HclValue | undefined, name: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) return refuse(`${name} is a whole number`);
  return value;
}

function charsetOf(value: HclValue | undefined): readonly string[] {
  if (typeof value !== 'string' || value === '') return refuse('a charset is a text of one character or more');
  const characters = [...new Set(value)];
  if (characters.length > CHARSET_MAX) refuse(`a charset has at most ${CHARSET_MAX} characters`);
  if (characters.some((one) => /\p{Cc}/u.test(one))) refuse('a charset has no control characters');
  return characters;
}

function parse(source: string): PasswordPolicy {
  const { attributes, blocks } = parseHcl(source);
  for (const name of attributes.keys())
    if (name !== 'length') refuse(`there is no ${JSON.stringify(name.slice(0, 32))}`);
  const length = wholeNumber(attributes.get('length') ?? refuse('length is missing'), 'length');
  if (length < LENGTH_MIN || length > LENGTH_MAX) refuse(`length is from ${LENGTH_MIN} to ${LENGTH_MAX}`);
  const rules = blocks.map(({ name, label, body, line }): PasswordRule => {
    if (name !== 'rule' || label !== 'charset') return refuse(`line ${line}: rules are written rule "charset" { … }`);
    for (const key of body.keys())
      if (!['charset', 'min-chars', 'min_chars'].includes(key))
        refuse(`line ${line}: a rule has charset and min-chars`);
    const least = body.get('min-chars') ?? body.get('min_chars') ?? 0;
    return { charset: charsetOf(body.get('charset')), minChars: wholeNumber(least, 'min-chars') };
  });
  if (rules.length === 0) refuse('at least one rule "charset" is needed');
  if (rules.length > RULES_MAX) refuse(`at most ${RULES_MAX} rules`);
  if (rules.reduce((sum, { minChars }) => sum + minChars, 0) > length)
    refuse('its rules ask for more characters than its length has');
  return { length, rules };
}

/** @throws Fault `input.invalid` with the line where it can be told */
export function parsePasswordPolicy(source: string, random: Random): PasswordPolicy {
  if (source.length > SOURCE_SIZE_MAX) return refuse(`it has more than ${SOURCE_SIZE_MAX} characters`);
  let policy: PasswordPolicy;
  try {
    policy = parse(source);
  } catch (error) {
    if (error instanceof HclError) return refuse(error.message);
    throw error;
  }
  const characters = new Set(policy.rules.flatMap(({ charset }) => charset)).size;
  if (policy.length * Math.log2(characters) < BITS_MIN) refuse(`its passwords have fewer than ${BITS_MIN} random bits`);
  // Found out now and not when a login is asked for.
  generatePassword(policy, random);
  return policy;
}

/** Whole numbers below `below` (1 to 65,536), without bias. */
function* numbersBelow(below: number, random: Random): Generator<number> {
  const fair = 65_536 - (65_536 % below);
  for (;;) {
    const bytes = Buffer.from(random.bytes(256));
    try {
      for (let at = 0; at < bytes.length; at += 2) {
        const number = bytes.readUInt16BE(at);
        if (number < fair) yield number % below;
      }
    } finally {
      bytes.fill(0);
    }
  }
}

/** @throws Fault `input.invalid` a policy whose rules chance hardly meets */
export function generatePassword({ length, rules }: PasswordPolicy, random: Random): string {
  const alphabet = [...new Set(rules.flatMap(({ charset }) => charset))];
  const sets = rules.filter(({ minChars }) => minChars > 0).map((rule) => ({ ...rule, set: new Set(rule.charset) }));
  const numbers = numbersBelow(alphabet.length, random);
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const drawn: string[] = [];
      while (drawn.length < length) drawn.push(alphabet[numbers.next().value ?? 0] ?? '');
      const meets = sets.every(({ set, minChars }) => drawn.filter((one) => set.has(one)).length >= minChars);
      if (meets) return drawn.join('');
    }
  } finally {
    numbers.return(undefined);
  }
  return refuse(`chance does not meet its rules within ${ATTEMPTS_MAX} draws: ask for fewer characters of a kind`);
}
