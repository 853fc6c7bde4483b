/** What `operator diagnose` says of each way into a box, and of what opens it. */
import { describe, expect, test } from 'vitest';
import { findingsOf } from '../../../host/cli/ways.ts';
import type { WayIn } from '../../../host/ports/appliance.ts';

const way = (kind: WayIn['kind'], opens: WayIn['opens'], trouble?: string): WayIn => ({
  ...{ id: `${kind === 'tpm2' ? 'aaaaaaaa' : 'bbbbbbbb'}${'0'.repeat(24)}`, kind, opens, trouble },
  ...(kind === 'shamir' ? { threshold: 2, shares: 3 } : { threshold: 0, shares: 0 }),
});
const SHARES = way('shamir', 'shares');
const stopped = { sealed: true, marked: false, tried: true, barred: false };

describe('a way into the box', () => {
  test.each([
    [way('tpm2', 'itself'), 'ok', 'opens it'],
    [way('tpm2', 'itself', 'the TPM is away'), 'bad', 'the TPM is away'],
    [way('tpm2', 'pin'), 'note', 'its PIN opens it: `holdfast unseal -slot=aaaaaaaa`'],
    [way('pkcs11', 'pin', 'it is locked'), 'bad', 'it is locked; its PIN opens it: `holdfast unseal -slot=bbbbbbbb`'],
    [SHARES, 'ok', '2 of 3 shares open it: `holdfast unseal`'],
    [
      way('keyfile', 'not-allowed'),
      'bad',
      'is not allowed here (seal.allowed): remove it (`holdfast slot remove bbbbbbbb`), or allow its kind',
    ],
    [way('pkcs11', 'not-configured'), 'bad', 'is not configured here: name its device in the settings seal.pkcs11.*'],
  ] as const)('%j', (one, state, sentence) => {
    const [first] = findingsOf([one], stopped);
    expect(first).toEqual({ state, what: `slot ${one.kind} ${one.id.slice(0, 8)}`, sentence });
  });

  test('of a running box is what the settings say, for nobody tried it', () => {
    expect(findingsOf([way('tpm2', 'itself')], { sealed: false, marked: false, tried: false })).toEqual([
      expect.objectContaining({ state: 'ok', sentence: 'opens it by itself, as far as the settings say' }),
    ]);
  });
});

describe('what opens the box', () => {
  const opening = (ways: readonly WayIn[], how = stopped) =>
    findingsOf(ways, how).find(({ what }) => what === 'opening');

  test('is nobody’s trouble where it opens by itself, or is open', () => {
    expect(opening([SHARES, way('tpm2', 'itself')])).toEqual({
      state: 'ok',
      what: 'opening',
      sentence: 'the box opens by itself when it is started',
    });
    expect(opening([SHARES], { ...stopped, sealed: false })).toBeUndefined();
  });

  test('is said where a person is needed: shares, PINs, and what to do about the device afterwards', () => {
    expect(opening([SHARES, way('tpm2', 'itself', 'moved'), way('pkcs11', 'pin')])).toEqual({
      state: 'bad',
      what: 'opening',
      sentence:
        'nothing opens this box by itself now: give 2 of 3 recovery shares to `holdfast unseal`, or run `holdfast unseal -slot=bbbbbbbb` as the user of the service (pkcs11); if the device of that tpm2 slot is lost, its counter is lost too: then each share is given to `holdfast unseal -accept=rolled-back`; when it is open, `holdfast slot replace aaaaaaaa` makes that slot anew, if its device or boot changed',
    });
  });

  test('is not promised where a counter says that the disk is an old one', () => {
    expect(opening([SHARES, way('tpm2', 'itself')], { ...stopped, barred: true })).toEqual({
      state: 'bad',
      what: 'opening',
      sentence: 'a slot gives the key, and the box stays shut all the same for what its counter says',
    });
  });

  test('is said of a box that a person sealed, though its device works', () => {
    expect(opening([SHARES, way('tpm2', 'itself')], { ...stopped, marked: true })?.sentence).toBe(
      'a person sealed it, so it opens by nothing of itself: give 2 of 3 recovery shares to `holdfast unseal`, or run `holdfast unseal -slot=aaaaaaaa` as the user of the service (tpm2)',
    );
  });
});
