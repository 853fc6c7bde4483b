/** Statements as clients send them: a text, a list of texts, a list in JSON, or base64 of one of these. */
import { Fault } from '../../fault.ts';
import type { Field } from '../../ports/engine.ts';
import type { Value } from '../../ports/value.ts';

const COUNT_MAX = 64;
const SIZE_MAX = 32_768;

export const statementsField = (what: string): Field => ({ type: 'any', description: `Statements that ${what}.` });

/**
 * @param before  what holds where nothing is given
 * @throws Fault `input.invalid` no such thing, or too much of it
 */
export function statementsOf(given: Value | undefined, before: readonly string[] = []): readonly string[] {
  if (given === undefined || given === null) return before;
  const list = typeof given === 'string' ? fromText(given) : given;
  if (!Array.isArray(list) || !list.every((one): one is string => typeof one === 'string'))
    throw new Fault('input.invalid', 'statements are a text or a list of texts');
  const statements = list.filter((one) => one.trim() !== '');
  const size = statements.reduce((sum, one) => sum + Buffer.byteLength(one), 0);
  if (statements.length > COUNT_MAX || size > SIZE_MAX)
    throw new Fault('input.invalid', `a role has at most ${COUNT_MAX} statements of ${SIZE_MAX} bytes in all`);
  return statements;
}

function fromText(text: string): readonly Value[] {
  const bytes = Buffer.from(text, 'base64');
  const plain = text.length >= 16 && bytes.toString('base64') === text ? bytes.toString('utf8') : text;
  if (!plain.trimStart().startsWith('[')) return [plain];
  try {
    const list: unknown = JSON.parse(plain);
    if (Array.isArray(list)) return list as Value[];
  } catch {
    // A statement of a server that begins with a bracket.
  }
  return [plain];
}
