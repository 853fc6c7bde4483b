/** Moves an open store into a new file, while it is read and written. */
import { rmSync } from 'node:fs';
import { Fault, isFault } from '../../fault.ts';
import type { MoveStep } from '../../ports/store.ts';
import type { RowKey, Write } from '../transaction.ts';
import { fullFault, meansFull, unavailableFault } from './fault.ts';
import { FreshFile, type FreshOptions, Stopped, Unsettled } from './fresh.ts';
import { type EnvironmentHandle, Pinned } from './reader.ts';
import { finishMove, freshPath, oldPath, wipe } from './wipe.ts';

/** Rows that commits wait for at the end, and how often what was written meanwhile is copied before. */
const LAST_ROWS = 4096;
const PASSES_MAX = 16;

export interface MoveParts extends FreshOptions {
  /** False: the store is closed or broken. */
  readonly goOn: () => boolean;
  /** Resolves when the store is being closed. */
  readonly closing: Promise<void>;
  /** The newest durable state. */
  readonly pinned: () => Pinned;
  readonly written: WrittenKeys;
  /** Runs `work` while no transaction is under way. */
  readonly alone: (work: () => Promise<void>) => Promise<void>;
  /** From now on `handle` is the store. @returns the one before */
  readonly replace: (handle: EnvironmentHandle, pinned: Pinned) => EnvironmentHandle;
  /** Takes no commits from now on. */
  readonly broke: (error: unknown) => void;
}

/** Keys of the rows that transactions wrote since somebody began to ask. */
export class WrittenKeys {
  #keys: Map<string, RowKey> | undefined;

  start(): void {
    this.#keys = new Map();
  }

  stop(): void {
    this.#keys = undefined;
  }

  add(writes: readonly Write[]): void {
    if (this.#keys === undefined) return;
    for (const { key } of writes) this.#keys.set(key.toString('latin1'), key);
  }

  get size(): number {
    return this.#keys?.size ?? 0;
  }

  /** Those since the last `take`. */
  take(): RowKey[] {
    const keys = [...(this.#keys?.values() ?? [])];
    this.#keys?.clear();
    return keys;
  }
}

/** @returns bytes of the old file that were written over @throws Fault `store.full`, `store.unavailable` */
export async function moveStore(parts: MoveParts, told: (step: MoveStep) => void): Promise<number> {
  const { storePath, files, goOn, closing } = parts;
  try {
    await finishMove(storePath, files);
    told('copying');
    const before = await copied(parts);
    rmSync(`${freshPath(storePath)}-lock`, { force: true });
    told('waiting');
    await Promise.race([before.closeWhenFree(), closing]);
    if (!goOn()) throw new Stopped();
    told('overwriting');
    const bytes = await wipe(oldPath(storePath), files, goOn);
    if (bytes === undefined) throw new Stopped();
    return bytes;
  } catch (error) {
    throw asFault(error);
  }
}

function asFault(error: unknown): Fault {
  if (isFault(error)) return error;
  if (error instanceof Stopped) {
    return new Fault(
      'store.unavailable',
      'the store was closed while it moved into a new file: the next start goes on',
    );
  }
  return meansFull(error) ? fullFault(error) : unavailableFault(error);
}

/** @returns the environment whose place was taken */
async function copied(parts: MoveParts): Promise<EnvironmentHandle> {
  const { goOn, written, broke } = parts;
  const fresh = new FreshFile(parts);
  let before: EnvironmentHandle | undefined;
  try {
    const from = parts.pinned();
    from.hold();
    written.start();
    try {
      if (!(await fresh.copy(from, goOn))) throw fullFault(undefined);
    } finally {
      from.release();
    }
    for (let pass = 0; pass < PASSES_MAX && written.size > LAST_ROWS; pass++) await catchUp(parts, fresh);
    await parts.alone(async () => {
      await catchUp(parts, fresh);
      // Whatever can fail comes before the name is moved.
      const pinned = new Pinned(fresh.handle);
      try {
        fresh.publish();
      } catch (error) {
        pinned.release();
        throw error;
      }
      before = parts.replace(fresh.handle, pinned);
    });
  } catch (error) {
    if (error instanceof Unsettled) broke(error.cause);
    else await fresh.discard().catch(() => undefined);
    throw error;
  } finally {
    written.stop();
  }
  if (before === undefined) throw new Stopped();
  return before;
}

/** Rows that were written since, as they are now. */
async function catchUp({ goOn, written, pinned }: MoveParts, fresh: FreshFile): Promise<void> {
  if (!goOn()) throw new Stopped();
  const { base } = pinned();
  const writes = written.take().map((key): Write => {
    const value = base.get(key);
    return { table: 'boot', key, value: value === undefined ? undefined : Buffer.from(value), grows: 0 };
  });
  if (!(await fresh.write(writes))) throw fullFault(undefined);
}
