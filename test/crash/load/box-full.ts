/** A whole box on a small file system until it is full, and after: `box-full FOLDER`. Says what it saw as JSON. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyFolder } from '../../../host/audit/index.ts';
import { type Assembled, assemble, sender } from '../../host/whole/box.ts';

const WRITES_MAX = 2000;
const SAMPLE = 10;
const VALUE = 'x'.repeat(40_000);

async function main(): Promise<void> {
  const [disk = ''] = process.argv.slice(2);
  const [data, scratch] = [join(disk, 'data'), mkdtempSync(join(tmpdir(), 'holdfast-full-'))];
  const keyfile = join(scratch, 'keyfile');
  let current: Assembled = await assemble(data, keyfile);
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
  await current.stop();
  current = await assemble(data, keyfile);
  opened.push(await current.box.unsealAutomatically());
  const unreadAfter = await lost(SAMPLE);
  revoked.push(await status('write', 'auth/token/revoke', { token: 'token-b' }));
  const still = await write(WRITES_MAX);
  const erase = [await status('write', 'sys/rotate', { erase: true })];
  execFileSync('mount', ['-o', 'remount,size=96m', disk]);
  const again = await write(WRITES_MAX + 1);
  erase.push(await status('write', 'sys/rotate', { erase: true }));
  while (current.box.keys.progress.erase !== 'none') await new Promise((resolve) => setTimeout(resolve, 5));
  const missing = await lost(acked.length);
  await current.stop();
  const { ok } = verifyFolder(join(data, 'audit'));
  rmSync(scratch, { recursive: true });
  const seen = { opened, acked: acked.length, refused, unread, unreadAfter, revoked, still, again, erase, missing, ok };
  console.log(JSON.stringify(seen));
}

await main();
