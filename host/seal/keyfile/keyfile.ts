/**
 * A slot whose key is derived from a file that the box made, mode 0600, outside the data folder. It opens the box without
 * a person, and whoever can read the file and the disk opens it too.
 */
import { hkdfSync, timingSafeEqual } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { Fault } from '../../fault.ts';
import type { Files } from '../../ports/files.ts';
import type { Random } from '../../ports/random.ts';
import type { CreatedSlot, SealSlot } from '../../ports/seal-slot.ts';
import { Secret } from '../../secret.ts';

const FILE_HEAD = 'holdfast-keyfile-1 ';
const FILE_KEY_SIZE = 32;
/** The head, 32 bytes in base64url, and the line's end. */
const FILE_SIZE = FILE_HEAD.length + 43 + 1;

/** Blob, version 1: version, salt, check value. */
const SALT_SIZE = 32;
const CHECK_SIZE = 16;
const BLOB_SIZE = 1 + SALT_SIZE + CHECK_SIZE;
const KEY_SIZE = 32;

const BY_SHARES = 'open the box by its recovery shares (`holdfast unseal`)';

export interface KeyfileOptions {
  readonly path: string;
  readonly random: Random;
  readonly files: Files;
}

export class KeyfileSlot implements SealSlot {
  readonly kind = 'keyfile';
  readonly automatic = true;
  readonly bindsContext = true;
  readonly #options: KeyfileOptions;

  constructor(options: KeyfileOptions) {
    this.#options = options;
  }

  /** A file that is there is used, never replaced: another box may be opened by it. Each slot has a salt of its own. */
  async create(context: Uint8Array): Promise<CreatedSlot> {
    this.#makeFile();
    using file = this.#readFile();
    const salt = this.#options.random.bytes(SALT_SIZE);
    const { key, check } = derive(file, salt, context);
    return { key, blob: Buffer.concat([Buffer.of(1), salt, check]) };
  }

  async recover(blob: Uint8Array, context: Uint8Array): Promise<Secret> {
    if (blob.length !== BLOB_SIZE || blob[0] !== 1) throw refused();
    using file = this.#readFile();
    const { key, check } = derive(file, blob.subarray(1, 1 + SALT_SIZE), context);
    if (timingSafeEqual(check, blob.subarray(1 + SALT_SIZE))) return key;
    key[Symbol.dispose]();
    throw refused();
  }

  /** All slots of this kind are derived from the one file. */
  async discard(_blob: Uint8Array, kept: readonly Uint8Array[] = []): Promise<void> {
    if (kept.length > 0) return;
    const { path, files } = this.#options;
    try {
      rmSync(path, { force: true });
      files.syncFolder(dirname(path));
    } catch (error) {
      throw unavailable(`the key file ${path} cannot be removed`, error);
    }
  }

  /** Made under another name and linked: a power cut leaves a whole file or none. */
  #makeFile(): void {
    const { path, random, files } = this.#options;
    const folder = dirname(path);
    const draft = `${path}.new`;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      using key = new Secret(random.bytes(FILE_KEY_SIZE));
      using text = new Secret(Buffer.from(`${FILE_HEAD}${Buffer.from(key.bytes).toString('base64url')}\n`, 'latin1'));
      rmSync(draft, { force: true });
      const descriptor = openSync(draft, 'wx', 0o600);
      try {
        writeSync(descriptor, text.bytes);
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      try {
        linkSync(draft, path);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
      rmSync(draft, { force: true });
      files.syncFolder(folder);
    } catch (error) {
      throw unavailable('the key file cannot be made', error);
    }
  }

  #readFile(): Secret {
    const { path } = this.#options;
    let descriptor: number;
    try {
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      throw unavailable(`the key file ${path} cannot be read: put it back, or ${BY_SHARES}`, error);
    }
    try {
      const status = fstatSync(descriptor);
      if (!status.isFile()) throw unavailable(`${path} is not a regular file`);
      if ((status.mode & 0o077) !== 0) {
        throw unavailable(`the key file ${path} is open to other users: make its mode 0600`);
      }
      using text = new Secret(Buffer.alloc(FILE_SIZE + 1));
      const length = readSync(descriptor, text.bytes, 0, FILE_SIZE + 1, 0);
      const key = parseFile(Buffer.from(text.bytes.buffer, text.bytes.byteOffset, length));
      if (key === undefined) throw refused();
      return key;
    } finally {
      closeSync(descriptor);
    }
  }
}

function parseFile(text: Buffer): Secret | undefined {
  if (text.length !== FILE_SIZE || text[FILE_SIZE - 1] !== 0x0a) return undefined;
  if (text.toString('latin1', 0, FILE_HEAD.length) !== FILE_HEAD) return undefined;
  const encoded = text.toString('latin1', FILE_HEAD.length, FILE_SIZE - 1);
  const key = new Secret(Buffer.from(encoded, 'base64url'));
  // Base64 decoding skips what it does not know.
  if (key.length === FILE_KEY_SIZE && Buffer.from(key.bytes).toString('base64url') === encoded) return key;
  key[Symbol.dispose]();
  return undefined;
}

function derive(
  file: Secret,
  salt: Uint8Array,
  context: Uint8Array,
): { readonly key: Secret; readonly check: Uint8Array } {
  const info = Buffer.concat([Buffer.from('holdfast/v1/keyfile', 'ascii'), context]);
  using both = new Secret(new Uint8Array(hkdfSync('sha256', file.bytes, salt, info, KEY_SIZE + CHECK_SIZE)));
  return { key: new Secret(both.bytes.slice(0, KEY_SIZE)), check: both.bytes.slice(KEY_SIZE) };
}

function refused(): Fault {
  return new Fault(
    'slot.refused',
    `the key file is not the one that this slot was made with, or the slot was changed: put the right one back, or ${BY_SHARES}`,
  );
}

function unavailable(sentence: string, cause?: unknown): Fault {
  return new Fault('slot.unavailable', sentence, { cause });
}
