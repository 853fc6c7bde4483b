/** What slot and counter share: the storage key with its pinned Name, and sessions salted to it. */
import { Fault } from '../../fault.ts';
import type { LockoutState } from '../../ports/lockout.ts';
import { ANEW, plainCode, TpmError } from './codes.ts';
import type { Command, Esys } from './tss.ts';
import {
  AES_CFB,
  ALG_SHA256,
  NO_SENSITIVE,
  NO_SESSIONS,
  NONE,
  nameOf,
  OWNER,
  PASSWORD,
  pcrSelection,
  SESSION,
  SESSION_FLAGS,
  SRK_TEMPLATE,
  sized,
  u32,
} from './wire.ts';

const CAP_TPM_PROPERTIES = 6;
const PT_PERMANENT = 0x200;
const PT_LOCKOUT_COUNTER = 0x20e;
const PCR_SIZE = 32;
/** Where owners keep the storage key (TCG Provisioning Guidance, 7.5.1). */
const SRK_PERSISTENT = 0x8100_0001;
const AUTH_FAIL = 0x08e;
const BAD_AUTH = 0x0a2;
/** TPM_RC_HANDLE: nothing lies at this handle. */
const NO_HANDLE = 0x08b;
/** TPML_DIGEST holds eight. */
const PCR_READ_MAX = 8;

export interface Srk {
  readonly handle: number;
  readonly name: Buffer;
}

/**
 * Makes the storage key from its template. The library computes the salt for what the TPM said, so the Name is compared
 * before any session: a chip on the bus that answers with its own key is found here.
 *
 * @param pin  the Name that this box was enrolled with, 34 bytes; absent at enrolment
 */
export async function openSrk(esys: Esys, pin?: Uint8Array): Promise<Srk> {
  const srk = await createSrk(esys).catch((error: unknown) => {
    // With an owner password nobody but the owner makes primary keys: a persistent one will do, if it is the same key.
    const code = error instanceof TpmError ? plainCode(error.code) : 0;
    if (code === BAD_AUTH || code === AUTH_FAIL) return persistentSrk(esys, error);
    throw error;
  });
  if (pin !== undefined && !srk.name.equals(pin)) {
    throw new Fault('slot.refused', `this is another TPM, or it was cleared: ${ANEW}`);
  }
  return srk;
}

async function createSrk(esys: Esys): Promise<Srk> {
  const handle = [0];
  const publicArea: unknown[] = [null];
  const rest: unknown[][] = [[null], [null], [null]];
  await esys.call(
    'CreatePrimary',
    OWNER,
    PASSWORD,
    NONE,
    NONE,
    esys.struct('TPM2B_SENSITIVE_CREATE', NO_SENSITIVE),
    esys.struct('TPM2B_PUBLIC', SRK_TEMPLATE),
    esys.struct('TPM2B_DATA', sized(Buffer.alloc(0))),
    esys.struct('TPML_PCR_SELECTION', u32(0)),
    handle,
    publicArea,
    ...rest,
  );
  const key = esys.keep(handle[0] ?? 0);
  esys.drop(...rest.map(([pointer]) => pointer));
  return { handle: key, name: nameOf(esys.take('TPM2B_PUBLIC', publicArea[0])) };
}

/** The storage key that an owner made persistent, if it is of the template. @param cause  why none can be made */
async function persistentSrk(esys: Esys, cause: unknown): Promise<Srk> {
  const handle = [0];
  try {
    await esys.call('TR_FromTPMPublic', SRK_PERSISTENT, ...NO_SESSIONS, handle);
  } catch (error) {
    throw error instanceof TpmError && plainCode(error.code) === NO_HANDLE ? cause : error;
  }
  const outputs: unknown[][] = [[null], [null], [null]];
  await esys.call('ReadPublic', handle[0] ?? 0, ...NO_SESSIONS, ...outputs);
  const [area, ...rest] = outputs.map(([pointer]) => pointer);
  esys.drop(...rest);
  const bytes = esys.take('TPM2B_PUBLIC', area);
  // All but the length before it and the point at its end, which the template leaves empty.
  const fixed = SRK_TEMPLATE.subarray(2, -4);
  if (!bytes.subarray(2, 2 + fixed.length).equals(fixed)) throw cause;
  // Sessions are salted to what the first answer said, which tpm2-tss held against its Name: that Name counts.
  const name = (await output(esys, 'TPM2B_NAME', 'TR_GetName', handle[0] ?? 0)).subarray(2);
  if (!name.equals(nameOf(bytes))) throw cause;
  return { handle: handle[0] ?? 0, name };
}

/** A session salted to `srk`, both directions encrypted. */
export async function startSession(esys: Esys, srk: Srk, kind: keyof typeof SESSION): Promise<number> {
  const handle = [0];
  await esys.call(
    'StartAuthSession',
    srk.handle,
    NONE,
    ...NO_SESSIONS,
    null,
    SESSION[kind],
    esys.struct('TPMT_SYM_DEF', AES_CFB),
    ALG_SHA256,
    handle,
  );
  const session = esys.keep(handle[0] ?? 0);
  if (kind !== 'trial') await esys.call('TRSess_SetAttributes', session, SESSION_FLAGS, 0xff);
  return session;
}

/** One output of a command as wire bytes. */
export async function output(
  esys: Esys,
  type: string,
  command: Command,
  ...values: readonly unknown[]
): Promise<Buffer> {
  const pointer: unknown[] = [null];
  await esys.call(command, ...values, pointer);
  return esys.take(type, pointer[0]);
}

export const policyDigest = async (esys: Esys, session: number): Promise<Buffer> =>
  (await output(esys, 'TPM2B_DIGEST', 'PolicyGetDigest', session, ...NO_SESSIONS)).subarray(2);

/** Ties `session` to the present values of the chosen PCRs. */
export async function policyPcr(esys: Esys, session: number, mask: number): Promise<void> {
  const selection = esys.struct('TPML_PCR_SELECTION', pcrSelection(mask));
  await esys.call('PolicyPCR', session, ...NO_SESSIONS, null, selection);
}

/** @throws Fault `slot.refused` if no PCR is chosen, one has no SHA-256 bank, or holds what every machine's would (all 00 or FF) */
export async function checkPcrs(esys: Esys, mask: number): Promise<void> {
  const chosen = Array.from({ length: 24 }, (_, pcr) => pcr).filter((pcr) => ((mask >>> pcr) & 1) === 1);
  if (chosen.length === 0) {
    throw new Fault('slot.refused', 'a slot needs PCRs to be tied to: name at least one in seal.tpm2.pcrs');
  }
  for (let at = 0; at < chosen.length; at += PCR_READ_MAX) {
    const some = chosen.slice(at, at + PCR_READ_MAX);
    const selection = esys.struct('TPML_PCR_SELECTION', pcrSelection(some.reduce((all, pcr) => all | (1 << pcr), 0)));
    const selected: unknown[] = [null];
    const values: unknown[] = [null];
    await esys.call('PCR_Read', ...NO_SESSIONS, selection, [0], selected, values);
    esys.drop(selected[0]);
    const bytes = esys.take('TPML_DIGEST', values[0]);
    if (bytes.readUInt32BE(0) !== some.length) {
      throw new Fault('slot.refused', 'the TPM has no SHA-256 bank for these PCRs: switch it on in the firmware');
    }
    for (const [n, pcr] of some.entries()) {
      const value = bytes.subarray(4 + n * (PCR_SIZE + 2) + 2, 4 + (n + 1) * (PCR_SIZE + 2));
      if (value.every((byte) => byte === 0) || value.every((byte) => byte === 0xff)) {
        throw new Fault(
          'slot.refused',
          `PCR ${pcr} was never measured into: choose PCRs that this machine's boot uses`,
        );
      }
    }
  }
}

async function properties(esys: Esys, first: number, count: number): Promise<Map<number, number>> {
  const data: unknown[] = [null];
  await esys.call('GetCapability', ...NO_SESSIONS, CAP_TPM_PROPERTIES, first, count, [0], data);
  const bytes = esys.take('TPMS_CAPABILITY_DATA', data[0]);
  const found = new Map<number, number>();
  for (let at = 8; at + 8 <= bytes.length; at += 8) found.set(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4));
  return found;
}

export async function lockoutState(esys: Esys): Promise<LockoutState> {
  const values = await properties(esys, PT_LOCKOUT_COUNTER, 4);
  const permanent = (await properties(esys, PT_PERMANENT, 1)).get(PT_PERMANENT) ?? 0;
  return {
    failures: values.get(PT_LOCKOUT_COUNTER) ?? 0,
    failuresMax: values.get(PT_LOCKOUT_COUNTER + 1) ?? 0,
    intervalS: values.get(PT_LOCKOUT_COUNTER + 2) ?? 0,
    recoveryS: values.get(PT_LOCKOUT_COUNTER + 3) ?? 0,
    authSet: (permanent & 4) !== 0,
  };
}
