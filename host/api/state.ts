/** What answers whether the box is open or not, and needs no token: init, seal-status, unseal, leader, health. */
import { Fault, isFault } from '../fault.ts';
import type { Appliance, InitResult, SealStatus } from '../ports/appliance.ts';
import type { Clock } from '../ports/clock.ts';
import type { Value, ValueMap } from '../ports/value.ts';
import { Secret } from '../secret.ts';

export interface StateParts {
  readonly appliance: Appliance;
  readonly clock: Clock;
  readonly version: string;
  readonly buildDate: string;
}

export interface StateAnswer {
  readonly status: number;
  /** Undefined: no body (HEAD). */
  readonly json: ValueMap | undefined;
}

const CODES = ['activecode', 'standbycode', 'sealedcode', 'uninitcode', 'drsecondarycode', 'performancestandbycode'];
const ok = (json: ValueMap): StateAnswer => ({ status: 200, json });
const refuse = (sentence: string): never => {
  throw new Fault('input.invalid', sentence);
};

function sealStatus(parts: StateParts, status: SealStatus = parts.appliance.status()): ValueMap {
  const automatic = status.type !== 'shamir';
  return {
    type: status.type,
    initialized: status.initialized,
    sealed: status.sealed,
    t: status.t,
    n: status.n,
    progress: status.progress,
    nonce: status.nonce,
    version: parts.version,
    build_date: parts.buildDate,
    migration: false,
    recovery_seal: automatic,
    storage_type: 'lmdb',
    ...(status.sealed ? {} : { cluster_name: 'holdfast', cluster_id: status.clusterId }),
  };
}

function health(parts: StateParts, query: ValueMap): StateAnswer {
  const { initialized, sealed, clusterId, reasons, verifying } = parts.appliance.status();
  const codes = new Map<string, number>();
  for (const name of CODES) {
    const text = query[name];
    if (text === undefined) continue;
    if (typeof text !== 'string' || !/^[1-5]\d\d$/.test(text)) return { status: 400, json: { errors: [] } };
    codes.set(name, Number(text));
  }
  const status = !initialized
    ? (codes.get('uninitcode') ?? 501)
    : sealed
      ? (codes.get('sealedcode') ?? 503)
      : (codes.get('activecode') ?? 200);
  return {
    status,
    json: {
      initialized,
      sealed,
      standby: false,
      performance_standby: false,
      replication_performance_mode: 'disabled',
      replication_dr_mode: 'disabled',
      server_time_utc: Math.floor(parts.clock.wallMs() / 1000),
      version: parts.version,
      ...(sealed ? {} : { cluster_name: 'holdfast', cluster_id: clusterId }),
      ...(reasons.length === 0 ? {} : { reasons }),
      ...(verifying ? { verifying } : {}),
    },
  };
}

function whole(value: Value | undefined, fallback: number, name: string): number {
  if (value === undefined || value === null) return fallback;
  const number = typeof value === 'string' && /^\d{1,3}$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isInteger(number) ? number : refuse(`${name} must be a whole number`);
}

async function initialise(parts: StateParts, body: ValueMap): Promise<StateAnswer> {
  const { appliance } = parts;
  if (appliance.status().initialized) refuse('Vault is already initialized');
  for (const name of ['pgp_keys', 'root_token_pgp_key', 'recovery_pgp_keys', 'stored_shares']) {
    const value = body[name];
    const given = Array.isArray(value)
      ? value.length > 0
      : value !== undefined && value !== null && value !== '' && value !== 0;
    if (given) refuse(`${name} is not taken: shares and root token are answered as they are, over TLS`);
  }
  if (Number(body['recovery_shares'] ?? 0) > 0 || Number(body['recovery_threshold'] ?? 0) > 0) {
    refuse('parameters recovery_shares,recovery_threshold not applicable to seal type shamir');
  }
  const result: InitResult = await appliance.initialise({
    shares: whole(body['secret_shares'], 0, 'secret_shares'),
    threshold: whole(body['secret_threshold'], 0, 'secret_threshold'),
    keyfile: false,
  });
  const bytes = result.shares.map((share) => Buffer.from(share.bytes));
  const json = {
    keys: bytes.map((share) => share.toString('hex')),
    keys_base64: bytes.map((share) => share.toString('base64')),
    root_token: Buffer.from(result.rootToken.bytes).toString('latin1'),
  };
  for (const secret of [...result.shares, result.rootToken]) secret[Symbol.dispose]();
  for (const share of bytes) share.fill(0);
  // A box that its TPM or HSM opens is open from now on, as it is after each start.
  await appliance.unsealAutomatically();
  return ok(json);
}

function shareOf(text: string): Secret {
  const hex = /^(?:[0-9a-fA-F]{2})+$/.test(text) ? Buffer.from(text, 'hex') : undefined;
  const base64 = Buffer.from(text, 'base64');
  const bytes = hex ?? (base64.toString('base64') === text ? base64 : undefined);
  return bytes === undefined ? refuse("'key' must be a valid hex or base64 string") : new Secret(bytes);
}

async function unseal(parts: StateParts, body: ValueMap): Promise<StateAnswer> {
  const { appliance } = parts;
  if (body['reset'] === true) return ok(sealStatus(parts, appliance.resetShares()));
  const { key, accept } = body;
  if (accept !== undefined && accept !== null && accept !== '' && accept !== 'rolled-back') {
    refuse("'accept' is left out, or is 'rolled-back': the word of a holder who takes the box as it is");
  }
  if (typeof key !== 'string' || key === '')
    return refuse("'key' must be specified in request body as JSON, or 'reset' set to true");
  const word = accept === 'rolled-back' ? accept : undefined;
  return ok(sealStatus(parts, await appliance.offerShare(shareOf(key), word)));
}

function leader(): ValueMap {
  return {
    ha_enabled: false,
    is_self: false,
    leader_address: '',
    leader_cluster_address: '',
    performance_standby: false,
    performance_standby_last_remote_wal: 0,
  };
}

type Handler = (parts: StateParts, body: ValueMap) => StateAnswer | Promise<StateAnswer>;
const HANDLERS: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
  'sys/seal-status': { GET: (parts) => ok(sealStatus(parts)) },
  'sys/leader': { GET: () => ok(leader()) },
  'sys/health': {
    GET: health,
    HEAD: (parts, query) => ({ ...health(parts, query), json: undefined }),
  },
  'sys/init': {
    GET: (parts) => ok({ initialized: parts.appliance.status().initialized }),
    PUT: initialise,
    POST: initialise,
  },
  'sys/unseal': { PUT: unseal, POST: unseal },
};

export const isStatePath = (path: string): boolean => Object.hasOwn(HANDLERS, path);

/** @returns undefined if the path has not that method @throws Fault */
export async function answerState(
  parts: StateParts,
  method: string,
  path: string,
  body: ValueMap,
): Promise<StateAnswer | undefined> {
  const handler = HANDLERS[path]?.[method];
  try {
    return await handler?.(parts, body);
  } catch (error) {
    // One answer for every share that does not open the box.
    if (path === 'sys/unseal' && isFault(error, 'slot.refused'))
      throw new Fault('slot.refused', `'key' did not open the box: ${error.message}`);
    throw error;
  }
}
