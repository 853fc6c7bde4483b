/** Small files for their owner alone, durable before the next step. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { files } from './files.ts';
import { makeFolder } from './folder.ts';

/**
 * Makes or replaces a file of mode 0600 and its folder of mode 0700: after a power cut the old text is there or the new
 * one, never through a link, never half.
 */
export function writePrivateFile(path: string, text: string | Uint8Array): void {
  const folder = dirname(path);
  makeFolder(folder);
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  const descriptor = openSync(draft, 'wx', 0o600);
  try {
    const bytes = typeof text === 'string' ? Buffer.from(text, 'utf8') : text;
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(draft, path);
  files.syncFolder(folder);
}

/** Takes a file away that may be there. */
export function removePrivateFile(path: string): void {
  rmSync(path, { force: true });
  files.syncFolder(dirname(path));
}

/** Undefined if there is no such file. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
