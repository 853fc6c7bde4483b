/** Declared operations as core reads them (core/spec/gate.md, Declarations). */
import type { OperationDeclaration, SystemTable, TypeDeclaration, Verb } from './types.ts';

export const VERBS: Readonly<Record<Verb, number>> = { read: 0, list: 1, write: 2, delete: 3, patch: 4, help: 5 };

export const SYSTEM_TABLES: Readonly<Record<SystemTable, number>> = {
  token: 5,
  accessor: 6,
  child: 7,
  expiry: 8,
  policy: 9,
  mount: 10,
  wrap: 11,
  lease: 12,
  job: 13,
};

const MODES = { names: 1, read: 2, write: 4 } as const;

const u16 = (value: number): Buffer => Buffer.from([value >>> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const long = (text: string): Buffer => Buffer.concat([u16(Buffer.byteLength(text)), Buffer.from(text)]);
const short = (bytes: Uint8Array): Buffer => Buffer.concat([Uint8Array.of(bytes.length), bytes]);

function tables(operation: OperationDeclaration, mode: 'read' | 'write'): number {
  return (operation.tables ?? [])
    .filter((one) => one.modes.includes(mode))
    .reduce((mask, one) => mask | (1 << SYSTEM_TABLES[one.table]), 0);
}

function encodeOperation(operation: OperationDeclaration): Buffer {
  const flags =
    (operation.sudo ? 1 : 0) |
    (operation.root ? 2 : 0) |
    (operation.open ? 4 : 0) |
    (operation.slash ? 8 : 0) |
    (operation.existence === undefined ? 0 : 16);
  const subtrees = (operation.subtrees ?? []).map((subtree) =>
    Buffer.concat([
      Uint8Array.of(
        subtree.modes.reduce((mask, mode) => mask | MODES[mode], 0),
        subtree.extent === 'subtree' ? 1 : 0,
      ),
      long(subtree.at),
    ]),
  );
  const body = Buffer.concat([
    u16(0),
    Uint8Array.of(VERBS[operation.verb], flags),
    u32(tables(operation, 'read')),
    u32(tables(operation, 'write')),
    long(operation.pattern),
    long(operation.existence ?? ''),
    short(operation.existenceSuffix ?? new Uint8Array(0)),
    Uint8Array.of(subtrees.length),
    ...subtrees,
  ]);
  return Buffer.concat([u16(body.length), body]);
}

export function encodeDeclarations(types: readonly TypeDeclaration[]): Buffer {
  return Buffer.concat(
    types.map(({ type, operations }) =>
      Buffer.concat([short(Buffer.from(type)), u16(operations.length), ...operations.map(encodeOperation)]),
    ),
  );
}
