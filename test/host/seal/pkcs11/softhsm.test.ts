import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { Secret } from '../../../../host/secret.ts';
import { sealSlotContract } from '../../../contract/seal-slot.ts';
import { removeScratch, softHsm } from './tokens.ts';

afterAll(removeScratch);

sealSlotContract({ kind: 'pkcs11', automatic: true, bindsContext: true }, () => {
  const { folder, slot } = softHsm();
  return {
    slot,
    offer: () => ({}),
    wrongOffers: () => [{ pin: new Secret(Buffer.from('111111')) }, { pin: new Secret(Buffer.alloc(0)) }],
    remove: () => rmSync(join(folder, 'tokens'), { recursive: true, force: true }),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
});
