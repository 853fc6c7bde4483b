/**
 * A whole box under a mixed load, for the rig: `box-load FOLDER KEYFILE ROOT COMMITS IN_FLIGHT FIRST ERASES`. The box is there
 * already; ROOT is a file with its root token. Says `try` before and `ack` after each request that writes. Meanwhile it destroys a
 * secret and erases, ERASES times: says `asked` and `erased` with the secret's sealed row in hex.
 */
import { readFileSync, writeSync } from 'node:fs';
import type { ValueMap } from '../../../host/ports/value.ts';
import { assemble, sender } from '../../host/whole/box.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Marker } from '../events.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

async function main(): Promise<void> {
  const [folder = '', keyfile = '', rootFile = '', commits = '40', inFlight = '4', first = '0', erases = '0'] =
    process.argv.slice(2);
  const log = process.env['RIG_LOG'];
  const marker = log === undefined ? undefined : new Marker(log);
  const say = (text: string): void => {
    if (marker !== undefined) marker.mark(text);
    else writeSync(1, `${text}\n`);
  };
  const root = readFileSync(rootFile, 'utf8').trim();
  const { box, services, store, stop } = await assemble(folder, keyfile);
  if (!(await box.unsealAutomatically())) throw new Error(box.status().reasons.join('; '));
  const send = sender(services, () => root);
  let next = Number(first);
  const end = next + Number(commits);
  const random = new SeededRandom(3 + next);
  const worker = async (own: number): Promise<void> => {
    for (let n = next++; n < end; n = next++) {
      const slot = `w${own}-${random.below(6)}`;
      const kind = random.below(10);
      const [verb, path, body] =
        kind < 6
          ? (['write', `secret/data/load/${slot}`, { data: { n } }] as const)
          : kind < 8
            ? (['write', `sys/policies/acl/${slot}`, { policy: `path "n/${n}" { capabilities = ["read"] }` }] as const)
            : (['write', 'auth/token/create', { id: `t${n}`, policies: ['default'], ttl: '1h' }] as const);
      const key = kind < 6 ? `kv ${slot}` : kind < 8 ? `policy ${slot}` : `token t${n}`;
      say(`try ${n} ${key}`);
      const id = `load-${n}`;
      const outbound = await send(verb, path, body, root, { id });
      if (outbound.kind === 'error') throw new Error(`${path} was answered ${outbound.status}`);
      say(`ack ${n} ${key} ${id}`);
    }
  };
  const recordsNow = (): Map<string, string> =>
    new Map([...store.range('record')].map(({ key, value }) => [hex(key), hex(value)]));
  const ok = async (...request: Parameters<typeof send>): Promise<ValueMap> => {
    const outbound = await send(...request);
    if (outbound.kind === 'error') throw new Error(`${request[1]} was answered ${outbound.status}`);
    return outbound.answer.data ?? {};
  };
  const erase = async (): Promise<void> => {
    for (let n = 0; n < Number(erases); n++) {
      const before = recordsNow();
      await ok('write', 'secret/data/destroyed', { data: { password: `number ${n}` } });
      const made = recordsNow();
      await ok('delete', 'secret/metadata/destroyed');
      const after = recordsNow();
      const rows = [...made].filter(([key]) => !before.has(key) && !after.has(key)).map(([, row]) => row);
      if (rows.length === 0) throw new Error('no row of the secret was seen');
      await ok('write', 'sys/rotate', { erase: true });
      say(`asked ${rows.join(',')}`);
      while ((await ok('read', 'sys/rotate'))['erase'] !== 'none')
        await new Promise((resolve) => setTimeout(resolve, 1));
      say(`erased ${rows.join(',')}`);
    }
  };
  await Promise.all([erase(), ...Array.from({ length: Number(inFlight) }, (_, own) => worker(own))]);
  await stop();
  marker?.close();
}

await main();
