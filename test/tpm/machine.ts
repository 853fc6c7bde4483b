/** A machine with a software TPM: what its firmware measures at each start, and what a test asks of the TPM besides. */
import { createHash } from 'node:crypto';
import { lockoutState, openSrk } from '../../host/seal/tpm2/device.ts';
import { TpmSlot, type TpmSlotOptions } from '../../host/seal/tpm2/slot.ts';
import { type Esys, kernelOwns, Tss, type TssOptions } from '../../host/seal/tpm2/tss.ts';
import { NO_SENSITIVE, NONE, OWNER, PASSWORD, pcrMask, SRK_TEMPLATE, sized, u32 } from '../../host/seal/tpm2/wire.ts';
import { Secret } from '../../host/secret.ts';
import { systemClock } from '../../host/system/clock.ts';
import { systemRandom } from '../../host/system/random.ts';
import { SoftTpm } from './swtpm.ts';

/** What this machine's firmware measures into. */
const PCRS = [0, 7];
export const MEASURED = pcrMask(PCRS);
const TIMEOUT_MS = 20_000;

export const pin = (text: string): Secret => new Secret(Buffer.from(text));

export class Machine {
  readonly chip = new SoftTpm();
  readonly tss: Tss;
  /** What failed before anybody could wait for it. */
  #started: Promise<void>;

  /** Starts at once; what is asked of `tss` waits until the firmware has measured. */
  constructor(options: Partial<TssOptions> = {}) {
    this.tss = new Tss({ tcti: this.chip.tcti, clock: systemClock(), timeoutMs: TIMEOUT_MS, ...options });
    this.#started = this.measure();
    this.#started.catch(() => undefined);
  }

  slot(options: Partial<TpmSlotOptions> = {}): TpmSlot {
    return new TpmSlot({
      tss: this.tss,
      random: systemRandom,
      pcrs: MEASURED,
      shutdown: !kernelOwns(this.chip.tcti),
      ...options,
    });
  }

  started(): Promise<void> {
    return this.#started;
  }

  measure(event = 'firmware 1', pcrs: readonly number[] = PCRS): Promise<void> {
    const digest = createHash('sha256').update(event).digest();
    return this.tss.run(async (esys) => {
      const values = esys.struct('TPML_DIGEST_VALUES', Buffer.concat([Buffer.from('00000001000b', 'hex'), digest]));
      for (const pcr of pcrs) await esys.call('PCR_Extend', pcr, PASSWORD, NONE, NONE, values);
    });
  }

  /** Power lost, nothing flushed; the next start measures `event`. */
  async powerCut(event = 'firmware 1'): Promise<void> {
    this.chip.powerCut();
    await this.measure(event);
  }

  /** Another chip in the same place. */
  async replaceChip(): Promise<void> {
    this.chip.reset();
    await this.measure();
  }

  /**
   * What an owner does: keeps a storage key, then sets the password without which no other is made.
   *
   * @param kept  'other': not of the template that Holdfast knows
   */
  takeOwnership(kept: 'storage key' | 'other' | 'none'): Promise<void> {
    return this.tss.run(async (esys) => {
      if (kept !== 'none') {
        const handle = kept === 'other' ? await otherPrimary(esys) : (await openSrk(esys)).handle;
        await esys.call('EvictControl', OWNER, handle, PASSWORD, NONE, NONE, 0x8100_0001, [0]);
      }
      const auth = esys.struct('TPM2B_DIGEST', sized(Buffer.from('owner password')));
      await esys.call('HierarchyChangeAuth', OWNER, PASSWORD, NONE, NONE, auth);
    });
  }

  async failures(): Promise<number> {
    return (await this.tss.run(lockoutState)).failures;
  }

  close(): void {
    this.chip.close();
  }
}

/** A storage key that counts wrong passwords: one attribute away from the template. */
async function otherPrimary(esys: Esys): Promise<number> {
  const template = Buffer.from(SRK_TEMPLATE);
  template.writeUInt32BE(0x0003_0072, 6);
  const inputs = [
    esys.struct('TPM2B_SENSITIVE_CREATE', NO_SENSITIVE),
    esys.struct('TPM2B_PUBLIC', template),
    esys.struct('TPM2B_DATA', sized(Buffer.alloc(0))),
    esys.struct('TPML_PCR_SELECTION', u32(0)),
  ];
  const handle = [0];
  const outputs: unknown[][] = [[null], [null], [null], [null]];
  await esys.call('CreatePrimary', OWNER, PASSWORD, NONE, NONE, ...inputs, handle, ...outputs);
  esys.drop(...outputs.map(([pointer]) => pointer));
  return esys.keep(handle[0] ?? 0);
}
