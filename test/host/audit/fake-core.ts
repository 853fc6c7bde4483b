/** Core's part of the log, written slowly from core/spec/audit.md: for tests of host's part alone. */
import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import type { AuditGroup, CoreStatus } from '../../../core/types.ts';
import { CompactRange, TreeHasher } from '../../../host/audit/tree.ts';
import type { AuditCore } from '../../../host/audit/types.ts';

class FakeCoreFault extends Error {
  readonly status: CoreStatus;

  constructor(status: CoreStatus) {
    super(`core: ${status}`);
    this.status = status;
  }
}

const LEAF_SIZE_MAX = 65_535;
const derive = (key: Uint8Array, info: string): Buffer => Buffer.from(hkdfSync('sha256', key, '', info, 32));

/** Key material of one box: two cores over the same keys read each other's logs. */
export interface FakeKeys {
  readonly hmac: Buffer;
  readonly data: Buffer;
  readonly applianceId: Buffer;
}

export const fakeKeys = (seed: string): FakeKeys => ({
  hmac: createHash('sha256').update(`hmac ${seed}`).digest(),
  data: createHash('sha256').update(`data ${seed}`).digest(),
  applianceId: createHash('md5').update(seed).digest(),
});

export class FakeCore implements AuditCore {
  readonly #keys: FakeKeys;
  readonly #groupBytes: number;
  #lines: Buffer[] = [];
  #pending = 0;
  #seq = 0;
  #range = new CompactRange(new TreeHasher());
  #grants = 0;
  /** Lines as composed, for tests that look at them. */
  readonly written: string[] = [];

  constructor(keys: FakeKeys, groupBytes = 256 * 1024) {
    this.#keys = keys;
    this.#groupBytes = groupBytes;
  }

  get auditPending(): number {
    return this.#pending;
  }

  systemGrant(): number {
    this.#grants += 1;
    return this.#grants;
  }

  endGrant(): void {}

  sha256(data: Uint8Array): Uint8Array {
    return createHash('sha256').update(data).digest();
  }

  auditHmac(accessor: string, value: string | Uint8Array): string {
    const key = derive(this.#keys.hmac, `holdfast/v1/audit-hmac${accessor}`);
    return `hmac-sha256:${createHmac('sha256', key).update(value).digest('hex')}`;
  }

  auditStart(size: number, frontier: Uint8Array): { readonly root: Uint8Array } {
    const roots: Uint8Array[] = [];
    for (let at = 0; at < frontier.length; at += 32) roots.push(frontier.slice(at, at + 32));
    this.#range = new CompactRange(new TreeHasher(), size, roots);
    this.#seq = size;
    this.#lines = [];
    this.#pending = 0;
    return { root: this.#range.root() };
  }

  leaf(_grant: number, phase: 'request' | 'response' | 'note', timeText: string, rest: string): number {
    const [start = '', ...parts] = rest.split('\u0001');
    const open = parts.reduce((text, part) => {
      const [raw = '', after, ...more] = part.split('\u0002');
      if (after === undefined || more.length > 0) throw new FakeCoreFault('argument');
      return `${text}${this.auditHmac('audit_log', raw)}${after}`;
    }, start);
    const text = `{"core":{"seq":${this.#seq},"time":"${timeText}","phase":"${phase}"},${open}`;
    for (const char of text) if (char < ' ') throw new FakeCoreFault('argument');
    const line = Buffer.from(text, 'utf8');
    if (line.length > LEAF_SIZE_MAX) throw new FakeCoreFault('argument');
    if (this.#pending + line.length + 1 > this.#groupBytes) throw new FakeCoreFault('full');
    this.#lines.push(line);
    this.#pending += line.length + 1;
    this.written.push(text);
    this.#seq += 1;
    return this.#seq - 1;
  }

  auditFlush(): AuditGroup | undefined {
    if (this.#lines.length === 0) return undefined;
    const firstSeq = this.#seq - this.#lines.length;
    const hasher = new TreeHasher();
    const hashes = this.#lines.map((line) => Buffer.from(hasher.leaf(line)));
    for (const hash of hashes) this.#range.append(hash);
    const root = this.#range.root();
    const bytes = Buffer.concat([this.#frame(firstSeq), this.#mark(this.#seq, root)]);
    this.#lines = [];
    this.#pending = 0;
    return { bytes, leafHashes: Buffer.concat(hashes), firstSeq, size: this.#seq, root };
  }

  #frame(firstSeq: number): Buffer {
    const plain = Buffer.concat(this.#lines.flatMap((line) => [line, Buffer.from('\n')]));
    const head = Buffer.alloc(20);
    head[0] = 1;
    head[1] = 1;
    head.writeUInt16BE(this.#lines.length, 2);
    head.writeUInt32BE(plain.length + 60, 4);
    head.writeBigUInt64BE(BigInt(firstSeq), 8);
    head.writeUInt32BE(1, 16);
    const nonce = randomBytes(24);
    return Buffer.concat([
      head,
      nonce,
      xchacha20poly1305(this.#keys.data, nonce, this.#frameData(head)).encrypt(plain),
    ]);
  }

  #frameData(head: Uint8Array): Buffer {
    return Buffer.concat([Buffer.from('holdfast/v1/audit-frame'), this.#keys.applianceId, head]);
  }

  #markHmac(head: Uint8Array): Buffer {
    const key = derive(this.#keys.hmac, 'holdfast/v1/audit-mark');
    const data = Buffer.concat([Buffer.from('holdfast/v1/audit-mark'), this.#keys.applianceId, head]);
    return createHmac('sha256', key).update(data).digest();
  }

  #mark(size: number, root: Uint8Array): Buffer {
    const head = Buffer.alloc(48);
    head[0] = 1;
    head[1] = 2;
    head.writeUInt32BE(1, 4);
    head.writeBigUInt64BE(BigInt(size), 8);
    head.set(root, 16);
    return Buffer.concat([head, this.#markHmac(head)]);
  }

  auditMark(bytes: Uint8Array): { readonly size: number; readonly root: Uint8Array } {
    const mark = Buffer.from(bytes);
    if (mark.length !== 80 || !this.#markHmac(mark.subarray(0, 48)).equals(mark.subarray(48))) {
      throw new FakeCoreFault('refused');
    }
    return { size: Number(mark.readBigUInt64BE(8)), root: mark.subarray(16, 48) };
  }

  auditOpenFrame(_grant: number, bytes: Uint8Array): { readonly firstSeq: number; readonly lines: Uint8Array } {
    const frame = Buffer.from(bytes);
    try {
      const cipher = xchacha20poly1305(this.#keys.data, frame.subarray(20, 44), this.#frameData(frame.subarray(0, 20)));
      return { firstSeq: Number(frame.readBigUInt64BE(8)), lines: cipher.decrypt(frame.subarray(44)) };
    } catch {
      throw new FakeCoreFault('refused');
    }
  }
}
