/** What must hold of a folder that the load left, however it ended. A program of its own: see checker.ts. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openLmdbStore } from '../../../host/store/lmdb/open.ts';
import { files } from '../../../host/system/files.ts';
import { lockFolder } from '../../../host/system/lock.ts';
import { serveChecks } from '../checker.ts';
import { destroyedBefore, SLOTS, SUMMED, SumWitness, stateAfter, stateOf } from './rows.ts';

/**
 * A slot's history as marks tell it: the last acknowledged commit, and those tried since that may have been under way when
 * a process was killed (one a round: each may have been committed without its acknowledgement).
 */
interface History {
  acked: number | undefined;
  tried: number[];
}

/** @param marks  lines of the load, `try ID SLOT`, `ack ID SLOT` and `no ID SLOT` (surely not written), in order */
function historiesOf(marks: readonly string[]): History[] {
  const slots: History[] = Array.from({ length: SLOTS }, () => ({ acked: undefined, tried: [] }));
  for (const mark of marks) {
    const [word, id, slot] = mark.split(' ');
    const history = slots[Number(slot)];
    if (history === undefined) continue;
    if (word === 'try') history.tried.push(Number(id));
    else if (word === 'no') history.tried = history.tried.filter((one) => one !== Number(id));
    else {
      history.acked = Number(id);
      history.tried = [];
    }
  }
  return slots;
}

/** Files that hold the bytes that were deleted before a move. */
function holding(folder: string, move: number): string[] {
  const bytes = Buffer.from(destroyedBefore(move));
  return readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes(bytes));
}

/** @returns what does not hold, in sentences; empty if all does */
async function checkStore(folder: string, marks: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const mark of marks) {
    const [word, move] = mark.split(' ');
    const found = word === 'moved' ? holding(folder, Number(move)) : [];
    if (found.length > 0) wrong.push(`what was deleted before move ${move} lies in ${found.join(', ')}`);
  }
  const lock = lockFolder(folder);
  const witness = new SumWitness();
  try {
    const store = await openLmdbStore({ lock, files, witness, mapBytes: 1024 * 1024, ballastBytes: 0 });
    try {
      witness.load(store);
      const left = readdirSync(folder).filter((name) => /^store\.mdb\.(?:fresh|old)/.test(name));
      if (left.length > 0) wrong.push(`an open store leaves ${left.join(', ')}`);
      const kept = store.get('freshness', Buffer.from('sum'))?.slice();
      const rows = SUMMED.reduce((sum, table) => sum + [...store.range(table)].length, 0);
      if (kept === undefined ? rows > 0 : !witness.bytes().equals(kept)) {
        wrong.push('the sum over all rows is not the one that was committed with them');
      }
      for (const [slot, { acked, tried }] of historiesOf(marks).entries()) {
        const state = stateOf(store, slot);
        if (state === stateAfter(acked, slot)) continue;
        if (tried.some((id) => state === stateAfter(id, slot))) continue;
        wrong.push(`slot ${slot} is neither as acknowledged in ${acked} nor as tried in ${tried.join(', ')}`);
      }
      await store.commit({ puts: [{ table: 'policy', key: Buffer.from('after'), value: Buffer.from('the cut') }] });
    } finally {
      await store.close();
    }
  } catch (error) {
    wrong.push(`it does not open or take a commit: ${String(error)}`);
  } finally {
    lock.release();
  }
  return wrong;
}

serveChecks(checkStore);
