/** Makes or opens the store of a data folder. */
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import type { Files, FolderLock } from '../../ports/files.ts';
import { type Store, TABLES, type Witness } from '../../ports/store.ts';
import { fullFault, meansFull, unavailableFault } from './fault.ts';
import { checkHeader, rehearse } from './header.ts';
import { LmdbStore } from './lmdb.ts';
import { type Environment, EnvironmentHandle, openEnvironment } from './reader.ts';
import { Space } from './space.ts';
import { finishMove } from './wipe.ts';

const MEBIBYTE = 1024 * 1024;
/** LMDB's lock file: its head and 126 readers of 64 bytes, in whole pages. */
const LOCK_BYTES = 12_288;

/** The format that this program writes, and the newest that it reads. */
export const FORMAT_VERSION = 1;
/** Row of table `boot` that holds the format version: 4 bytes, big-endian. */
const FORMAT_KEY = Buffer.concat([Buffer.of(TABLES.boot), Buffer.from('format', 'ascii')]);

export interface LmdbStoreOptions {
  /** The data folder; the lock proves that this process alone holds it. */
  readonly lock: FolderLock;
  readonly files: Files;
  readonly witness: Witness;
  /** First size of the map in bytes (default 64 MiB); it grows by itself. */
  readonly mapBytes?: number;
  /** Space kept back for urgent batches (default 8 MiB); 0 keeps none. */
  readonly ballastBytes?: number;
}

/**
 * Opens the store in the locked folder; makes it where there is none. Files are 0600, the folder 0700.
 *
 * @throws Fault `store.version` a newer program wrote it
 * @throws Fault `store.unavailable` the file is not a store, or cannot be read or made
 * @throws Fault `store.full` there is no room to make it
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<Store> {
  const { lock, files, witness, mapBytes = 64 * MEBIBYTE, ballastBytes = 8 * MEBIBYTE } = options;
  const { folder } = lock;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const path = join(folder, 'store.mdb');
  await finishMove(path, files);
  if (!existsSync(path)) await make(folder, path, files);
  reserveLock(path, files);
  const environment = tryOpen(path, mapBytes);
  const version = readVersion(environment);
  if (version === undefined || version > FORMAT_VERSION) {
    await environment.close();
    if (version === undefined) throw new Fault('store.unavailable', 'the store has no format version: it is damaged');
    throw new Fault(
      'store.version',
      `the store has format ${version}, this program reads up to ${FORMAT_VERSION}: install the newer program`,
    );
  }
  const handle = new EnvironmentHandle(environment);
  const probePath = join(folder, 'probe');
  try {
    return new LmdbStore({
      ...{ handle, witness, files, probePath },
      storePath: path,
      space: (usedBytes) =>
        new Space({
          ...{ files, storePath: path, ballastPath: join(folder, 'ballast'), probePath, ballastBytes, usedBytes },
        }),
      make(fresh) {
        rehearse(`${fresh}-rehearsal`, files);
        return tryOpen(fresh, mapBytes);
      },
    });
  } catch (error) {
    await handle.close();
    throw unavailableFault(error);
  }
}

/** Under another name first: a power cut on the way leaves no store rather than half a store. */
async function make(folder: string, path: string, files: Files): Promise<void> {
  const draft = `${path}.new`;
  for (const name of [draft, `${draft}-lock`]) rmSync(name, { force: true });
  const version = Buffer.alloc(4);
  version.writeUInt32BE(FORMAT_VERSION);
  try {
    rehearse(`${draft}-rehearsal`, files);
    const environment = tryOpen(draft, MEBIBYTE);
    // No value is returned: a promise would make lmdb-js wait for it, and the lock with it.
    environment.transactionSync(() => {
      environment.put(FORMAT_KEY, version);
    });
    await environment.close();
    renameSync(draft, path);
    rmSync(`${draft}-lock`, { force: true });
    files.syncFolder(folder);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw meansFull(error) ? fullFault(error) : unavailableFault(error);
  }
}

/** LMDB's table of readers is written through a map: a page of it that finds no room would end the process (SIGBUS). */
function reserveLock(path: string, files: Files): void {
  try {
    files.reserve(`${path}-lock`, LOCK_BYTES);
  } catch (error) {
    throw meansFull(error) ? fullFault(error) : unavailableFault(error);
  }
}

function tryOpen(path: string, mapBytes: number): Environment {
  try {
    if (existsSync(path)) checkHeader(path);
    return openEnvironment(path, mapBytes);
  } catch (error) {
    throw new Fault('store.unavailable', 'the store cannot be opened: the file is damaged or cannot be read', {
      cause: error,
    });
  }
}

function readVersion(environment: Environment): number | undefined {
  const bytes = environment.getBinary(FORMAT_KEY);
  return bytes?.length === 4 ? bytes.readUInt32BE(0) : undefined;
}
