/** Who signs checkpoints: an Ed25519 key that lies sealed in a record, its generations, and what else the log keeps there. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Fault } from '../fault.ts';
import type { ValueMap } from '../ports/value.ts';
import { checkpointText, encodeVerifierKey, rawPublicKey, signNote, type VerifierKey, verifierKey } from './note.ts';
import type { AuditRecord } from './types.ts';

const VERSION = 1;
const GENERATION_COUNT_MAX = 256;

interface Generation {
  readonly generation: number;
  /** Raw public key, base64. */
  readonly publicKey: string;
  /** Size of the log when it came. */
  readonly fromSize: number;
}

interface State {
  /** Number of the log: an archived one is followed by the next, under its own origin. */
  readonly log: number;
  readonly generations: readonly Generation[];
  /** Private key of the newest generation, JWK `d`. */
  readonly seed: string;
  /** Generation of the root key that the newest key came with; 0: a record from before it was kept. */
  readonly rootGeneration: number;
  /** Leaves below this were confirmed by an export. */
  readonly exportedTo: number;
  /** Leaves below this may be missing: their segments were pruned. */
  readonly prunedTo: number;
}

interface Signer {
  readonly key: VerifierKey;
  readonly privateKey: KeyObject;
}

/** `holdfast/<appliance id>`; a log that follows an archived one has its number behind it, so that no origin forks. */
const originOf = (applianceId: Uint8Array, log: number): string =>
  `holdfast/${Buffer.from(applianceId).toString('hex')}${log === 1 ? '' : `/${log}`}`;

function newKey(): { readonly seed: string; readonly publicKey: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const jwk = privateKey.export({ format: 'jwk' });
  return { seed: jwk.d ?? '', publicKey: Buffer.from(rawPublicKey(privateKey)).toString('base64') };
}

function privateKeyOf(seed: string, publicKey: string): KeyObject {
  const x = Buffer.from(publicKey, 'base64').toString('base64url');
  return createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d: seed, x }, format: 'jwk' });
}

function parseState(value: ValueMap): State {
  const { version, log, generations, seed, rootGeneration = 0, exportedTo, prunedTo } = value;
  if (version !== VERSION || typeof log !== 'number' || typeof seed !== 'string' || !Array.isArray(generations)) {
    throw new Fault('audit.corrupt', 'the record of the audit log is of a later version');
  }
  return {
    log,
    seed,
    generations: generations as unknown as readonly Generation[],
    rootGeneration: Number(rootGeneration),
    exportedTo: Number(exportedTo),
    prunedTo: Number(prunedTo),
  };
}

export class Signing {
  readonly #applianceId: Uint8Array;
  readonly #record: AuditRecord;
  #state: State;
  #signer: Signer;

  private constructor(applianceId: Uint8Array, record: AuditRecord, state: State) {
    this.#applianceId = applianceId;
    this.#record = record;
    this.#state = state;
    this.#signer = this.#signerOf(state);
  }

  /** Opens what lies sealed, or makes the first key. @param rootGeneration  of the root key now */
  static async open(applianceId: Uint8Array, record: AuditRecord, rootGeneration: number): Promise<Signing> {
    const held = await record.load();
    if (held === undefined) return Signing.begin(applianceId, record, rootGeneration);
    return new Signing(applianceId, record, parseState(held));
  }

  /** The first key of the first log of an appliance; whatever lies sealed is replaced. */
  static async begin(applianceId: Uint8Array, record: AuditRecord, rootGeneration: number): Promise<Signing> {
    const { seed, publicKey } = newKey();
    const generations = [{ generation: 1, publicKey, fromSize: 0 }];
    const first = { log: 1, generations, seed, rootGeneration, exportedTo: 0, prunedTo: 0 };
    const signing = new Signing(applianceId, record, first);
    await signing.#save(signing.#state);
    return signing;
  }

  get origin(): string {
    return originOf(this.#applianceId, this.#state.log);
  }

  get log(): number {
    return this.#state.log;
  }

  /** Generation of the root key that the newest key came with. */
  get rootGeneration(): number {
    return this.#state.rootGeneration;
  }

  get exportedTo(): number {
    return this.#state.exportedTo;
  }

  get prunedTo(): number {
    return this.#state.prunedTo;
  }

  get key(): VerifierKey {
    return this.#signer.key;
  }

  /** Every key that ever signed under this origin, newest first. */
  get keys(): readonly VerifierKey[] {
    return this.#state.generations
      .map(({ publicKey }) => verifierKey(this.origin, Buffer.from(publicKey, 'base64')))
      .reverse();
  }

  /** What a verifier is given, a line a key, newest first. */
  get keyLines(): string {
    return this.keys.map((key) => `${encodeVerifierKey(key)}\n`).join('');
  }

  checkpoint(size: number, root: Uint8Array): string {
    return signNote(checkpointText({ origin: this.origin, size, root }), [this.#signer]);
  }

  /**
   * A new key. The old one signs until the new one is stored, and that comes after the leaf: a cut between the two leaves a
   * leaf of a key that never signed, and no key without its leaf.
   *
   * @param rootGeneration  of the root key that it comes with
   * @param write  puts the note, which both keys signed, into the log; resolves when it is on the medium
   */
  async rotate(size: number, rootGeneration: number, write: (note: string) => Promise<void>): Promise<void> {
    const { seed, publicKey } = newKey();
    const generation = (this.#state.generations.at(-1)?.generation ?? 0) + 1;
    const all = [...this.#state.generations, { generation, publicKey, fromSize: size }];
    const key = { seed, rootGeneration, generations: all.slice(-GENERATION_COUNT_MAX) };
    const signer = this.#signerOf({ ...this.#state, ...key });
    const text = `${this.origin}\naudit key generation ${generation} from size ${size}\n${encodeVerifierKey(signer.key)}\n`;
    await write(signNote(text, [this.#signer, signer]));
    await this.#save({ ...this.#state, ...key });
  }

  /** The next log begins under the next origin. */
  async nextLog(): Promise<void> {
    await this.#save({ ...this.#state, log: this.#state.log + 1, exportedTo: 0, prunedTo: 0 });
  }

  async confirmExport(upTo: number): Promise<void> {
    if (upTo > this.#state.exportedTo) await this.#save({ ...this.#state, exportedTo: upTo });
  }

  async pruned(upTo: number): Promise<void> {
    if (upTo > this.#state.prunedTo) await this.#save({ ...this.#state, prunedTo: upTo });
  }

  async #save(state: State): Promise<void> {
    const { log, generations, seed, rootGeneration, exportedTo, prunedTo } = state;
    const plain = generations.map(({ generation, publicKey, fromSize }) => ({ generation, publicKey, fromSize }));
    await this.#record.save({ version: VERSION, log, generations: plain, seed, rootGeneration, exportedTo, prunedTo });
    this.#state = state;
    this.#signer = this.#signerOf(state);
  }

  #signerOf(state: State): Signer {
    const publicKey = state.generations.at(-1)?.publicKey ?? '';
    const origin = originOf(this.#applianceId, state.log);
    return {
      key: verifierKey(origin, Buffer.from(publicKey, 'base64')),
      privateKey: privateKeyOf(state.seed, publicKey),
    };
  }
}
