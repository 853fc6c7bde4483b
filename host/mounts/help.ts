/** What `?help=1` answers, made from the rows that are routed and decided by. */
import type { Engine, Field, Operation } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';

const METHODS = { read: 'GET', write: 'POST', delete: 'DELETE', patch: 'PATCH', list: 'LIST', help: 'GET' } as const;

const methodOf = ({ answers, verb }: Operation): string => METHODS[answers ?? verb];

function byPattern(operations: readonly Operation[]): Map<string, Operation[]> {
  const patterns = new Map<string, Operation[]>();
  for (const operation of operations) {
    patterns.set(operation.pattern, [...(patterns.get(operation.pattern) ?? []), operation]);
  }
  return patterns;
}

const verbs = (operations: readonly Operation[], indent: string): string =>
  operations.map((operation) => `${indent}${methodOf(operation).padEnd(8)}${operation.summary}`).join('\n');

/** A mount's own help: what it is and which paths it has. */
function ofMount({ help, operations }: Engine): string {
  const paths = [...byPattern(operations)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([pattern, rows]) => `    ${pattern === '' ? '(the mount itself)' : pattern}\n${verbs(rows, '        ')}`);
  return `## DESCRIPTION\n\n${help}\n\n## PATHS\n\n${paths.join('\n\n')}\n`;
}

function parameter([name, { type, description }]: readonly [string, Field]): string {
  return `    ${name} (${type})\n\n        ${description}`;
}

function ofPath(relative: string, operations: readonly Operation[]): string {
  const fields = new Map(operations.flatMap((operation) => Object.entries<Field>(operation.fields)));
  const parameters = [...fields].sort(([a], [b]) => (a < b ? -1 : 1)).map(parameter);
  const described = operations.flatMap(({ description }) => (description === undefined ? [] : [`\n${description}\n`]));
  return [
    `Request:        ${relative}\nMatching Route: ${operations[0]?.pattern ?? ''}\n`,
    ...(parameters.length === 0 ? [] : [`## PARAMETERS\n\n${parameters.join('\n\n')}\n`]),
    `## DESCRIPTION\n\n${verbs(operations, '    ')}\n${described.join('')}`,
  ].join('\n');
}

/**
 * @param relative    the path below the mount, without slashes at its ends
 * @param operations  those that this path has
 */
export function helpOf(engine: Engine, relative: string, operations: readonly Operation[]): ValueMap {
  return { help: relative === '' ? ofMount(engine) : ofPath(relative, operations), see_also: null };
}
