/** A whole box on a small file system until it is full, and after: `box-full FOLDER`. Says what it saw as JSON. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyFolder } from '../../../host/audit/index.ts';
import { FakeServer, fakeEngine } from '../../host/leases/fake.ts';
import { type Assembled, assemble, sender } from '../../host/whole/box.ts';

const WRITES_MAX = 2000;
const SAMPLE = 10;
const HEAL_MS_MAX = 60_000;
const VALUE = 'x'.repeat(40_000);

async function main(): Promise<void> {
  const [disk = ''] = process.argv.slice(2);
  const [data, scratch] = [join(disk, 'data'), mkdtempSync(join(tmpdir(), 'holdfast-full-'))];
  const keyfile = join(scratch, 'keyfile');
  const server = new FakeServer();
  const put = (): Promise<Assembled> =>
    assemble(data, keyfile, undefined, undefined, undefined, undefined, { engines: fakeEngine(server) });
  let current: Assembled = await put();
  const { rootToken } = await current.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  const root = Buffer.from(rootToken.bytes).toString();
  const send = (...request: Parameters<ReturnType<typeof sender>>) => sender(current.services, () => root)(...request);
  const status = async (...request: Parameters<typeof send>): Promise<number> => {
    const outbound = await send(...request);
    return outbound.kind === 'answer' ? 200 : outbound.status;
  };
  const opened = [await current.box.unsealAutomatically()];
  const acked: number[] = [];
  const write = async (n: number): Promise<number> => {
    const answered = await status('write', `secret/data/n${n}`, { data: { n, value: VALUE } });
    if (answered === 200) acked.push(n);
    return answered;
  };
  for (const id of ['a', 'b', 'c']) await send('write', 'auth/token/create', { id: `token-${id}`, ttl: '1h' });
  await send('write', 'sys/mounts/fake', { type: 'fake' });
  const leases: string[] = [];
  for (let n = 0; n < 4; n++) {
    const made = await send('read', 'fake/creds/r');
    if (made.kind === 'answer') leases.push(made.answer.lease?.id ?? '');
  }
  const refused: number[] = [];
  for (let n = 0; n < WRITES_MAX && refused.length < 20; n++) {
    const answered = await write(n);
    if (answered !== 200) refused.push(answered);
  }
  /** Each read takes room in the log, so a full disk gives a sample of the acknowledged values only. */
  const lost = async (sample: number): Promise<number[]> => {
    const missing: number[] = [];
    const step = Math.max(1, Math.floor(acked.length / sample));
    for (const [at, n] of acked.entries()) {
      if (at % step === 0 && (await status('read', `secret/data/n${n}`)) !== 200) missing.push(n);
    }
    return missing;
  };
  const unread = await lost(SAMPLE);
  const revoked = [await status('write', 'auth/token/revoke', { token: 'token-a' })];
  // No credential is made, whatever the server would do; those that are there can be ended.
  const large = { pad: VALUE };
  const issued = [await status('read', 'fake/creds/r', large)];
  const logins = [server.logins.size];
  const end = async (lease: string | undefined): Promise<void> => {
    revoked.push(await status('write', 'sys/leases/revoke', { lease_id: lease ?? '' }));
    logins.push(server.logins.size);
  };
  await end(leases[0]);
  // Nothing is left: what a large value did not fill, small ones do.
  for (let n = 0, full = 0; n < WRITES_MAX && full < 20; n++) {
    if ((await status('write', `secret/data/s${n}`, { data: { n } })) !== 200) full++;
  }
  await current.stop();
  current = await put();
  opened.push(await current.box.unsealAutomatically());
  const unreadAfter = await lost(SAMPLE);
  revoked.push(await status('write', 'auth/token/revoke', { token: 'token-b' }));
  await end(leases[1]);
  const still = await write(WRITES_MAX);
  const erase = [await status('write', 'sys/rotate', { erase: true })];
  execFileSync('mount', ['-o', 'remount,size=96m', disk]);
  const again = await write(WRITES_MAX + 1);
  issued.push(await status('read', 'fake/creds/r', large));
  await end(leases[2]);
  erase.push(await status('write', 'sys/rotate', { erase: true }));
  while (current.box.keys.progress.erase !== 'none') await new Promise((resolve) => setTimeout(resolve, 5));
  // The log looks for room again every second; until then it takes revocations alone.
  const until = Date.now() + HEAL_MS_MAX;
  while (current.box.status().reasons.length > 0 && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const missing = await lost(acked.length);
  await current.stop();
  const { ok } = verifyFolder(join(data, 'audit'));
  rmSync(scratch, { recursive: true });
  const seen = {
    ...{ opened, acked: acked.length, refused, unread, unreadAfter, revoked, still, again, erase, missing, ok },
    ...{ issued, logins },
  };
  console.log(JSON.stringify(seen));
}

await main();
