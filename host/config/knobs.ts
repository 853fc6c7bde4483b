/** Every knob: its key, its type, its bounds, its unit and what it is for. A key that is not here is refused. */
import { Fault } from '../fault.ts';
import { parseNetwork } from '../networks.ts';
import type { SlotKind } from '../ports/seal-slot.ts';
import type { Value } from '../ports/value.ts';
import { type Listen, parseListen } from './listen.ts';
import { choice, flag, type Knob, knob, line, list, ownerIndex, path, whole } from './readers.ts';

const SLOT_KINDS: readonly SlotKind[] = ['tpm2', 'pkcs11', 'shamir', 'keyfile'];
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;

const kinds = (least: number) =>
  list(least, SLOT_KINDS.length, `of ${SLOT_KINDS.join(', ')}`, (value) => SLOT_KINDS.find((kind) => kind === value));

export const KNOBS = {
  profile: knob(
    choice('dev', 'edge-tpm', 'onprem-hsm', 'airgapped'),
    'Which set of defaults the box begins with; what the file, the variables and the flags say wins over it.',
  ),
  listen: knob(
    list<Listen>(
      1,
      16,
      'addresses: HOST:PORT with an IP address or localhost, or unix:/PATH of at most 107 bytes',
      (value) => (typeof value === 'string' ? parseListen(value) : undefined),
    ),
    'Where clients reach the box: TCP addresses and unix sockets.',
  ),
  data: knob(path(), 'Folder of the store and the audit log; empty: holdfast below $XDG_STATE_HOME.'),
  config: knob(
    path(),
    'Folder of settings, root token, authority and key file; empty: holdfast below $XDG_CONFIG_HOME.',
  ),
  'tls.mode': knob(choice('on', 'off'), 'Whether TCP listeners speak TLS; off on loopback addresses only.'),
  'tls.certificateFile': knob(path(), 'Own certificate (chain) in PEM; empty: one by the authority of the box.'),
  'tls.keyFile': knob(path(), 'Key of that certificate in PEM.'),
  'seal.allowed': knob(kinds(1), 'Kinds of slots that may open the box; shamir is always among them.'),
  'seal.initial': knob(
    kinds(0),
    'Kinds of slots that a new box gets beside its shares; the key file by `server --init` only.',
  ),
  'seal.ceremonies': knob(
    choice('off', 'on'),
    'Whether rekey and generate-root are answered: they need no token, only the recovery shares.',
  ),
  'seal.tpm2.tcti': knob(
    line(512),
    'How tpm2-tss reaches the TPM: device:/dev/tpmrm0 through the resource manager of the kernel, swtpm:path=… for a software TPM.',
  ),
  'seal.tpm2.pcrs': knob(
    list(0, 24, 'PCR numbers from 0 to 23', (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 23 ? value : undefined,
    ),
    'PCRs of the SHA-256 bank that a new TPM slot is tied to: 0, 2, 4, 7 for firmware, boot loader and Secure Boot; 7, 11, 12 with a signed unified kernel image.',
  ),
  'seal.tpm2.pinFile': knob(
    path(),
    'File of the PIN of TPM slots, one line, mode 0600; empty: a slot with a PIN waits for a person.',
  ),
  'seal.tpm2.signerFile': knob(
    path(),
    'Public key (P-256, PEM) of who signs boot policies for this box; empty: new slots are tied to the PCRs as they are.',
  ),
  'seal.tpm2.policyFolder': knob(path(), 'Folder of the signed boot policies, *.json; at most 8.'),
  'seal.tpm2.versionIndex': knob(
    ownerIndex(),
    'NV index of the TPM that counts the versions of signed boot policies, made with the first slot that asks for one.',
  ),
  'seal.tpm2.timeoutMs': knob(whole(100, 10 * MINUTE_MS), 'How long one command of the TPM may take.', 'ms'),
  'seal.pkcs11.module': knob(path(), 'Library of the HSM or token (PKCS#11); empty: there is none.'),
  'seal.pkcs11.parameters': knob(
    line(1024),
    'What the module is given when it is initialised; NSS alone needs it (configdir=…).',
  ),
  'seal.pkcs11.token': knob(line(32), 'Label of the token.'),
  'seal.pkcs11.pinFile': knob(
    path(),
    'File of the PIN of the token, one line, mode 0600; empty: the slot waits for a person.',
  ),
  'seal.pkcs11.timeoutMs': knob(whole(100, 10 * MINUTE_MS), 'How long one answer of the module may take.', 'ms'),
  'seal.pkcs11.generateTimeoutMs': knob(
    whole(100, 60 * MINUTE_MS),
    'How long the making of a key may take: some tokens look for primes for a minute.',
    'ms',
  ),
  'time.trust': knob(
    choice('kernel', 'synced'),
    'What makes the wall clock believed: kernel: a plausible reading; synced: also that NTP holds it, or an operator says so. While it is not believed no credential is made, and a token that has an expiry is honoured for one hour after its issue or renewal.',
  ),
  'audit.sync': knob(
    choice('always', 'interval'),
    'always: an answer leaves when its leaf is on disk; interval: up to audit.syncIntervalMs of reads may be unlogged after a power cut.',
  ),
  'audit.syncIntervalMs': knob(whole(1, 10_000), 'How often the log is put on disk with audit.sync interval.', 'ms'),
  'freshness.heartbeatMs': knob(
    whole(1000, MINUTE_MS),
    'How often the newest checkpoint and the time are recorded in the store while the log grows.',
    'ms',
  ),
  'freshness.intervalMs': knob(
    whole(1000, DAY_MS),
    'Writes are counted by the counters outside the disk at most so often: what was written since can be rolled back.',
    'ms',
  ),
  'store.mapBytes': knob(
    whole(MIB, 1024 * 1024 * MIB),
    'First size of the map of the store; it grows by itself.',
    'bytes',
  ),
  'leases.defaultTtlMs': knob(whole(1000, 3650 * DAY_MS), 'TTL of tokens and leases that ask for none.', 'ms'),
  'leases.maxTtlMs': knob(
    whole(1000, 3650 * DAY_MS),
    'Longest TTL that a mount without a limit of its own gives.',
    'ms',
  ),
  'databases.networks': knob(
    list(1, 256, 'networks such as 10.0.0.0/8', (value) =>
      typeof value === 'string' ? parseNetwork(value) : undefined,
    ),
    'Where database servers may be; link-local, multicast and metadata addresses are refused whatever stands here.',
  ),
  'limits.bodyBytesMax': knob(whole(1024, 64 * MIB), 'Largest body of a request.', 'bytes'),
  'limits.connectionCountMax': knob(whole(1, 65_536), 'Connections at once.'),
  'limits.inFlightCountMax': knob(whole(1, 65_536), 'Requests under way at once; more are answered 503.'),
  'limits.headersTimeoutMs': knob(
    whole(100, 10 * MINUTE_MS),
    'How long the head of a request may take to arrive.',
    'ms',
  ),
  'limits.requestTimeoutMs': knob(whole(100, 60 * MINUTE_MS), 'How long a request may take.', 'ms'),
  'limits.idleTimeoutMs': knob(whole(100, 60 * MINUTE_MS), 'How long a connection may stay without a request.', 'ms'),
  'limits.drainMs': knob(whole(0, 10 * MINUTE_MS), 'How long a stop waits for requests under way.', 'ms'),
  'debug.coreDumps': knob(flag(), 'Leaves core dumps and debuggers on: keys can be read from them.'),
} as const satisfies Record<string, Knob<unknown>>;

export type Key = keyof typeof KNOBS;
type Read<K extends Key> = (typeof KNOBS)[K] extends Knob<infer T> ? T : never;
export type Settings = { readonly [K in Key]: Read<K> };

/** Keys that are sections: `{"seal": {"tpm2": {"tcti": "…"}}}`. */
const SECTIONS = new Set(
  Object.keys(KNOBS).flatMap((key) => {
    const parts = key.split('.').slice(0, -1);
    return parts.map((_, at) => parts.slice(0, at + 1).join('.'));
  }),
);

const isKey = (key: string): key is Key => Object.hasOwn(KNOBS, key);
const isMap = (value: Value): value is { readonly [key: string]: Value } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

function flatten(map: { readonly [key: string]: Value }, prefix: string, source: string): [string, Value][] {
  return Object.entries(map).flatMap(([name, value]): [string, Value][] => {
    const key = `${prefix}${name}`;
    if (!SECTIONS.has(key)) return [[key, value]];
    if (isMap(value)) return flatten(value, `${key}.`, source);
    throw new Fault('input.invalid', `${source}: ${key} must be an object`);
  });
}

/**
 * Reads some knobs from what a file or the flags say.
 *
 * @param source  where it stands, for sentences
 * @throws Fault `input.invalid` naming the key, what it must be, and the source; never the value
 */
export function readKnobs(document: Value, source: string): Partial<Settings> {
  if (!isMap(document)) throw new Fault('input.invalid', `${source} must hold one object`);
  const settings: { [key: string]: unknown } = {};
  for (const [key, value] of flatten(document, '', source)) {
    if (!isKey(key))
      throw new Fault('input.invalid', `${source}: there is no setting ${JSON.stringify(key.slice(0, 64))}`);
    settings[key] = readKnob(key, value, source);
  }
  return settings as Partial<Settings>;
}

export function readKnob<K extends Key>(key: K, value: Value, source: string): Read<K> {
  const read = (KNOBS[key] as Knob<unknown>).read(value);
  if (read === undefined) throw new Fault('input.invalid', `${source}: ${key} ${KNOBS[key].must}`);
  return read as Read<K>;
}
