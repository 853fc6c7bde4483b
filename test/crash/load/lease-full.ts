/**
 * A whole box with logins at a real server, on a small file system until it is full, and after: `lease-full FOLDER URL USER
 * PASSWORD`. Says what it saw as JSON; the names on the server are looked at by whoever started it.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { postgresql } from '../../../host/databases/postgresql/adapter.ts';
import { databaseEngine } from '../../../host/engines/database/engine.ts';
import { networkCheck } from '../../../host/networks.ts';
import { cronSchedules } from '../../../host/system/cron.ts';
import { assemble, sender } from '../../host/whole/box.ts';

const WRITES_MAX = 2000;
const VALUE = 'x'.repeat(40_000);
const LOGINS = 40;

async function main(): Promise<void> {
  const [disk = '', url = '', username = '', password = ''] = process.argv.slice(2);
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-full-'));
  const put = (): ReturnType<typeof assemble> =>
    assemble(join(disk, 'data'), join(scratch, 'keyfile'), undefined, undefined, undefined, undefined, {
      engines: (own) => [
        databaseEngine({
          ...own,
          adapters: [postgresql(own)],
          schedules: cronSchedules,
          check: networkCheck(['127.0.0.0/8']),
          passwords: (policy) => own.passwords.source(policy),
          certificate: () => Promise.reject(new Error('no certificate is asked for')),
        }),
      ],
    });
  let now = await put();
  const { rootToken } = await now.box.initialise({ shares: 1, threshold: 1, keyfile: true });
  const root = Buffer.from(rootToken.bytes).toString();
  const send = (...request: Parameters<ReturnType<typeof sender>>) => sender(now.services, () => root)(...request);
  const status = async (...request: Parameters<typeof send>): Promise<number> => {
    const outbound = await send(...request);
    return outbound.kind === 'answer' ? 200 : outbound.status;
  };
  const opened = [await now.box.unsealAutomatically()];
  const ready = [
    await status('write', 'sys/mounts/db', { type: 'database' }),
    await status('write', 'db/config/c', {
      ...{ plugin_name: 'postgresql-database-plugin', connection_url: url, username, password },
      allowed_roles: '*',
    }),
    await status('write', 'db/roles/r', { db_name: 'c', default_ttl: '1h' }),
  ];
  const logins: { readonly lease: string; readonly name: string }[] = [];
  for (let n = 0; n < LOGINS; n++) {
    const outbound = await send('read', 'db/creds/r');
    if (outbound.kind === 'error') throw new Error(outbound.errors.join('; '));
    logins.push({ lease: outbound.answer.lease?.id ?? '', name: String(outbound.answer.data?.['username']) });
  }
  let refused = 0;
  // Large values first: what they leave free small ones take.
  for (const value of [VALUE, VALUE.slice(0, 200)]) {
    const until = refused + 20;
    for (let n = 0; n < WRITES_MAX && refused < until; n++) {
      if ((await status('write', `secret/data/n${n}-${value.length}`, { data: { value } })) !== 200) refused++;
    }
  }
  const issue = (): Promise<number> => status('read', 'db/creds/r');
  /** Until three are refused: the last room may do for one. */
  const issueAll = async (): Promise<number[]> => {
    const refusals: number[] = [];
    for (let n = 0; n < LOGINS && refusals.length < 3; n++) {
      const answered = await issue();
      if (answered !== 200) refusals.push(answered);
    }
    return refusals;
  };
  const full = await issueAll();
  const revoke = (from: number, to: number): Promise<number[]> =>
    Promise.all(logins.slice(from, to).map(({ lease }) => status('write', 'sys/leases/revoke', { lease_id: lease })));
  const revoked = await revoke(0, LOGINS / 4);
  await now.stop();
  now = await put();
  opened.push(await now.box.unsealAutomatically());
  full.push(...(await issueAll()));
  revoked.push(...(await revoke(LOGINS / 4, LOGINS / 2)));
  execFileSync('mount', ['-o', 'remount,size=96m', disk]);
  const again = [await status('write', 'secret/data/after', { data: { n: 1 } }), await issue()];
  const listed = await send('list', 'sys/leases/lookup/db/creds/r');
  const leases = listed.kind === 'answer' ? ((listed.answer.data?.['keys'] ?? []) as readonly string[]) : [];
  await now.stop();
  rmSync(scratch, { recursive: true });
  const kept = logins.slice(LOGINS / 2).map(({ name }) => name);
  console.log(JSON.stringify({ opened, ready, refused, full, revoked, again, leases: leases.length, kept }));
}

await main();
