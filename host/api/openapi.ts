/** The API as an OpenAPI 3.0 document, from the same rows that are routed and decided by. */
import type { Engine, Field, FieldType, MountInfo, Operation } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';

export interface DocumentedMount {
  readonly mount: Pick<MountInfo, 'path'>;
  readonly engine: Engine;
}

const METHODS = { read: 'get', list: 'get', write: 'post', patch: 'patch', delete: 'delete', help: 'get' } as const;
const TYPES: Readonly<Record<FieldType, ValueMap>> = {
  string: { type: 'string' },
  int: { type: 'integer' },
  bool: { type: 'boolean' },
  duration: { type: 'string', format: 'duration' },
  'signed-duration': { type: 'string', format: 'duration' },
  strings: { type: 'array', items: { type: 'string' } },
  ints: { type: 'array', items: { type: 'integer' } },
  map: { type: 'object' },
  'string-map': { type: 'object', additionalProperties: { type: 'string' } },
  any: {},
};

const schemaOf = (field: Field): ValueMap => ({ ...TYPES[field.type], description: field.description });

/** `data/*path` below `secret/` becomes `/secret/data/{path}`. */
function pathOf(mount: string, pattern: string): string {
  const segments = pattern.split('/').map((segment) => (/^[+*]/.test(segment) ? `{${segment.slice(1)}}` : segment));
  return `/${mount}${segments.join('/')}`.replace(/\/+$/, '') || '/';
}

function describe(mount: string, operation: Operation): ValueMap {
  const captured = [...operation.pattern.matchAll(/[+*](\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const writes = operation.verb === 'write' || operation.verb === 'patch';
  const fields = Object.entries(operation.fields);
  const inQuery = ([name]: [string, Field]): boolean => !writes || operation.fieldsInQuery?.includes(name) === true;
  const query = fields.filter(inQuery).map(([name, field]) => ({ name, in: 'query', schema: schemaOf(field) }));
  const listing =
    operation.verb === 'list'
      ? [{ name: 'list', in: 'query', required: true, schema: { type: 'string', enum: ['true'] } }]
      : [];
  const body = {
    requestBody: {
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: Object.fromEntries(fields.map(([name, field]) => [name, schemaOf(field)])),
          },
        },
      },
    },
  };
  return {
    operationId: `${mount.replace(/[^a-z0-9]+/gi, '-')}${operation.name}`,
    summary: operation.summary,
    tags: [mount.split('/')[0] ?? 'sys'],
    parameters: [...captured, ...listing, ...query],
    ...(operation.open === true ? { 'x-vault-unauthenticated': true } : {}),
    ...(operation.sudo === true ? { 'x-vault-sudo': true } : {}),
    ...(writes && fields.length > 0 ? body : {}),
    responses: { 200: { description: 'OK' }, 204: { description: 'nothing to say' } },
  };
}

export function openApiDocument(version: string, mounts: readonly DocumentedMount[]): ValueMap {
  const paths: Record<string, Record<string, ValueMap>> = {};
  for (const { mount, engine } of mounts) {
    for (const operation of engine.operations) {
      const path = pathOf(mount.path, operation.pattern);
      // A list is a GET with a parameter: where a path has both, the read stands for them.
      const entry = paths[path] ?? {};
      const method = METHODS[operation.answers ?? operation.verb];
      if (entry[method] === undefined || operation.verb === 'read') entry[method] = describe(mount.path, operation);
      paths[path] = entry;
    }
  }
  return {
    openapi: '3.0.2',
    info: {
      title: 'Holdfast',
      description: 'The Vault HTTP API of this box.',
      version,
      license: { name: 'Apache-2.0' },
    },
    servers: [{ url: '/v1' }],
    components: { securitySchemes: { token: { type: 'apiKey', in: 'header', name: 'X-Vault-Token' } } },
    security: [{ token: [] }],
    paths,
  };
}
