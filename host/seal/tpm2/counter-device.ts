/** The TPM as a keeper of counters: finds room for one, finds it again, gives the room back. */
import { Fault, isFault } from '../../fault.ts';
import type { Counter, CounterDevice } from '../../ports/counter.ts';
import type { ValueMap } from '../../ports/value.ts';
import { plainCode, TpmError } from './codes.ts';
import { guarded, openCounter, TpmCounter } from './counter.ts';
import type { Esys, Tss } from './tss.ts';
import { NO_SESSIONS, NONE, OWNER, PASSWORD } from './wire.ts';

/** Of the handles that the TCG leaves to owners (Registry of Reserved TPM 2.0 Handles, 2.2.2): ours, one a box. */
const FIRST_INDEX = 0x0180_0010;
const INDEX_COUNT = 16;
const NV_FIRST = 0x0100_0000;
const NV_LAST = 0x01ff_ffff;
/** TPM_ALG_SHA256 and the digest, in hex. */
const NAME = /^000b[0-9a-f]{64}$/;
/** TPM_RC_HANDLE: no such index. */
const NO_INDEX = 0x08b;

export class TpmCounterDevice implements CounterDevice {
  readonly kind = 'tpm2';
  readonly advisory = false;
  readonly #tss: Tss;

  constructor(tss: Tss) {
    this.#tss = tss;
  }

  async enrol(): Promise<{ readonly counter: Counter; readonly place: ValueMap }> {
    const { identity } = await TpmCounter.enrol(this.#tss, await this.#freeIndex());
    const { index, srkName } = identity;
    return {
      counter: new TpmCounter(this.#tss, identity),
      place: { index, srkName: Buffer.from(srkName).toString('hex') },
    };
  }

  at({ index, srkName }: ValueMap): Counter {
    const inRange = typeof index === 'number' && Number.isInteger(index) && index >= NV_FIRST && index <= NV_LAST;
    if (!inRange || typeof srkName !== 'string' || !NAME.test(srkName)) {
      throw new Fault('appliance.rolled-back', 'what the store says of the TPM counter names no counter');
    }
    return new TpmCounter(this.#tss, { index, srkName: Buffer.from(srkName, 'hex') });
  }

  /** Only what has the counter's Name is removed. */
  async retire({ index }: ValueMap): Promise<void> {
    try {
      await guarded(() =>
        this.#tss.run(async (esys) => {
          const counter = await openCounter(esys, Number(index));
          await esys.call('NV_UndefineSpace', OWNER, counter, PASSWORD, NONE, NONE);
        }),
      );
    } catch (error) {
      if (!isFault(error, 'appliance.rolled-back')) throw error;
    }
  }

  /** Other boxes on this machine have theirs, and a box that lost its disk left one: nobody's is taken over. */
  #freeIndex(): Promise<number> {
    return guarded(() =>
      this.#tss.run(async (esys) => {
        for (let index = FIRST_INDEX; index < FIRST_INDEX + INDEX_COUNT; index++) {
          if (await isFree(esys, index)) return index;
        }
        throw new Fault(
          'slot.unavailable',
          `the TPM has ${INDEX_COUNT} indices from 0x${FIRST_INDEX.toString(16)} on, left by other boxes: remove one with tpm2_nvundefine`,
        );
      }),
    );
  }
}

async function isFree(esys: Esys, index: number): Promise<boolean> {
  const handle = [0];
  try {
    await esys.call('TR_FromTPMPublic', index, ...NO_SESSIONS, handle);
  } catch (error) {
    if (error instanceof TpmError && plainCode(error.code & 0xffff) === NO_INDEX) return true;
    throw error;
  }
  await esys.call('TR_Close', handle);
  return false;
}
