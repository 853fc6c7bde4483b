/**
 * The part of HCL that policies are written in: blocks with a label, attributes, strings, numbers, booleans, lists and
 * objects, three kinds of comments, and heredocs. Errors name the line and never what stands there.
 */

export type HclValue = string | number | boolean | null | readonly HclValue[] | ReadonlyMap<string, HclValue>;

export interface HclBlock {
  readonly name: string;
  readonly label: string | undefined;
  readonly line: number;
  readonly body: ReadonlyMap<string, HclValue>;
}

export interface HclFile {
  readonly blocks: readonly HclBlock[];
  readonly attributes: ReadonlyMap<string, HclValue>;
}

export class HclError extends Error {}

const DEPTH_MAX = 16;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };
const NAME = /[A-Za-z_][A-Za-z0-9_-]*/y;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /(?:[ \t\r\n]|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;
const HEREDOC = /<<-?([A-Za-z_][A-Za-z0-9_]*)[ \t]*\r?\n/y;

class Reader {
  readonly #text: string;
  #at = 0;
  /** Where lines were counted to, and how many: counting from the start for each block would be quadratic. */
  #counted = 0;
  #lines = 1;

  constructor(text: string) {
    this.#text = text;
  }

  get line(): number {
    for (; this.#counted < this.#at; this.#counted++) if (this.#text.charCodeAt(this.#counted) === 10) this.#lines++;
    return this.#lines;
  }

  fail(what: string): never {
    throw new HclError(`line ${this.line}: ${what}`);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match[0];
  }

  skip(): void {
    this.#take(SPACE);
  }

  get ended(): boolean {
    this.skip();
    return this.#at >= this.#text.length;
  }

  peek(): string {
    this.skip();
    return this.#text[this.#at] ?? '';
  }

  /** Takes one character if it comes next. */
  takes(character: string): boolean {
    if (this.peek() !== character) return false;
    this.#at++;
    return true;
  }

  name(): string | undefined {
    this.skip();
    return this.#take(NAME);
  }

  number(): number | undefined {
    this.skip();
    const text = this.#take(NUMBER);
    if (text === undefined) return undefined;
    const value = Number(text);
    // Kept exactly or refused: a rounded number would be compared with what nobody wrote.
    if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) return this.fail('a number is too large');
    return value;
  }

  string(): string {
    if (!this.takes('"')) this.fail('a text in quotes is expected');
    let out = '';
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || character === '\n') return this.fail('a text has no closing quote');
      this.#at++;
      if (character === '"') return out;
      out += character === '\\' ? this.#escape() : character;
    }
  }

  #escape(): string {
    const character = this.#text[this.#at++] ?? '';
    const plain = ESCAPES[character];
    if (plain !== undefined) return plain;
    const digits = character === 'u' ? 4 : character === 'U' ? 8 : 0;
    const code = this.#text.slice(this.#at, this.#at + digits);
    const point = Number.parseInt(code, 16);
    if (digits === 0 || !/^[0-9a-fA-F]+$/.test(code) || code.length !== digits || point > 0x10ffff) {
      return this.fail('an escape in a text is unknown');
    }
    if (point >= 0xd800 && point <= 0xdfff) return this.fail('an escape in a text is half a character');
    this.#at += digits;
    return String.fromCodePoint(point);
  }

  heredoc(): string | undefined {
    HEREDOC.lastIndex = this.#at;
    const match = HEREDOC.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    const start = this.#at;
    const end = new RegExp(`^[ \\t]*${match[1] ?? ''}[ \\t]*\\r?$`, 'm').exec(this.#text.slice(start));
    if (end === null) return this.fail('a heredoc has no end');
    this.#at = start + end.index + end[0].length;
    return this.#text.slice(start, start + end.index);
  }
}

function value(reader: Reader, depth: number): HclValue {
  if (depth > DEPTH_MAX) reader.fail('values are nested too deep');
  const next = reader.peek();
  if (next === '"') return reader.string();
  if (next === '[') return list(reader, depth);
  if (next === '{') return object(reader, depth);
  if (next === '<') return reader.heredoc() ?? reader.fail('a value is expected');
  const number = reader.number();
  if (number !== undefined) return number;
  const word = reader.name();
  if (word === 'true') return true;
  if (word === 'false') return false;
  if (word === 'null') return null;
  return reader.fail('a value is expected');
}

function list(reader: Reader, depth: number): HclValue[] {
  reader.takes('[');
  const items: HclValue[] = [];
  while (!reader.takes(']')) {
    items.push(value(reader, depth + 1));
    if (!reader.takes(',') && reader.peek() !== ']') reader.fail('a list needs a comma or its end');
  }
  return items;
}

function object(reader: Reader, depth: number): Map<string, HclValue> {
  if (!reader.takes('{')) reader.fail('a { is expected');
  const entries = new Map<string, HclValue>();
  while (!reader.takes('}')) {
    const key = reader.peek() === '"' ? reader.string() : reader.name();
    if (key === undefined) return reader.fail('a name or a } is expected');
    if (entries.has(key)) reader.fail('a name stands twice');
    if (reader.takes('=') || reader.takes(':')) entries.set(key, value(reader, depth + 1));
    else if (reader.peek() === '{') entries.set(key, object(reader, depth + 1));
    else reader.fail('a = is expected');
    reader.takes(',');
  }
  return entries;
}

/** @throws HclError with the line */
export function parseHcl(text: string): HclFile {
  const reader = new Reader(text);
  const blocks: HclBlock[] = [];
  const attributes = new Map<string, HclValue>();
  while (!reader.ended) {
    const { line } = reader;
    const name = reader.peek() === '"' ? reader.string() : reader.name();
    if (name === undefined) return reader.fail('a name is expected');
    if (reader.takes('=')) {
      attributes.set(name, value(reader, 0));
      continue;
    }
    const label = reader.peek() === '"' ? reader.string() : undefined;
    blocks.push({ name, label, line, body: object(reader, 0) });
  }
  return { blocks, attributes };
}
