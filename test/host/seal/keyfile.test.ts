import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { KeyfileSlot } from '../../../host/seal/keyfile/keyfile.ts';
import { files } from '../../../host/system/files.ts';
import { systemRandom } from '../../../host/system/random.ts';
import { sealSlotContract } from '../../contract/seal-slot.ts';

const scratch = mkdtempSync(join(tmpdir(), 'holdfast-keyfile-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let made = 0;
function newFolder(): { readonly folder: string; readonly path: string; readonly slot: KeyfileSlot } {
  const folder = join(scratch, String(made++));
  const path = join(folder, 'config', 'keyfile');
  return { folder, path, slot: new KeyfileSlot({ path, random: systemRandom, files }) };
}

sealSlotContract({ kind: 'keyfile', automatic: true, bindsContext: true }, () => {
  const { folder, path, slot } = newFolder();
  return {
    slot,
    offer: () => ({}),
    wrongOffers: () => [],
    remove: () => rmSync(path, { force: true }),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
});

describe('the key file', () => {
  const CONTEXT = Buffer.from('context');

  test('is made with mode 0600 in a folder of mode 0700, and nothing is left beside it', async () => {
    const { path, slot } = newFolder();
    await slot.create(CONTEXT);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(path, '..'))).toEqual(['keyfile']);
  });

  test('of another box is used and never replaced', async () => {
    const { path, slot } = newFolder();
    const first = await slot.create(CONTEXT);
    const before = readFileSync(path);
    await slot.create(CONTEXT);
    expect(readFileSync(path).equals(before)).toBe(true);
    using key = await slot.recover(first.blob, CONTEXT);
    expect(Buffer.from(key.bytes).equals(first.key.bytes)).toBe(true);
  });

  test('that other users may read is not used', async () => {
    const { path, slot } = newFolder();
    const { blob } = await slot.create(CONTEXT);
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(path, mode);
      await expect(slot.recover(blob, CONTEXT)).rejects.toMatchObject({ code: 'slot.unavailable' });
    }
  });

  test('that is a link, a folder or a pipe is not used', async () => {
    const { path, slot } = newFolder();
    const { blob } = await slot.create(CONTEXT);
    const elsewhere = `${path}.moved`;
    writeFileSync(elsewhere, readFileSync(path), { mode: 0o600 });
    rmSync(path);
    symlinkSync(elsewhere, path);
    await expect(slot.recover(blob, CONTEXT)).rejects.toMatchObject({ code: 'slot.unavailable' });
    rmSync(path);
    mkdirSync(path, { mode: 0o700 });
    await expect(slot.recover(blob, CONTEXT)).rejects.toMatchObject({ code: 'slot.unavailable' });
  });

  test('with any byte changed is refused, and so is what is no key file', async () => {
    const { path, slot } = newFolder();
    const { blob } = await slot.create(CONTEXT);
    const right = readFileSync(path);
    const wrong = [
      Buffer.alloc(0),
      right.subarray(1),
      Buffer.concat([right, Buffer.from('\n')]),
      ...Array.from(right, (byte, at) =>
        Buffer.concat([right.subarray(0, at), Buffer.of(byte ^ 1), right.subarray(at + 1)]),
      ),
    ];
    for (const bytes of wrong) {
      writeFileSync(path, bytes);
      await expect(slot.recover(blob, CONTEXT)).rejects.toMatchObject({ code: 'slot.refused' });
    }
    writeFileSync(path, right);
    using key = await slot.recover(blob, CONTEXT);
    expect(key.length).toBe(32);
  });

  test('is never named with its content', async () => {
    const { path, slot } = newFolder();
    const { blob } = await slot.create(CONTEXT);
    const secret = readFileSync(path, 'latin1').trim().split(' ')[1] ?? '';
    expect(secret).toHaveLength(43);
    writeFileSync(path, `holdfast-keyfile-2 ${secret}\n`);
    const error = await slot
      .recover(blob, CONTEXT)
      .then(String, (reason: Error) => `${reason.message} ${reason.stack}`);
    expect(error).not.toContain(secret);
  });
});
