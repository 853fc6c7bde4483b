/**
 * A slot whose key is encrypted by a key that never leaves a PKCS#11 token: AES-256-GCM where the token has it, else
 * RSA-OAEP (core/spec/pkcs11.md). The module runs in a process of its own, started for each use: one that crashes or
 * hangs costs an error. Each slot has its own key on the token.
 */
import { constants, createPublicKey, publicEncrypt, timingSafeEqual } from 'node:crypto';
import type { Random } from '../../ports/random.ts';
import type { CreatedSlot, Offered, SealSlot } from '../../ports/seal-slot.ts';
import { Secret } from '../../secret.ts';
import { associatedData, checkOf, decodeBlob, encodeBlob, ID_SIZE, IV_SIZE, KEY_SIZE, type SlotBlob } from './blob.ts';
import { CAN } from './constants.ts';
import { type Conversation, Refusal } from './conversation.ts';
import type { Word } from './pin.ts';
import { explain } from './trouble.ts';
import { type Opened, type TokenOptions, TokenUse } from './use.ts';
import { encodeSort, MECHANISM, type Mechanism } from './wire.ts';

export interface Pkcs11Options extends TokenOptions {
  readonly random: Random;
}

export class Pkcs11Slot implements SealSlot {
  readonly kind = 'pkcs11';
  readonly automatic: boolean;
  readonly bindsContext = true;
  readonly #options: Pkcs11Options;
  readonly #token: TokenUse;

  /** @param token  shared with whoever else uses the same token */
  constructor(options: Pkcs11Options, token = new TokenUse(options)) {
    this.#options = options;
    this.#token = token;
    this.automatic = options.pinFile !== undefined;
  }

  /** Makes a key in the token, then opens what it closed: a slot that does not open is not handed out. */
  create(context: Uint8Array, offered: Offered = {}): Promise<CreatedSlot> {
    return this.#token.alone(async () => {
      const use = { word: wordOf(offered, 'command'), offered, write: true };
      /** Keys that open nothing. */
      const left: Uint8Array[] = [];
      try {
        return await this.#token.use(use, async ({ talk, serial, mechanisms }) => {
          if (mechanisms === 0) throw explain('mechanism-missing');
          const id = this.#options.random.bytes(ID_SIZE);
          left.push(id);
          const made = await this.#seal(talk, mechanisms, { id, serial }, context);
          left.pop();
          return made;
        });
      } finally {
        // In a new process, for the module may be what failed. What is reported is the first failure.
        for (const id of left)
          await this.#token.useOnce(use, ({ talk }) => talk.ask('destroy', id)).catch(() => undefined);
      }
    });
  }

  recover(bytes: Uint8Array, context: Uint8Array, offered: Offered): Promise<Secret> {
    return this.#token.alone(async () => {
      const blob = decodeBlob(bytes);
      if (blob === undefined) throw explain('blob-wrong');
      const use = { word: wordOf(offered, 'none'), offered, write: false, serial: blob.serial };
      const open = ({ talk }: Opened): Promise<Secret> => unseal(talk, blob, context);
      try {
        return await this.#token.use(use, open);
      } catch (error) {
        if (!(error instanceof Refusal) || error.trouble !== 'data-refused') throw error;
      }
      // Some modules answer a wrong tag as they answer any failure: once more, in a new process, and if it is
      // refused again, the token proves with other bytes that it works.
      return await this.#token.use(use, async ({ talk }) => {
        try {
          return await unseal(talk, blob, context);
        } catch (error) {
          if (error instanceof Refusal && error.trouble === 'data-refused') {
            await talk.ask('probe', encodeSort(blob.sort), blob.id);
          }
          throw error;
        }
      });
    });
  }

  /** Destroys the slot's key in the token; each slot has its own. */
  discard(bytes: Uint8Array, _kept: readonly Uint8Array[] = [], offered: Offered = {}): Promise<void> {
    return this.#token.alone(async () => {
      const blob = decodeBlob(bytes);
      if (blob === undefined) return;
      const use = { word: wordOf(offered, 'command'), offered, write: true, serial: blob.serial };
      await this.#token.use(use, async ({ talk }) => {
        await talk.ask('destroy', blob.id);
      });
    });
  }

  asksPin(): boolean {
    return !this.automatic;
  }

  async #seal(talk: Conversation, mechanisms: number, made: Made, context: Uint8Array): Promise<CreatedSlot> {
    const key = new Secret(this.#options.random.bytes(KEY_SIZE));
    try {
      const byAes = (mechanisms & CAN.gcm) !== 0;
      const blob = await (byAes ? sealByAes(talk, made, key, context) : sealByRsa(talk, made, key, context));
      return { key, blob: encodeBlob(blob) };
    } catch (error) {
      key[Symbol.dispose]();
      throw error;
    }
  }
}

function wordOf({ pin }: Offered, otherwise: Word): Word {
  return pin === undefined ? otherwise : 'pin';
}

type Made = Pick<SlotBlob, 'id' | 'serial'>;

const OAEP: readonly (readonly [Mechanism, string])[] = [
  ['oaepSha256', 'sha256'],
  ['oaepSha1', 'sha1'],
];

async function sealByAes(talk: Conversation, made: Made, key: Secret, context: Uint8Array): Promise<SlotBlob> {
  const [local] = await talk.ask('generate', Buffer.of(MECHANISM.gcm), made.id);
  const sort = { mechanism: 'gcm', local: local?.[0] === 1 } as const;
  const head = { sort, ...made };
  const [iv, ciphertext] = await talk.ask(
    'encrypt',
    encodeSort(sort),
    made.id,
    associatedData(head, context),
    key.bytes,
  );
  if (iv?.length !== IV_SIZE || ciphertext === undefined) throw explain('mechanism-missing');
  const blob = { ...head, check: checkOf(key.bytes, head, context), iv, ciphertext };
  await proveOpens(talk, blob, key, context);
  return blob;
}

/** The token makes the pair; the box encrypts to it. Tokens differ in the hash they take: the better one first. */
async function sealByRsa(talk: Conversation, made: Made, key: Secret, context: Uint8Array): Promise<SlotBlob> {
  const [local, modulus, exponent] = await talk.ask('generate', Buffer.of(MECHANISM.oaepSha256), made.id);
  if (modulus === undefined || exponent === undefined) throw explain('token-failed');
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: exponent.toString('base64url') };
  const recipient = createPublicKey({ key: jwk, format: 'jwk' });
  let last: unknown;
  for (const [mechanism, oaepHash] of OAEP) {
    const head = { sort: { mechanism, local: local?.[0] === 1 }, ...made };
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const ciphertext = publicEncrypt({ key: recipient, padding, oaepHash }, key.bytes);
    const blob = { ...head, check: checkOf(key.bytes, head, context), iv: Buffer.alloc(0), ciphertext };
    try {
      await proveOpens(talk, blob, key, context);
      return blob;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      last = error;
    }
  }
  throw last;
}

async function unseal(talk: Conversation, blob: SlotBlob, context: Uint8Array): Promise<Secret> {
  const { sort, id, iv, ciphertext } = blob;
  const associated = sort.mechanism === 'gcm' ? associatedData(blob, context) : Buffer.alloc(0);
  const [plain] = await talk.ask('decrypt', encodeSort(sort), id, associated, iv, ciphertext);
  const key = new Secret(plain ?? Buffer.alloc(0));
  if (key.length === KEY_SIZE && timingSafeEqual(checkOf(key.bytes, blob, context), blob.check)) return key;
  key[Symbol.dispose]();
  throw explain('blob-wrong');
}

async function proveOpens(talk: Conversation, blob: SlotBlob, key: Secret, context: Uint8Array): Promise<void> {
  using again = await unseal(talk, blob, context);
  if (!timingSafeEqual(again.bytes, key.bytes)) throw explain('token-failed');
}
