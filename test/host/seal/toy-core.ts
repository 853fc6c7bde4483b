/**
 * A core for tests of the seal's own steps: the same door, with node:crypto behind it. It keeps rules that the real one
 * has (nothing opens while sealed, what was changed is refused), so that a wrong order of steps fails here too.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { Core, FreshnessState, KeyringChange, KeyringInfo } from '../../../core/types.ts';

class ToyFault extends Error {
  readonly status: string;
  constructor(status: string) {
    super(status);
    this.status = status;
  }
}

function lock(key: Uint8Array, associated: Uint8Array, plain: Uint8Array): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function unlock(key: Uint8Array, associated: Uint8Array, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed);
  if (bytes.length < 28) throw new ToyFault('refused');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(associated);
  decipher.setAuthTag(bytes.subarray(-16));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new ToyFault('refused');
  }
}

const hash = (table: number, key: Uint8Array, value: Uint8Array): bigint => {
  const digest = createHmac('sha256', 'toy')
    .update(Buffer.of(table, key.length))
    .update(key)
    .update(value)
    .digest('hex');
  return BigInt(`0x${digest}`);
};
const MODULUS = 1n << 256n;

interface Ring {
  generation: number;
  rootGeneration: number;
  applianceId: string;
  slots: string;
  key: string;
}

interface Fresh extends FreshnessState {
  readonly keyringGeneration: number;
  readonly rowCount: number;
  readonly fingerprint: string;
}

class Toy {
  #root: Buffer | undefined;
  #ring: Ring | undefined;
  #staged: Ring | undefined;
  #sum = 0n;
  #rows = 0;
  #stagedSum = 0n;
  #stagedRows = 0;
  #verify: { sum: bigint; rows: number; wanted: Fresh } | undefined;

  get sealed(): boolean {
    return this.#ring === undefined;
  }

  #open(): Ring {
    if (this.#ring === undefined) throw new ToyFault('sealed');
    return this.#ring;
  }

  #sealRing(ring: Ring): Buffer {
    if (this.#root === undefined) throw new ToyFault('sealed');
    return lock(this.#root, Buffer.from('ring'), Buffer.from(JSON.stringify(ring)));
  }

  createKeyring(applianceId: Uint8Array): Uint8Array {
    this.#root = randomBytes(32);
    this.#ring = {
      generation: 1,
      rootGeneration: 1,
      applianceId: Buffer.from(applianceId).toString('hex'),
      slots: '',
      key: randomBytes(32).toString('hex'),
    };
    [this.#sum, this.#rows, this.#stagedSum, this.#stagedRows] = [0n, 0, 0n, 0];
    return this.#sealRing(this.#ring);
  }

  #wrapKey(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array): Buffer {
    return Buffer.from(hkdfSync('sha256', dh, Buffer.concat([enc, recipient]), 'toy', 32));
  }

  wrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array): Uint8Array {
    if (this.#root === undefined) throw new ToyFault('sealed');
    return lock(this.#wrapKey(dh, enc, recipient), context, this.#root);
  }

  unwrapRoot(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array, context: Uint8Array, wrapped: Uint8Array): void {
    this.#root = unlock(this.#wrapKey(dh, enc, recipient), context, wrapped);
  }

  openKeyring(row: Uint8Array): KeyringInfo {
    if (this.#root === undefined) throw new ToyFault('sealed');
    this.#ring = JSON.parse(unlock(this.#root, Buffer.from('ring'), row).toString()) as Ring;
    return this.keyringInfo();
  }

  keyringInfo(): KeyringInfo {
    const ring = this.#open();
    return {
      generation: ring.generation,
      rootGeneration: ring.rootGeneration,
      applianceId: Buffer.from(ring.applianceId, 'hex'),
      epoch: 1,
      epochs: [],
      slots: Buffer.from(ring.slots, 'hex'),
    };
  }

  stageKeyring(change: KeyringChange): Uint8Array {
    const ring = this.#open();
    const slots = change.slots === undefined ? ring.slots : Buffer.from(change.slots).toString('hex');
    this.#staged = { ...ring, generation: ring.generation + 1, slots };
    return this.#sealRing(this.#staged);
  }

  adoptStaged(): void {
    this.#ring = this.#staged;
    this.#staged = undefined;
  }

  seal(): void {
    this.#root = undefined;
    this.#ring = undefined;
    this.#verify = undefined;
  }

  systemGrant(): number {
    this.#open();
    return 1;
  }

  endGrant(): void {}

  #rowKey(): Buffer {
    return Buffer.from(this.#open().key, 'hex');
  }

  openTable(_grant: number, table: string, key: Uint8Array, row: Uint8Array): Uint8Array {
    return unlock(this.#rowKey(), Buffer.concat([Buffer.from(table), key]), row);
  }

  sealTable(_grant: number, table: string, key: Uint8Array, payload: Uint8Array): Uint8Array {
    return lock(this.#rowKey(), Buffer.concat([Buffer.from(table), key]), payload);
  }

  blindKey(table: string, name: string): Uint8Array {
    return createHmac('sha256', this.#rowKey()).update(`${table}\0${name}`).digest().subarray(0, 16);
  }

  openFreshness(row: Uint8Array) {
    const fresh = this.#readFreshness(row);
    this.#sum = this.#stagedSum = BigInt(`0x${fresh.fingerprint}`);
    this.#rows = this.#stagedRows = fresh.rowCount;
    return fresh;
  }

  #readFreshness(row: Uint8Array): Fresh {
    const fresh = JSON.parse(unlock(this.#rowKey(), Buffer.from('fresh'), row).toString()) as Fresh;
    return { ...fresh, checkpointRoot: Uint8Array.from(Object.values(fresh.checkpointRoot)) };
  }

  foldChange(table: number, key: Uint8Array, before: Uint8Array | undefined, after: Uint8Array | undefined): void {
    if (before !== undefined) this.#stagedSum -= hash(table, key, before);
    if (after !== undefined) this.#stagedSum += hash(table, key, after);
    this.#stagedSum = ((this.#stagedSum % MODULUS) + MODULUS) % MODULUS;
    this.#stagedRows += (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
  }

  sealFreshness(state: FreshnessState): Uint8Array {
    const fresh = {
      ...state,
      keyringGeneration: this.#open().generation,
      rowCount: this.#stagedRows,
      fingerprint: this.#stagedSum.toString(16),
    };
    return lock(this.#rowKey(), Buffer.from('fresh'), Buffer.from(JSON.stringify(fresh)));
  }

  adoptFreshness(): void {
    [this.#sum, this.#rows] = [this.#stagedSum, this.#stagedRows];
  }

  discardFreshness(): void {
    [this.#stagedSum, this.#stagedRows] = [this.#sum, this.#rows];
  }

  verifyStart(row: Uint8Array): void {
    this.#verify = { sum: 0n, rows: 0, wanted: this.#readFreshness(row) };
  }

  verifyRow(table: number, key: Uint8Array, value: Uint8Array): void {
    if (this.#verify === undefined) throw new ToyFault('argument');
    this.#verify.sum = (this.#verify.sum + hash(table, key, value)) % MODULUS;
    this.#verify.rows++;
  }

  verifyEnd(): boolean {
    const verify = this.#verify;
    if (verify === undefined) throw new ToyFault('argument');
    return verify.rows === verify.wanted.rowCount && verify.sum.toString(16) === verify.wanted.fingerprint;
  }

  /** Not a secret sharing at all: every share is the key and a number, and the threshold is the slot's own check. */
  shamirSplit(secret: Uint8Array, shares: number): Uint8Array[] {
    return Array.from({ length: shares }, (_, at) => Buffer.concat([secret, Buffer.of(at + 1)]));
  }

  shamirCombine(shares: readonly Uint8Array[]): Uint8Array {
    const keys = shares.map((share) => Buffer.from(share.subarray(0, -1)));
    const [first] = keys;
    if (first === undefined) throw new ToyFault('argument');
    return keys.every((key) => key.equals(first)) ? first : createHash('sha256').update(Buffer.concat(keys)).digest();
  }
}

/** What the toy does not have fails as loudly as a missing method does. */
export function toyCore(): Core {
  return new Toy() as unknown as Core;
}
