/** The payload of a token row (core/spec/token.md): the part that core reads, and host's own behind it. */
import { decodePayload, encodePayload } from '../payload.ts';
import type { TokenInfo } from '../ports/engine.ts';
import type { ValueMap } from '../ports/value.ts';

const FLAG_WRAPPING = 1;
const FLAG_REVOKED = 2;
const TYPES = ['service', 'batch', 'service'] as const;
const NO_ID = '0'.repeat(32);
const SPENT = 0xffffffff;

/** What a token row says. Times in milliseconds of lease time, durations in seconds. */
export interface TokenRecord {
  readonly type: 'service' | 'batch';
  readonly wrapping: boolean;
  /** Being revoked: core refuses it already. */
  readonly revoked: boolean;
  readonly createdMs: number;
  /** 0 never. */
  readonly expiresMs: number;
  /** 0 unlimited. */
  readonly uses: number;
  /** In hex; undefined: orphan. */
  readonly parentId: string | undefined;
  readonly mountId: string;
  readonly policies: readonly string[];
  readonly boundCidrs: readonly string[];
  readonly accessor: string;
  readonly displayName: string;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly path: string;
  readonly creationTtl: number;
  readonly explicitMaxTtl: number;
  readonly period: number;
  readonly renewable: boolean;
  readonly role: string;
  readonly issueMs: number;
  readonly lastRenewalMs: number;
}

function encodeCidr(text: string): Buffer {
  const [address = '', bits = ''] = text.split('/');
  if (address.includes(':')) {
    const [front = '', back] = address.split('::');
    const words = (part: string): number[] =>
      part === '' ? [] : part.split(':').map((word) => Number.parseInt(word, 16));
    const head = words(front);
    const tail = back === undefined ? [] : words(back);
    const all = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
    return Buffer.from([6, Number(bits), ...all.flatMap((word) => [word >>> 8, word & 0xff])]);
  }
  return Buffer.from([4, Number(bits), ...address.split('.').map(Number)]);
}

export function encodeToken(token: TokenRecord): Buffer {
  const head = Buffer.alloc(72);
  head[0] = 1;
  head[1] = token.type === 'batch' ? 1 : 0;
  head.writeUInt16BE((token.wrapping ? FLAG_WRAPPING : 0) | (token.revoked ? FLAG_REVOKED : 0), 2);
  head.writeBigUInt64BE(BigInt(token.createdMs), 4);
  head.writeBigUInt64BE(BigInt(token.expiresMs), 12);
  head.writeUInt32BE(token.uses, 20);
  head.write(token.parentId ?? NO_ID, 24, 'hex');
  head.write(token.mountId, 40, 'hex');
  const names = token.policies.map((name) =>
    Buffer.concat([Buffer.from([Buffer.byteLength(name)]), Buffer.from(name)]),
  );
  const count = Buffer.alloc(2);
  count.writeUInt16BE(names.length);
  const cidrs = token.boundCidrs.map(encodeCidr);
  const { accessor, displayName, metadata, path, creationTtl, explicitMaxTtl, period, renewable, role, issueMs } =
    token;
  const rest = encodePayload({
    ...{ accessor, displayName, metadata, path, creationTtl, explicitMaxTtl, period, renewable, role, issueMs },
    ...{ lastRenewalMs: token.lastRenewalMs, boundCidrs: token.boundCidrs },
  });
  const size = Buffer.alloc(4);
  size.writeUInt32BE(rest.length);
  return Buffer.concat([head, count, ...names, Buffer.from([cidrs.length]), ...cidrs, size, rest]);
}

export function decodeToken(payload: Uint8Array): TokenRecord {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  let at = 74;
  const policies: string[] = [];
  for (let left = bytes.readUInt16BE(72); left > 0; left--) {
    const length = bytes[at] ?? 0;
    policies.push(bytes.toString('utf8', at + 1, at + 1 + length));
    at += 1 + length;
  }
  let cidrs = bytes[at] ?? 0;
  at++;
  for (; cidrs > 0; cidrs--) at += bytes[at] === 4 ? 6 : 18;
  const rest = decodePayload(bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at))) as ValueMap & RestOfToken;
  const flags = bytes.readUInt16BE(2);
  const parent = bytes.toString('hex', 24, 40);
  return {
    type: TYPES[bytes[1] ?? 0] ?? 'service',
    wrapping: (flags & FLAG_WRAPPING) !== 0,
    revoked: (flags & FLAG_REVOKED) !== 0,
    createdMs: Number(bytes.readBigUInt64BE(4)),
    expiresMs: Number(bytes.readBigUInt64BE(12)),
    uses: bytes.readUInt32BE(20),
    parentId: parent === NO_ID ? undefined : parent,
    mountId: bytes.toString('hex', 40, 56),
    policies,
    ...rest,
  };
}

type RestOfToken = Pick<
  TokenRecord,
  | 'accessor'
  | 'displayName'
  | 'metadata'
  | 'path'
  | 'creationTtl'
  | 'explicitMaxTtl'
  | 'period'
  | 'renewable'
  | 'role'
  | 'issueMs'
  | 'lastRenewalMs'
  | 'boundCidrs'
>;

/** The token as operations see it. @param id in hex */
export function tokenInfo(id: string, token: TokenRecord): TokenInfo {
  return {
    id,
    type: token.type,
    accessor: token.accessor,
    displayName: token.displayName,
    policies: token.policies,
    identityPolicies: [],
    metadata: token.metadata,
    path: token.path,
    creationMs: token.createdMs,
    creationTtl: token.creationTtl,
    expireMs: token.expiresMs,
    explicitMaxTtl: token.explicitMaxTtl,
    period: token.period,
    renewable: token.renewable,
    orphan: token.parentId === undefined,
    parentId: token.parentId,
    // A spent one reads as having no use left, which a caller never sees: core refuses it.
    numUses: token.uses === SPENT ? -1 : token.uses,
    entityId: '',
    role: token.role,
    boundCidrs: token.boundCidrs,
    issueMs: token.issueMs,
    lastRenewalMs: token.lastRenewalMs,
    wrapping: token.wrapping,
  };
}
