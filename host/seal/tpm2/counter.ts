/** An NV index of the TPM that only rises, known by its full Name. */
import { Fault } from '../../fault.ts';
import type { Counter } from '../../ports/counter.ts';
import { faultOf, plainCode, TpmError } from './codes.ts';
import { openSrk, output, type Srk, startSession } from './device.ts';
import type { Esys, Tss } from './tss.ts';
import { counterPublic, NO_SESSIONS, NONE, nameOf, OWNER, PASSWORD, sha256, sized } from './wire.ts';

const COUNT_SIZE = 8;
const ID_SIZE = 16;
/** TPM_RC_HANDLE: no such index. */
const NO_INDEX = 0x08b;

export interface CounterIdentity {
  /** NV handle, 0x01000000 to 0x01ffffff. */
  readonly index: number;
  readonly srkName: Uint8Array;
}

function rolledBack(): Fault {
  return new Fault('appliance.rolled-back', "the TPM's counter is gone or another stands in its place");
}

/**
 * Whether such a counter lies at the index already. What else lies there is not touched.
 *
 * @throws Fault `slot.unavailable` if something else does
 */
export async function hasCounter(esys: Esys, index: number): Promise<boolean> {
  const handle = [0];
  try {
    await esys.call('TR_FromTPMPublic', index, ...NO_SESSIONS, handle);
  } catch (error) {
    if (error instanceof TpmError && plainCode(error.code & 0xffff) === NO_INDEX) return false;
    throw error;
  }
  const name = await output(esys, 'TPM2B_NAME', 'TR_GetName', handle[0] ?? 0);
  if (name.subarray(2).equals(nameOf(counterPublic(index, true)))) return true;
  throw new Fault(
    'slot.unavailable',
    'the TPM has another index at this place already: undefine it, or choose another',
  );
}

/** The index's object, if its Name is the one that such a counter has once it was written. */
export async function openCounter(esys: Esys, index: number): Promise<number> {
  const handle = [0];
  try {
    await esys.call('TR_FromTPMPublic', index, ...NO_SESSIONS, handle);
  } catch (error) {
    if (error instanceof TpmError && plainCode(error.code & 0xffff) === NO_INDEX) throw rolledBack();
    throw error;
  }
  const name = await output(esys, 'TPM2B_NAME', 'TR_GetName', handle[0] ?? 0);
  if (!name.subarray(2).equals(nameOf(counterPublic(index, true)))) throw rolledBack();
  return handle[0] ?? 0;
}

export async function defineCounter(esys: Esys, srk: Srk, index: number): Promise<bigint> {
  const handle = [0];
  const auth = esys.struct('TPM2B_DIGEST', sized(Buffer.alloc(0)));
  const area = esys.struct('TPM2B_NV_PUBLIC', counterPublic(index, false));
  await esys.call('NV_DefineSpace', OWNER, PASSWORD, NONE, NONE, auth, area, handle);
  // Before the first increment an index has no value, and another Name.
  return incrementCounter(esys, srk, handle[0] ?? 0);
}

export async function readCounter(esys: Esys, srk: Srk, handle: number): Promise<bigint> {
  const session = await startSession(esys, srk, 'hmac');
  const bytes = await output(
    esys,
    'TPM2B_MAX_NV_BUFFER',
    'NV_Read',
    handle,
    handle,
    session,
    NONE,
    NONE,
    COUNT_SIZE,
    0,
  );
  await esys.flush(session);
  return bytes.readBigUInt64BE(2);
}

export async function incrementCounter(esys: Esys, srk: Srk, handle: number): Promise<bigint> {
  const session = await startSession(esys, srk, 'hmac');
  await esys.call('NV_Increment', handle, handle, session, NONE, NONE);
  await esys.flush(session);
  return readCounter(esys, srk, handle);
}

export class TpmCounter implements Counter {
  readonly id: Uint8Array;
  readonly #tss: Tss;
  readonly #identity: CounterIdentity;

  constructor(tss: Tss, identity: CounterIdentity) {
    this.#tss = tss;
    this.#identity = identity;
    const name = nameOf(counterPublic(identity.index, true));
    this.id = sha256(Buffer.from('holdfast/v1/tpm2-counter', 'ascii'), identity.srkName, name).subarray(0, ID_SIZE);
  }

  /** Defines the index at enrolment; its first count is at least as high as any that this TPM ever forgot. */
  static async enrol(tss: Tss, index: number): Promise<{ readonly identity: CounterIdentity; readonly count: bigint }> {
    return guarded(() =>
      tss.run(async (esys) => {
        const srk = await openSrk(esys);
        const count = await defineCounter(esys, srk, index);
        return { identity: { index, srkName: srk.name }, count };
      }),
    );
  }

  read(): Promise<bigint> {
    return this.#with(readCounter);
  }

  increment(): Promise<bigint> {
    return this.#with(incrementCounter);
  }

  #with(work: (esys: Esys, srk: Srk, handle: number) => Promise<bigint>): Promise<bigint> {
    return guarded(() =>
      this.#tss.run(async (esys) => {
        const srk = await openSrk(esys, this.#identity.srkName).catch((error: unknown) => {
          // Another TPM does not hold this count: absent equals behind.
          throw error instanceof Fault && error.code === 'slot.refused' ? rolledBack() : error;
        });
        return work(esys, srk, await openCounter(esys, this.#identity.index));
      }),
    );
  }
}

export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw faultOf(error);
  }
}
