import type { Core, Decision, TypeDeclaration } from '../../../core/types.ts';
import { newCore } from '../load.ts';

/** A small box around core: what a host keeps, in maps. */
export const NOW = 1_800_000_000_000;
export const TIME = '2027-01-15T08:00:00.000000000Z';

export const TYPES: readonly TypeDeclaration[] = [
  {
    type: 'kv-v1',
    operations: [
      { pattern: '*path', verb: 'read', subtrees: [{ at: 's/{path}', modes: ['read'], extent: 'record' }] },
      {
        pattern: '*path',
        verb: 'write',
        existence: 's/{path}',
        subtrees: [{ at: 's/{path}', modes: ['read', 'write'], extent: 'record' }],
      },
      { pattern: '*path', verb: 'list', subtrees: [{ at: 's/{path}', modes: ['names'], extent: 'record' }] },
      { pattern: '*path', verb: 'delete', subtrees: [{ at: 's/{path}', modes: ['read', 'write'], extent: 'subtree' }] },
    ],
  },
  {
    type: 'sys',
    operations: [
      { pattern: 'health', verb: 'read', open: true },
      { pattern: 'raw/+name', verb: 'read', sudo: true },
      { pattern: 'seal', verb: 'write', root: true },
      { pattern: 'mounts/*path', verb: 'write', slash: true, tables: [{ table: 'mount', modes: ['read', 'write'] }] },
      {
        pattern: 'own/+name',
        verb: 'write',
        existence: '{token}/{name}',
        subtrees: [{ at: '{token}/{name}', modes: ['write'], extent: 'record' }],
      },
    ],
  },
];
export const READ = 0;
export const WRITE = 1;
export const LIST = 2;
export const DELETE = 3;
export const HEALTH = 4;
export const RAW = 5;
export const SEAL = 6;
export const MOUNTS = 7;
export const OWN = 8;

export const id = (n: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? n : 0));

export function mountPayload(mountId: Uint8Array, type: string, path: string, state = 0): Buffer {
  const head = Buffer.from([1, state]);
  const pathBytes = Buffer.from(path);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(pathBytes.length);
  return Buffer.concat([
    head,
    mountId,
    Buffer.from([type.length]),
    Buffer.from(type),
    size,
    pathBytes,
    Buffer.alloc(4),
  ]);
}

export interface TokenFields {
  readonly type?: number;
  readonly flags?: number;
  readonly expires?: number;
  readonly uses?: number;
  readonly parent?: Uint8Array;
  readonly mount?: Uint8Array;
  readonly entity?: Uint8Array;
  readonly policies?: readonly string[];
  readonly cidrs?: readonly (readonly number[])[];
}

export function tokenPayload(fields: TokenFields): Buffer {
  const head = Buffer.alloc(72);
  head[0] = 1;
  head[1] = fields.type ?? 0;
  head.writeUInt16BE(fields.flags ?? 0, 2);
  head.writeBigUInt64BE(BigInt(NOW), 4);
  head.writeBigUInt64BE(BigInt(fields.expires ?? 0), 12);
  head.writeUInt32BE(fields.uses ?? 0, 20);
  head.set(fields.parent ?? id(0), 24);
  head.set(fields.mount ?? id(1), 40);
  head.set(fields.entity ?? id(0), 56);
  const policies = fields.policies ?? ['root'];
  const count = Buffer.alloc(2);
  count.writeUInt16BE(policies.length);
  const names = policies.map((name) => Buffer.concat([Buffer.from([Buffer.byteLength(name)]), Buffer.from(name)]));
  const cidrs = fields.cidrs ?? [];
  return Buffer.concat([
    head,
    count,
    ...names,
    Buffer.from([cidrs.length]),
    ...cidrs.map((c) => Buffer.from(c)),
    Buffer.alloc(4),
  ]);
}

export class Box {
  readonly core: Core;
  readonly tokens = new Map<string, Uint8Array>();
  readonly records = new Map<string, Uint8Array>();
  readonly keyring: Uint8Array;

  constructor(seed = 'box', onTrap?: () => void, types: readonly TypeDeclaration[] = TYPES) {
    this.core = newCore(seed, onTrap);
    this.core.declare(types);
    this.keyring = Uint8Array.from(this.core.createKeyring(id(9), NOW));
    this.mount(id(1), 'sys', 'sys/');
    this.mount(id(2), 'kv-v1', 'secret/');
    this.mount(id(3), 'kv-v1', 'other/');
  }

  job(name: 'boot' | 'init' | 'lease' = 'init', mount?: Uint8Array): number {
    return this.core.systemGrant(name, mount, NOW, NOW + 60_000);
  }

  mount(mountId: Uint8Array, type: string, path: string, state = 0): void {
    const grant = this.job();
    const row = this.core.sealTable(grant, 'mount', mountId, mountPayload(mountId, type, path, state));
    this.core.endGrant(grant);
    this.core.loadMount(mountId, Uint8Array.from(row));
  }

  policies(all: Readonly<Record<string, Uint8Array>>): void {
    this.core.beginPolicies();
    for (const [name, payload] of Object.entries(all)) {
      const key = Uint8Array.from(this.core.blindKey('policy', name));
      const grant = this.job();
      const row = Uint8Array.from(this.core.sealTable(grant, 'policy', key, payload));
      this.core.endGrant(grant);
      this.core.addPolicy(key, row);
    }
    this.core.commitPolicies();
  }

  token(fields: TokenFields = {}): string {
    const grant = this.job();
    const { text, id: tokenId } = this.core.newToken(grant, 'service');
    const key = Uint8Array.from(tokenId);
    this.tokens.set(
      Buffer.from(key).toString('hex'),
      Uint8Array.from(this.core.sealTable(grant, 'token', key, tokenPayload(fields))),
    );
    this.core.endGrant(grant);
    return text;
  }

  decide(
    operation: number,
    path: string,
    token: string | undefined,
    more: { nowMs?: number; peer?: string; wrapTtl?: number; refuseEnding?: boolean } = {},
  ): Decision {
    this.core.route(path);
    const begun = this.core.begin(operation, token);
    const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
    const nowMs = more.nowMs ?? NOW;
    return this.core.decide({
      tokenRow: this.tokens.get(hex(begun.tokenKey)),
      existenceRow: this.records.get(hex(begun.existenceKey)),
      nowMs,
      deadlineMs: nowMs + 1000,
      peer: more.peer,
      wrapTtl: more.wrapTtl ?? 0,
      refuseEnding: more.refuseEnding ?? false,
    });
  }

  /** Decides, and writes the request leaf: the grant is open. */
  request(operation: number, path: string, token: string | undefined): number {
    const { grant } = this.decide(operation, path, token);
    this.core.leaf(grant, 'request', TIME, '"type":"request"}');
    return grant;
  }

  put(token: string, path: string, value: string): void {
    const grant = this.request(WRITE, path, token);
    const storage = `s/${path.slice(path.indexOf('/') + 1)}`;
    const { key, row } = this.core.sealRecord(grant, storage, new Uint8Array(0), Buffer.from(value));
    this.records.set(Buffer.from(key).toString('hex'), row);
    this.core.leaf(grant, 'response', TIME, '"type":"response"}');
  }

  get(token: string, path: string): string {
    const grant = this.request(READ, path, token);
    const storage = `s/${path.slice(path.indexOf('/') + 1)}`;
    const key = this.core.locate(grant, storage, new Uint8Array(0));
    const row = this.records.get(Buffer.from(key).toString('hex'));
    const value = row === undefined ? '' : Buffer.from(this.core.open(grant, row)).toString();
    this.core.leaf(grant, 'response', TIME, '"type":"response"}');
    return value;
  }
}
