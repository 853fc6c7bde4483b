/** A mount that takes a removed one's place in the table takes nothing else of it. */
import { expect, test } from 'vitest';
import { drawn, Names } from '../../reference/keys.ts';
import { id } from '../gate/box.ts';
import { RawBox } from '../gate/raw-box.ts';

const OK = 0;

test('blind keys are those of the mount, though another one lay there and had the same directories', () => {
  const box = new RawBox();
  const path = Buffer.from('app/db/password');
  const keyOf = (mount: Uint8Array): Buffer => {
    const grant = box.job(0, mount);
    expect(box.call('locate', grant, box.put(path), 0)).toBe(OK);
    const key = box.out(32);
    box.call('finishGrant', grant);
    return key;
  };
  const { nameKey } = drawn(Buffer.alloc(4096, 7));
  expect(keyOf(id(2))).toEqual(new Names(nameKey, id(2)).record(path.toString()));
  box.put(id(2));
  expect(box.call('dropMount')).toBe(OK);
  expect(box.mount(id(3), 'kv-v1', 'secret/')).toBe(OK);
  expect(keyOf(id(3))).toEqual(new Names(nameKey, id(3)).record(path.toString()));
});
