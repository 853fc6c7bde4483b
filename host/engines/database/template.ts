/**
 * Vault's template language for the names of logins, read by a small strict parser: text, `{{ pipelines }}`, parentheses,
 * strings, whole numbers, the fields below and the functions of template-functions.ts. Nothing is evaluated but these.
 *
 * `{{ printf "v-%s-%s" (.RoleName | truncate 8) (random 20) | truncate 63 }}`
 */
import { Fault } from '../../fault.ts';
import { BOX_ID_LENGTH } from './parts.ts';
import { callFunction, FUNCTIONS } from './template-functions.ts';
import { bitsOf, countOf, cutBytes, type Drawn, joined, mapped, plain, type Tracked, tracked } from './tracked.ts';

/** Characters of a template, tokens in it, and parentheses inside each other. */
export const TEMPLATE_LENGTH_MAX = 1024;
const TOKEN_COUNT_MAX = 256;
const DEPTH_MAX = 8;
const FIELDS = ['.DisplayName', '.RoleName', '.BoxId'] as const;

/** What a name is made of. */
export interface TemplateInputs extends Drawn {
  readonly displayName: string;
  readonly roleName: string;
  /** First characters of the appliance id. */
  readonly boxId: string;
}

type Argument =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'field'; readonly name: (typeof FIELDS)[number] }
  | { readonly kind: 'pipe'; readonly commands: readonly Command[] };

/** A call, or (first of a pipeline) a value alone. */
interface Command {
  readonly name: string | undefined;
  readonly args: readonly Argument[];
}

type Item =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'pipe'; readonly commands: readonly Command[] };

const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', `username_template: ${sentence}`);
};

const STRING = /"(?:[^"\\\n]|\\["\\ntr])*"|`[^`]*`/y;
const TOKEN = /[()|]|\.[A-Za-z_][A-Za-z0-9_]*|[A-Za-z_][A-Za-z0-9_]*|\d{1,6}(?![\w.])/y;
const ESCAPED: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r' };
const CONTROL = /\p{Cc}/u;
const CONTROLS = /\p{Cc}+/gu;

/** Tokens of one action; strings keep their quote in front, so that `"x"` is no name. */
function tokensOf(source: string): string[] {
  const tokens: string[] = [];
  let at = 0;
  for (;;) {
    while (/\s/.test(source[at] ?? '')) at++;
    if (at >= source.length) return tokens;
    STRING.lastIndex = at;
    const quoted = STRING.exec(source)?.[0];
    TOKEN.lastIndex = at;
    const token = quoted ?? TOKEN.exec(source)?.[0];
    if (token === undefined) return refuse(`it cannot be read at ${JSON.stringify(source.slice(at, at + 16))}`);
    at += token.length;
    tokens.push(quoted === undefined ? token : `"${unquote(quoted)}`);
    if (tokens.length > TOKEN_COUNT_MAX) return refuse(`one {{ }} has more than ${TOKEN_COUNT_MAX} parts`);
  }
}

function unquote(quoted: string): string {
  const inner = quoted.slice(1, -1);
  return quoted.startsWith('`') ? inner : inner.replace(/\\(.)/g, (_, one: string) => ESCAPED[one] ?? one);
}

class Parser {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  whole(): readonly Command[] {
    const commands = this.pipeline(0);
    if (this.#at < this.#tokens.length) refuse(`${shown(this.#tokens[this.#at])} does not belong there`);
    return commands;
  }

  pipeline(depth: number): readonly Command[] {
    if (depth > DEPTH_MAX) refuse(`parentheses lie more than ${DEPTH_MAX} deep`);
    const commands = [this.command(depth)];
    while (this.#tokens[this.#at] === '|') {
      this.#at++;
      const next = this.command(depth);
      if (next.name === undefined) refuse('behind | stands a function');
      commands.push(next);
    }
    return commands;
  }

  command(depth: number): Command {
    const first = this.#tokens[this.#at];
    const name = first !== undefined && /^[A-Za-z_]/.test(first) ? first : undefined;
    if (name !== undefined) {
      if (!FUNCTIONS.has(name)) refuse(`there is no function ${shown(name)}; it has ${[...FUNCTIONS].join(', ')}`);
      this.#at++;
    }
    const args: Argument[] = [];
    for (;;) {
      const argument = this.argument(depth);
      if (argument === undefined) break;
      args.push(argument);
    }
    if (name === undefined && args.length !== 1) refuse('a pipeline begins with a value or a function');
    return { name, args };
  }

  argument(depth: number): Argument | undefined {
    const token = this.#tokens[this.#at];
    if (token === undefined || token === '|' || token === ')') return undefined;
    this.#at++;
    if (token === '(') {
      const commands = this.pipeline(depth + 1);
      if (this.#tokens[this.#at++] !== ')') refuse('a parenthesis is not closed');
      return { kind: 'pipe', commands };
    }
    if (token.startsWith('"')) return { kind: 'text', text: token.slice(1) };
    if (/^\d/.test(token)) return { kind: 'number', value: Number(token) };
    const field = FIELDS.find((one) => one === token);
    if (field !== undefined) return { kind: 'field', name: field };
    // As in Go, a function that takes nothing may stand among arguments.
    if (FUNCTIONS.has(token)) return { kind: 'pipe', commands: [{ name: token, args: [] }] };
    return refuse(`${shown(token)} is no value here; fields are ${FIELDS.join(', ')}`);
  }
}

const shown = (token: string | undefined): string =>
  JSON.stringify((token ?? 'its end').replace(/^"/, '').slice(0, 32));

/** Splits at `{{` and `}}`, with `-` trimming white space as in Go. */
function itemsOf(source: string): Item[] {
  const items: Item[] = [];
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = source.indexOf('{{', at);
    let text = source.slice(at, open < 0 ? source.length : open);
    if (trimNext) text = text.trimStart();
    const inner = open < 0 ? undefined : actionAt(source, open);
    if (inner?.trimsBefore === true) text = text.trimEnd();
    if (text.includes('}}')) refuse('}} stands without {{');
    if (text !== '') items.push({ kind: 'text', text });
    if (inner === undefined) return items;
    if (!/^\/\*[\s\S]*\*\/$/.test(inner.text.trim())) {
      items.push({ kind: 'pipe', commands: new Parser(tokensOf(inner.text)).whole() });
    }
    trimNext = inner.trimsAfter;
    at = inner.end;
  }
}

function actionAt(source: string, open: number) {
  let at = open + 2;
  const trimsBefore = /^-\s/.test(source.slice(at, at + 2));
  if (trimsBefore) at++;
  const start = at;
  // Strings may hold }}.
  while (at < source.length && !source.startsWith('}}', at)) {
    STRING.lastIndex = at;
    at += STRING.exec(source)?.[0].length ?? 1;
  }
  if (at >= source.length) return refuse('{{ is not closed');
  const inside = source.slice(start, at);
  const trimsAfter = /\s-$/.test(inside);
  return { text: trimsAfter ? inside.slice(0, -1) : inside, end: at + 2, trimsBefore, trimsAfter };
}

/** A name, the random bits in it, and the part of it that is the same for every name of this box. */
export interface RenderedName {
  readonly name: string;
  readonly bits: number;
  /** With the box's id in it. */
  readonly prefix: string;
}

export class NameTemplate {
  readonly #items: readonly Item[];
  readonly #lengthMax: number;

  /**
   * @param lengthMax  bytes that the server takes of a name
   * @throws Fault `input.invalid` with what cannot be read, or the name of an unknown function
   */
  constructor(source: string, lengthMax: number) {
    if (source.length > TEMPLATE_LENGTH_MAX) refuse(`it has more than ${TEMPLATE_LENGTH_MAX} characters`);
    if (CONTROL.test(source)) refuse('it holds control characters');
    this.#items = itemsOf(source);
    this.#lengthMax = lengthMax;
  }

  /** @throws Fault `input.invalid` what a function is given does not suit it */
  render(inputs: TemplateInputs): RenderedName {
    const drawn = joined(
      this.#items.map((item) =>
        item.kind === 'text' ? tracked(item.text, 'fixed') : textOf(evaluate(item.commands, inputs)),
      ),
    );
    const made = CONTROL.test(plain(drawn)) ? mapped(drawn, (text) => text.replace(CONTROLS, '')) : drawn;
    // Where the box's id is not in what all names begin with, it is put there: else nobody finds what was left behind.
    const own = carriesBox(made)
      ? made
      : [...tracked('v-', 'fixed'), ...tracked(inputs.boxId, 'box'), ...tracked('-', 'fixed'), ...made];
    const cut = cutBytes(own, this.#lengthMax);
    return { name: plain(cut), bits: bitsOf(cut), prefix: plain(fixedStart(cut)) };
  }

  /**
   * The fewest random bits that a name of it can have, over display names and role names of 0 to 80 and of 255 characters.
   *
   * @throws Fault `input.invalid` as `render`
   */
  leastBits(drawn: Drawn): number {
    let least = Number.POSITIVE_INFINITY;
    for (const length of [...Array(81).keys(), 255]) {
      const text = 'x'.repeat(length);
      const { bits } = this.render({ ...drawn, displayName: text, roleName: text, boxId: '0000' });
      least = Math.min(least, bits);
    }
    return least;
  }
}

function fixedStart(name: Tracked): Tracked {
  const end = name.findIndex(({ kind }) => kind === 'varies');
  return end < 0 ? name : name.slice(0, end);
}

/** @returns whether all of the box's id lies in what every name begins with */
function carriesBox(name: Tracked): boolean {
  let count = 0;
  for (const { text, kind } of name) {
    if (kind === 'varies') break;
    if (kind === 'box') count += countOf(text);
  }
  return count >= BOX_ID_LENGTH;
}

function textOf(value: Tracked | number): Tracked {
  return typeof value === 'number' ? tracked(String(value), 'fixed') : value;
}

function evaluate(commands: readonly Command[], inputs: TemplateInputs): Tracked | number {
  let value: Tracked | number | undefined;
  for (const { name, args } of commands) {
    const values = args.map((argument) => argumentValue(argument, inputs));
    if (value !== undefined) values.push(value);
    // A command without a name has exactly one argument: the parser saw to it.
    value = name === undefined ? values[0] : callFunction(name, values, inputs, refuse);
  }
  return value ?? refuse('{{ }} is empty');
}

function argumentValue(argument: Argument, inputs: TemplateInputs): Tracked | number {
  switch (argument.kind) {
    case 'text':
      return tracked(argument.text, 'fixed');
    case 'number':
      return argument.value;
    case 'pipe':
      return evaluate(argument.commands, inputs);
    case 'field':
      if (argument.name === '.BoxId') return tracked(inputs.boxId, 'box');
      return tracked(argument.name === '.RoleName' ? inputs.roleName : inputs.displayName, 'varies');
  }
}
