/** Requests when the store or the log takes nothing, and what a crash in the middle of one leaves behind. */
import { afterEach, expect, test, vi } from 'vitest';
import { Fault } from '../../../host/fault.ts';
import type { Outbound } from '../../../host/ports/dispatch.ts';
import type { Batch } from '../../../host/ports/store.ts';
import { type LeaseBox, leaseBox } from '../leases/rig.ts';
import { type WholeBox, wholeBox } from './box.ts';

/** Grants that are live at most (core/spec/gate.md). */
const GRANTS = 1024;
const open: WholeBox[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const box of open.splice(0)) await box.end();
});

async function made(): Promise<WholeBox> {
  const box = await wholeBox();
  open.push(box);
  return box;
}

async function leasing(): Promise<LeaseBox> {
  const box = await leaseBox();
  open.push(box);
  return box;
}

const status = (outbound: Outbound): number => (outbound.kind === 'error' ? outbound.status : 200);

/** From now on the store has only the room that is kept back for revocation. @returns gives it room again */
function fill(box: WholeBox): () => void {
  const { store } = box;
  const spy = vi.spyOn(store, 'commit');
  const real = Object.getPrototypeOf(store).commit as (batch: Batch) => Promise<void>;
  spy.mockImplementation(async (batch) => {
    if (batch.urgent !== true) throw new Fault('store.full', 'the disk is full');
    await real.call(store, batch);
  });
  return () => spy.mockRestore();
}

async function tokenOf(box: WholeBox, uses: number): Promise<string> {
  const { auth } = await box.ok('write', 'auth/token/create', { policies: ['root'], num_uses: uses, ttl: 0 });
  return auth?.clientToken ?? '';
}

test('a use that cannot be taken off is answered with its leaf, and leaves no grant behind', async () => {
  const box = await made();
  const token = await tokenOf(box, 5000);
  const empty = fill(box);
  const before = box.audit.size;
  for (let i = 0; i <= GRANTS; i++) expect(status(await box.send('read', 'nothing/x', {}, token))).toBe(507);
  expect(box.audit.size - before).toBe(2 * (GRANTS + 1));
  empty();
  expect(status(await box.send('read', 'nothing/x', {}, token))).toBe(404);
});

test('an answer that the log does not take leaves no grant behind', async () => {
  const box = await made();
  const spy = vi.spyOn(box.audit, 'response').mockImplementation(() => {
    throw new Fault('audit.unavailable', 'the audit log cannot be written');
  });
  for (let i = 0; i <= GRANTS; i++) expect(status(await box.send('read', 'secret/data/x'))).toBe(503);
  spy.mockRestore();
  expect(status(await box.send('read', 'secret/data/x'))).toBe(404);
});

test('a full disk keeps no token from being revoked: its uses, its cubbyhole, and what it leaves behind', async () => {
  const box = await leasing();
  const limited = await tokenOf(box, 3);
  const { auth: parent } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
  const { auth: child } = await box.ok('write', 'auth/token/create', { policies: ['root'] }, parent?.clientToken);
  await box.ok('write', 'cubbyhole/mine', { a: 'b' }, child?.clientToken);
  const { name } = await box.creds('r', {}, parent?.clientToken);
  const { auth: other } = await box.ok('write', 'auth/token/create', { policies: ['root'] });
  const { auth: orphan } = await box.ok('write', 'auth/token/create', { policies: ['root'] }, other?.clientToken);
  fill(box);
  expect(status(await box.send('write', 'auth/token/revoke-self', {}, limited))).toBe(200);
  expect(status(await box.send('write', 'auth/token/revoke', { token: parent?.clientToken ?? '' }))).toBe(200);
  await box.until(() => !box.server.logins.has(name));
  expect(status(await box.send('write', 'auth/token/revoke-orphan', { token: other?.clientToken ?? '' }))).toBe(200);
  expect(status(await box.send('read', 'auth/token/lookup-self', {}, orphan?.clientToken))).toBe(200);
});

test('a token that was used up ends though the box dies before its last answer, with what it made', async () => {
  const box = await leasing();
  const token = await tokenOf(box, 2);
  const { name } = await box.creds('r', {}, token);
  // The last use is durable, and nothing of what follows happens.
  let goOn = (): void => undefined;
  const stopped = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  vi.spyOn(box.services.tokens, 'revoke').mockImplementation(() => stopped);
  const last = box.send('read', 'secret/data/x', {}, token);
  await box.until(async () => status(await box.send('read', 'secret/data/x', {}, token)) === 403);
  const after = await box.cut();
  open.push(after);
  expect(after.server.logins.has(name)).toBe(true);
  await after.until(() => !after.server.logins.has(name), 5000);
  goOn();
  await last;
});

test('what is wrapped is handed out once though its row is sealed anew while it is taken', async () => {
  const box = await made();
  const { store } = box;
  const wrap = async (): Promise<string> =>
    (await box.ok('write', 'sys/wrapping/wrap', { a: 'b' }, undefined, { wrapTtl: 60 })).wrapInfo?.token ?? '';
  const rows = (): string => [...store.range('wrap')].map(({ value }) => Buffer.from(value).toString('hex')).join();
  for (const own of [true, false]) {
    const token = await wrap();
    const real = Object.getPrototypeOf(store).commit as (batch: Batch) => Promise<void>;
    const spy = vi.spyOn(store, 'commit').mockImplementation(async (batch) => {
      if (batch.puts.some(({ table, value }) => table === 'wrap' && value === undefined)) {
        spy.mockRestore();
        const before = rows();
        await box.ok('write', 'sys/rotate');
        while (rows() === before) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await real.call(store, batch);
    });
    const unwrap = (): Promise<Outbound> =>
      own
        ? box.send('write', 'sys/wrapping/unwrap', {}, token)
        : box.send('write', 'sys/wrapping/unwrap', { token }, box.root);
    expect(await unwrap()).toMatchObject({ kind: 'answer', answer: { data: { a: 'b' } } });
    expect(status(await unwrap())).toBe(400);
  }
});

test('one that was used up leaves nothing that is due', async () => {
  const box = await made();
  const before = [...box.store.range('expiry')].length;
  const token = await tokenOf(box, 1);
  expect(status(await box.send('read', 'secret/data/x', {}, token))).toBe(404);
  expect([...box.store.range('expiry')].length).toBe(before);
  const { wrapInfo } = await box.ok('write', 'sys/wrapping/wrap', { a: 'b' }, undefined, { wrapTtl: 60 });
  expect((await box.ok('write', 'sys/wrapping/unwrap', {}, wrapInfo?.token)).data).toEqual({ a: 'b' });
  expect([...box.store.range('expiry')].length).toBe(before);
  expect([...box.store.range('wrap')].length).toBe(0);
});
