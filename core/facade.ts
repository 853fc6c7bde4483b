/** The facade over core's exports: what core/types.ts promises, byte by byte. */
import { encodeDeclarations, SYSTEM_TABLES } from './declare.ts';
import { KeyCalls } from './key-calls.ts';
import { batchBytes, encodeParameters } from './parameters.ts';
import { parsePeer } from './peer.ts';
import type {
  AuditGroup,
  Begun,
  Capability,
  Core,
  DecideInput,
  Decision,
  Job,
  NameEntry,
  Routed,
  SealedRow,
  SystemTable,
  TypeDeclaration,
  Verdict,
} from './types.ts';
import { coreFault } from './wasm.ts';

/** Key of the one row of table `keyring`, and of table `freshness`. */
export const KEYRING_KEY: Uint8Array = Buffer.from('keyring', 'ascii');
export const FRESHNESS_KEY: Uint8Array = Buffer.from('freshness', 'ascii');

const VERDICTS: readonly Verdict[] = ['token', 'policy', 'allowed', 'needs-parameters'];
const JOBS: readonly Job[] = [
  ...(['boot', 'expiry', 'revocation', 'unmount', 'tidy', 'rotation', 'rewrap', 'audit', 'init', 'lease'] as const),
];
const PHASES = { request: 0, response: 1, note: 2 } as const;
const CAPABILITY_BITS: Readonly<Record<number, Capability>> = {
  2: 'create',
  4: 'read',
  8: 'update',
  16: 'delete',
  32: 'list',
  64: 'sudo',
  128: 'patch',
};
const CAPABILITY_ROOT = 256;
const CAPABILITY_DENY = 1;
const GRANTING_AT = 32 * 1024;
const NONE = -1;

interface MountEntry {
  readonly mountId: Uint8Array;
  readonly mountHex: string;
  readonly mountPath: string;
  readonly type: string;
}

export class Facade extends KeyCalls implements Core {
  /** By core's mount index: what route answers with. */
  readonly #mounts = new Map<number, MountEntry>();
  /** By mount id in hex: what was loaded. */
  readonly #loaded = new Map<string, MountEntry>();

  declare(types: readonly TypeDeclaration[]): void {
    const w = this.wasm.start().bytes(encodeDeclarations(types));
    w.check(w.exports.declare(w.position));
  }

  // keys: key-calls.ts -------------------------------------------------------------------------
  seal(): void {
    this.#mounts.clear();
    this.#loaded.clear();
    if (!this.wasm.dead) this.wasm.exports.seal();
    this.wasm.drained();
  }

  // tables that the gate decides with ----------------------------------------------------------------
  loadMount(key: Uint8Array, row: Uint8Array): void {
    if (key.length !== 16) throw coreFault('argument');
    const w = this.wasm.start().bytes(key).bytes(row);
    w.check(w.exports.loadMount(row.length));
    const payload = Buffer.from(w.out(0, row.length - 45));
    const typeEnd = 19 + (payload[18] ?? 0);
    const pathEnd = typeEnd + 2 + payload.readUInt16BE(typeEnd);
    this.#mounts.clear();
    const mountHex = Buffer.from(key).toString('hex');
    this.#loaded.set(mountHex, {
      mountId: Uint8Array.from(key),
      mountHex,
      type: payload.toString('latin1', 19, typeEnd),
      mountPath: payload.toString('utf8', typeEnd + 2, pathEnd),
    });
  }

  dropMount(mountId: Uint8Array): void {
    const w = this.wasm.start().bytes(mountId);
    w.check(w.exports.dropMount());
    this.#mounts.clear();
    this.#loaded.delete(Buffer.from(mountId).toString('hex'));
  }

  beginPolicies(): void {
    this.wasm.check(this.wasm.exports.beginPolicies());
  }

  addPolicy(key: Uint8Array, row: Uint8Array): void {
    if (key.length !== 16) throw coreFault('argument');
    const w = this.wasm.start().bytes(key).bytes(row);
    w.check(w.exports.addPolicy(row.length));
  }

  commitPolicies(): void {
    this.wasm.check(this.wasm.exports.commitPolicies());
  }

  // a request ------------------------------------------------------------------------------------
  route(path: string): Routed {
    const w = this.wasm.start();
    const length = w.text(path);
    w.check(w.exports.route(length));
    const index = w.result(0);
    const mount = this.#mounts.get(index) ?? this.#enter(index, path);
    const trailingSlash = w.result(2) === 1;
    const end = trailingSlash ? path.length - 1 : path.length;
    const start = Math.min(mount.mountPath.length, end);
    const { mountId, mountHex, mountPath, type } = mount;
    return { mountId, mountHex, mountPath, type, relative: path.slice(start, end), trailingSlash };
  }

  /** Which loaded mount an index of core stands for: the longest whose path the routed one begins with. */
  #enter(index: number, path: string): MountEntry {
    const whole = path.endsWith('/') ? path : `${path}/`;
    let found: MountEntry | undefined;
    for (const entry of this.#loaded.values()) {
      const longer = found === undefined || entry.mountPath.length > found.mountPath.length;
      if (longer && whole.startsWith(entry.mountPath)) found = entry;
    }
    if (found === undefined) throw coreFault('mount');
    this.#mounts.set(index, found);
    return found;
  }

  begin(operation: number, token: string | undefined): Begun {
    const w = this.wasm.start();
    const text = token ?? '';
    const textLength = w.text(text);
    const batch = batchBytes(text);
    if (batch !== undefined) w.bytes(batch);
    w.check(w.exports.begin(operation, textLength, batch?.length ?? 0, batch === undefined ? 0 : 1));
    const given = w.result(0);
    return {
      tokenKey: (given & 1) === 0 ? undefined : w.copy(0, 16),
      existenceKey: (given & 2) === 0 ? undefined : w.copy(16, 16 + w.result(1)),
    };
  }

  decide(input: DecideInput): Decision {
    const w = this.wasm;
    w.start().ready(64);
    const { tokenRow, existenceRow, parameters, peer } = input;
    if (tokenRow !== undefined) w.bytes(tokenRow);
    if (existenceRow !== undefined) w.bytes(existenceRow);
    const encoded = parameters === undefined ? undefined : encodeParameters(parameters);
    if (encoded !== undefined) w.bytes(encoded);
    const address = parsePeer(peer);
    w.bytes(address.bytes);
    w.check(
      w.exports.decide(
        tokenRow?.length ?? NONE,
        existenceRow?.length ?? NONE,
        encoded?.length ?? NONE,
        address.family,
        input.nowMs,
        input.deadlineMs,
        input.wrapTtl,
        input.refuseEnding === true ? 1 : 0,
      ),
    );
    const verdict = VERDICTS[w.result(0)] ?? 'token';
    if (verdict === 'needs-parameters') {
      return { verdict, grant: 0, capability: 'read', isRoot: false, hasSudo: false, lastUse: false, granting: [] };
    }
    const outcome = w.result(4);
    const count = w.result(6);
    const granting = count === 0 ? [] : this.#granting(count);
    return {
      verdict,
      grant: w.result64(2),
      capability: CAPABILITY_BITS[w.result(1)] ?? 'read',
      isRoot: (outcome & 1) !== 0,
      hasSudo: (outcome & 2) !== 0,
      lastUse: (outcome & 8) !== 0,
      granting,
      spentRow: (outcome & 4) === 0 ? undefined : w.copy(0, w.result(5)),
    };
  }

  #granting(count: number): number[] {
    const bytes = this.wasm.out(GRANTING_AT, GRANTING_AT + count * 2);
    const positions: number[] = [];
    for (let at = 0; at < bytes.length; at += 2) positions.push((bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * 256);
    return positions;
  }

  tokenPayload(grant: number): Uint8Array | undefined {
    const w = this.wasm;
    w.check(w.exports.tokenPayload(grant));
    const length = w.result(0);
    return length === 0 ? undefined : w.copy(0, length);
  }

  capabilities(_grant: number, tokenRowPayload: Uint8Array, path: string): string[] {
    const w = this.wasm.start().bytes(tokenRowPayload);
    const length = w.text(path);
    w.check(w.exports.capabilities(tokenRowPayload.length, length));
    const bits = w.result(0);
    if ((bits & CAPABILITY_ROOT) !== 0) return ['root'];
    if ((bits & CAPABILITY_DENY) !== 0) return ['deny'];
    return Object.entries(CAPABILITY_BITS)
      .filter(([bit]) => (bits & Number(bit)) !== 0)
      .map(([, name]) => name)
      .sort((a, b) => (a < b ? -1 : 1));
  }

  systemGrant(job: Job, mountId: Uint8Array | undefined, nowMs: number, deadlineMs: number): number {
    const w = this.wasm.start();
    if (mountId !== undefined) w.bytes(mountId);
    w.check(w.exports.systemGrant(JOBS.indexOf(job), mountId === undefined ? 0 : 1, nowMs, deadlineMs));
    return w.result64(0);
  }

  endGrant(grant: number): void {
    this.wasm.check(this.wasm.exports.finishGrant(grant));
  }

  // inside a grant ---------------------------------------------------------------------------------
  locate(grant: number, path: string, suffix: Uint8Array): Uint8Array {
    const w = this.wasm.start();
    const length = w.text(path);
    w.bytes(suffix);
    w.check(w.exports.locate(grant, length, suffix.length));
    return w.copy(0, 32 + suffix.length);
  }

  open(grant: number, row: Uint8Array): Uint8Array {
    const w = this.wasm.start().bytes(row);
    w.check(w.exports.open(grant, row.length));
    return w.out(0, w.result(0));
  }

  sealRecord(grant: number, path: string, suffix: Uint8Array, payload: Uint8Array): SealedRow {
    const w = this.wasm.start();
    w.ready(64);
    const length = w.text(path);
    w.bytes(suffix).bytes(payload);
    w.check(w.exports.sealRecord(grant, length, suffix.length, payload.length));
    const key = w.copy(0, w.result(0));
    const row = w.copy(40, 40 + w.result(1));
    return w.result(2) === 1 ? { key, row, mustBeAbsent: true } : { key, row };
  }

  locateNames(grant: number, path: string): Uint8Array {
    const w = this.wasm.start();
    w.check(w.exports.locateNames(grant, w.text(path)));
    return w.copy(0, 16);
  }

  openName(grant: number, key: Uint8Array, row: Uint8Array): NameEntry {
    if (key.length !== 32) throw coreFault('argument');
    const w = this.wasm.start().bytes(key).bytes(row);
    w.check(w.exports.openName(grant, row.length));
    return { name: w.outText(0, w.result(0)), directory: w.result(1) === 1 };
  }

  nameKey(grant: number, path: string, directory: boolean): Uint8Array {
    const w = this.wasm.start();
    w.check(w.exports.nameKey(grant, w.text(path), Number(directory)));
    return w.copy(0, 32);
  }

  sealName(grant: number, path: string, directory: boolean): SealedRow {
    const w = this.wasm.start();
    w.ready(64);
    w.check(w.exports.sealName(grant, w.text(path), Number(directory)));
    return { key: w.copy(0, 32), row: w.copy(40, 40 + w.result(0)) };
  }

  openTable(grant: number, table: SystemTable, key: Uint8Array, row: Uint8Array): Uint8Array {
    const w = this.wasm.start().bytes(key).bytes(row);
    w.check(w.exports.openTable(grant, SYSTEM_TABLES[table], key.length, row.length));
    return w.out(0, w.result(0));
  }

  sealTable(grant: number, table: SystemTable, key: Uint8Array, payload: Uint8Array): Uint8Array {
    const w = this.wasm.start();
    w.ready(64);
    w.bytes(key).bytes(payload);
    w.check(w.exports.sealTable(grant, SYSTEM_TABLES[table], key.length, payload.length));
    return w.copy(0, w.result(0));
  }

  blindKey(table: SystemTable, name: string): Uint8Array {
    const w = this.wasm.start();
    w.check(w.exports.blindKey(SYSTEM_TABLES[table], w.text(name)));
    return w.copy(0, 16);
  }

  // tokens ------------------------------------------------------------------------------------------
  newToken(grant: number, kind: 'service' | 'recovery'): { readonly text: string; readonly id: Uint8Array } {
    const w = this.wasm.start();
    w.ready(256);
    w.check(w.exports.newToken(grant, kind === 'recovery' ? 1 : 0));
    return { text: w.outLatin1(0, 28), id: w.copy(28, 44) };
  }

  newAccessor(): string {
    const w = this.wasm.start();
    w.ready(256);
    w.check(w.exports.newAccessor());
    return w.outLatin1(0, 24);
  }

  tokenId(text: string): Uint8Array {
    const w = this.wasm.start();
    w.check(w.exports.tokenId(w.text(text)));
    return w.copy(0, 16);
  }

  sealBatchToken(grant: number, payload: Uint8Array): string {
    const w = this.wasm.start();
    w.ready(64);
    w.bytes(payload);
    w.check(w.exports.sealBatchToken(grant, payload.length));
    return `hvb.${Buffer.from(w.out(0, w.result(0))).toString('base64url')}`;
  }

  openBatchToken(grant: number, text: string): Uint8Array {
    const bytes = batchBytes(text) ?? new Uint8Array(0);
    const w = this.wasm.start().bytes(bytes);
    w.check(w.exports.openBatchToken(grant, bytes.length));
    return w.copy(0, w.result(0));
  }

  // audit log -----------------------------------------------------------------------------------------
  auditStart(size: number, frontier: Uint8Array): { readonly root: Uint8Array } {
    const w = this.wasm.start().bytes(frontier);
    w.check(w.exports.auditStart(size, frontier.length));
    return { root: w.copy(0, 32) };
  }

  leaf(grant: number, phase: 'request' | 'response' | 'note', timeText: string, rest: string): number {
    const w = this.wasm.start();
    const timeLength = w.text(timeText);
    const restLength = w.text(rest);
    w.check(w.exports.leaf(grant, PHASES[phase], timeLength, restLength));
    return w.result64(0);
  }

  auditHmac(accessor: string, value: string | Uint8Array): string {
    const w = this.wasm.start();
    const accessorLength = w.text(accessor);
    const length = typeof value === 'string' ? w.text(value) : value.length;
    if (typeof value !== 'string') w.bytes(value);
    w.check(w.exports.auditHmac(accessorLength, length));
    return `hmac-sha256:${w.outHex(0, 32)}`;
  }

  get auditPending(): number {
    return this.wasm.exports.auditPending();
  }

  auditFlush(into?: Uint8Array): AuditGroup | undefined {
    const w = this.wasm.start();
    w.check(w.ready(64).auditFlush());
    const length = w.result(4);
    if (length === 0) return undefined;
    let bytes: Uint8Array;
    if (into === undefined || into.length < length) bytes = w.copy(0, length);
    else {
      bytes = into.subarray(0, length);
      bytes.set(w.out(0, length));
    }
    return {
      bytes,
      leafHashes: w.hashes(w.result(5)),
      firstSeq: w.result64(0),
      size: w.result64(2),
      root: bytes.slice(length - 64, length - 32),
    };
  }

  auditMark(bytes: Uint8Array): { readonly size: number; readonly root: Uint8Array } {
    const w = this.wasm.start().bytes(bytes);
    w.check(w.exports.auditMark(bytes.length));
    return { size: w.result64(0), root: w.copy(0, 32) };
  }

  auditOpenFrame(grant: number, bytes: Uint8Array): { readonly firstSeq: number; readonly lines: Uint8Array } {
    const w = this.wasm.start().bytes(bytes);
    w.check(w.exports.auditOpenFrame(grant, bytes.length));
    return { firstSeq: w.result64(0), lines: w.copy(0, w.result(2)) };
  }
}
