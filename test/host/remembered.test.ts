import { expect, test } from 'vitest';
import { Remembered } from '../../host/remembered.ts';

test('what was asked for last is made once; what was asked for longest ago goes', () => {
  const remembered = new Remembered<{ readonly key: string }>(2);
  const made: string[] = [];
  const get = (key: string) =>
    remembered.get(key, () => {
      made.push(key);
      return { key };
    });
  expect(get('a')).toBe(get('a'));
  get('b');
  get('a');
  expect(made.join('')).toBe('ab');
  get('c');
  expect(get('a').key).toBe('a');
  expect(made.join('')).toBe('abc');
  expect(get('b').key).toBe('b');
  expect(made.join('')).toBe('abcb');
});

test('what failed is tried again', () => {
  const remembered = new Remembered<object>(2);
  for (let i = 0; i < 2; i++) {
    expect(() =>
      remembered.get('a', () => {
        throw new Error('no');
      }),
    ).toThrow('no');
  }
  const value = {};
  expect(remembered.get('a', () => value)).toBe(value);
});
