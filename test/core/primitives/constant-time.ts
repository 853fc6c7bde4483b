/**
 * A check of sources, not of machine code: functions marked `// constant-time` take no branch and no index from secret
 * data. It knows no types. What came out of memory is secret, and so is what is made of it; parameters are pointers and
 * public lengths. Functions of a file take secrets by value, too: there (no pointer, no length) every parameter is one.
 */

export interface Marked {
  readonly name: string;
  readonly faults: readonly string[];
}

const MARK = /^\/\/ constant-time\n(?:export )?function (\w+)\(([^)]*)\)[^{]*\{\n([\s\S]*?)^\}/gm;
const BRANCH = /\b(if|while|switch|case|do|continue|break)\b|\?|&&|\|\|/g;
const WORD = /[A-Za-z_]\w*/g;

const wordsOf = (text: string): string[] => text.replace(/<\w+>/g, ' ').match(WORD) ?? [];

/** The first argument of each access to memory. */
function addresses(body: string): string[] {
  const found: string[] = [];
  for (const match of body.matchAll(/\b(?:v128\.)?(?:load|store)\w*(?:<\w+>)?\(/g)) {
    let depth = 0;
    let at = match.index + match[0].length;
    const from = at;
    for (; at < body.length; at++) {
      const char = body[at];
      if (char === '(') depth++;
      if ((char === ')' || char === ',') && depth === 0) break;
      if (char === ')') depth--;
    }
    found.push(body.slice(from, at));
  }
  return found;
}

/** Names that hold what came out of memory, or were made of such names; those of parameters by value from the start. */
function secretsOf(body: string, parameters: string): Set<string> {
  const byValue = !/usize/.test(parameters);
  const secret = new Set(byValue ? [...parameters.matchAll(/(\w+):/g)].map((match) => match[1] ?? '') : []);
  const assignments = [...body.matchAll(/(\w+)(?:: \w+)? (?:[-+*/&|^]|<<|>>>?)?= ([^;{]*?)(?:;|\) \{)/g)];
  for (let before = -1; before !== secret.size; ) {
    before = secret.size;
    for (const [, name = '', value = ''] of assignments) {
      if (/\bload/.test(value) || wordsOf(value).some((word) => secret.has(word))) secret.add(name);
    }
  }
  return secret;
}

export function markedFunctions(source: string): Marked[] {
  return [...source.matchAll(MARK)].map(([, name = '', parameters = '', text = '']) => {
    const body = text.replace(/\/\/.*$/gm, '');
    const secret = secretsOf(body, parameters);
    const uses = (part: string): string | undefined => wordsOf(part).find((word) => secret.has(word));
    const faults = [...body.matchAll(BRANCH)].map((match) => `branch: ${match[0]}`);
    for (const [, condition = ''] of body.matchAll(/\bfor \([^;]*;([^;]*);/g)) {
      const word = uses(condition);
      if (word !== undefined) faults.push(`loop on ${word}`);
    }
    for (const address of addresses(body)) {
      const word = /\bload/.test(address) ? address : uses(address);
      if (word !== undefined) faults.push(`address of ${word}`);
    }
    return { name, faults };
  });
}
