/**
 * The rival: a radix trie in JavaScript, with the same rules as core's. Labels are compared as strings, children are
 * found in a Map by character code, rules are ranked when they are added; a decision makes no object but the answer's.
 */
export interface TrieRule {
  /** As written: `+` for one segment, `*` at the end for anything. */
  readonly path: string;
  /** Capability bits. */
  readonly capabilities: number;
}

/** Ranked as core/spec/policy.md says: first wildcard, no glob, fewer `+`, length, text. */
export interface Ranked extends TrieRule {
  readonly first: number;
  readonly glob: boolean;
  readonly pluses: number;
}

export function ranked(rule: TrieRule): Ranked {
  const glob = rule.path.endsWith('*');
  let first = glob ? rule.path.length - 1 : rule.path.length;
  let [pluses, at] = [0, 0];
  for (const segment of rule.path.split('/')) {
    if (segment === '+') {
      if (pluses === 0) first = at;
      pluses++;
    }
    at += segment.length + 1;
  }
  return { path: rule.path, capabilities: rule.capabilities, first, glob, pluses };
}

/** Above 0: a decides before b. */
export function before(a: Ranked, b: Ranked): number {
  if (a.first !== b.first) return a.first - b.first;
  if (a.glob !== b.glob) return a.glob ? -1 : 1;
  if (a.pluses !== b.pluses) return b.pluses - a.pluses;
  if (a.path.length !== b.path.length) return a.path.length - b.path.length;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

class Node {
  label: string;
  exact: Ranked | undefined = undefined;
  glob: Ranked | undefined = undefined;
  plus: Node | undefined = undefined;
  readonly children = new Map<number, Node>();

  constructor(label: string) {
    this.label = label;
  }
}

/** A whole segment `+`; no path holds the character. */
const PLUS = '\u0000';

export class Trie {
  readonly #root = new Node('');
  #best: Ranked | undefined = undefined;

  add(rule: TrieRule): void {
    const one = ranked(rule);
    const text = (one.glob ? rule.path.slice(0, -1) : rule.path)
      .split('/')
      .map((segment) => (segment === '+' ? PLUS : segment))
      .join('/');
    let node = this.#root;
    let at = 0;
    for (;;) {
      let common = 0;
      while (common < node.label.length && node.label[common] === text[at + common]) common++;
      if (common < node.label.length) this.#split(node, common);
      at += common;
      if (at === text.length) {
        if (one.glob) node.glob = one;
        else node.exact = one;
        return;
      }
      const isPlus = text[at] === PLUS;
      const code = text.charCodeAt(at++);
      const next = isPlus ? node.plus : node.children.get(code);
      if (next !== undefined) {
        node = next;
        continue;
      }
      const plus = text.indexOf(PLUS, at);
      const made = new Node(text.slice(at, plus < 0 ? undefined : plus));
      if (isPlus) node.plus = made;
      else node.children.set(code, made);
      node = made;
    }
  }

  /** Cuts a node's label: what follows becomes its only child. */
  #split(node: Node, at: number): void {
    const lower = new Node(node.label.slice(at + 1));
    const code = node.label.charCodeAt(at);
    lower.exact = node.exact;
    lower.glob = node.glob;
    lower.plus = node.plus;
    for (const [key, child] of node.children) lower.children.set(key, child);
    node.children.clear();
    node.children.set(code, lower);
    node.exact = undefined;
    node.glob = undefined;
    node.plus = undefined;
    node.label = node.label.slice(0, at);
  }

  /** @returns whether the rule that decides grants it */
  allows(path: string, wanted: number): boolean {
    this.#best = undefined;
    const exact = this.#walk(this.#root, path, 0, true);
    const rule = exact ?? this.#best;
    return rule !== undefined && (rule.capabilities & wanted) !== 0;
  }

  /** @param literal no `+` was taken yet: a rule without a wildcard at the path's end decides at once */
  #walk(from: Node, path: string, start: number, literal: boolean): Ranked | undefined {
    let node: Node | undefined = from;
    let at = start;
    while (node !== undefined && (node.label === '' || path.startsWith(node.label, at))) {
      at += node.label.length;
      if (node.glob !== undefined) this.#consider(node.glob);
      if (node.plus !== undefined) {
        const end = path.indexOf('/', at);
        this.#walk(node.plus, path, end < 0 ? path.length : end, false);
      }
      if (at === path.length) {
        if (literal) return node.exact;
        if (node.exact !== undefined) this.#consider(node.exact);
        return undefined;
      }
      node = node.children.get(path.charCodeAt(at++));
    }
    return undefined;
  }

  #consider(rule: Ranked): void {
    if (this.#best === undefined || before(rule, this.#best) > 0) this.#best = rule;
  }
}

/** The other rival: regular expressions, the one that decides first in front. */
export class Expressions {
  readonly #rules: readonly { readonly matches: RegExp; readonly capabilities: number }[];

  constructor(rules: readonly TrieRule[]) {
    const all = rules.map(ranked);
    const isExact = (rule: Ranked): boolean => !rule.glob && rule.pluses === 0;
    all.sort((a, b) => Number(isExact(b)) - Number(isExact(a)) || before(b, a));
    this.#rules = all.map(({ path, glob, capabilities }) => {
      const segments = (glob ? path.slice(0, -1) : path)
        .split('/')
        .map((segment) => (segment === '+' ? '[^/]*' : segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
      return { matches: new RegExp(`^${segments.join('/')}${glob ? '' : '$'}`), capabilities };
    });
  }

  allows(path: string, wanted: number): boolean {
    for (const { matches, capabilities } of this.#rules) if (matches.test(path)) return (capabilities & wanted) !== 0;
    return false;
  }
}
