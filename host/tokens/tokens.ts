/** Tokens: making, finding, renewing and revoking them with all that they made. */
import type { Barrier, OpenedRow } from '../barrier/barrier.ts';
import { retry } from '../barrier/barrier.ts';
import { expiryDelete, expiryPut } from '../barrier/expiry-row.ts';
import { throughCore } from '../barrier/fault.ts';
import { recordsBelow } from '../barrier/view.ts';
import { Fault } from '../fault.ts';
import type { Due } from '../leases/expiry.ts';
import type { TokenInfo } from '../ports/engine.ts';
import type { Expectation, Put } from '../ports/store.ts';
import { decodeToken, encodeToken, type TokenRecord } from './row.ts';

const CUBBYHOLE = `${'0'.repeat(31)}2`;
const NOTHING = new Uint8Array(1);

export type NewToken = Omit<TokenRecord, 'accessor' | 'createdMs' | 'issueMs' | 'lastRenewalMs' | 'revoked'>;

export interface MadeToken {
  readonly text: string;
  /** In hex; '' for batch tokens, which have no row. */
  readonly id: string;
  readonly token: TokenRecord;
}

/** The row that a lease of a token depends on. */
export interface TokenHolder {
  /** In hex; '': none. */
  readonly id: string;
  readonly row: Uint8Array | undefined;
  /** Lease time in ms at which the token of that row is over; 0: never. */
  readonly overMs: number;
}

export interface FoundToken {
  readonly id: string;
  readonly token: TokenRecord;
  readonly opened: OpenedRow;
}

const gone = (): Fault => new Fault('token.invalid', 'permission denied');
const bytesOf = (id: string): Buffer => Buffer.from(id, 'hex');

export class Tokens {
  readonly #barrier: Barrier;
  readonly #ended: (id: string) => Promise<void>;

  /** @param ended  ends what else ends with a token (its leases), before its row goes; the token is marked by then */
  constructor(barrier: Barrier, ended: (id: string) => Promise<void> = async () => {}) {
    this.#barrier = barrier;
    this.#ended = ended;
  }

  // ------------------------------------------------------------------------------------------ making

  /**
   * @param grant  may write tables token, accessor, child and expiry
   * @param ownId  a chosen id instead of a drawn one
   * @throws Fault `input.invalid` the chosen id is taken; `token.invalid` the parent is not there any more
   */
  async create(grant: number, wanted: NewToken, ownId?: string): Promise<MadeToken> {
    if (wanted.type === 'batch') return this.#batch(grant, wanted);
    const { core } = this.#barrier;
    const { text, id } =
      ownId === undefined
        ? throughCore(() => core.newToken(grant, 'service'))
        : { text: ownId, id: core.tokenId(ownId) };
    return await retry(async () => {
      const made = this.rows(grant, wanted, id);
      if (ownId !== undefined && this.#barrier.store.get('token', id) !== undefined) {
        throw new Fault('input.invalid', 'cannot create a token with a duplicate ID');
      }
      await this.#barrier.commit(made.puts, made.expect);
      return { text, id: Buffer.from(id).toString('hex'), token: made.token };
    });
  }

  /** The rows of a new token, for whoever commits more with them. */
  rows(
    grant: number,
    wanted: NewToken,
    id: Uint8Array,
  ): { readonly token: TokenRecord; readonly puts: Put[]; readonly expect: Expectation[] } {
    const { core, lease } = this.#barrier;
    const now = lease.nowMs();
    const accessor = core.newAccessor();
    const token: TokenRecord = { ...wanted, accessor, createdMs: now, issueMs: now, lastRenewalMs: 0, revoked: false };
    const puts: Put[] = [
      this.#barrier.seal(grant, 'token', id, encodeToken(token)),
      this.#barrier.seal(grant, 'accessor', core.blindKey('accessor', accessor), id),
    ];
    const expect: Expectation[] = [{ table: 'token', key: id, is: 'absent' }];
    if (token.parentId !== undefined) {
      const parent = this.#open(grant, token.parentId);
      if (parent === undefined || parent.token.revoked) throw new Fault('token.invalid', 'permission denied');
      // A parent that is being revoked changes its row first: then no child can be made any more.
      expect.push({ table: 'token', key: bytesOf(token.parentId), is: parent.opened.row });
      puts.push(this.#barrier.seal(grant, 'child', Buffer.concat([bytesOf(token.parentId), id]), NOTHING));
    }
    if (token.expiresMs > 0) puts.push(expiryPut(this.#barrier, grant, token.expiresMs, 'token', id));
    return { token, puts, expect };
  }

  #batch(grant: number, wanted: NewToken): MadeToken {
    const { core, lease } = this.#barrier;
    const now = lease.nowMs();
    const token: TokenRecord = {
      ...wanted,
      accessor: '',
      createdMs: now,
      issueMs: now,
      lastRenewalMs: 0,
      revoked: false,
    };
    return { text: throughCore(() => core.sealBatchToken(grant, encodeToken(token))), id: '', token };
  }

  // ------------------------------------------------------------------------------------------ finding

  #open(grant: number, id: string): FoundToken | undefined {
    const opened = this.#barrier.open(grant, 'token', bytesOf(id));
    return opened === undefined ? undefined : { id, token: decodeToken(opened.payload), opened };
  }

  /** A token that may be honoured now, by its id in hex. */
  byId(grant: number, id: string): FoundToken | undefined {
    const found = this.#open(grant, id);
    if (found === undefined || found.token.revoked) return undefined;
    const { expiresMs } = found.token;
    return expiresMs > 0 && expiresMs <= this.#barrier.lease.nowMs() ? undefined : found;
  }

  /** By the text that a client presents; batch tokens are found in themselves. */
  byText(
    grant: number,
    text: string,
  ): { readonly id: string; readonly token: TokenRecord; readonly opened?: OpenedRow } | undefined {
    const { core, lease } = this.#barrier;
    if (text.startsWith('hvb.')) {
      try {
        const token = decodeToken(core.openBatchToken(grant, text));
        const lives =
          token.expiresMs > lease.nowMs() &&
          (token.parentId === undefined || this.byId(grant, token.parentId) !== undefined);
        return lives ? { id: '', token } : undefined;
      } catch {
        return undefined;
      }
    }
    const id = this.idOf(text);
    return id === undefined ? undefined : this.byId(grant, id);
  }

  /** The id in hex that a text stands for; undefined for what cannot be a token. */
  idOf(text: string): string | undefined {
    try {
      return Buffer.from(this.#barrier.core.tokenId(text)).toString('hex');
    } catch {
      return undefined;
    }
  }

  byAccessor(grant: number, accessor: string): FoundToken | undefined {
    const opened = this.#barrier.open(grant, 'accessor', this.#barrier.core.blindKey('accessor', accessor));
    return opened === undefined ? undefined : this.byId(grant, Buffer.from(opened.payload).toString('hex'));
  }

  accessors(grant: number): string[] {
    const { store, core } = this.#barrier;
    const found: string[] = [];
    for (const { key, value } of store.range('token')) {
      const token = decodeToken(throughCore(() => core.openTable(grant, 'token', key, value)));
      if (!token.revoked) found.push(token.accessor);
    }
    return found.sort((a, b) => (a < b ? -1 : 1));
  }

  /**
   * The row that a lease of a token depends on: its own, or a batch token's parent's.
   *
   * @param known  as it was found before: the same row is not opened again
   * @throws Fault `token.invalid` it is gone, over or being revoked
   */
  async holder(token: TokenInfo, known?: TokenHolder): Promise<TokenHolder> {
    const id = token.type === 'batch' ? (token.parentId ?? '') : token.id;
    const nowMs = this.#barrier.lease.nowMs();
    if (token.type === 'batch' && token.expireMs <= nowMs) throw gone();
    if (id === '') return { id, row: undefined, overMs: 0 };
    if (known?.id === id && known.row !== undefined) {
      const row = this.#barrier.store.get('token', bytesOf(id));
      const isOver = known.overMs > 0 && known.overMs <= nowMs;
      if (!isOver && row !== undefined && Buffer.compare(row, known.row) === 0) return known;
    }
    const found = await this.#barrier.job('revocation', undefined, (grant) => this.byId(grant, id));
    if (found === undefined) throw gone();
    return { id, row: found.opened.row, overMs: found.token.expiresMs };
  }

  // ------------------------------------------------------------------------------------------ changing

  /** Puts another record in the place of a token's; its expiry row moves along. @throws Fault `store.conflict` */
  async replace(grant: number, found: FoundToken, token: TokenRecord): Promise<void> {
    const key = bytesOf(found.id);
    const before = found.token.expiresMs;
    const puts: Put[] = [this.#barrier.seal(grant, 'token', key, encodeToken(token))];
    if (before !== token.expiresMs) {
      if (before > 0) puts.push(expiryDelete(before, 'token', key));
      if (token.expiresMs > 0) puts.push(expiryPut(this.#barrier, grant, token.expiresMs, 'token', key));
    }
    await this.#barrier.commit(puts, [{ table: 'token', key, is: found.opened.row }]);
  }

  // ------------------------------------------------------------------------------------------ revoking

  /**
   * Revokes a token, its children and theirs, with their cubbyholes. First every row is marked, durable: from then on core
   * refuses them. A crash in between is finished by the expiry queue.
   *
   * @param keepChildren  they become orphans
   * @param dueMs         lease time of a row of table expiry by which the token was to end, if there is one: it goes too
   */
  async revoke(id: string, keepChildren = false, dueMs?: number): Promise<void> {
    await this.#barrier.job('revocation', CUBBYHOLE, async (grant) => {
      if (keepChildren) await this.#freeChildren(grant, id);
      const tree = await this.#mark(grant, id);
      for (const one of tree.reverse()) await this.#remove(grant, one, one === id ? dueMs : undefined);
    });
  }

  /** Marks a token and everything below it. @returns their ids, parents first */
  async #mark(grant: number, id: string): Promise<string[]> {
    const tree: string[] = [];
    const open = [id];
    for (let next = open.shift(); next !== undefined; next = open.shift()) {
      const own = next;
      const there = await retry(() => this.#markOne(grant, own));
      tree.push(own);
      // Read after the mark is durable: no further child can be made.
      if (there) open.push(...this.#childrenOf(own));
    }
    return tree;
  }

  async #markOne(grant: number, id: string): Promise<boolean> {
    const found = this.#open(grant, id);
    if (found === undefined) return false;
    if (found.token.revoked) return true;
    const key = bytesOf(id);
    const puts = [
      this.#barrier.seal(grant, 'token', key, encodeToken({ ...found.token, revoked: true })),
      // What finishes the revocation if this process does not: due at once.
      expiryPut(this.#barrier, grant, 0, 'revocation', key),
    ];
    await this.#barrier.commit(puts, [{ table: 'token', key, is: found.opened.row }], true);
    return true;
  }

  #childrenOf(id: string): string[] {
    const rows = this.#barrier.store.range('child', { prefix: bytesOf(id) });
    return [...rows].map(({ key }) => Buffer.from(key.subarray(16)).toString('hex'));
  }

  async #freeChildren(grant: number, id: string): Promise<void> {
    for (const child of this.#childrenOf(id)) {
      await retry(async () => {
        const found = this.#open(grant, child);
        const link: Put = { table: 'child', key: Buffer.concat([bytesOf(id), bytesOf(child)]) };
        if (found === undefined) return await this.#barrier.commit([link], [], true);
        const orphan = this.#barrier.seal(
          grant,
          'token',
          bytesOf(child),
          encodeToken({ ...found.token, parentId: undefined }),
        );
        const expect: Expectation[] = [{ table: 'token', key: bytesOf(child), is: found.opened.row }];
        await this.#barrier.commit([link, orphan], expect, true);
      });
    }
  }

  /** Removes a marked token whose children are gone. */
  async #remove(grant: number, id: string, dueMs?: number): Promise<void> {
    await this.#ended(id);
    await this.#emptyCubbyhole(grant, id);
    const key = bytesOf(id);
    const found = this.#open(grant, id);
    const puts: Put[] = [
      { table: 'token', key },
      { table: 'wrap', key },
    ];
    if (found !== undefined) {
      const { token } = found;
      puts.push({ table: 'accessor', key: this.#barrier.core.blindKey('accessor', token.accessor) });
      if (token.expiresMs > 0) puts.push(expiryDelete(token.expiresMs, 'token', key));
      if (token.parentId !== undefined)
        puts.push({ table: 'child', key: Buffer.concat([bytesOf(token.parentId), key]) });
    }
    puts.push(expiryDelete(0, 'revocation', key));
    if (dueMs !== undefined) puts.push(expiryDelete(dueMs, 'revocation', key));
    await this.#barrier.commit(puts, [], true);
  }

  async #emptyCubbyhole(grant: number, id: string): Promise<void> {
    const view = this.#barrier.view(grant, CUBBYHOLE, true);
    for (const path of recordsBelow(view, id)) await view.update(path, (change) => change.delete(path));
  }

  /** A token whose time is over, or whose revocation a crash interrupted. */
  async end(due: Due): Promise<void> {
    const id = Buffer.from(due.id).toString('hex');
    await this.revoke(id);
    // The row is gone with the token; one that names no token any more goes by itself.
    if (this.#barrier.store.get('expiry', due.key) !== undefined) {
      await this.#barrier.commit(
        [{ table: 'expiry', key: due.key }],
        [{ table: 'expiry', key: due.key, is: due.row }],
        true,
      );
    }
  }
}
