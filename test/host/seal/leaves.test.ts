/** The leaf of whoever asks is on disk before a device hears of it and before anything is stored. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SealSlot } from '../../../host/ports/seal-slot.ts';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { idOf } from '../../../host/seal/openers.ts';
import { Secret } from '../../../host/secret.ts';
import { files } from '../../../host/system/files.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { Machine, scratch } from './machine.ts';

const SOLO = { shares: 1, threshold: 1, keyfile: true } as const;

/** A box whose log is slow: `order` says what came when. */
async function slow(): Promise<{ readonly machine: Machine; readonly order: string[] }> {
  const order: string[] = [];
  const machine = new Machine('sealed');
  const path = join(scratch, `device-${systemRandom.uuid()}`);
  const slot = new KeyfileSlot({ path, random: systemRandom, files });
  const device: SealSlot = {
    kind: 'pkcs11',
    ...{ automatic: slot.automatic, bindsContext: slot.bindsContext },
    async create(context) {
      order.push('create');
      return await slot.create(context);
    },
    async recover(blob, context) {
      order.push('recover');
      return await slot.recover(blob, context);
    },
    discard: (blob, kept) => slot.discard(blob, kept),
  };
  await machine.box.initialise(SOLO);
  machine.hardware.push(device);
  machine.restart();
  expect(await machine.box.unsealAutomatically()).toBe(true);
  machine.leavesDurable = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    order.push('leaves');
  };
  machine.beforeCommit = () => {
    order.push('commit');
  };
  order.length = 0;
  return { machine, order };
}

test('before a device makes the key of a new slot, and before it is asked for that of an old one', async () => {
  const { machine, order } = await slow();
  await machine.box.keyService.addSlot('pkcs11', { keepKeyfile: true });
  expect(order.slice(0, 2)).toEqual(['leaves', 'create']);
  const found = machine.box.holder().slots.find(({ header }) => header.kind === 'pkcs11');
  if (found === undefined) throw new Error('there is a slot');
  order.length = 0;
  await machine.box.keyService.testSlot(idOf(found));
  expect(order).toEqual(['leaves', 'recover']);
});

test('and no device hears of a PIN that is offered to a box that is open already', async () => {
  const { machine, order } = await slow();
  await machine.box.keyService.addSlot('pkcs11', { keepKeyfile: true });
  const found = machine.box.holder().slots.find(({ header }) => header.kind === 'pkcs11');
  if (found === undefined) throw new Error('there is a slot');
  order.length = 0;
  const offer = (id: string) => machine.box.unsealBy(id, new Secret(Buffer.from('1234')));
  expect(await offer(idOf(found))).toMatchObject({ sealed: false, openedBy: 'keyfile' });
  await expect(offer('0'.repeat(8))).rejects.toMatchObject({ code: 'route.absent' });
  expect(order).toEqual([]);
});

test('before the mark of a box that a person seals', async () => {
  const { machine, order } = await slow();
  await machine.box.seal();
  expect(order.slice(0, 2)).toEqual(['leaves', 'commit']);
});
