import { chmodSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { ATTEMPTS_MAX, isPin, readPinFile, storedPinMark } from '../../../../host/seal/pin.ts';
import { mayTry, type Word } from '../../../../host/seal/pkcs11/pin.ts';
import { Secret } from '../../../../host/secret.ts';
import { openMemoryStore } from '../../../../host/store/memory/memory.ts';
import { childrenAlive, shimmed } from './shim.ts';
import { memoryMark, newFolder, PIN, removeScratch } from './tokens.ts';

afterAll(removeScratch);
afterEach(() => expect(childrenAlive()).toEqual([]));

const CONTEXT = Buffer.from('context of one slot of one box');
const COUNT_LOW = 0x10000;
const FINAL_TRY = 0x20000;
const LOCKED = 0x40000;
const WRONG = '111111';
const pinOf = (text: string): { pin: Secret } => ({ pin: new Secret(Buffer.from(text)) });

async function withSlot() {
  const mark = memoryMark();
  const bench = shimmed({ mark });
  const { blob } = await bench.slot.create(CONTEXT);
  return { ...bench, mark, blob };
}

describe('a refused PIN', () => {
  test('is not tried again by itself, over restarts too, until a person’s PIN opens the slot', async () => {
    const { slot, restarted, blob, pinFile, logins, mark } = await withSlot();
    writeFileSync(pinFile, WRONG);
    const before = logins();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    expect(logins() - before).toBe(1);
    expect(mark.attempts).toBe(ATTEMPTS_MAX);
    for (const again of [slot, restarted(), restarted()]) {
      await expect(again.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    }
    writeFileSync(pinFile, PIN);
    await expect(restarted().recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    expect(logins() - before).toBe(1);
    using _byPerson = await restarted().recover(blob, CONTEXT, pinOf(PIN));
    expect(mark.attempts).toBe(0);
    using _byItself = await restarted().recover(blob, CONTEXT, {});
    expect(logins() - before).toBe(3);
  });

  test('is remembered by the token too: with its count low and no mark, nothing is tried', async () => {
    const { slot, blob, pinFile, logins, mark } = await withSlot();
    writeFileSync(pinFile, WRONG);
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    writeFileSync(pinFile, PIN);
    mark.attempts = 0;
    const before = logins();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('counts a wrong PIN');
    expect(logins()).toBe(before);
  });

  test('of a person is marked as well, and is in no message', async () => {
    const { slot, blob, mark } = await withSlot();
    const secret = 'gUeSs-7731';
    const error = await slot.recover(blob, CONTEXT, pinOf(secret)).catch((reason: Error) => reason);
    expect(`${String(error)} ${error instanceof Error ? error.stack : ''}`).not.toContain(secret);
    expect(mark.attempts).toBe(ATTEMPTS_MAX);
  });
});

describe('an attempt', () => {
  test('is marked before it is made, and the mark goes when the PIN was taken', async () => {
    const { slot, blob, mark } = await withSlot();
    mark.written.length = 0;
    using _key = await slot.recover(blob, CONTEXT, {});
    expect(mark.written).toEqual([1, 0]);
  });

  test(`that was cut short ${ATTEMPTS_MAX} times is not made again by itself`, async () => {
    const { slot, restarted, blob, misbehave, logins } = await withSlot();
    const before = logins();
    misbehave({ at: 'C_Login', does: 'abort' });
    for (let cut = 0; cut < ATTEMPTS_MAX; cut++) {
      await expect(restarted().recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.unavailable' });
    }
    misbehave(undefined);
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    expect(logins() - before).toBe(ATTEMPTS_MAX);
    using _key = await slot.recover(blob, CONTEXT, pinOf(PIN));
  });

  test('is not made at all if the mark cannot be written', async () => {
    const { restarted, blob, logins } = await withSlot();
    const before = logins();
    const mark = { read: () => 0, write: () => Promise.reject(new Error('no space')) };
    await expect(restarted({ mark }).recover(blob, CONTEXT, {})).rejects.toThrow('no space');
    expect(logins()).toBe(before);
  });

  test('at the final try is made on a person’s PIN only, and never on a locked one', async () => {
    const { slot, blob, showFlags, logins } = await withSlot();
    const before = logins();
    showFlags(FINAL_TRY);
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toThrow('locks the token');
    await expect(slot.create(CONTEXT)).rejects.toThrow('locks the token');
    expect(logins()).toBe(before);
    using _key = await slot.recover(blob, CONTEXT, pinOf(PIN));
    expect(logins()).toBe(before + 1);
    showFlags(LOCKED);
    await expect(slot.recover(blob, CONTEXT, pinOf(PIN))).rejects.toThrow('security officer');
    expect(logins()).toBe(before + 1);
  });

  const table: readonly (readonly [number, number, Word, boolean])[] = [
    [0, 0, 'none', true],
    [0, ATTEMPTS_MAX - 1, 'none', true],
    [0, ATTEMPTS_MAX, 'none', false],
    [0, ATTEMPTS_MAX, 'command', true],
    [0, ATTEMPTS_MAX, 'pin', true],
    [COUNT_LOW, 0, 'none', false],
    [COUNT_LOW, 0, 'command', true],
    [FINAL_TRY, 0, 'command', false],
    [FINAL_TRY, 0, 'none', false],
    [FINAL_TRY | COUNT_LOW, ATTEMPTS_MAX, 'pin', true],
    [LOCKED, 0, 'pin', false],
    [LOCKED, 0, 'none', false],
  ];
  test.each(table)('with flags %i, mark %i, on the word %s: %s', (flags, attempts, word, allowed) => {
    const trying = (): void => mayTry(flags, attempts, word);
    if (allowed) expect(trying).not.toThrow();
    else expect(trying).toThrow(expect.objectContaining({ code: 'slot.refused' }));
  });
});

describe('without a PIN file', () => {
  test('a slot is not automatic and opens by a person’s PIN', async () => {
    const { restarted, blob, logins } = await withSlot();
    const slot = restarted({ pinFile: undefined });
    expect(slot.automatic).toBe(false);
    const before = logins();
    await expect(slot.recover(blob, CONTEXT, {})).rejects.toMatchObject({ code: 'slot.refused' });
    for (const odd of ['', 'two\nlines', 'x'.repeat(256), 'nul\0']) {
      await expect(slot.recover(blob, CONTEXT, pinOf(odd))).rejects.toMatchObject({ code: 'slot.refused' });
    }
    expect(logins()).toBe(before);
    using _key = await slot.recover(blob, CONTEXT, pinOf(PIN));
  });
});

describe('the PIN file', () => {
  test('is one line, with or without its end', () => {
    const path = join(newFolder(), 'pin');
    for (const text of ['1', `${PIN}\n`, 'with blanks ', 'ünï', 'x'.repeat(255), `${'x'.repeat(255)}\n`]) {
      writeFileSync(path, text, { mode: 0o600 });
      using pin = readPinFile(path, 'seal.pkcs11.pinFile');
      expect(Buffer.from(pin.bytes).toString('utf8')).toBe(text.replace(/\n$/, ''));
    }
  });

  test('that is anything else is not used', () => {
    const path = join(newFolder(), 'pin');
    for (const text of ['', '\n', '1\n\n', '1\n2', '1\r\n', '1\0', 'x'.repeat(256), 'x'.repeat(1000)]) {
      writeFileSync(path, text, { mode: 0o600 });
      expect(() => readPinFile(path, 'seal.pkcs11.pinFile'), JSON.stringify(text)).toThrow(
        expect.objectContaining({ code: 'slot.unavailable' }),
      );
    }
    writeFileSync(path, PIN);
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(path, mode);
      expect(() => readPinFile(path, 'seal.pkcs11.pinFile')).toThrow(
        expect.objectContaining({ code: 'slot.unavailable' }),
      );
    }
    chmodSync(path, 0o400);
    readPinFile(path, 'seal.pkcs11.pinFile')[Symbol.dispose]();
    renameSync(path, `${path}.moved`);
    symlinkSync(`${path}.moved`, path);
    expect(() => readPinFile(path, 'seal.pkcs11.pinFile')).toThrow();
    expect(() => readPinFile(`${path}.absent`, 'seal.pkcs11.pinFile')).toThrow(
      expect.objectContaining({ code: 'slot.unavailable' }),
    );
    mkdirSync(`${path}.folder`, { mode: 0o700 });
    expect(() => readPinFile(`${path}.folder`, 'seal.pkcs11.pinFile')).toThrow(
      expect.objectContaining({ code: 'slot.unavailable' }),
    );
    expect(isPin(Buffer.from([0x7f]))).toBe(false);
  });
});

describe('the mark in the store', () => {
  const ROW = Buffer.from('pin/pkcs11');

  test('outlives the adapter and goes with a PIN that was taken', async () => {
    const store = openMemoryStore();
    expect(storedPinMark(store).read()).toBe(0);
    for (const attempts of [1, 2, ATTEMPTS_MAX, 0]) {
      await storedPinMark(store).write(attempts);
      expect(storedPinMark(store).read()).toBe(attempts);
    }
    expect(store.get('boot', ROW)).toBeUndefined();
  });

  test.each(['', '01', '0201', '010100', '01ff'])('that cannot be read (%s) counts as a refused PIN', async (hex) => {
    const store = openMemoryStore();
    await store.commit({ puts: [{ table: 'boot', key: ROW, value: Buffer.from(hex, 'hex') }] });
    expect(storedPinMark(store).read()).toBe(ATTEMPTS_MAX);
  });
});
