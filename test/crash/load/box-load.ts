/**
 * A whole box under a mixed load, for the rig: `box-load FOLDER KEYFILE ROOT COMMITS IN_FLIGHT FIRST`. The box is there already;
 * ROOT is a file with its root token. Says `try` before and `ack` after each request that writes.
 */
import { readFileSync, writeSync } from 'node:fs';
import { assemble, sender } from '../../host/whole/box.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Marker } from '../events.ts';

async function main(): Promise<void> {
  const [folder = '', keyfile = '', rootFile = '', commits = '40', inFlight = '4', first = '0'] = process.argv.slice(2);
  const log = process.env['RIG_LOG'];
  const marker = log === undefined ? undefined : new Marker(log);
  const say = (text: string): void => {
    if (marker !== undefined) marker.mark(text);
    else writeSync(1, `${text}\n`);
  };
  const root = readFileSync(rootFile, 'utf8').trim();
  const { box, services, stop } = await assemble(folder, keyfile);
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
  await Promise.all(Array.from({ length: Number(inFlight) }, (_, own) => worker(own)));
  await stop();
  marker?.close();
}

await main();
