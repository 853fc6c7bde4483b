import { TpmSlot } from '../../../../host/seal/tpm2/slot.ts';
import { Tss } from '../../../../host/seal/tpm2/tss.ts';
import { systemClock } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';
import { sealSlotContract } from '../../../contract/seal-slot.ts';
import { SoftTpm } from '../../../tpm/swtpm.ts';

/** PCR 16 of a fresh swtpm holds zeros, which no slot is made on: it is extended once first. */
class Measured extends TpmSlot {
  readonly #tss: Tss;
  #measured = false;

  constructor(tss: Tss) {
    super({ tss, random: systemRandom, pcrs: 1 << 16, shutdown: true });
    this.#tss = tss;
  }

  override async create(context: Uint8Array) {
    if (!this.#measured) {
      const digests = Buffer.concat([Buffer.from('00000001000b', 'hex'), Buffer.alloc(32, 7)]);
      await this.#tss.run((esys) =>
        esys.call('PCR_Extend', 16, 0xff, 0xfff, 0xfff, esys.struct('TPML_DIGEST_VALUES', digests)),
      );
    }
    this.#measured = true;
    return super.create(context);
  }
}

sealSlotContract({ kind: 'tpm2', automatic: true, bindsContext: true }, () => {
  const tpm = new SoftTpm();
  const tss = new Tss({ tcti: tpm.tcti, clock: systemClock(), timeoutMs: 5000 });
  return {
    slot: new Measured(tss),
    offer: () => ({}),
    wrongOffers: () => [],
    remove: () => tpm.kill(),
    blobOnly: true,
    close: () => tpm.close(),
  };
});
