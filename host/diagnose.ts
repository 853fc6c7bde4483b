/**
 * `holdfast operator diagnose`: what an operator needs when the box does not open. Looks at this machine alone (settings,
 * folders, clock, disk, slots); the command asks the running server besides. Changes nothing, shows no secret.
 */
import { existsSync, statfsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Core } from '../core/types.ts';
import { findingsOf } from './cli/ways.ts';
import { type Config, loadConfig } from './config.ts';
import { Fault, isFault } from './fault.ts';
import type { Finding } from './ports/appliance.ts';
import type { CounterDevice } from './ports/counter.ts';
import type { Environment } from './ports/environment.ts';
import type { LockoutDevice } from './ports/lockout.ts';
import type { SealSlot } from './ports/seal-slot.ts';
import type { Reader, Store } from './ports/store.ts';
import { ACCEPT, type CounterFinding, Counters, disagreement } from './seal/counters.ts';
import { MORE } from './seal/founding.ts';
import { Freshness } from './seal/freshness.ts';
import { Openers } from './seal/openers.ts';
import { holdsMore, KEYRING_KEY, readComplete, readSealMark } from './seal/rows.ts';
import { openSlot, readSlots, weakest } from './seal/slots.ts';
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
  readonly devices: (
    config: Config,
    store: Pick<Store, 'get' | 'range' | 'commit'>,
  ) => {
    readonly slots: readonly SealSlot[];
    readonly counters: readonly CounterDevice[];
    readonly lockout?: LockoutDevice;
  };
  /** A core of its own: what it opens is sealed again at once. */
  readonly core: () => Core;
}

/** Less than this, and writes will soon be refused. */
const FREE_BYTES_LOW = 64 * 1024 * 1024;

const why = (error: unknown): string => (error instanceof Error ? error.message : 'it failed');

/** @returns what was found, in the order in which it stops a box from opening */
export async function diagnose(environment: Environment, parts: DiagnoseParts): Promise<readonly Finding[]> {
  const found: Finding[] = [
    {
      state: 'ok',
      what: 'program',
      sentence: `holdfast ${parts.version}, Node ${process.version}, Linux ${release()}`,
    },
  ];
  let config: Config;
  try {
    ({ config } = loadConfig({ args: [], variables: environment.variables, workingFolder: process.cwd() }));
    found.push({
      state: 'ok',
      what: 'settings',
      sentence: `profile ${config.profile}, holdfast.json in ${config.config}`,
    });
  } catch (error) {
    return [...found, { state: 'bad', what: 'settings', sentence: why(error) }];
  }
  found.push(clockOf(config, parts), ...foldersOf(config), ...(await tpmOf(config, parts)));
  if (existsSync(join(config.data, 'store.mdb'))) found.push(...(await storeOf(config, parts)));
  else found.push({ state: 'bad', what: 'store', sentence: `there is none in ${config.data}: no box was made here` });
  return found;
}

function clockOf(config: Config, { clock, builtMs }: DiagnoseParts): Finding {
  const wall = clock.wallMs();
  const time = `says ${dateOf(wall).toISOString()}`;
  if (wall < builtMs)
    return { state: 'bad', what: 'clock', sentence: `${time}, before this program was built: set it` };
  const steered = clock.synchronised();
  if (steered) return { state: 'ok', what: 'clock', sentence: `${time}; NTP holds it` };
  return {
    state: 'note',
    what: 'clock',
    sentence:
      config['time.trust'] === 'synced'
        ? `${time}; nothing holds it, and time.trust asks for that (until then no credential is made, and tokens that have an expiry are honoured for one hour): let chrony or systemd-timesyncd hold it (systemd/clock.conf), or give your word: \`holdfast operator clock -confirm\``
        : `${time}; nothing holds it (time.trust is kernel: it is believed while it is plausible)`,
  };
}

/** The TPM itself, where a slot of it is made or allowed: whether it answers, and whether wrong PINs have locked it. */
async function tpmOf(config: Config, parts: DiagnoseParts): Promise<Finding[]> {
  const nothing = { get: () => undefined, range: () => [].values(), commit: async () => undefined };
  const { lockout } = parts.devices(config, nothing);
  if (lockout === undefined) return [];
  const what = 'tpm';
  try {
    const { failures, failuresMax, intervalS, authSet } = await lockout.state();
    const counted = `${failures} of ${failuresMax} wrong PINs are counted, one is forgiven in ${intervalS} seconds`;
    if (failures < failuresMax || failuresMax === 0)
      return [
        {
          state: 'ok',
          what,
          sentence: `answers; ${counted}${authSet ? '' : '; its lockout authorisation is not set'}`,
        },
      ];
    const sentence = `is locked out: ${counted}. Slots without a PIN open; for the others wait, or open the box by its shares and run \`holdfast operator tpm -reset-lockout\``;
    return [{ state: 'bad', what, sentence }];
  } catch (error) {
    // Where the profile makes no slot of it, it is nobody's trouble; a slot that is there all the same says it by itself.
    return config['seal.initial'].includes('tpm2') ? [{ state: 'bad', what, sentence: why(error) }] : [];
  }
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
        sentence: holdsMore(store)
          ? `rolled back: ${MORE}`
          : 'its initialisation was never finished: start it, and initialise it anew',
      },
    ];
  const made = dateOf(complete.createdMs).toISOString();
  return [{ state: 'ok', what: 'box', sentence: `made ${made}` }];
}

async function slotsOf(store: Store, config: Config, parts: DiagnoseParts): Promise<Finding[]> {
  const slots = readSlots(store);
  const devices = parts.devices(config, store);
  const openers = new Openers(devices.slots, config['seal.allowed']);
  let counted: readonly Finding[] | undefined;
  for (const { slot, adapter } of openers.alone(slots)) {
    const core = parts.core();
    try {
      await openSlot(core, adapter, slot, {});
      counted ??= await countersOf(store, core, devices.counters, parts.clock);
    } catch (error) {
      openers.failed(slot, error);
    } finally {
      if (!core.sealed) core.seal();
    }
  }
  const barred = counted?.some(({ state }) => state === 'bad') === true;
  const ways = findingsOf(openers.ways(slots), { sealed: true, marked: readSealMark(store), tried: true, barred });
  const unread: Finding = {
    state: 'note',
    what: 'counter',
    sentence:
      'is not looked at here, for no slot gave the key without a person: start the server and unseal it, and what disagrees is said then',
  };
  const found = [...ways, ...(counted ?? [unread])];
  const kind = weakest(slots);
  return kind === undefined ? [...found] : [...found, { state: 'note', what: 'weakest way in', sentence: kind }];
}

/** Each counter beside what the store says of it; nothing is raised. @param core  has the root key */
async function countersOf(
  store: Store,
  core: Core,
  devices: readonly CounterDevice[],
  clock: SystemClock,
): Promise<readonly Finding[]> {
  const what = 'counter';
  try {
    const ring = store.get('keyring', KEYRING_KEY);
    if (ring === undefined) return [{ state: 'bad', what, sentence: 'rolled back: the store has no keyring' }];
    core.openKeyring(Buffer.from(ring));
    const lease = { nowMs: () => 0 };
    const freshness = new Freshness(core, lease);
    freshness.resume(store);
    const found = await new Counters({ core, store, freshness, clock, lease, devices, intervalMs: 0 }).look();
    if (found.length === 0)
      return [{ state: 'note', what, sentence: 'there is none outside the disk: an old disk is not noticed' }];
    return found.map((one) => counterOf(one, devices.find(({ kind }) => kind === one.kind)?.advisory === true));
  } catch (error) {
    const sentence = isFault(error) ? error.message : 'rolled back: the keyring and its rows are of different times';
    return [{ state: 'bad', what, sentence }];
  }
}

function counterOf(one: CounterFinding, advisory: boolean): Finding {
  const { kind, stored, found } = one;
  const what = `counter ${kind}`;
  const behind = found === undefined || stored === undefined ? undefined : BigInt(stored) - found;
  if (behind === 0n)
    return { state: 'ok', what, sentence: `is at ${found}, as the store says${advisory ? ' (advisory)' : ''}` };
  if (behind === 1n) {
    const sentence = `is at ${found}, one behind the store: a power cut, made good at the next start`;
    return { state: 'note', what, sentence };
  }
  const next = `put the newest disk and its device back; if they are lost: \`${ACCEPT}\``;
  return { state: 'bad', what, sentence: `rolled back: ${disagreement(one)}; ${next}` };
}
