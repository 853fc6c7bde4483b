/** sys/audit, sys/audit-hash and sys/audit-log: the built-in log and its proofs. */
import { type AuditLog, LOG_ACCESSOR } from '../../audit/index.ts';
import { Fault } from '../../fault.ts';
import type { Answer, Field, Operation } from '../../ports/engine.ts';

const LOG_PATH = 'log/';
const NUMBER = (description: string): Field => ({ type: 'int', description });
const TEXT = 'text/plain; charset=utf-8';

const base64 = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('base64'));

function number(value: unknown, name: string): number {
  if (typeof value !== 'number' || value < 0)
    throw new Fault('input.invalid', `${name} is needed, a whole number from 0`);
  return value;
}

export function auditOperations(log: AuditLog): readonly Operation[] {
  const { history } = log;
  const device = { type: 'holdfast', description: 'the built-in log', path: LOG_PATH, local: false, options: {} };
  const tile = (captures: Readonly<Record<string, string>>): Answer => {
    const parts = /^(\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(captures['at'] ?? '');
    if (parts === null)
      throw new Fault('input.invalid', 'a tile is named LEVEL/N or LEVEL/N.p/WIDTH, N in groups of three digits');
    const index = Number((parts[2] ?? '').replace(/[x/]/g, ''));
    const body = history.tile(Number(parts[1]), index, parts[3] === undefined ? 256 : Number(parts[3]));
    return { raw: { contentType: 'application/octet-stream', body } };
  };
  return [
    {
      name: 'list-audit',
      pattern: 'audit',
      verb: 'read',
      sudo: true,
      flat: true,
      summary: 'List the audit devices.',
      fields: {},
      run: () => ({ data: { [LOG_PATH]: device } }),
    },
    {
      name: 'audit-hash',
      pattern: 'audit-hash/*device',
      verb: 'write',
      flat: true,
      summary: 'Hash a value as the log shows it.',
      fields: { input: { type: 'string', description: 'The value.', secret: true } },
      run: ({ captures, fields }) => {
        const asked = `${(captures['device'] ?? '').replace(/\/+$/, '')}/`;
        if (asked !== LOG_PATH && asked !== `${LOG_ACCESSOR}/`)
          throw new Fault('input.invalid', `unknown audit backend ${JSON.stringify(asked)}`);
        if (typeof fields['input'] !== 'string') throw new Fault('input.invalid', 'the "input" parameter is empty');
        return { data: { hash: log.hash(fields['input']) } };
      },
    },
    {
      name: 'audit-log-checkpoint',
      pattern: 'audit-log/checkpoint',
      verb: 'read',
      open: true,
      summary: 'The newest signed checkpoint (C2SP tlog-checkpoint).',
      fields: {},
      run: () => ({ raw: { contentType: TEXT, body: history.checkpoint() } }),
    },
    {
      name: 'audit-log-key',
      pattern: 'audit-log/key',
      verb: 'read',
      summary: 'Keys that sign checkpoints, the newest first.',
      fields: {},
      run: () => ({ data: { keys: history.verifierKeys() } }),
    },
    {
      name: 'audit-log-size',
      pattern: 'audit-log/size',
      verb: 'read',
      sudo: true,
      summary: 'How many lines the log has.',
      fields: {},
      run: () => ({ data: { size: history.size() } }),
    },
    {
      name: 'audit-log-tile',
      pattern: 'audit-log/tile/*at',
      verb: 'read',
      sudo: true,
      summary: 'A tile of hashes (C2SP tlog-tiles).',
      fields: {},
      run: ({ captures }) => tile(captures),
    },
    {
      name: 'audit-log-entries',
      pattern: 'audit-log/entries',
      verb: 'read',
      sudo: true,
      summary: 'Lines of the log, one JSON object each; perhaps fewer than asked for.',
      fields: { from: NUMBER('The first line.'), to: NUMBER('The line before which to stop.') },
      run: ({ fields }) => {
        const from = number(fields['from'] ?? 0, 'from');
        const { lines } = history.entries(from, number(fields['to'] ?? history.size(), 'to'));
        return { raw: { contentType: 'application/x-ndjson', body: lines.map((line) => `${line}\n`).join('') } };
      },
    },
    {
      name: 'audit-log-prove',
      pattern: 'audit-log/prove',
      verb: 'read',
      sudo: true,
      summary: 'A proof (RFC 9162): inclusion of a leaf, or consistency of two sizes.',
      fields: {
        leaf: NUMBER('The line that is in the log.'),
        from: NUMBER('The smaller size.'),
        size: NUMBER('The size of the tree.'),
      },
      run: ({ fields }) => {
        const size = number(fields['size'] ?? history.size(), 'size');
        if (fields['from'] !== undefined) {
          const proof = history.proveConsistency(number(fields['from'], 'from'), size);
          return {
            data: {
              from: fields['from'],
              size,
              proof: base64(proof.hashes),
              root: Buffer.from(proof.root).toString('base64'),
            },
          };
        }
        const leaf = number(fields['leaf'], 'leaf');
        const proof = history.proveInclusion(leaf, size);
        return {
          data: {
            leaf,
            size,
            leaf_hash: Buffer.from(proof.leafHash).toString('base64'),
            proof: base64(proof.hashes),
            root: Buffer.from(proof.root).toString('base64'),
          },
        };
      },
    },
  ];
}
