import koffi from 'koffi';
import { expect, test, vi } from 'vitest';
import { TpmSlot } from '../../../../host/seal/tpm2/slot.ts';
import { Tss } from '../../../../host/seal/tpm2/tss.ts';
import { systemClock } from '../../../../host/system/clock.ts';
import { systemRandom } from '../../../../host/system/random.ts';

test('where the libraries are missing, the Debian packages are named; nothing is loaded before it is used', async () => {
  const real = koffi.load;
  const asked: (string | null)[] = [];
  const load = vi.spyOn(koffi, 'load').mockImplementation((name, options) => {
    asked.push(name);
    if (name?.startsWith('libtss2')) throw new Error(`${name}: cannot open shared object file`);
    return options === undefined ? real(name) : real(name, options);
  });
  try {
    const tss = new Tss({ tcti: '', clock: systemClock(), timeoutMs: 1000 });
    const slot = new TpmSlot({ tss, random: systemRandom, pcrs: 1, shutdown: false });
    expect(asked.filter((name) => name?.startsWith('libtss2'))).toEqual([]);
    await expect(slot.create(Buffer.alloc(1))).rejects.toMatchObject({
      code: 'slot.unavailable',
      message: expect.stringMatching(/libtss2-esys-3\.0\.2-0.*libtss2-tctildr0.*libtss2-rc0/),
    });
    expect(asked).toContain('libtss2-esys.so.0');
  } finally {
    load.mockRestore();
  }
});
