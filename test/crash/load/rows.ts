/** What the load writes, so that the check knows what must be there. */
import { createHash } from 'node:crypto';
import type { Change, Put, Store, Witness } from '../../../host/ports/store.ts';
import { SeededRandom } from '../../reference/random.ts';

/** Tables whose rows the sum covers. */
export const SUMMED = ['record', 'name', 'expiry', 'job'] as const;
export const SLOTS = 48;
/** A value that was deleted before the store's move of this number. */
export const destroyedBefore = (move: number): Uint8Array => new SeededRandom(9000 + move).bytes(200);

/** Freshness row of the load: XOR of a hash a row (32 bytes), then the number of rows. */
export class SumWitness implements Witness {
  #sum: Uint8Array = new Uint8Array(32);
  #rows = 0;
  #before: { readonly sum: Uint8Array; readonly rows: number } | undefined;

  load(store: Store): void {
    for (const table of SUMMED) for (const { key, value } of store.range(table)) this.#add(table, key, value, 1);
  }

  fold(changes: readonly Change[]): readonly Put[] {
    this.#before = { sum: this.#sum.slice(), rows: this.#rows };
    for (const { table, key, before, after } of changes) {
      if (before !== undefined) this.#add(table, key, before, -1);
      if (after !== undefined) this.#add(table, key, after, 1);
    }
    return [{ table: 'freshness', key: Buffer.from('sum'), value: this.bytes() }];
  }

  settled(committed: boolean): void {
    if (committed || this.#before === undefined) return;
    this.#sum = this.#before.sum;
    this.#rows = this.#before.rows;
  }

  bytes(): Buffer {
    const rows = Buffer.alloc(4);
    rows.writeInt32BE(this.#rows);
    return Buffer.concat([this.#sum, rows]);
  }

  #add(table: string, key: Uint8Array, value: Uint8Array, sign: 1 | -1): void {
    const hash = createHash('sha256').update(`${table}/${key.length}/`).update(key).update(value).digest();
    for (let at = 0; at < 32; at++) this.#sum[at] = (this.#sum[at] ?? 0) ^ (hash[at] ?? 0);
    this.#rows += sign;
  }
}

/** What commit `id` does to its slot: three rows far apart, or their deletion with a note of it. */
export function putsOf(id: number, slot: number): Put[] {
  const random = new SeededRandom(id);
  const name = Buffer.from(`slot ${String(slot).padStart(4, '0')}`);
  const gone = random.once(6);
  const number = Buffer.alloc(4);
  number.writeUInt32BE(id);
  const value = (): Buffer => Buffer.concat([number, random.bytes(random.once(12) ? 6000 : random.below(500))]);
  const rows: Put[] = (['record', 'name', 'expiry'] as const).map((table) =>
    gone ? { table, key: name } : { table, key: name, value: value() },
  );
  return [...rows, { table: 'job', key: name, value: number }];
}

/** What the store holds of a slot, as text to compare. */
export function stateOf(store: Store, slot: number): string {
  const puts = putsOf(0, slot);
  return puts.map(({ table, key }) => Buffer.from(store.get(table, key) ?? []).toString('base64')).join(' ');
}

/** What it holds after commit `id`; undefined: before any. */
export function stateAfter(id: number | undefined, slot: number): string {
  const puts = putsOf(id ?? 0, slot);
  return puts.map(({ value }) => (id === undefined ? '' : Buffer.from(value ?? []).toString('base64'))).join(' ');
}
