import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { Secret } from '../../../../host/secret.ts';
import { sealSlotContract } from '../../../contract/seal-slot.ts';
import { removeScratch } from './tokens.ts';
import { startTpm, tpmToken } from './tpm.ts';

afterAll(removeScratch);

sealSlotContract({ kind: 'pkcs11', automatic: true, bindsContext: true }, () => {
  const tpm = startTpm();
  const { folder, slot } = tpmToken(tpm);
  return {
    slot,
    offer: () => ({}),
    wrongOffers: () => [{ pin: new Secret(Buffer.from('111111')) }, { pin: new Secret(Buffer.alloc(0)) }],
    remove: () => rmSync(join(folder, 'store'), { recursive: true, force: true }),
    close: () => {
      tpm.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
});
