/**
 * Looks at a file before LMDB does. Where LMDB cannot open or begin a file, lmdb-js frees its own notes twice and may end
 * the process: a damaged store, or a disk that is full or gone, must be met here, where there is a sentence for it.
 */
import { closeSync, constants, fdatasyncSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import type { Files } from '../../ports/files.ts';

/** mdb.c: each of the first two pages has 24 bytes of head with flags at 18; then magic, version, and the page size at 48. */
const HEAD_SIZE = 64;
const FLAGS_AT = 18;
const IS_ROOT = 8;
const MAGIC_AT = 24;
const MAGIC = 0xbeef_c0de;
const VERSION_AT = 28;
const VERSION = 2;
const PAGE_SIZE_AT = 48;

/** Bytes that LMDB writes for an empty store, generously. */
const BEGINNING_BYTES = 65_536;

/** @throws Error with the reason if LMDB would not open the file */
export function checkHeader(path: string): void {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('it is no file');
    const first = checkRoot(descriptor, 0);
    const pageSize = first.readUInt32LE(PAGE_SIZE_AT);
    if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0)
      throw new Error('its page size is none');
    checkRoot(descriptor, pageSize);
  } finally {
    closeSync(descriptor);
  }
}

function checkRoot(descriptor: number, at: number): Buffer {
  const head = Buffer.alloc(HEAD_SIZE);
  if (readSync(descriptor, head, 0, HEAD_SIZE, at) !== HEAD_SIZE) throw new Error('it is too short');
  const isRoot = (head.readUInt16LE(FLAGS_AT) & IS_ROOT) !== 0;
  const isOurs = head.readUInt32LE(MAGIC_AT) === MAGIC && head.readUInt16LE(VERSION_AT) === VERSION;
  if (!isRoot || !isOurs) throw new Error(`there is no root page at ${at}`);
  return head;
}

/**
 * Writes as much as LMDB will write to begin a store, to a file of this name that it removes again.
 *
 * @throws the system's error if that cannot be done
 */
export function rehearse(path: string, files: Files): void {
  try {
    files.reserve(path, BEGINNING_BYTES);
    const descriptor = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
    try {
      writeSync(descriptor, Buffer.alloc(BEGINNING_BYTES), 0, BEGINNING_BYTES, 0);
      fdatasyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } finally {
    rmSync(path, { force: true });
  }
}
