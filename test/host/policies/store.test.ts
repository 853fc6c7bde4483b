import { afterAll, beforeAll, expect, test } from 'vitest';
import { type WholeBox, wholeBox } from '../whole/box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

/** About half a MiB once compiled. */
const large = (seed: number): string =>
  Array.from({ length: 245 }, (_, i) => `path "${`${seed}/${i}/`.padEnd(1000, 'x')}" {}`).join('\n');

test('a policy that core has no room for is refused, not stored, and all others are loaded again', async () => {
  let refused = 0;
  let written = 0;
  for (; written < 100 && refused === 0; written++) {
    const answer = await box.send('write', `sys/policies/acl/large-${written}`, { policy: large(written) });
    if (answer.kind === 'error') refused = answer.status;
  }
  expect(refused).toBe(503);
  expect(written).toBeGreaterThan(10);
  const last = `large-${written - 1}`;
  expect((await box.send('read', `sys/policies/acl/${last}`)).kind).toBe('error');
  expect(box.services.policies.names()).not.toContain(last);
  // As at the next start.
  await box.services.policies.load();
  expect(box.services.policies.names()).toContain('large-0');
  await box.ok('delete', 'sys/policies/acl/large-0');
  expect(box.services.policies.names()).not.toContain('large-0');
  await box.ok('write', `sys/policies/acl/${last}`, { policy: large(0) });
});

test('the policy of wrapping tokens is read and not listed', async () => {
  const listed = await box.ok('list', 'sys/policies/acl');
  const keys = listed.data?.['keys'] as readonly string[];
  expect(keys).toContain('default');
  expect(keys.at(-1)).toBe('root');
  expect(keys).not.toContain('response-wrapping');
  expect((await box.ok('read', 'sys/policies/acl/response-wrapping')).data?.['policy']).toContain(
    'sys/wrapping/unwrap',
  );
});
