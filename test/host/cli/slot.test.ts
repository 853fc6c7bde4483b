/** What slot commands ask of a person, and how a slot is named. */
import { describe, expect, test } from 'vitest';
import { parseArguments } from '../../../host/cli/arguments.ts';
import type { Invocation } from '../../../host/cli/command.ts';
import { chosen, offeredPin, PIN_FLAGS } from '../../../host/cli/commands/slot.ts';
import { type FakeEnvironment, fakeEnvironment } from './environment.ts';

const invocation = (environment: FakeEnvironment, ...args: readonly string[]): Invocation =>
  ({ environment, parsed: parseArguments(args, PIN_FLAGS) }) as unknown as Invocation;

describe('a PIN', () => {
  test('is asked for on a terminal without echo, and only where it is wanted', async () => {
    const terminal = fakeEnvironment({ typed: '4711' });
    expect(await offeredPin(invocation(terminal))).toBeUndefined();
    expect(terminal.asked).toEqual([]);
    expect(await offeredPin(invocation(terminal, '-pin'))).toBe('4711');
    expect(await offeredPin(invocation(terminal), true)).toBe('4711');
    expect(terminal.asked).toEqual(['PIN (it is not shown): ', 'PIN (it is not shown): ']);
    expect(terminal.output() + terminal.errors()).not.toContain('4711');
  });

  test('is the first line of standard input, or of a file, where there is no terminal', async () => {
    expect(await offeredPin(invocation(fakeEnvironment({ input: ' 47 11 \r\nmore' }), '-pin'))).toBe(' 47 11 ');
    const withFile = fakeEnvironment({ files: { '/pin': ' with blanks \n', '/empty': '\n' } });
    expect(await offeredPin(invocation(withFile, '-pin-file=/pin'))).toBe(' with blanks ');
    await expect(offeredPin(invocation(withFile, '-pin-file=/empty'))).rejects.toThrow('is empty');
    await expect(offeredPin(invocation(withFile, '-pin-file=/absent'))).rejects.toThrow('cannot be read');
    await expect(offeredPin(invocation(withFile, '-pin', '-pin-file=/pin'))).rejects.toThrow('do not go together');
  });

  test('is no argument: -pin takes no value but true and false', () => {
    expect(() => parseArguments(['-pin=4711'], PIN_FLAGS)).toThrow('-pin is true or false');
  });
});

describe('a slot', () => {
  const slots = [
    { id: 'aa', kind: 'tpm2' },
    { id: 'bb', kind: 'pkcs11' },
    { id: 'cc', kind: 'pkcs11' },
  ];

  test('is named by its kind where it is the only one, else by its id', () => {
    expect(chosen(slots, 'tpm2')).toBe('aa');
    expect(chosen(slots, '0123abcd')).toBe('0123abcd');
    expect(() => chosen(slots, 'pkcs11')).toThrow('several slots of kind pkcs11');
    expect(() => chosen(slots, 'keyfile')).toThrow('no slot of kind keyfile');
  });
});
