import { describe, expect, test } from 'vitest';
import { isFault } from '../../../host/fault.ts';
import { parseJson, stringifyJson } from '../../../host/json.ts';
import type { Value } from '../../../host/ports/value.ts';

describe('strict JSON', () => {
  test.each([
    '{}',
    '[]',
    '"a"',
    '1',
    '-0.5',
    '1e3',
    'true',
    'null',
    '{"a":{"b":[1,"x",null]}}',
    ' {"a" : [ ] } ',
    '"\\u00e9\\n"',
    '"\u007f\u0085"',
    '"😀"',
  ])('%s is read as JSON.parse reads it', (text) => expect(parseJson(text)).toEqual(JSON.parse(text)));

  test.each([
    '',
    '{',
    '{"a":1} x',
    '{"a":1,}',
    '[1,]',
    "{'a':1}",
    '{"a":1,"a":2}',
    '{"\\u0061":1,"a":2}',
    '01',
    '1.',
    '+1',
    '1e400',
    'NaN',
    'nul',
    '"\\ud800"',
    '"\\x"',
    '"a\nb"',
    '"open',
    '[1 2]',
    '{"a" 1}',
    '['.repeat(1_000_000),
    '[[]'.repeat(400_000),
    `{"a":${'['.repeat(65)}${']'.repeat(65)}}`,
    '9'.repeat(500),
  ])('%#: what is malformed or means two things is refused, and early', (text) => {
    expect(() => parseJson(text)).toThrow('failed to parse JSON input');
  });

  test('a refusal never repeats what was sent', () => {
    for (const text of ['{"password":"hunter2"', '{"hunter2":1,"hunter2":2}', '"hunter2\u0001"', 'hunter2']) {
      try {
        parseJson(text);
        expect.unreachable();
      } catch (error) {
        expect(isFault(error, 'input.invalid') && error.message.includes('hunter2')).toBe(false);
      }
    }
  });

  test('integers beyond a double keep every digit, both ways', () => {
    const text = '{"a":9007199254740993,"b":-18446744073709551616,"c":9007199254740991}';
    expect(parseJson(text)).toEqual({ a: 9007199254740993n, b: -18446744073709551616n, c: 9007199254740991 });
    expect(stringifyJson(parseJson(text))).toBe(text);
    for (const beyond of ['18446744073709551616', '-18446744073709551617', '9'.repeat(300)])
      expect(() => parseJson(beyond)).toThrow('more than 64 bits');
  });

  test('__proto__ is a name like others', () => {
    const value = parseJson('{"__proto__":{"polluted":true},"a":1}') as Record<string, Value>;
    expect(Object.keys(value)).toEqual(['__proto__', 'a']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(stringifyJson(value)).toBe('{"__proto__":{"polluted":true},"a":1}');
  });

  test('too many names are refused', () => {
    const many = `{${Array.from({ length: 100_001 }, (_, i) => `"k${i}":1`).join(',')}}`;
    expect(() => parseJson(many)).toThrow('more than 100000 names');
  });

  test('bytes are base64, undefined members are left out', () => {
    expect(stringifyJson({ a: Uint8Array.of(1, 2), b: undefined, c: [1n] })).toBe('{"a":"AQI=","c":[1]}');
  });
});
