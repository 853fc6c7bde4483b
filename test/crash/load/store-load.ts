/**
 * A process that fills a store, for the rig: `store-load FOLDER SEED COMMITS IN_FLIGHT MOVES`. Says `try` before and `ack` after
 * each commit, into the rig's log where there is one, else on its output. Meanwhile it deletes a row and moves the store into a
 * new file, MOVES times, and says `moved N` after each.
 */
import { writeSync } from 'node:fs';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { SeededRandom } from '../../reference/random.ts';
import { Marker } from '../events.ts';
import { destroyedBefore, putsOf, SLOTS, SumWitness } from './rows.ts';

async function main(): Promise<void> {
  const [folder = '', seed = '1', commits = '100', inFlight = '4', moves = '0'] = process.argv.slice(2);
  const log = process.env['RIG_LOG'];
  const marker = log === undefined ? undefined : new Marker(log);
  const say = (text: string): void => {
    if (marker !== undefined) marker.mark(text);
    else writeSync(1, `${text}\n`);
  };
  const lock = lockFolder(folder);
  const witness = new SumWitness();
  const store = await openLmdbStore({ lock, files, witness, mapBytes: 1024 * 1024, ballastBytes: 0 });
  witness.load(store);
  const random = new SeededRandom(Number(seed));
  const workers = Number(inFlight);
  let id = Number(seed) * 1_000_000;
  const last = id + Number(commits);
  const work = async (worker: number): Promise<void> => {
    while (id < last) {
      id++;
      const own = id;
      // Each worker has its own slots, so of each slot at most one commit is under way.
      const slot = worker + workers * random.below(SLOTS / workers);
      say(`try ${own} ${slot}`);
      await store.commit({ puts: putsOf(own, slot) });
      say(`ack ${own} ${slot}`);
    }
  };
  const move = async (): Promise<void> => {
    const row = { table: 'boot', key: Buffer.from('destroyed') } as const;
    for (let n = 0; n < Number(moves); n++) {
      await store.commit({ puts: [{ ...row, value: destroyedBefore(n) }] });
      await store.commit({ puts: [row] });
      await store.move();
      say(`moved ${n}`);
    }
  };
  await Promise.all([move(), ...Array.from({ length: workers }, (_, worker) => work(worker))]);
  await store.close();
  lock.release();
  marker?.close();
}

await main();
