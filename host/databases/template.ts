/**
 * Statement templates: where in a statement a placeholder stands decides how its value is quoted. A reader that knows the
 * server's quotes and comments splits a text into statements and finds the place of each placeholder; what cannot be
 * quoted safely is refused. Vault's plain replacement (CVE-2023-0620, CVE-2026-39946) is what this is instead of.
 */
import { Fault } from '../fault.ts';
import type { CredentialType, StatementsUse } from '../ports/database.ts';

export type Placeholder = 'name' | 'password' | 'expiration' | 'public_key' | 'subject';

/**
 * `bare`: outside quotes, where the box writes the quotes too. `literal`: data in a string. `executed`: in a string that the
 * server may run as a statement of its own (a body, an argument), where no quoting is known to hold, only harmless
 * characters. `identifier`: in a quoted name.
 */
export type Place = 'bare' | 'literal' | 'executed' | 'identifier';

/** A quote as the server reads it. */
export interface Quote {
  readonly open: string;
  readonly close: string;
  /** Undefined: no placeholder may stand in it. */
  readonly place: Exclude<Place, 'bare'> | undefined;
  /** A backslash takes the next character's meaning. */
  readonly backslash: boolean;
  /** The content is statements again: a body in dollar quotes. The closing quote must not appear in it. */
  readonly isBody: boolean;
}

export interface Dialect {
  /** The quote that opens at `at`. @param before  the bare text of the statement so far */
  quoteAt(text: string, at: number, before: string): Quote | undefined;
  /** Where the comment that begins at `at` ends. @throws Fault `input.invalid` a comment that is executed, or without end */
  commentEnd(text: string, at: number): number | undefined;
  /** Keywords that would end or begin a transaction, or a statement that only a client knows. */
  readonly forbidden: ReadonlySet<string>;
  /** True where the strings of a statement are data and never run: what makes logins and grants. */
  stringsAreData(bare: string): boolean;
  /** True for a statement that makes one login: by its success or failure one knows whether it was there before. */
  makesOne(bare: string): boolean;
}

export type Piece =
  | string
  | { readonly placeholder: Placeholder; readonly place: Place; readonly quote: Quote | undefined }
  | { readonly body: readonly Piece[]; readonly quote: Quote };

export interface Statement {
  readonly pieces: readonly Piece[];
  /** What stands outside quotes, in upper case, its words parted by one space. */
  readonly bare: string;
}

const STATEMENT_LENGTH_MAX = 65_536;
const STATEMENT_COUNT_MAX = 100;
const PLACEHOLDERS: Readonly<Record<string, Placeholder>> = {
  name: 'name',
  username: 'name',
  password: 'password',
  expiration: 'expiration',
  public_key: 'public_key',
  subject: 'subject',
};
const PLACEHOLDER = /\{\{([^{}\n]{0,64})\}\}/y;
/** Before and behind a bare placeholder: with others it would be a part of a longer word, or of another kind of quote. */
const BEFORE_BARE = /(^|[\s(,=;])$/;
const AFTER_BARE = /^($|[\s),;@:])/;

const PLAIN = /[A-Za-z0-9_\s(),.=@%]+/y;
const PLAIN_QUOTED = /[A-Za-z0-9_ ]+/y;

export const FIRST_WORD = /^[A-Z_]+/;

/** @throws Fault `input.invalid` saying what is wrong in which statement, by number, never its text */
export function readStatements(texts: readonly string[], dialect: Dialect): readonly Statement[] {
  const statements: Statement[] = [];
  for (const text of texts) {
    if (text.length > STATEMENT_LENGTH_MAX)
      throw wrong(statements.length, `is longer than ${STATEMENT_LENGTH_MAX} characters`);
    if (text.includes('\0') || !text.isWellFormed())
      throw wrong(statements.length, 'holds a character that no text may');
    statements.push(...new Reader(text, dialect, statements.length).whole());
    if (statements.length > STATEMENT_COUNT_MAX)
      throw wrong(STATEMENT_COUNT_MAX, `is one too many: at most ${STATEMENT_COUNT_MAX}`);
  }
  return statements;
}

function wrong(index: number, what: string): Fault {
  return new Fault('input.invalid', `statement ${index + 1} ${what}`);
}

class Reader {
  readonly #text: string;
  readonly #dialect: Dialect;
  #index: number;
  #at = 0;
  #pieces: Piece[] = [];
  #bare = '';

  constructor(text: string, dialect: Dialect, index: number) {
    this.#text = text;
    this.#dialect = dialect;
    this.#index = index;
  }

  whole(): Statement[] {
    const statements: Statement[] = [];
    const end = (): void => {
      const statement = this.#statement();
      if (statement !== undefined) statements.push(statement);
    };
    while (this.#at < this.#text.length) {
      if (this.#text[this.#at] === ';') {
        this.#at++;
        end();
      } else this.#step();
    }
    end();
    return statements;
  }

  /** The statements of a body: one list of pieces, since the body is sent as it stands. */
  body(): readonly Piece[] {
    while (this.#at < this.#text.length) this.#step();
    return this.#pieces;
  }

  #fail(what: string): never {
    throw wrong(this.#index, what);
  }

  #step(): void {
    const plain = this.#run(PLAIN);
    if (plain !== '') {
      this.#bare += plain;
      this.#push(plain);
      return;
    }
    const comment = this.#dialect.commentEnd(this.#text, this.#at);
    if (comment !== undefined) {
      this.#at = comment;
      this.#push(' ');
      return;
    }
    const quote = this.#dialect.quoteAt(this.#text, this.#at, this.#bare);
    if (quote !== undefined) {
      this.#quoted(quote);
      return;
    }
    const placeholder = this.#placeholder();
    if (placeholder !== undefined) {
      const before = this.#text.slice(0, placeholder.at);
      const after = this.#text.slice(this.#at, this.#at + 1);
      if (!BEFORE_BARE.test(before) || !AFTER_BARE.test(after)) {
        this.#fail('has a placeholder outside quotes that touches other text; put quotes around the whole word');
      }
      this.#bare += 'x';
      this.#pieces.push({ placeholder: placeholder.name, place: 'bare', quote: undefined });
      return;
    }
    const character = this.#text[this.#at++] ?? '';
    this.#bare += character;
    this.#push(character);
  }

  #quoted(quote: Quote): void {
    this.#at += quote.open.length;
    this.#push(quote.open);
    // The quote stands for all of it, so that words before and behind stay apart from each other.
    this.#bare += quote.open[0];
    if (quote.isBody) {
      this.#bodyQuoted(quote);
      return;
    }
    for (;;) {
      if (this.#at >= this.#text.length) this.#fail(`has a quote ${quote.open} that is not closed`);
      const plain = this.#run(PLAIN_QUOTED);
      if (plain !== '') this.#push(plain);
      if (quote.backslash && this.#text[this.#at] === '\\') {
        this.#push(this.#text.slice(this.#at, this.#at + 2));
        this.#at += 2;
        continue;
      }
      if (this.#text.startsWith(quote.close, this.#at)) {
        this.#at += quote.close.length;
        this.#push(quote.close);
        if (!this.#text.startsWith(quote.close, this.#at)) return;
        // Doubled: the quote itself.
        this.#at += quote.close.length;
        this.#push(quote.close);
        continue;
      }
      const placeholder = this.#placeholder();
      if (placeholder === undefined) this.#push(this.#text[this.#at++] ?? '');
      else if (quote.place === undefined)
        this.#fail(`has a placeholder inside ${quote.open}, where no value can be quoted`);
      else this.#pieces.push({ placeholder: placeholder.name, place: quote.place, quote });
    }
  }

  #bodyQuoted(quote: Quote): void {
    const end = this.#text.indexOf(quote.close, this.#at);
    if (end < 0) this.#fail(`has a quote ${quote.open} that is not closed`);
    const body = new Reader(this.#text.slice(this.#at, end), this.#dialect, this.#index).body().map(executed);
    this.#pieces.push({ body, quote }, quote.close);
    this.#at = end + quote.close.length;
  }

  /** Characters from here on that mean nothing but themselves, in any dialect. */
  #run(plain: RegExp): string {
    plain.lastIndex = this.#at;
    const found = plain.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #placeholder(): { readonly name: Placeholder; readonly at: number } | undefined {
    PLACEHOLDER.lastIndex = this.#at;
    const match = PLACEHOLDER.exec(this.#text);
    if (match === null) return undefined;
    const word = match[1] ?? '';
    const name = Object.hasOwn(PLACEHOLDERS, word) ? PLACEHOLDERS[word] : undefined;
    if (name === undefined) {
      // Braces are ordinary text where nothing in them looks like a name.
      if (!/^\s*[A-Za-z_.][\w. ]*$/.test(word)) return undefined;
      this.#fail(
        'has an unknown placeholder; known are {{name}}, {{username}}, {{password}}, {{expiration}}, {{public_key}}, {{subject}}',
      );
    }
    const at = this.#at;
    this.#at = PLACEHOLDER.lastIndex;
    return { name, at };
  }

  #push(text: string): void {
    const last = this.#pieces.at(-1);
    if (typeof last === 'string') this.#pieces[this.#pieces.length - 1] = last + text;
    else this.#pieces.push(text);
  }

  #statement(): Statement | undefined {
    const bare = this.#bare.trim().replace(/\s+/g, ' ').toUpperCase();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bare = '';
    if (bare === '') return undefined;
    const word = FIRST_WORD.exec(bare)?.[0] ?? '';
    if (this.#dialect.forbidden.has(word) || this.#dialect.forbidden.has(bare.split(' ').slice(0, 2).join(' '))) {
      this.#fail(`begins with ${word}; the box itself begins and ends the transaction`);
    }
    this.#index++;
    return { pieces: this.#dialect.stringsAreData(bare) ? pieces : pieces.map(executed), bare };
  }
}

function executed(piece: Piece): Piece {
  if (typeof piece === 'string') return piece;
  if ('body' in piece) return { ...piece, body: piece.body.map(executed) };
  return piece.place === 'bare' ? piece : { ...piece, place: 'executed' };
}

export type Values = Readonly<Partial<Record<Placeholder, string>>>;

/** How a value is written at a place. */
export type Write = (value: string, placeholder: Placeholder, place: Place, quote: Quote | undefined) => string;

/**
 * Where a string may be run as a statement: nothing that ends a quote of any kind, a word or a comment, at any depth. What
 * the box makes itself (random names, times, SCRAM verifiers) fits.
 */
const HARMLESS = /^[A-Za-z0-9_.@:+/=$-]*$/;
const COMMENTS = /--|\/\*/;

/** One statement's text. @throws Fault `input.invalid` a value that cannot stand where its placeholder does */
export function render(statement: Statement, values: Values, write: Write): string {
  return renderPieces(statement.pieces, values, write);
}

function renderPieces(pieces: readonly Piece[], values: Values, write: Write): string {
  return pieces
    .map((piece) => {
      if (typeof piece === 'string') return piece;
      if ('body' in piece) {
        const body = renderPieces(piece.body, values, write);
        if (`${body}${piece.quote.close}`.indexOf(piece.quote.close) !== body.length) {
          throw new Fault(
            'input.invalid',
            `a value ends the quote ${piece.quote.open} that it stands in; use another tag`,
          );
        }
        return body;
      }
      const value = values[piece.placeholder];
      if (value === undefined) throw new Fault('input.invalid', `{{${piece.placeholder}}} has no value here`);
      if (value.includes('\0') || !value.isWellFormed()) {
        throw new Fault('input.invalid', `the value of {{${piece.placeholder}}} holds a character that no text may`);
      }
      if (piece.place === 'executed' && piece.placeholder !== 'expiration') {
        if (!HARMLESS.test(value) || COMMENTS.test(value)) {
          throw new Fault(
            'input.invalid',
            `the value of {{${piece.placeholder}}} stands in a text that the server may run, where only letters, digits and _.@:+/=$- are taken`,
          );
        }
      }
      return write(value, piece.placeholder, piece.place, piece.quote);
    })
    .join('');
}

/** Which placeholders of a use and a kind of credential have a value. */
export function available(use: StatementsUse, credential: CredentialType): ReadonlySet<Placeholder> {
  const names = new Set<Placeholder>(['name']);
  if (use === 'create' || use === 'renew') names.add('expiration');
  if (use === 'create' || use === 'change') {
    if (credential === 'password') names.add('password');
    else if (credential === 'rsa_private_key') names.add('public_key');
    else names.add('subject');
  }
  return names;
}

/** @throws Fault `input.invalid` a placeholder without a value */
export function checkPlaceholders(statements: readonly Statement[], known: ReadonlySet<Placeholder>): void {
  statements.forEach(({ pieces }, index) => {
    for (const name of placeholdersOf(pieces)) {
      if (!known.has(name)) throw wrong(index, `has {{${name}}}, which has no value here`);
    }
  });
}

export function placeholdersOf(pieces: readonly Piece[]): readonly Placeholder[] {
  return pieces.flatMap((piece) => {
    if (typeof piece === 'string') return [];
    return 'body' in piece ? placeholdersOf(piece.body) : [piece.placeholder];
  });
}
