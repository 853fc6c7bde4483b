/** What core/spec says of keys, rows, names and freshness, by core and by the slow twins. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { RawCore } from '../raw.ts';
import { blind, ExampleBox, freshness, keyring, record, SLOT_KINDS, wrapContext, wrapInput } from './examples.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe.each([
  ['record', record],
  ['names', blind],
  ['keyring', keyring],
  ['freshness', freshness],
])('the worked example of core/spec/%s.md', (document, examples) => {
  const text = readFileSync(`core/spec/${document}.md`, 'utf8');
  const values = new Map(
    [...text.matchAll(/^([\w /]+): ([0-9a-f]+)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );

  test.each(examples)('%s', (name, core, slow) => {
    expect(hex(core())).toBe(values.get(name));
    expect(hex(slow())).toBe(values.get(name));
  });

  test('has no value that is not recomputed', () => {
    expect([...values.keys()]).toEqual(examples.map(([name]) => name));
  });
});

describe('a root that is wrapped to a slot', () => {
  test.each(SLOT_KINDS.map((name, i) => [name, i + 1] as const))(
    'of kind %s opens there, and for no other kind',
    (_, kind) => {
      const box = new ExampleBox();
      box.put(wrapInput(kind));
      box.ok('wrapRoot', wrapContext(kind).length);
      const wrapped = box.out(box.result(0));
      for (let other = 1; other <= SLOT_KINDS.length; other++) {
        const core = new RawCore();
        core.put(wrapInput(other), wrapped);
        expect(core.call('unwrapRoot', wrapContext(other).length, wrapped.length)).toBe(other === kind ? 0 : 1);
        core.put(box.keyring);
        expect(core.call('openKeyring', box.keyring.length)).toBe(other === kind ? 0 : 2);
      }
    },
  );

  test('opens with nothing of its context, shared secret or bytes changed', () => {
    const box = new ExampleBox();
    box.put(wrapInput(3));
    box.ok('wrapRoot', wrapContext(3).length);
    const input = Buffer.concat([wrapInput(3), box.out(box.result(0))]);
    for (let at = 0; at < input.length; at++) {
      const changed = Buffer.from(input);
      changed[at] = (changed[at] ?? 0) ^ 0x80;
      const core = new RawCore();
      core.put(changed);
      expect([at, core.call('unwrapRoot', wrapContext(3).length, 73)]).toEqual([at, 1]);
    }
  });
});
