import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { Secret } from '../../../../host/secret.ts';
import { sealSlotContract } from '../../../contract/seal-slot.ts';
import { nss, removeScratch } from './tokens.ts';

afterAll(removeScratch);

sealSlotContract({ kind: 'pkcs11', automatic: true, bindsContext: true }, () => {
  const { folder, slot } = nss();
  return {
    slot,
    offer: () => ({}),
    wrongOffers: () => [{ pin: new Secret(Buffer.from('111111')) }, { pin: new Secret(Buffer.alloc(0)) }],
    remove: () => rmSync(join(folder, 'store'), { recursive: true, force: true }),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
});
