/**
 * `holdfast operator diagnose`: what an operator needs when the box does not open. Looks at this machine alone (settings,
 * folders, clock, disk, slots); the command asks the running server besides. Changes nothing, shows no secret.
 */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, loadConfig } from './config.ts';
import { Fault, isFault } from './fault.ts';
import type { Finding } from './ports/appliance.ts';
import type { Environment } from './ports/environment.ts';
import type { SealSlot } from './ports/seal-slot.ts';
import type { Reader, Store } from './ports/store.ts';
import { readComplete, readSealMark } from './seal/rows.ts';
import type { SlotRow } from './seal/slot-format.ts';
import { proveSlot, readSlots, weakest } from './seal/slots.ts';
import { openLmdbStore } from './store/lmdb/open.ts';
import { dateOf, type SystemClock } from './system/clock.ts';
import { files } from './system/files.ts';
import { lockFolder } from './system/lock.ts';

export interface DiagnoseParts {
  readonly version: string;
  readonly clock: SystemClock;
  /** Before this the wall clock is wrong. */
  readonly builtMs: number;
  /** Adapters of devices and key files, as the server would make them. */
  readonly devices: (config: Config, store: Store) => { readonly slots: readonly SealSlot[] };
}

/** Less than this, and writes will soon be refused. */
const FREE_BYTES_LOW = 64 * 1024 * 1024;

const why = (error: unknown): string => (error instanceof Error ? error.message : 'it failed');

/** @returns what was found, in the order in which it stops a box from opening */
export async function diagnose(environment: Environment, parts: DiagnoseParts): Promise<readonly Finding[]> {
  const found: Finding[] = [
    { state: 'ok', what: 'program', sentence: `holdfast ${parts.version}, Node ${process.version}` },
  ];
  let config: Config;
  try {
    ({ config } = loadConfig({ args: [], variables: environment.variables, workingFolder: process.cwd() }));
    found.push({ state: 'ok', what: 'settings', sentence: `are read from ${config.config}` });
  } catch (error) {
    return [...found, { state: 'bad', what: 'settings', sentence: why(error) }];
  }
  found.push(clockOf(parts), ...foldersOf(config));
  if (existsSync(join(config.data, 'store.mdb'))) found.push(...(await storeOf(config, parts)));
  else found.push({ state: 'bad', what: 'store', sentence: `there is none in ${config.data}: no box was made here` });
  return found;
}

function clockOf({ clock, builtMs }: DiagnoseParts): Finding {
  const wall = clock.wallMs();
  const time = `says ${dateOf(wall).toISOString()}`;
  if (wall < builtMs)
    return { state: 'bad', what: 'clock', sentence: `${time}, before this program was built: set it` };
  const steered = clock.synchronised();
  return steered
    ? { state: 'ok', what: 'clock', sentence: `${time}; NTP holds it` }
    : { state: 'note', what: 'clock', sentence: `${time}; nothing holds it (see time.trust)` };
}

function foldersOf(config: Config): Finding[] {
  return (['data', 'config'] as const).map((name): Finding => {
    const folder = config[name];
    const what = name === 'data' ? 'data folder' : 'configuration folder';
    try {
      const { mode, uid } = statSync(folder);
      const { bavail, bsize } = statfsSync(folder);
      const free = `${folder}, ${Math.floor((bavail * bsize) / (1024 * 1024))} MiB free`;
      if (process.getuid?.() !== uid)
        return { state: 'bad', what, sentence: `${folder} belongs to another user than the one who asks` };
      if ((mode & 0o077) !== 0) return { state: 'bad', what, sentence: `${folder} is open to others: make it 0700` };
      if (bavail * bsize < FREE_BYTES_LOW)
        return { state: 'bad', what, sentence: `${free}: writes will be refused, make room` };
      return { state: 'ok', what, sentence: free };
    } catch {
      return { state: 'bad', what, sentence: `${folder} is not there, or this user may not read it` };
    }
  });
}

async function storeOf(config: Config, parts: DiagnoseParts): Promise<Finding[]> {
  let lock: ReturnType<typeof lockFolder>;
  try {
    lock = lockFolder(config.data);
  } catch (error) {
    if (!isFault(error, 'store.locked')) return [{ state: 'bad', what: 'store', sentence: why(error) }];
    return [{ state: 'note', what: 'store', sentence: `${error.message}: its slots are looked at when it is stopped` }];
  }
  /** Table `boot` is not witnessed: the mark of a PIN that is tried is kept as a start would keep it, and nothing else. */
  const refuse = (): never => {
    throw new Fault('store.unavailable', 'nothing is written here');
  };
  try {
    const store = await openLmdbStore({ lock, files, witness: { fold: refuse }, mapBytes: config['store.mapBytes'] });
    try {
      return [...sealOf(store), ...(await slotsOf(store, config, parts))];
    } finally {
      await store.close();
    }
  } catch (error) {
    return [{ state: 'bad', what: 'store', sentence: why(error) }];
  } finally {
    lock.release();
  }
}

function sealOf(store: Reader): Finding[] {
  const complete = readComplete(store);
  if (complete === undefined)
    return [
      {
        state: 'bad',
        what: 'box',
        sentence: 'its initialisation was never finished: start it, and initialise it anew',
      },
    ];
  const made = dateOf(complete.createdMs).toISOString();
  const box: Finding = { state: 'ok', what: 'box', sentence: `made ${made}` };
  if (!readSealMark(store)) return [box];
  return [
    box,
    {
      state: 'bad',
      what: 'seal',
      sentence: 'a person sealed it: it stays shut until recovery shares are given to `holdfast unseal`',
    },
  ];
}

async function slotsOf(store: Store, config: Config, parts: DiagnoseParts): Promise<Finding[]> {
  const slots = readSlots(store);
  const adapters = parts.devices(config, store).slots;
  const found: Finding[] = [];
  let opens = false;
  for (const slot of slots) {
    const finding = await slotOf(slot, config, adapters);
    opens ||= finding.state === 'ok' && slot.header.kind !== 'shamir';
    found.push(finding);
  }
  if (!opens)
    found.push({ state: 'note', what: 'opening', sentence: 'nothing opens this box by itself: it waits for shares' });
  const kind = weakest(slots);
  if (kind !== undefined) found.push({ state: 'note', what: 'weakest way in', sentence: kind });
  return found;
}

async function slotOf(slot: SlotRow, config: Config, adapters: readonly SealSlot[]): Promise<Finding> {
  const { kind, threshold, shares } = slot.header;
  const what = `slot ${kind}`;
  if (!config['seal.allowed'].includes(kind))
    return { state: 'bad', what, sentence: 'is not allowed here (seal.allowed)' };
  if (kind === 'shamir') return { state: 'ok', what, sentence: `${threshold} of ${shares} shares open it` };
  const adapter = adapters.find((one) => one.kind === kind);
  if (adapter === undefined) return { state: 'bad', what, sentence: 'is not configured here (seal.*)' };
  try {
    await proveSlot(adapter, slot, {});
    return { state: 'ok', what, sentence: 'opens it' };
  } catch (error) {
    return { state: 'bad', what, sentence: why(error) };
  }
}
