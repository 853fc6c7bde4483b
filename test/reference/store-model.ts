/** The slow twin of the store: one map, one batch at a time, written from the port's words alone. */
import type { Batch, Expectation, Table } from '../../host/ports/store.ts';

export class StoreModel {
  /** `table/hex of the key` → hex of the value. */
  readonly rows = new Map<string, string>();

  /** @returns false (and changes nothing) if an expectation fails */
  commit(batch: Batch): boolean {
    for (const expectation of batch.expect ?? []) if (!this.#holds(expectation, batch)) return false;
    for (const put of batch.puts) {
      const name = nameOf(put.table, put.key);
      if (put.value === undefined) this.rows.delete(name);
      else this.rows.set(name, Buffer.from(put.value).toString('hex'));
    }
    return true;
  }

  /** Rows of a table, by their keys' bytes. */
  list(table: Table): { key: string; value: string }[] {
    return [...this.rows]
      .filter(([name]) => name.startsWith(`${table}/`))
      .map(([name, value]) => ({ key: name.slice(table.length + 1), value }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  #holds(expectation: Expectation, batch: Batch): boolean {
    if (expectation.is !== 'empty') {
      const now = this.rows.get(nameOf(expectation.table, expectation.key));
      if (expectation.is === 'absent') return now === undefined;
      if (expectation.is === 'present') return now !== undefined;
      return now === Buffer.from(expectation.is).toString('hex');
    }
    const ends = new Map(batch.puts.map((put) => [nameOf(put.table, put.key), put.value]));
    const start = nameOf(expectation.table, expectation.prefix);
    return [...this.rows.keys()].every(
      (name) => !name.startsWith(start) || (ends.has(name) && ends.get(name) === undefined),
    );
  }
}

function nameOf(table: Table, key: Uint8Array): string {
  return `${table}/${Buffer.from(key).toString('hex')}`;
}
