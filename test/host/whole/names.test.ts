import { afterAll, beforeAll, expect, test } from 'vitest';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

test.each([
  ['plain', ['b', 'a10', 'a2', 'Z', 'a', '~', 'é', 'a-b']],
  // As UTF-16 the emoji (two surrogates) would come before U+FFFD, as octets it comes behind.
  ['high', ['\u{1f600}', '\ufffd', 'a', '\u{10ffff}', '\ud7ff', 'é']],
])('%s names are listed in the order of their octets', async (folder, names) => {
  for (const name of names) await box.ok('write', `secret/data/${folder}/${name}`, { data: { v: 1 } });
  const { data } = await box.ok('list', `secret/metadata/${folder}`);
  expect(data).toEqual({ keys: [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))) });
});
