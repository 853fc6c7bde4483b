/** From a path below its mount to the row of the operation: static segments first, then one segment, then the rest. */
import type { Verb } from '../../core/types.ts';
import type { Engine, Operation } from '../ports/engine.ts';

export interface Routed {
  readonly operation: Operation;
  /** Core's number of it. */
  readonly number: number;
  readonly captures: Readonly<Record<string, string>>;
}

interface Entry {
  readonly operation: Operation;
  readonly number: number;
}

interface Pattern {
  readonly segments: readonly string[];
  readonly verbs: Map<Verb, Entry>;
}

/** More literal segments, then earlier ones, then `+` before `*`. */
function rank(segments: readonly string[]): string {
  return segments.map((segment) => (segment.startsWith('*') ? '2' : segment.startsWith('+') ? '1' : '0')).join('');
}

export class Router {
  readonly #patterns: readonly Pattern[];

  /** @param first core's number of the engine's first operation */
  constructor(engine: Engine, first: number) {
    const patterns = new Map<string, Pattern>();
    for (const [index, operation] of engine.operations.entries()) {
      const { pattern } = operation;
      const found = patterns.get(pattern) ?? { segments: pattern === '' ? [] : pattern.split('/'), verbs: new Map() };
      found.verbs.set(operation.answers ?? operation.verb, { operation, number: first + index });
      patterns.set(pattern, found);
    }
    this.#patterns = [...patterns.values()].sort((a, b) => (rank(a.segments) < rank(b.segments) ? -1 : 1));
  }

  /**
   * @param relative without slashes at its ends
   * @returns the operation; `operation` if the path is known and the verb is not; `path` if no pattern matches
   */
  find(relative: string, verb: Verb): Routed | 'operation' | 'path' {
    const segments = relative === '' ? [] : relative.split('/');
    let known = false;
    for (const pattern of this.#patterns) {
      const captures = match(pattern.segments, segments, verb === 'list');
      if (captures === undefined) continue;
      const entry = pattern.verbs.get(verb);
      if (entry !== undefined) return { ...entry, captures };
      // The most specific pattern that knows the path says which verbs it has; a catch-all does not stand in for it.
      known = true;
      break;
    }
    return known ? 'operation' : 'path';
  }
}

function match(pattern: readonly string[], path: readonly string[], list: boolean): Record<string, string> | undefined {
  const captures: Record<string, string> = {};
  for (const [index, segment] of pattern.entries()) {
    if (segment.startsWith('*')) {
      if (index >= path.length && !list) return undefined;
      captures[segment.slice(1)] = path.slice(index).join('/');
      return captures;
    }
    const own = path[index];
    if (own === undefined) return undefined;
    if (segment.startsWith('+')) captures[segment.slice(1)] = own;
    else if (segment !== own) return undefined;
  }
  return path.length === pattern.length ? captures : undefined;
}
