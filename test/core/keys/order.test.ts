/** What core is asked out of order is refused: it never answers for what did not happen. */
import { expect, test } from 'vitest';
import { id, NOW, TIME } from '../gate/box.ts';
import { AUDIT, RawBox } from '../gate/raw-box.ts';

const OK = 0;
const BAD_ARGUMENT = 7;

test('a store is verified against a freshness row, and once', () => {
  const box = new RawBox();
  const row = (): number => {
    box.put(id(1), Buffer.from('value'));
    return box.call('verifyRow', 3, 16, 5);
  };
  expect([row(), box.call('verifyEnd')]).toEqual([BAD_ARGUMENT, BAD_ARGUMENT]);
  box.put(Buffer.alloc(33));
  expect(box.call('sealFreshness', 0, NOW, 0)).toBe(OK);
  const sealed = box.out(box.result(0));
  box.put(sealed);
  expect(box.call('verifyStart', sealed.length)).toBe(OK);
  expect([row(), box.call('verifyEnd'), box.result(0)]).toEqual([OK, OK, 0]);
  expect([row(), box.call('verifyEnd')]).toEqual([BAD_ARGUMENT, BAD_ARGUMENT]);
});

test('a root is unwrapped into a sealed core only', () => {
  const box = new RawBox();
  const input = Buffer.alloc(97, 1);
  box.put(input);
  expect(box.call('wrapRoot', 1)).toBe(OK);
  const wrapped = box.out(box.result(0));
  box.put(input, wrapped);
  expect(box.call('unwrapRoot', 1, wrapped.length)).toBe(BAD_ARGUMENT);
  box.call('seal');
  box.put(input, wrapped);
  expect(box.call('unwrapRoot', 1, wrapped.length)).toBe(OK);
  box.put(box.keyring);
  expect(box.call('openKeyring', box.keyring.length)).toBe(OK);
});

test('a time that would end its line makes no leaf', () => {
  const box = new RawBox();
  const grant = box.job(AUDIT);
  const rest = Buffer.from('"x":1}');
  for (const broken of ['\n', '\r', '\u0000', '\u001f']) {
    const time = Buffer.from(TIME.replace('T', broken));
    box.put(time, rest);
    expect(box.call('leaf', grant, 2, time.length, rest.length)).toBe(BAD_ARGUMENT);
    expect(box.call('auditPending')).toBe(0);
  }
  box.put(Buffer.from(TIME), rest);
  expect(box.call('leaf', grant, 2, TIME.length, rest.length)).toBe(OK);
});
