/** From a path below its mount to the row of the operation: static segments first, then one segment, then the rest. */
import type { Verb } from '../../core/types.ts';
import type { Inbound } from '../ports/dispatch.ts';
import type { Engine, Operation } from '../ports/engine.ts';

export interface Routed {
  readonly operation: Operation;
  /** Core's number of it. */
  readonly number: number;
  readonly captures: Readonly<Record<string, string>>;
  /** Of an open operation: what answers in its place who brings a token. */
  readonly withToken?: Entry;
}

interface Entry {
  readonly operation: Operation;
  readonly number: number;
}

interface Found extends Entry {
  readonly withToken?: Entry;
}

interface Segment {
  readonly kind: 'literal' | 'one' | 'rest';
  /** The literal, or the name of what is captured. */
  readonly text: string;
}

interface Pattern {
  readonly segments: readonly Segment[];
  readonly verbs: Map<Verb, Found>;
}

function segmentsOf(pattern: string): Segment[] {
  if (pattern === '') return [];
  return pattern.split('/').map((text): Segment => {
    if (text.startsWith('*')) return { kind: 'rest', text: text.slice(1) };
    return text.startsWith('+') ? { kind: 'one', text: text.slice(1) } : { kind: 'literal', text };
  });
}

const RANKS = { literal: '0', one: '1', rest: '2' } as const;

/** More literal segments, then earlier ones, then `+` before `*`. */
const rank = (segments: readonly Segment[]): string => segments.map(({ kind }) => RANKS[kind]).join('');

export class Router {
  readonly #patterns: readonly Pattern[];
  /** By the literal that they begin with, each with those that begin with none behind: the others cannot match. */
  readonly #byFirst = new Map<string, readonly Pattern[]>();
  readonly #anyFirst: readonly Pattern[];

  /** @param first core's number of the engine's first operation */
  constructor(engine: Engine, first: number) {
    const patterns = new Map<string, Pattern>();
    for (const [index, operation] of engine.operations.entries()) {
      const { pattern } = operation;
      const found = patterns.get(pattern) ?? { segments: segmentsOf(pattern), verbs: new Map() };
      const verb = operation.answers ?? operation.verb;
      const entry = { operation, number: first + index };
      const open = found.verbs.get(verb);
      if (operation.insteadOfOpen === undefined) found.verbs.set(verb, entry);
      else if (open?.operation.open === true) found.verbs.set(verb, { ...open, withToken: entry });
      else throw new Error(`${operation.name} stands behind no open operation`);
      patterns.set(pattern, found);
    }
    this.#patterns = [...patterns.values()].sort((a, b) => (rank(a.segments) < rank(b.segments) ? -1 : 1));
    const begins = ({ segments }: Pattern): string | undefined =>
      segments[0]?.kind === 'literal' ? segments[0].text : undefined;
    this.#anyFirst = this.#patterns.filter((pattern) => begins(pattern) === undefined);
    for (const pattern of this.#patterns) {
      const literal = begins(pattern);
      if (literal === undefined || this.#byFirst.has(literal)) continue;
      this.#byFirst.set(
        literal,
        this.#patterns.filter((other) => begins(other) === literal || begins(other) === undefined),
      );
    }
  }

  /**
   * @param relative without slashes at its ends
   * @returns the operation; `operation` if the path is known and the verb is not; `path` if no pattern matches
   */
  find(relative: string, verb: Verb): Routed | 'operation' | 'path' {
    const slash = relative.indexOf('/');
    const candidates = this.#byFirst.get(slash < 0 ? relative : relative.slice(0, slash)) ?? this.#anyFirst;
    for (const { segments, verbs } of candidates) {
      const captures = match(segments, relative, verb === 'list');
      if (captures === undefined) continue;
      // The most specific pattern that knows the path says which verbs it has; a catch-all does not stand in for it.
      const entry = verbs.get(verb);
      return entry === undefined ? 'operation' : { ...entry, captures };
    }
    return 'path';
  }

  /** What the most specific pattern has that knows the path; empty: none knows it. For help. */
  operationsAt(relative: string): readonly Operation[] {
    const found = this.#patterns.find(({ segments }) => match(segments, relative, true) !== undefined);
    return [...(found?.verbs.values() ?? [])].map(({ operation }) => operation);
  }
}

/** The operation that answers this request: with a token it may be another one than without. */
export function chosen(found: Routed, { token, body }: Pick<Inbound, 'token' | 'body'>): Routed {
  const { withToken, captures } = found;
  if (withToken === undefined || token === undefined) return found;
  const { without } = withToken.operation.insteadOfOpen ?? {};
  const named = without !== undefined && body[without] !== undefined && body[without] !== '';
  return named ? found : { ...withToken, captures };
}

function match(pattern: readonly Segment[], path: string, list: boolean): Record<string, string> | undefined {
  const captures: Record<string, string> = {};
  // Where the next segment begins; beyond the end when there is none.
  let at = path === '' ? 1 : 0;
  for (const { kind, text } of pattern) {
    if (kind === 'rest') {
      if (at > path.length && !list) return undefined;
      captures[text] = path.slice(at);
      return captures;
    }
    if (at > path.length) return undefined;
    if (kind === 'literal') {
      const end = at + text.length;
      if (!path.startsWith(text, at) || (end < path.length && path[end] !== '/')) return undefined;
      at = end + 1;
    } else {
      const slash = path.indexOf('/', at);
      const end = slash < 0 ? path.length : slash;
      captures[text] = path.slice(at, end);
      at = end + 1;
    }
  }
  return at > path.length ? captures : undefined;
}
