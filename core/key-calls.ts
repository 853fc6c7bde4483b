/** Calls of core about its keys: keyring, fingerprint, and the plain tools that slots need. */
import type { FreshnessInfo, FreshnessState, KeyringChange, KeyringInfo } from './types.ts';
import { coreFault, Wasm, type WasmOptions } from './wasm.ts';

const NONE = -1;

export abstract class KeyCalls {
  protected readonly wasm: Wasm;

  constructor(options: WasmOptions) {
    this.wasm = new Wasm(options);
  }

  // keyring ------------------------------------------------------------------------------------
  get sealed(): boolean {
    return this.wasm.dead || this.wasm.exports.isSealed() !== 0;
  }

  createKeyring(applianceId: Uint8Array, nowMs: number): Uint8Array {
    if (applianceId.length !== 16) throw coreFault('argument');
    const w = this.wasm.start().bytes(applianceId);
    w.check(w.ready(4096).createKeyring(nowMs));
    return w.copy(0, w.result(0));
  }

  #slotInput(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array): Wasm {
    if (dh.length !== 32 || enc.length !== 32 || recipient.length !== 32 || context.length > 4096) {
      throw coreFault('argument');
    }
    return this.wasm.start().bytes(dh).bytes(enc).bytes(recipient).bytes(context);
  }

  wrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array): Uint8Array {
    this.wasm.ready(512);
    const w = this.#slotInput(dh, enc, recipient, context);
    w.check(w.exports.wrapRoot(context.length));
    return w.copy(0, w.result(0));
  }

  unwrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array, wrapped: Uint8Array): void {
    const w = this.#slotInput(dh, enc, recipient, context).bytes(wrapped);
    w.check(w.exports.unwrapRoot(context.length, wrapped.length));
  }

  openKeyring(row: Uint8Array): KeyringInfo {
    const w = this.wasm.start().bytes(row);
    w.check(w.exports.openKeyring(row.length));
    return this.keyringInfo();
  }

  keyringInfo(): KeyringInfo {
    const w = this.wasm;
    w.check(w.exports.keyringInfo());
    const count = w.result(3);
    const out = Buffer.from(w.copy(0, 16 + count * 12 + w.result(4)));
    const epochs = Array.from({ length: count }, (_, i) => ({
      epoch: out.readUInt32BE(16 + i * 12),
      installedMs: Number(out.readBigUInt64BE(20 + i * 12)),
    }));
    return {
      generation: w.result(0),
      rootGeneration: w.result(1),
      applianceId: Uint8Array.from(out.subarray(0, 16)),
      epoch: w.result(2),
      epochs,
      slots: Uint8Array.from(out.subarray(16 + count * 12)),
    };
  }

  stageKeyring(change: KeyringChange): Uint8Array {
    const w = this.wasm.start();
    w.ready(1024);
    const { slots, newEpoch = false, newRoot = false, retireEpoch = 0, applianceId, nowMs } = change;
    if (slots !== undefined) w.bytes(slots);
    const length = slots === undefined ? NONE : slots.length;
    w.check(w.exports.stageKeyring(length, Number(newEpoch), Number(newRoot), retireEpoch, nowMs));
    if (applianceId === undefined) return w.copy(0, w.result(0));
    if (applianceId.length !== 16) throw coreFault('argument');
    w.start().bytes(applianceId);
    w.check(w.exports.nameStaged());
    return w.copy(0, w.result(0));
  }

  adoptStaged(): void {
    this.wasm.check(this.wasm.exports.adoptStaged());
  }

  discardStaged(): void {
    this.wasm.exports.discardStaged();
  }

  // freshness ------------------------------------------------------------------------------------------
  openFreshness(row: Uint8Array): FreshnessInfo {
    const w = this.wasm.start().bytes(row);
    w.check(w.exports.openFreshness(row.length));
    const count = w.result(8);
    const out = Buffer.from(w.copy(0, 32 + count * 24));
    const counters = Array.from({ length: count }, (_, i): [string, number] => {
      const at = 32 + i * 24;
      return [out.toString('hex', at, at + 16), Number(out.readBigUInt64BE(at + 16))];
    });
    return {
      keyringGeneration: w.result(0),
      rowCount: w.result64(2),
      checkpointSize: w.result64(4),
      timeHighWaterMs: w.result64(6),
      checkpointRoot: Uint8Array.from(out.subarray(0, 32)),
      counters: Object.fromEntries(counters),
    };
  }

  foldChange(table: number, key: Uint8Array, before: Uint8Array | undefined, after: Uint8Array | undefined): void {
    const w = this.wasm.start().bytes(key);
    if (before !== undefined) w.bytes(before);
    if (after !== undefined) w.bytes(after);
    w.check(w.exports.foldChange(table, key.length, before?.length ?? NONE, after?.length ?? NONE));
  }

  sealFreshness(state: FreshnessState, withStaged = false): Uint8Array {
    const counters = Object.entries(state.counters);
    const w = this.wasm.start();
    w.ready(64);
    w.bytes(state.checkpointRoot).byte(counters.length);
    for (const [id, count] of counters) w.bytes(Buffer.from(id, 'hex')).u64(count);
    w.check(w.exports.sealFreshness(state.checkpointSize, state.timeHighWaterMs, Number(withStaged)));
    return w.copy(0, w.result(0));
  }

  adoptFreshness(): void {
    this.wasm.exports.adoptFreshness();
  }

  discardFreshness(): void {
    this.wasm.exports.discardFreshness();
  }

  renewStart(): void {
    this.wasm.check(this.wasm.exports.renewStart());
  }

  renewRow(table: number, key: Uint8Array, value: Uint8Array): void {
    const w = this.wasm.start().bytes(key).bytes(value);
    w.check(w.exports.renewRow(table, key.length, value.length));
  }

  reseal(grant: number, table: number, key: Uint8Array, row: Uint8Array): Uint8Array | undefined {
    const w = this.wasm.start();
    w.ready(64);
    w.bytes(key).bytes(row);
    w.check(w.exports.reseal(grant, table, key.length, row.length));
    const length = w.result(0);
    return length === 0 ? undefined : w.copy(0, length);
  }

  verifyStart(row: Uint8Array): void {
    const w = this.wasm.start().bytes(row);
    w.check(w.exports.verifyStart(row.length));
  }

  verifyRow(table: number, key: Uint8Array, value: Uint8Array): void {
    const w = this.wasm.start().bytes(key).bytes(value);
    w.check(w.exports.verifyRow(table, key.length, value.length));
  }

  verifyEnd(): boolean {
    this.wasm.check(this.wasm.exports.verifyEnd());
    return this.wasm.result(0) === 1;
  }

  acceptRows(): void {
    this.wasm.check(this.wasm.exports.acceptRows());
  }

  // plain tools ------------------------------------------------------------------------------------------
  sha256(data: Uint8Array): Uint8Array {
    const w = this.wasm.start().bytes(data);
    w.exports.hash(data.length);
    return w.copy(0, 32);
  }

  shamirSplit(secret: Uint8Array, shares: number, threshold: number): Uint8Array[] {
    const w = this.wasm
      .start()
      .bytes(secret)
      .bytes(this.wasm.random(Math.max(0, threshold - 1) * secret.length));
    w.check(w.exports.shamirSplit(secret.length, shares, threshold));
    const size = secret.length + 1;
    const split = Array.from({ length: shares }, (_, i) => w.copy(i * size, (i + 1) * size));
    w.exports.wipeOut(shares * size);
    return split;
  }

  shamirCombine(shares: readonly Uint8Array[]): Uint8Array {
    const size = shares[0]?.length ?? 0;
    const w = this.wasm.start();
    for (const share of shares) {
      if (share.length !== size) throw coreFault('argument');
      w.bytes(share);
    }
    w.check(w.exports.shamirCombine(size, shares.length));
    const secret = w.copy(0, size - 1);
    w.exports.wipeOut(size);
    return secret;
  }
}
