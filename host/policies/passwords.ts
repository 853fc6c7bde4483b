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

/** Bytes of chance taken at once: enough for most passwords, with the draws that miss a rule. */
const DRAW_SIZE = 512;

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

/** A policy as passwords are drawn from it: characters are numbers. */
interface Drawing {
  readonly alphabet: readonly string[];
  /** Rules that ask for characters, each with 1 for every number that it counts. */
  readonly rules: readonly { readonly counts: Uint8Array; readonly minChars: number }[];
}

const drawings = new WeakMap<PasswordPolicy, Drawing>();

function drawingOf(policy: PasswordPolicy): Drawing {
  const known = drawings.get(policy);
  if (known !== undefined) return known;
  const alphabet = [...new Set(policy.rules.flatMap(({ charset }) => charset))];
  const rules = policy.rules
    .filter(({ minChars }) => minChars > 0)
    .map(({ charset, minChars }) => {
      const set = new Set(charset);
      return { counts: Uint8Array.from(alphabet, (one) => (set.has(one) ? 1 : 0)), minChars };
    });
  const drawing = { alphabet, rules };
  drawings.set(policy, drawing);
  return drawing;
}

/** Whole numbers below `below` (1 to 65,536), without bias. */
class Numbers {
  readonly #below: number;
  readonly #fair: number;
  readonly #random: Random;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(below: number, random: Random) {
    this.#below = below;
    this.#fair = 65_536 - (65_536 % below);
    this.#random = random;
  }

  next(): number {
    for (;;) {
      if (this.#at >= this.#bytes.length) {
        this.wipe();
        this.#bytes = this.#random.bytes(DRAW_SIZE);
        this.#at = 0;
      }
      const number = (this.#bytes[this.#at] ?? 0) * 256 + (this.#bytes[this.#at + 1] ?? 0);
      this.#at += 2;
      if (number < this.#fair) return number % this.#below;
    }
  }

  wipe(): void {
    this.#bytes.fill(0);
  }
}

/** @throws Fault `input.invalid` a policy whose rules chance hardly meets */
export function generatePassword(policy: PasswordPolicy, random: Random): string {
  const { alphabet, rules } = drawingOf(policy);
  const numbers = new Numbers(alphabet.length, random);
  const drawn = new Uint16Array(policy.length);
  try {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      for (let at = 0; at < drawn.length; at++) drawn[at] = numbers.next();
      if (rules.every((rule) => meets(drawn, rule))) return Array.from(drawn, (number) => alphabet[number]).join('');
    }
  } finally {
    numbers.wipe();
    drawn.fill(0);
  }
  return refuse(`chance does not meet its rules within ${ATTEMPTS_MAX} draws: ask for fewer characters of a kind`);
}

function meets(drawn: Uint16Array, { counts, minChars }: Drawing['rules'][number]): boolean {
  let count = 0;
  for (const number of drawn) count += counts[number] ?? 0;
  return count >= minChars;
}
