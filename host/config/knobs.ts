/** Every knob: its key, its type and its bounds. A key that is not here is refused. */
import { Fault } from '../fault.ts';
import type { SlotKind } from '../ports/seal-slot.ts';
import type { Value } from '../ports/value.ts';
import { type Listen, parseListen } from './listen.ts';

/** Reads one value; its sentence goes behind the key's name: "must be …". */
interface Knob<T> {
  readonly read: (value: Value) => T | undefined;
  readonly must: string;
}

const whole = (min: number, max: number): Knob<number> => ({
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  must: `must be a whole number from ${min} to ${max}`,
});

const flag = (): Knob<boolean> => ({
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  must: 'must be true or false',
});

const choice = <const T extends string>(...values: readonly T[]): Knob<T> => ({
  read: (value) => values.find((one) => one === value),
  must: `must be ${values.map((one) => JSON.stringify(one)).join(' or ')}`,
});

const PATH_SIZE_MAX = 4096;
/** An absolute path; '' stands for none. */
const path = (): Knob<string> => ({
  read: (value) =>
    typeof value === 'string' &&
    (value === '' || value.startsWith('/')) &&
    !value.includes('\0') &&
    value.length <= PATH_SIZE_MAX
      ? value
      : undefined,
  must: 'must be an absolute path',
});

const list = <T>(most: number, must: string, read: (value: Value) => T | undefined): Knob<readonly T[]> => ({
  read: (value) => {
    if (!Array.isArray(value) || value.length < 1 || value.length > most) return undefined;
    const items: T[] = [];
    for (const item of value as readonly Value[]) {
      const one = read(item);
      if (one === undefined) return undefined;
      items.push(one);
    }
    return Object.freeze(items);
  },
  must: `must be a list of 1 to ${most} ${must}`,
});

const SLOT_KINDS: readonly SlotKind[] = ['tpm2', 'pkcs11', 'shamir', 'keyfile'];
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;

export const KNOBS = {
  /** TCP addresses and unix sockets. */
  listen: list<Listen>(
    16,
    'addresses: HOST:PORT with an IP address or localhost, or unix:/PATH of at most 107 bytes',
    (value) => (typeof value === 'string' ? parseListen(value) : undefined),
  ),
  /** Folder of the store and the audit log; '': below $XDG_STATE_HOME. */
  data: path(),
  /** Folder of root token, authority and key file; '': below $XDG_CONFIG_HOME. */
  config: path(),
  'tls.mode': choice('on', 'off'),
  /** Own certificate (chain) and key, PEM; both or none. */
  'tls.certificateFile': path(),
  'tls.keyFile': path(),
  /** Kinds of slots that may open the box. */
  'seal.allowed': list(SLOT_KINDS.length, `of ${SLOT_KINDS.join(', ')}`, (value) =>
    SLOT_KINDS.find((kind) => kind === value),
  ),
  /** Whether rekey and generate-root are answered: they need no token, only the recovery shares. */
  'seal.ceremonies': choice('off', 'on'),
  /** What makes the wall clock believed (host/system/lease-time.ts). */
  'time.trust': choice('kernel', 'synced'),
  /** `always`: an answer leaves when its leaf is durable. `interval`: up to `syncIntervalMs` of reads may be unlogged. */
  'audit.sync': choice('always', 'interval'),
  'audit.syncIntervalMs': whole(1, 10_000),
  /** How often the newest checkpoint and the time are recorded in the store while the log grows. */
  'freshness.heartbeatMs': whole(1000, MINUTE_MS),
  /** Writes are counted by the counters outside the disk at most so often: what was written since can be rolled back. */
  'freshness.intervalMs': whole(1000, DAY_MS),
  /** First size of the store's map; it grows by itself. */
  'store.mapBytes': whole(MIB, 1024 * 1024 * MIB),
  /** TTL of tokens and leases that ask for none, and the longest that a mount without its own limit gives. */
  'leases.defaultTtlMs': whole(1000, 3650 * DAY_MS),
  'leases.maxTtlMs': whole(1000, 3650 * DAY_MS),
  'limits.bodyBytesMax': whole(1024, 64 * MIB),
  'limits.connectionCountMax': whole(1, 65_536),
  'limits.inFlightCountMax': whole(1, 65_536),
  'limits.headersTimeoutMs': whole(100, 10 * MINUTE_MS),
  'limits.requestTimeoutMs': whole(100, 60 * MINUTE_MS),
  'limits.idleTimeoutMs': whole(100, 60 * MINUTE_MS),
  /** How long a stop waits for requests under way. */
  'limits.drainMs': whole(0, 10 * MINUTE_MS),
  /** Leaves core dumps and debuggers on: keys can be read from them. */
  'debug.coreDumps': flag(),
} as const satisfies Record<string, Knob<unknown>>;

export type Key = keyof typeof KNOBS;
type Read<K extends Key> = (typeof KNOBS)[K] extends Knob<infer T> ? T : never;
export type Settings = { readonly [K in Key]: Read<K> };

/** Keys that are sections: `{"audit": {"sync": "always"}}`. */
const SECTIONS = new Set(
  Object.keys(KNOBS)
    .filter((key) => key.includes('.'))
    .map((key) => key.slice(0, key.indexOf('.'))),
);

const isKey = (key: string): key is Key => Object.hasOwn(KNOBS, key);
const isMap = (value: Value): value is { readonly [key: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/**
 * Reads some knobs from what a file or the flags say.
 *
 * @param source  where it stands, for sentences
 * @throws Fault `input.invalid` naming the key, what it must be, and the source; never the value
 */
export function readKnobs(document: Value, source: string): Partial<Settings> {
  if (!isMap(document)) throw new Fault('input.invalid', `${source} must hold one object`);
  const flat: [string, Value][] = [];
  for (const [name, value] of Object.entries(document)) {
    if (!SECTIONS.has(name)) flat.push([name, value]);
    else if (isMap(value)) for (const [inner, one] of Object.entries(value)) flat.push([`${name}.${inner}`, one]);
    else throw new Fault('input.invalid', `${source}: ${name} must be an object`);
  }
  const settings: { [key: string]: unknown } = {};
  for (const [key, value] of flat) {
    if (!isKey(key))
      throw new Fault('input.invalid', `${source}: there is no setting ${JSON.stringify(key.slice(0, 64))}`);
    settings[key] = readKnob(key, value, source);
  }
  return settings as Partial<Settings>;
}

export function readKnob<K extends Key>(key: K, value: Value, source: string): Read<K> {
  const knob: Knob<unknown> = KNOBS[key];
  const read = knob.read(value);
  if (read === undefined) throw new Fault('input.invalid', `${source}: ${key} ${knob.must}`);
  return read as Read<K>;
}
