/** A box that a person calls the one that lives: another appliance, with a log of its own, over the same secrets. */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import { Secret } from '../../../host/secret.ts';
import { type WholeBox, wholeBox } from './box.ts';

let box: WholeBox;
beforeAll(async () => {
  box = await wholeBox();
});
afterAll(() => box.end());

const status = (outbound: Outbound): number =>
  outbound.kind === 'error' ? outbound.status : (outbound.answer.status ?? 200);

const lines = async (): Promise<{ readonly event?: string; readonly data?: Record<string, unknown> }[]> => {
  const { raw } = await box.ok('read', 'sys/audit-log/entries', { from: '0' });
  const text = raw !== undefined && 'body' in raw ? Buffer.from(raw.body).toString() : '';
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
};

test('only root says it, in so many words', async () => {
  expect((await box.ok('read', 'sys/lives')).data).toEqual({ held: false });
  await box.ok('write', 'sys/policies/acl/ops', {
    policy: 'path "sys/*" { capabilities = ["sudo", "update", "read"] }',
  });
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['ops'] });
  expect(status(await box.send('read', 'sys/lives', {}, auth?.clientToken))).toBe(200);
  expect(status(await box.send('write', 'sys/lives', { lives: true }, auth?.clientToken))).toBe(403);
  for (const body of [{}, { lives: false }]) expect(status(await box.send('write', 'sys/lives', body))).toBe(400);
  expect(readdirSync(box.data).filter((name) => name.startsWith('audit'))).toEqual(['audit']);
});

test('it makes a new id and a new log, whose first line names the one before; secrets and tokens stay', async () => {
  await box.ok('write', 'secret/data/a', { data: { value: 'kept' } });
  const batch = (await box.ok('write', 'auth/token/create', { policies: ['default'], type: 'batch' })).auth
    ?.clientToken;
  const clusterId = box.box.status().clusterId;
  const size = box.audit.size;
  const key = (await box.ok('read', 'sys/audit-log/key')).data;
  await box.ok('write', 'sys/lives', { lives: true });
  for (let waits = 0; box.box.status().clusterId === clusterId || box.box.status().sealed; waits++) {
    if (waits > 2000) throw new Error('it did not open again');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect((await box.ok('read', 'secret/data/a')).data?.['data']).toEqual({ value: 'kept' });
  expect(status(await box.send('read', 'auth/token/lookup-self', {}, batch))).toBe(403);
  expect((await box.ok('read', 'sys/audit-log/key')).data).not.toEqual(key);
  const [first] = await lines();
  const id = box.box.status().clusterId.replaceAll('-', '');
  expect(JSON.stringify(first)).toContain('log.archived');
  expect(JSON.stringify(first)).toContain(`holdfast/${clusterId.replaceAll('-', '')}`);
  expect(JSON.stringify(first)).toContain(`holdfast/${id}`);
  expect(box.audit.size).toBeLessThan(size);
  expect(
    readdirSync(box.data)
      .filter((name) => name.startsWith('audit'))
      .sort(),
  ).toEqual(['audit', 'audit-1']);
});

test('said among changes of keys, which wait for each other, it ends, and so does a seal', async () => {
  const { clusterId } = box.box.status();
  const rotate = () => box.send('write', 'sys/rotate');
  const answers = await Promise.all([rotate(), box.send('write', 'sys/lives', { lives: true }), rotate(), rotate()]);
  expect(answers.map(status).filter((one) => one !== 200 && one !== 503)).toEqual([]);
  for (let waits = 0; box.box.status().sealed || box.box.status().clusterId === clusterId; waits++) {
    if (waits > 2000) throw new Error('it did not open again');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await box.ok('write', 'sys/policies/acl/keys', { policy: 'path "sys/rotate" { capabilities = ["sudo", "update"] }' });
  for (let round = 0; round < 6; round++) {
    // A use that is taken off first makes the rotation come while the box is closing.
    const used = { policies: ['keys'], num_uses: 9 };
    const token = (await box.ok('write', 'auth/token/create', used)).auth?.clientToken;
    const late = Array.from({ length: 8 }, async (_, n) => {
      for (let turn = 0; turn < n * round; turn++) await new Promise((resolve) => setImmediate(resolve));
      return box.send('write', 'sys/rotate', {}, token);
    });
    await Promise.all([box.send('write', 'sys/seal'), ...late]);
    for (let waits = 0; !box.box.status().sealed; waits++) {
      if (waits > 2000) throw new Error('it did not close');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await box.box.offerShare(new Secret(Buffer.from(box.share)));
  }
  expect((await box.ok('read', 'secret/data/a')).data?.['data']).toEqual({ value: 'kept' });
});

test('and it is that one over restarts, by its key file and by its share', async () => {
  const { clusterId } = box.box.status();
  await box.restart();
  expect(box.box.status()).toMatchObject({ sealed: false, clusterId });
  expect((await box.ok('read', 'secret/data/a')).data?.['data']).toEqual({ value: 'kept' });
  expect((await box.ok('read', 'sys/lives')).data).toEqual({ held: false });
});
