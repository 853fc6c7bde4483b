/**
 * A store whose disk fails: takes jobs from its parent, one after the other. What it tried and what was acknowledged stands
 * in the job's file of marks, whatever becomes of this process.
 */
import { appendFileSync } from 'node:fs';
import type { Store } from '../../../host/ports/store.ts';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { type FaultJob, serveFaults } from '../fault-run.ts';
import type { FaultControl } from '../faults.ts';
import { putsOf, SLOTS, SumWitness, stateAfter, stateOf } from './rows.ts';

const COMMITS = 14;
const BEFORE = 4;
/** Codes that a commit may fail with, and whether they say that nothing was written. */
const REFUSALS: Readonly<Record<string, boolean>> = { 'store.full': true, 'store.unavailable': false };

class Load {
  readonly wrong: string[] = [];
  readonly codes: string[] = [];
  readonly #store: Store;
  readonly #job: FaultJob;
  readonly #acked = new Map<number, number>();
  readonly #underWay = new Set<number>();
  #broken = false;

  constructor(store: Store, job: FaultJob) {
    this.#store = store;
    this.#job = job;
  }

  async commit(id: number, slot: number): Promise<void> {
    const mark = (word: string): void => appendFileSync(this.#job.marks, `${word} ${id} ${slot}\n`);
    mark('try');
    this.#underWay.add(slot);
    try {
      await this.#store.commit({ puts: putsOf(id, slot) });
      mark('ack');
      this.#acked.set(slot, id);
      if (this.#broken) this.wrong.push(`commit ${id} was acknowledged after the store had said that it takes no more`);
    } catch (error) {
      const code = String((error as { code?: unknown }).code);
      this.codes.push(code);
      if (!(code in REFUSALS)) this.wrong.push(`commit ${id} failed with ${String(error)}`);
      // Of a broken store nothing is told of the group that broke it; what comes later is surely not written.
      if (REFUSALS[code] === true || this.#broken) mark('no');
      this.#broken ||= code === 'store.unavailable';
    }
    this.#underWay.delete(slot);
    this.read();
  }

  /** Into a new file, while rows are written: it goes through, or says why not. */
  async move(): Promise<void> {
    try {
      await this.#store.move();
    } catch (error) {
      const code = String((error as { code?: unknown }).code);
      this.codes.push(code);
      if (!(code in REFUSALS)) this.wrong.push(`the move failed with ${String(error)}`);
    }
    this.read();
  }

  /** Reads give the last acknowledged state, whatever failed. */
  read(): void {
    using snapshot = this.#store.snapshot();
    for (const [slot, id] of this.#acked) {
      if (this.#underWay.has(slot)) continue;
      if (stateOf(this.#store, slot) !== stateAfter(id, slot)) this.wrong.push(`slot ${slot} does not read as ${id}`);
    }
    if ([...snapshot.range('job')].length < this.#acked.size) this.wrong.push('a range misses rows');
    if (this.#store.statistics().usedBytes < 4096) this.wrong.push('there are no statistics');
  }
}

async function run(job: FaultJob, control: FaultControl) {
  const lock = lockFolder(job.folder);
  const witness = new SumWitness();
  if (job.atOpen) control.arm(job.plan);
  try {
    const store = await openLmdbStore({ lock, files, witness, mapBytes: 1024 * 1024, ballastBytes: 65_536 });
    const load = new Load(store, job);
    for (let id = 1; id <= BEFORE; id++) await load.commit(id, id);
    if (!job.atOpen) control.arm(job.plan);
    let id = BEFORE;
    const work = async (worker: number): Promise<void> => {
      while (id < BEFORE + COMMITS) {
        id++;
        await load.commit(id, (2 * id + worker) % SLOTS);
      }
    };
    await Promise.all([work(0), work(1), load.move()]);
    const counts = control.disarm();
    await store.close();
    return { ...counts, wrong: load.wrong, codes: load.codes };
  } catch (error) {
    const counts = control.disarm();
    const code = String((error as { code?: unknown }).code);
    const wrong = job.atOpen && code in REFUSALS ? [] : [`it did not open, or not close: ${String(error)}`];
    return { ...counts, wrong, codes: [code] };
  } finally {
    lock.release();
  }
}

serveFaults(run);
